"""Whether the facade fits a description: everything that it relies on is there, and nothing more is asked of it.

It compares the description as the overlay corrects it, the facade's code, relied_on.yaml, and the types in generated/
before and after. It does not look at prose, examples, response headers, the statuses of errors, webhooks, or limits on
text; the report names changes in these.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from scripts.facade import Facade, collisions, missing_imports
from scripts.operations import Operation, operations
from scripts.schema_changes import component_schemas
from scripts.schemas import Document, shape_of
from scripts.types_of import Types, changed_types
from scripts.values import Value, differences, kind_of

TABLE = "scripts/relied_on.yaml"
WHAT_TO_DO = f"Make src/ fit, and update {TABLE}; if Brex publishes it wrongly, correct it in openapi/overlay.yaml."


@dataclass(frozen=True)
class Fit:
    """The facade, held against a description."""

    facade: Facade
    table: Mapping[str, Any]
    document: Document
    package: Path
    """What was generated from the description."""
    previous: Path | None = None
    """What was generated before, for comparison."""

    @cached_property
    def described(self) -> dict[str, Operation]:
        """The description's operations, by name."""
        return {operation.label: operation for operation in operations(self.document)}

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
        found = [*self._operations(), *self._servers(), *self._error_codes(), *self._details(), *self._schemas()]
        before = Types(self.previous) if self.previous is not None and self.previous.is_dir() else Types(self.package)
        found += changed_types(self.facade, before, Types(self.package))
        for importer, module, name in missing_imports(self.facade, self.package):
            if name not in before.classes:
                found.append(f"{module} has no {name} any more, and src/brex_accounting/{importer} imports it.")
        for model, name, owner in collisions(self.facade, self.package):
            found.append(f"{model}.{name} is a field now, and {owner} has a member of that name: one hides the other.")
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
                operation = self.described[name]
                yield from self._request(operation, needs)
                yield from self._answers(operation, needs)
                yield from self._authorization(operation)

    def _request(self, operation: Operation, needs: Mapping[str, Any]) -> Iterator[str]:
        name, where = operation.label, f"which {needs['where']}"
        if (name in self.facade.safe) != (operation.method in {"get", "head"}):
            kind = "a read" if name in self.facade.safe else "a write"
            yield f"{name} is a {operation.method.upper()} now, and the facade treats it as {kind} ({needs['where']})."
        elif operation.method not in {"get", "head", "post", "put"}:
            yield f"{name} is a {operation.method.upper()} now, and Brex ignores its Idempotency-Key."
        parameters = needs.get("parameters", {})
        described = {f"{kind} {parameter}": value for (kind, parameter), value in operation.parameters.items()}
        for key, line in parameters.items():
            if key not in described:
                yield f"{name} has no {key} parameter any more (removed or renamed), {where} passes."
                continue
            required = bool(described[key].get("required"))
            found = Value.described(described[key].get("schema", {}), self.document, required=required)
            yield from differences(f"{name}'s {key} parameter", Value.of(line), found, f"{where} passes", sent=True)
        for key, value in described.items():
            if value.get("required") and key not in parameters:
                yield f"{name} requires the new {key} parameter, {where} does not pass."
        body = _media_schema(operation.body, self.document)
        if body != needs.get("body") and (needs.get("body") or (operation.body or {}).get("required")):
            sent = needs.get("body", "nothing")
            yield f"{name}'s request body is {body or 'nothing'}, and the facade sends {sent} ({needs['where']})."

    def _answers(self, operation: Operation, needs: Mapping[str, Any]) -> Iterator[str]:
        successes = {status: answer for status, answer in operation.responses.items() if status.startswith("2")}
        answers = {_media_schema(answer, self.document) for answer in successes.values()}
        if answers != {needs["answer"]}:
            found = " or ".join(sorted(answer or "nothing" for answer in answers)) or "nothing"
            yield f"{operation.label}'s success is {found}, and the facade reads {needs['answer']} ({needs['where']})."
        for status in successes:
            if status not in needs.get("statuses", "200").split():
                yield f"{operation.label} may answer {status} now, which counts as done in {needs['where']}."
        for status, answer in operation.responses.items():
            found = _media_schema(answer, self.document) or ""
            if not status.startswith("2") and " as " not in found and found not in ("", self.table["error"]):
                yield f"{operation.label}'s answer {status} is {found}, and the facade reads {self.table['error']}."

    def _authorization(self, operation: Operation) -> Iterator[str]:
        """Some alternative has to be a bearer token, with scopes that `login` asks for."""
        module, scopes = self.facade.constant("SCOPES")
        schemes = self.document.get("components", {}).get("securitySchemes", {})

        def trouble(way: Mapping[str, list[str]]) -> list[str]:
            """Name what of an alternative the facade does not have."""
            lacking = [scope for wanted in way.values() for scope in wanted if scope not in scopes]
            return lacking + [scheme for scheme in way if not _is_bearer(schemes.get(scheme, {}))]

        troubles = [trouble(way) for way in operation.security]
        if troubles and all(troubles):
            lacking = " or ".join(" and ".join(each) for each in troubles)
            yield (
                f"{operation.label} needs {lacking} now: the facade sends a bearer token, and `login` asks for "
                f"SCOPES in src/brex_accounting/{module}."
            )

    def _servers(self) -> Iterator[str]:
        described = [server["url"].rstrip("/") for server in self.document.get("servers", ())]
        for name in ("PRODUCTION", "STAGING"):
            module, url = self.facade.constant(name)
            if url not in described:
                urls = ", ".join(described) or "none"
                yield f"Brex's servers are {urls}, and {name} (src/brex_accounting/{module}) is {url}."
        for name in self.table["operations"].keys() & self.described.keys():
            item = self.document["paths"][self.described[name].path]
            if "servers" in item or "servers" in self.described[name].raw:
                yield f"{name} has servers of its own now, and the facade sends everything to one."

    def _error_codes(self) -> Iterator[str]:
        schema = component_schemas(self.document).get("AccountingErrorResponse", {})
        code = shape_of(schema, self.document, expand=True).properties.get("error_code")
        values = shape_of(code, self.document, expand=True).values if code is not None else None
        for name, error in self.facade.error_codes.items():
            if values is not None and name not in values:
                yield f"The error code {name} is gone, or has another name, and nothing raises {error} any more."

    def _details(self) -> Iterator[str]:
        names = {name: (kind, f"which {error} carries") for name, (kind, error) in self.facade.details.items()}
        yield from self._properties("AccountingErrorDetails", names, sent=False)

    def _schemas(self) -> Iterator[str]:
        for use in ("sent", "read"):
            for name, needs in self.table[use].items():
                where = f"which the facade relies on ({needs['where']})"
                names = {name: (line, where) for name, line in needs["properties"].items()}
                yield from self._properties(name, names, sent=use == "sent")

    def _properties(self, name: str, needs: Mapping[str, tuple[str, str]], *, sent: bool) -> Iterator[str]:
        """Compare a component schema with what the facade needs of it: by property, what it is, and for what."""
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
            yield from differences(f"{name}.{property_}", Value.of(line), found, where, sent=sent)
        for property_ in sorted(shape.required - needs.keys()):
            if sent:
                yield f"{name} requires {property_}, which the facade does not send."


def _is_bearer(scheme: Mapping[str, Any]) -> bool:
    kind = scheme.get("type")
    return kind in {"oauth2", "openIdConnect"} or (kind == "http" and str(scheme.get("scheme")).lower() == "bearer")


def _are(names: list[str]) -> str:
    return f"{'is' if len(names) == 1 else 'are'} {', '.join(names)}"


def _media_schema(message: Mapping[str, Any] | None, document: Document) -> str | None:
    """Name the schema of a body; if there is no JSON, with its content type."""
    content = {kind.partition(";")[0].lower(): media for kind, media in (message or {}).get("content", {}).items()}
    for kind in ["application/json"] if "application/json" in content else sorted(content):
        schema = kind_of(content[kind].get("schema", {}), document)
        return schema if kind == "application/json" else f"{schema} as {kind}"
    return None
