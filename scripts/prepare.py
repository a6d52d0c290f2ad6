"""Rewrite a description, after the overlay, so that the generator loses nothing and trips over nothing.

The generator drops what stands beside a reference or beside alternatives, reads schemas inside of alternatives too
early, and names classes by whether they may be null. What a schema means stays the same.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

from scripts.circles import OBJECT, cut_circles, spread_choices
from scripts.operations import operations
from scripts.parameters import check_parameters
from scripts.read_description import RefusedError
from scripts.schemas import COMPONENT, component, references, shape_of, target
from scripts.simplify import FOLDED, LISTED, NAMED, SINGLE, each_schema, schemas_in, simplify, types_of

Node = dict[str, Any]

CHOICES = ("oneOf", "anyOf")
TAKEN = {
    *("any", "anything", "authenticatedclient", "awaredatetime", "client", "decimal", "file", "literal", "model"),
    *("oneof", "openintenum", "openstrenum", "response", "unset", "uuid"),
}
"""Classes that the modules in generated/ import, in small letters."""
BYTES = "application/octet-stream"
READABLE = re.compile(rf"(?i:application/json|{BYTES}|text/.*|.*\+json) *(;|$)")


def prepare(document: Node, name: str, classes: Mapping[str, str] = MappingProxyType({})) -> None:
    """Rewrite a valid description in place. Raises RefusedError; the name is for its message.

    Args:
        document: The description, as the overlay corrects it.
        name: What to call it in a message.
        classes: The components whose classes have other names, and these.
    """
    simplify(document)
    document["paths"] = {path: item for path, item in document["paths"].items() if path.startswith("/")}
    _read_as_files(document)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas.update({each: _as_object(schema) for each, schema in schemas.items()})
    each_schema(document, _spell_out)
    each_schema(document, _spell_null)
    _rename_taken(document, classes)
    _name_inner_schemas(document)
    cut_circles(document, name)
    for schema in list(schemas_in(document)):
        spread_choices(schema, document)
    each_schema(document, _separate)
    each_schema(document, lambda schema: _drop_default(schema, document))
    _pass_null_on(document)
    _resolve_aliases(document)
    _name_inline(schemas)
    each_schema(document, _name_members)
    check_parameters(document, name)
    _check_names(document, name)


def _check_names(document: Node, name: str) -> None:
    """Refuse two operations that would be one module: the generator keeps only the last."""
    modules: dict[tuple[str, str], str] = {}
    for operation in operations(document):
        module = next(iter(operation.raw.get("tags", ())), "default"), _plain(operation.label)
        other = modules.setdefault(module, operation.endpoint)
        if other != operation.endpoint:
            raise RefusedError(
                f"{name} cannot be generated: {operation.label} ({operation.endpoint}) and {other} would be one "
                "module; give one another operationId in openapi/overlay.yaml."
            )


def _read_as_files(document: Node) -> None:
    """Let answers of content types that the generator does not know, such as PDF, be files."""
    for operation in operations(document):
        for answer in operation.responses.values():
            content = answer.get("content", {})
            if content and not any(map(READABLE.match, content)):
                content[BYTES] = {"schema": {"type": "string", "format": "binary"}}


def _spell_out(schema: Node) -> None:
    """Write true and false, which OpenAPI 3.1 takes for schemas, as objects, and leave nothing unsaid."""
    for keyword in LISTED:
        if keyword in schema:
            schema[keyword] = [_as_object(inner) for inner in schema[keyword]]
    for keyword in NAMED:
        if keyword in schema:
            schema[keyword] = {name: _as_object(inner) for name, inner in schema[keyword].items()}
    if "items" in schema:
        schema["items"] = _as_object(schema["items"])
    elif "array" in types_of(schema) and "prefixItems" not in schema:
        schema["items"] = {}
    if {bool, float} & set(map(type, schema.get("enum", ()))) and not any(isinstance(v, str) for v in schema["enum"]):
        del schema["enum"]  # the generator knows enums of text and of whole numbers


def _as_object(schema: Any) -> Any:
    return {} if schema is True else {"not": {}} if schema is False else schema


def _spell_null(schema: Node) -> None:
    """Write null as OpenAPI 3.0 does, wherever it is written."""
    kinds = types_of(schema)
    if len(kinds) == 2 and "null" in kinds:  # noqa: PLR2004 - one kind, and null
        schema["type"] = next(kind for kind in kinds if kind != "null")
        schema["nullable"] = True
    if None in schema.get("enum", ()) and len(schema["enum"]) > 1:
        schema["enum"] = [value for value in schema["enum"] if value is not None]
        schema["nullable"] = True
    for keyword in CHOICES:
        choices = schema.get(keyword, [])
        others = [choice for choice in choices if types_of(choice) != ["null"]]
        if len(others) == len(choices) - 1:
            schema["nullable"] = True
            schema[keyword] = others
            if len(others) == 1 and keyword not in others[0] and not others[0].keys() & schema.keys() - FOLDED:
                del schema[keyword]
                inner = {"allOf": others} if component(others[0]) else others[0]
                schema.update({key: value for key, value in inner.items() if key not in schema})


def _rename_taken(document: Node, classes: Mapping[str, str]) -> None:
    """Rename components whose classes would hide what the generated modules import, or the class of another."""
    schemas = document["components"]["schemas"]
    taken = set(TAKEN)
    for name in sorted(schemas, key=lambda each: (each not in classes, _pascal(each) != each)):
        plain = _plain(classes.get(name, name))
        if plain not in taken:
            taken.add(plain)
            continue
        new = _free(f"{name}Model", schemas)
        taken.add(_plain(new))
        schemas[new] = schemas.pop(name)
        for reference in references(document):
            if component(reference) == name:
                reference["$ref"] = COMPONENT + new


def _name_inner_schemas(document: Node) -> None:
    """Make components of schemas that are referred to inside of others: the generator knows references to those."""
    schemas = document["components"]["schemas"]
    inner = [each for each in schemas_in(document) if "$ref" in each and component(each) is None]
    for pointer in sorted({each["$ref"] for each in inner}, key=len, reverse=True):
        steps = re.split(r"[^A-Za-z0-9]+", pointer.removeprefix(COMPONENT))
        skipped = {"", "components", "paths", "content", "schema", *LISTED, *NAMED, *SINGLE}
        name = _free("".join(_pascal(step) for step in steps if step not in skipped), schemas)
        found = target(pointer, document)
        schemas[name] = dict(found)
        found.clear()
        found["$ref"] = COMPONENT + name
        for each in inner:
            if each["$ref"] == pointer:
                each["$ref"] = COMPONENT + name


def _separate(schema: Node) -> None:
    """Keep what stands beside a lone reference: the generator takes such a schema for what it refers to."""
    parts = [part for keyword in ("allOf", *CHOICES) for part in schema.get(keyword, ())]
    if parts and ("object" in types_of(schema) or (len(parts) == 1 and component(parts[0]))):
        schema.pop("type", None)  # beside `nullable`, the generator would read it as a second alternative
    if len(parts) == 1 and "allOf" in schema:
        own = {key: schema.pop(key) for key in OBJECT if schema.get(key) not in (None, True, {}, [])}
        if own:
            schema["allOf"].append({"type": "object", **own})


def _drop_default(schema: Node, document: Node) -> None:
    """The generator knows no defaults of objects."""
    if "default" in schema and "object" in shape_of(schema, document, expand=True).types:
        del schema["default"]


def _pass_null_on(document: Node) -> None:
    """Let references to a component be nullable in its place: of a nullable component the generator makes a choice."""
    schemas = document["components"]["schemas"]
    while nullable := {name for name, schema in schemas.items() if schema.get("nullable") and not _choices(schema)}:
        for name in nullable:
            del schemas[name]["nullable"]
        every = list(schemas_in(document))
        listed = {id(part) for schema in every for keyword in ("allOf", *CHOICES) for part in schema.get(keyword, ())}
        for schema in every:
            parts = schema.get("allOf", [])
            if any(component(part) in nullable for part in [*_choices(schema), *(parts if len(parts) == 1 else [])]):
                schema["nullable"] = True
            if component(schema) in nullable and id(schema) not in listed:
                _refer(schema, schema["$ref"], {"nullable": True})


def _resolve_aliases(document: Node) -> None:
    """Refer to what a component wholly is, in its place: the generator reads that twice otherwise."""
    schemas = document["components"]["schemas"]
    for name, schema in list(schemas.items()):
        parts = [*schema.get("allOf", ()), *_choices(schema)]
        more = schema.keys() - FOLDED - {"allOf", *CHOICES, "discriminator"}
        if len(parts) == 1 and component(parts[0]) and not more and not schema.get("nullable"):
            del schemas[name]
            for reference in references(document):
                if component(reference) == name:
                    reference["$ref"] = parts[0]["$ref"]


def _choices(schema: Node) -> list[Any]:
    return [choice for keyword in CHOICES for choice in schema.get(keyword, ())]


def _refer(schema: Node, reference: str, beside: Node) -> None:
    """Make a schema a reference, with something beside it."""
    schema.clear()
    schema.update({"allOf": [{"$ref": reference}], **beside} if beside else {"$ref": reference})


def _name_inline(schemas: Node) -> None:
    """Make components of the objects inside of components, and of enums that may be null.

    The generator reads some components twice, and stumbles over the objects inside of them; it reads alternatives too
    early; and it numbers what may be null.
    """
    for name in list(schemas):
        for schema, place in list(_placed(schemas[name], name))[1:]:
            is_object = "object" in types_of(schema) or "properties" in schema or len(schema.get("allOf", ())) > 1
            if is_object or (schema.get("nullable") and "enum" in schema):
                new = _free(place, schemas)
                beside = {key: value for key, value in schema.items() if key in FOLDED}
                schemas[new] = {key: value for key, value in schema.items() if key not in beside}
                _refer(schema, COMPONENT + new, beside)


def _placed(schema: Node, place: str) -> Iterator[tuple[Node, str]]:
    """Find a schema and those inside of it, with the names that the generator gives to their classes."""
    yield schema, place
    waiting = [schema]
    for part in waiting:  # what is in allOf counts as the schema itself
        waiting += part.get("allOf", ())
        for name, inner in part.get("properties", {}).items():
            yield from _placed(inner, place + _pascal(name))
        for keyword, suffix in (("items", "Item"), ("additionalProperties", "AdditionalProperty")):
            if isinstance(part.get(keyword), dict):
                yield from _placed(part[keyword], place + suffix)
        for number, choice in enumerate(_choices(part)):
            yield from _placed(choice, f"{place}Type{number}")


def _name_members(schema: Node) -> None:
    """Name the members of an enum if two would get one name: the generator would fail, or keep only the last."""
    values = schema.get("enum", ())
    if not all(isinstance(value, str) for value in values):
        return
    names: dict[str, str] = {}
    for value in sorted(values, key=lambda each: each != each.upper()):
        first = value.upper() if value[:1].isalpha() else f"VALUE_{values.index(value)}"
        numbered = (f"{first}_{number}" if number > 1 else first for number in itertools.count(1))
        names[value] = next(each for each in numbered if _plain(each) not in map(_plain, names.values()))
        if names[value] != first:
            schema["x-enum-varnames"] = []
    if "x-enum-varnames" in schema:
        schema["x-enum-varnames"] = [names[value] for value in values]


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _pascal(name: str) -> str:
    return "".join(word[:1].upper() + word[1:] for word in re.split(r"[^A-Za-z0-9]+", name))


def _free(name: str, taken: Node) -> str:
    """Return the name, with a number if its class would have the name of another."""
    classes = set(map(_plain, taken))
    numbered = (f"{name}{number or ''}" for number in itertools.count())
    return next(each for each in numbered if _plain(each) not in classes)
