"""Whether the facade fits a description: everything that it relies on is there, and nothing more is asked of it.

It looks at the description as the overlay corrects it, the facade's code, relied_on.yaml, and the generated package.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from scripts.facade import Facade, collisions, missing_imports
from scripts.operations import Operation, operations
from scripts.schema_changes import component_schemas
from scripts.schemas import Document, say, shape_of

TABLE = "scripts/relied_on.yaml"
WHAT_TO_DO = (
    f"Make src/ fit, and say so in {TABLE}; where Brex publishes it wrongly, correct it in openapi/overlay.yaml."
)


@dataclass(frozen=True)
class Value:
    """What one value is, in the words of relied_on.yaml."""

    kind: str
    required: bool = False
    nullable: bool = False
    values: tuple[str, ...] | None = None
    largest: float | None = None
    """How large it may be, or how many items it may have."""

    @classmethod
    def of(cls, line: str) -> Value:
        """Read a line of the table."""
        words, enum, values = line.partition(" enum")
        words, _, largest = words.partition(" up to ")
        names = words.split()
        kind = " ".join(name for name in names if name not in {"required", "nullable"})
        return cls(
            kind,
            "required" in names,
            "nullable" in names,
            tuple(values.split()) if enum else None,
            float(largest) if largest else None,
        )

    @classmethod
    def described(cls, schema: Any, document: Document, *, required: bool) -> Value:
        """Read a schema of the description."""
        shape = shape_of(schema, document)
        values = None if shape.values is None else tuple(map(say, shape.values))
        return cls(_kind(schema, document), required, shape.nullable, values, _largest(shape.rest))


def _kind(schema: Any, document: Document) -> str:
    shape = shape_of(schema, document)
    if shape.items is not None:
        return f"array of {_kind(shape.items, document)}"
    if shape.choices:
        return " or ".join(sorted({_kind(choice, document) for choice in shape.choices}))
    return " ".join([str(shape), *map(str, [shape.rest["format"]] if "format" in shape.rest else [])])


def _alternatives(kind: str) -> set[str]:
    """What a value may be: each of an array's items is written as an array of it."""
    array, of, items = kind.rpartition("array of ")
    return {array + of + item for item in items.split(" or ")}


def _is_among(needed: str, found: str, *, sent: bool) -> bool:
    """Whether a kind is the one that is needed; where it is sent, there may be more alternatives than are used."""
    one, other = _alternatives(needed), _alternatives(found)
    return one <= other if sent else one == other


def _largest(limits: Mapping[str, Any]) -> float | None:
    found = [limits[keyword] for keyword in ("maximum", "maxItems") if isinstance(limits.get(keyword), (int, float))]
    exclusive = limits.get("exclusiveMaximum")  # a flag in OpenAPI 3.0, a number in 3.1
    if exclusive is True:
        found = [limit - 1 for limit in found]
    elif exclusive is not None and exclusive is not False:
        found.append(exclusive - 1)
    return min(found, default=None)


class Fit:
    """The facade held against a description."""

    def __init__(self, facade: Facade, table: Mapping[str, Any], document: Document, package: Path) -> None:
        self.facade = facade
        self.table = table
        self.document = document
        self.package = package
        self.described = {operation.label: operation for operation in operations(document)}

    @property
    def not_covered(self) -> list[str]:
        """The description's operations that the facade does not call."""
        return [label for label in self.described if label not in self.facade.operations]

    @property
    def not_listed(self) -> list[str]:
        """Those of them that relied_on.yaml does not list."""
        return [label for label in self.not_covered if label not in (self.table["not_covered"] or ())]

    def misfits(self) -> list[str]:
        """Say where the facade does not fit, in a sentence each."""
        found = [*self._operations(), *self._error_codes(), *self._details(), *self._schemas()]
        for importer, module, name in missing_imports(self.facade, self.package):
            found.append(f"{module} has no {name} any more, which src/brex_accounting/{importer} imports.")
        for model, name, owner in collisions(self.facade, self.package):
            found.append(
                f"{model}.{name} is a field now, and a member of {owner} has that name: one would hide the other."
            )
        return found

    def _operations(self) -> Iterator[str]:
        for name, module in self.facade.operations.items():
            if name not in self.table["operations"]:
                yield f"src/brex_accounting/{module} calls {name}, and {TABLE} does not say what it relies on there."
            elif name not in self.described:
                where = self.table["operations"][name]["where"]
                yield (
                    f"The operation {name} is gone, or has another operationId: "
                    f"{where} (src/brex_accounting/{module}) cannot work any more."
                )
        for name, needs in self.table["operations"].items():
            if name in self.described:
                yield from self._operation(self.described[name], needs)

    def _operation(self, operation: Operation, needs: Mapping[str, Any]) -> Iterator[str]:
        name, where = operation.label, f"which {needs['where']}"
        parameters = needs.get("parameters", {})
        described = {f"{kind} {parameter}": value for (kind, parameter), value in operation.parameters.items()}
        for key, line in parameters.items():
            if key not in described:
                yield f"{name} has no {key} parameter any more (removed or renamed), {where} passes."
                continue
            required = bool(described[key].get("required"))
            found = Value.described(described[key].get("schema", {}), self.document, required=required)
            yield from _differences(f"{name}'s {key} parameter", Value.of(line), found, f"{where} passes", sent=True)
        for key, value in described.items():
            if value.get("required") and key not in parameters:
                yield f"{name} requires the new {key} parameter, {where} does not pass."
        body = _media_schema(operation.body, self.document)
        if body != needs.get("body") and (needs.get("body") or (operation.body or {}).get("required")):
            sent = needs.get("body") or "none"
            yield f"{name}'s request body is {body or 'none'}, and {needs['where']} sends {sent}."
        successes = [response for status, response in operation.responses.items() if status.startswith("2")]
        answers = [_media_schema(response, self.document) for response in successes]
        if set(answers) != {needs["answer"]}:
            told = " or ".join(answer or "something else" for answer in answers) or "none"
            yield f"{name}'s success is {told}, and {needs['where']} reads {needs['answer']}."

    def _error_codes(self) -> Iterator[str]:
        schema = component_schemas(self.document).get("AccountingErrorResponse", {})
        code = shape_of(schema, self.document, expand=True).properties.get("error_code")
        values = shape_of(code, self.document, expand=True).values if code is not None else None
        for name, error in self.facade.error_codes.items():
            if values is not None and name not in values:
                yield (
                    f"The error code {name} is gone, or has another name: classify.py makes {error} of it, "
                    "which nobody would see any more."
                )

    def _details(self) -> Iterator[str]:
        names = {
            name: (kind, f"which classify.py puts into {error}") for name, (kind, error) in self.facade.details.items()
        }
        yield from self._properties("AccountingErrorDetails", names, sent=False)

    def _schemas(self) -> Iterator[str]:
        for use in ("sent", "read"):
            for name, needs in self.table[use].items():
                where = f"which the facade relies on ({needs['where']})"
                names = {name: (line, where) for name, line in needs["properties"].items()}
                yield from self._properties(name, names, sent=use == "sent")

    def _properties(self, name: str, needs: Mapping[str, tuple[str, str]], *, sent: bool) -> Iterator[str]:
        """Hold a component schema against what the facade needs of it: by property, what it is, and for what."""
        schema = component_schemas(self.document).get(name)
        if schema is None:
            yield f"The schema {name} is gone, or has another name, {next(iter(needs.values()))[1]}."
            return
        shape = shape_of(schema, self.document, expand=True)
        unknown = [property_ for property_ in shape.properties if property_ not in needs]
        for property_, (line, where) in needs.items():
            if property_ not in shape.properties:
                renamed = f"removed, or renamed: new there {_are(unknown)}" if unknown else "removed or renamed"
                yield f"{name}.{property_} is gone ({renamed}), {where}."
                continue
            required = property_ in shape.required
            found = Value.described(shape.properties[property_], self.document, required=required)
            yield from _differences(f"{name}.{property_}", Value.of(line), found, where, sent=sent)
        for property_ in sorted(shape.required - needs.keys()):
            if sent:
                yield f"{name} requires {property_}, which the facade does not send."


def _are(names: list[str]) -> str:
    return f"{'is' if len(names) == 1 else 'are'} {', '.join(names)}"


def _media_schema(message: Mapping[str, Any] | None, document: Document) -> str | None:
    schema = (message or {}).get("content", {}).get("application/json", {}).get("schema")
    return None if schema is None else _kind(schema, document)


def _differences(name: str, needs: Value, found: Value, where: str, *, sent: bool) -> Iterator[str]:
    if not _is_among(needs.kind, found.kind, sent=sent):
        yield f"{name} is {found.kind} now, and was {needs.kind}, {where}."
    yield from _enum_differences(name, needs, found, where)
    if needs.largest is not None and found.largest is not None and found.largest < needs.largest:
        yield f"{name} goes up to {found.largest:g} now, and the facade sends up to {needs.largest:g}, {where}."
    if needs.nullable and not found.nullable:
        yield f"{name} is no longer nullable: null said that there is none, and something else may say so now, {where}."
    if found.nullable and not needs.nullable and not sent:
        yield f"{name} may be null now, {where}."
    if needs.required and not found.required and not sent:
        yield f"{name} is no longer required, {where}."
    if found.required and not needs.required and sent:
        yield f"{name} is required now, and may be left out, {where}."


def _enum_differences(name: str, needs: Value, found: Value, where: str) -> Iterator[str]:
    if needs.values is None and found.values is not None:
        yield f"{name} has become an enum ({', '.join(found.values)}), and was free text, {where}."
    elif needs.values is not None and found.values is None:
        yield f"{name} is no longer an enum, {where}."
    for value in needs.values or ():
        if found.values is not None and value not in found.values:
            yield f"{name} no longer knows the value {value}, {where}."


def newly_required(table: Mapping[str, Any], document: Document) -> list[tuple[str, str]]:
    """The properties that answers must have now, and that the facade does not know: of which schema, and which."""
    schemas = component_schemas(document)
    return [
        (name, property_)
        for name, needs in table["read"].items()
        for property_ in sorted(_members(schemas.get(name)).get("required", ()))
        if property_ not in needs["properties"] and re.fullmatch(r"[\w.-]+", property_)  # a name for the overlay
    ]


def _members(schema: Any) -> Mapping[str, Any]:
    return schema if isinstance(schema, Mapping) else {}


def with_not_required(overlay: str, properties: list[tuple[str, str]]) -> str:
    """Add to the text of the overlay, which ends with its actions, that an answer may lack these properties."""
    actions = (
        f"  - target: $.components.schemas.{name}.required[?(@ == {json.dumps(property_)})]\n"
        "    description: New, and nothing here needs it; an answer without it must be readable. (update-description)\n"
        "    remove: true\n"
        for name, property_ in properties
    )
    return f"{overlay.rstrip()}\n{''.join(actions)}" if properties else overlay


def with_not_covered(table: str, names: list[str]) -> str:
    """Write the list of operations that are not covered into the text of relied_on.yaml, which ends with it."""
    head, _, listed = table.partition("\nnot_covered:")
    lines = {line.split()[1]: line for line in listed.splitlines() if line.startswith("  - ")}
    new = [lines.get(name, f"  - {say_name(name)}") for name in names]
    return f"{head}\nnot_covered:" + ("\n" + "\n".join(new) if new else " []") + "\n"


def say_name(name: str) -> str:
    """Write an operation's name as YAML; one without an id is called by its endpoint."""
    return yaml.safe_dump(name, default_flow_style=True, width=1000).removesuffix("\n...\n").strip()
