"""What changed between two revisions of an OpenAPI description, and which changes break its users.

Nothing is left out: each difference is reported, counted as words, or said to mean the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from scripts.operations import METHODS, Operation, operations
from scripts.schema_changes import (
    BOTH,
    MISSING,
    READ,
    SENT,
    Change,
    Place,
    Schemas,
    Use,
    Weight,
    component_schemas,
    reachable,
    step,
)
from scripts.schemas import Document, at, follow, prose, say, without_prose
from scripts.simplify import simplified

REPORTED_OF_OPERATIONS = {"operationId", "parameters", "requestBody", "responses", "security", "tags", "deprecated"}
REPORTED_OF_PATHS = {*METHODS, "parameters"}
REPORTED_OF_DOCUMENTS = {"paths"}
REPORTED_OF_COMPONENTS = {"schemas", "parameters", "requestBodies", "responses", "headers"}


@dataclass(frozen=True)
class Changes:
    """All that changed."""

    reported: tuple[Change, ...]
    """The heaviest first."""
    words: int
    """How many descriptions, examples and titles differ."""
    rewritten: bool
    """Whether the two differ only in how they are written."""


def changes_between(old: Document, new: Document) -> Changes:
    """Compare two valid descriptions by what they mean, however they are written."""
    comparison = _Comparison(simplified(old), simplified(new))
    reported = sorted(dict.fromkeys(comparison.all()), key=lambda change: change.weight)
    before, after = dict(prose(old)), dict(prose(new))
    words = sum(
        before.get(place) != after.get(place) and bool(at(place[:-1], old) and at(place[:-1], new))
        for place in {**before, **after}
    )
    return Changes(tuple(reported), words, rewritten=not reported and not words and _differ(old, new))


class _Comparison:
    def __init__(self, old: Document, new: Document) -> None:
        self.old, self.new = old, new
        uses = _uses(old)
        for name, use in _uses(new).items():
            uses[name] = uses.get(name, Use()) | use
        self.schemas = Schemas(old, new, uses)

    def all(self) -> Iterator[Change]:
        yield from self._operations()
        yield from self.schemas.components()
        yield from self._rest("", _without(self.old, REPORTED_OF_DOCUMENTS), _without(self.new, REPORTED_OF_DOCUMENTS))

    def _operations(self) -> Iterator[Change]:
        pairs, gone, added = _pair(operations(self.old), operations(self.new))
        for operation in gone:
            yield Change(Weight.BREAKING, operation.label, f"the operation is removed ({operation.endpoint})")
        for operation in added:
            yield Change(Weight.COMPATIBLE, operation.label, f"the operation is new ({operation.endpoint})")
        for before, after in pairs:
            yield from self._operation(before, after)
        items, new_items = self.old.get("paths", {}), self.new.get("paths", {})
        yield from self._rest("paths ", _extensions(items), _extensions(new_items))
        for path in [path for path in items if path in new_items and path.startswith("/")]:
            one, other = follow(items[path], self.old), follow(new_items[path], self.new)
            yield from self._rest(f"{path} ", _without(one, REPORTED_OF_PATHS), _without(other, REPORTED_OF_PATHS))

    def _operation(self, old: Operation, new: Operation) -> Iterator[Change]:
        name = old.label
        if old.name != new.name:
            yield Change(Weight.BREAKING, name, f"its operationId is {new.name}, and was {old.name}")
        if old.shape != new.shape:
            yield Change(Weight.BREAKING, name, f"it moved to {new.endpoint}, from {old.endpoint}", checked=False)
        if _tag(old) != _tag(new):
            text = f"its first tag is {_tag(new)}, and was {_tag(old)}: its module in generated/ moves"
            yield Change(Weight.BREAKING, name, text)
        elif old.raw.get("tags") != new.raw.get("tags"):
            yield Change(Weight.OTHER, name, f"its tags are {say(new.raw.get('tags', []))}")
        if bool(old.raw.get("deprecated")) != bool(new.raw.get("deprecated")):
            text = "it is deprecated now" if new.raw.get("deprecated") else "it is no longer deprecated"
            yield Change(Weight.OTHER, name, text, checked=False)
        yield from _security(name, old.security, new.security)
        yield from self._parameters(name, old, new)
        yield from self._body(name, old.body, new.body)
        yield from self._responses(name, old.responses, new.responses)
        extensions = [_extensions(operation.raw.get("responses", {})) for operation in (old, new)]
        yield from self._rest(f"{name} responses ", *extensions)
        yield from self._rest(
            f"{name} ", _without(old.raw, REPORTED_OF_OPERATIONS), _without(new.raw, REPORTED_OF_OPERATIONS)
        )

    def _parameters(self, name: str, old: Operation, new: Operation) -> Iterator[Change]:
        for key in [*old.parameters, *(key for key in new.parameters if key not in old.parameters)]:
            place = Place(f"{name}, {key[0]} parameter {key[1]}", SENT)
            before, after = old.parameters.get(key), new.parameters.get(key)
            if after is None:
                yield Change(Weight.BREAKING, place.name, "is removed")
            elif before is None:
                required = bool(after.get("required"))
                weight = Weight.BREAKING if required else Weight.COMPATIBLE
                yield Change(weight, place.name, f"is new ({'required' if required else 'optional'})")
            else:
                yield from _required(place, before, after)
                yield from self.schemas.compare(place, before.get("schema", {}), after.get("schema", {}))
                yield from self._contents(place, before, after)
                for keyword in ("style", "explode"):
                    if before.get(keyword) != after.get(keyword):
                        text = f"{keyword} {step(before.get(keyword, MISSING), after.get(keyword, MISSING))}"
                        yield Change(Weight.BREAKING, place.name, text, checked=False)
                known = {"name", "in", "required", "schema", "content", "style", "explode"}
                yield from self._rest(f"{place.name} ", _without(before, known), _without(after, known))

    def _body(self, name: str, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> Iterator[Change]:
        place = Place(f"{name}, request body", SENT)
        if old is None and new is not None:
            weight = Weight.BREAKING if new.get("required") else Weight.COMPATIBLE
            yield Change(weight, place.name, f"is new ({'required' if new.get('required') else 'optional'})")
        elif old is not None and new is None:
            yield Change(Weight.BREAKING, place.name, "is removed")
        elif old is not None and new is not None:
            yield from _required(place, old, new)
            yield from self._contents(place, old, new)
            known = {"required", "content"}
            yield from self._rest(f"{place.name} ", _without(old, known), _without(new, known))

    def _responses(self, name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
        for status in [*old, *(status for status in new if status not in old)]:
            place = Place(f"{name}, answer {status}", READ)
            if status not in new:
                checked = status.startswith("2")
                yield Change(Weight.BREAKING, place.name, "the status is removed", checked=checked)
            elif status not in old:
                # A caller who knows only 200 may take a 202 for the same.
                weight = Weight.BREAKING if status.startswith("2") else Weight.COMPATIBLE
                yield Change(weight, place.name, "the status is new")
            else:
                before, after = old[status], new[status]
                yield from self._contents(place, before, after)
                yield from self._headers(place, before.get("headers", {}), after.get("headers", {}))
                known = {"content", "headers"}
                yield from self._rest(f"{place.name} ", _without(before, known), _without(after, known))

    def _headers(self, place: Place, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
        for header in [*old, *(header for header in new if header not in old)]:
            name = f"{place.name}, header {header}"
            if header not in new:
                yield Change(Weight.BREAKING, name, "is removed", checked=False)
            elif header not in old:
                yield Change(Weight.COMPATIBLE, name, "is new")
            else:
                before, after = follow(old[header], self.old), follow(new[header], self.new)
                inner = Place(name, place.use)
                yield from _required(inner, before, after)
                yield from self.schemas.compare(inner, before.get("schema", {}), after.get("schema", {}))
                known = {"required", "schema"}
                yield from self._rest(f"{name} ", _without(before, known), _without(after, known))

    def _contents(self, place: Place, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
        before, after = old.get("content", {}), new.get("content", {})
        for kind in [*before, *(kind for kind in after if kind not in before)]:
            if kind not in after:
                yield Change(Weight.BREAKING, place.name, f"{kind} is removed")
            elif kind not in before:
                yield Change(Weight.COMPATIBLE, place.name, f"{kind} is new")
            else:
                inner = place if len(before) == len(after) == 1 else place.inside(f", {kind}")
                one, other = before[kind], after[kind]
                yield from self.schemas.compare(inner, one.get("schema", {}), other.get("schema", {}))
                yield from self._rest(f"{inner.name} ", _without(one, {"schema"}), _without(other, {"schema"}))

    def _rest(self, where: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
        """Report what no rule knows."""
        one, other = without_prose(old), without_prose(new)
        for key in [*one, *(key for key in other if key not in one)]:
            before, after = one.get(key, MISSING), other.get(key, MISSING)
            if not _differ(before, after):
                continue
            if not where and key in {"components", "info"}:
                known = REPORTED_OF_COMPONENTS if key == "components" else set()
                for inner in sorted({*_members(before), *_members(after)} - known):
                    if _differ(_members(before).get(inner), _members(after).get(inner)):
                        text = _says(_members(before).get(inner, MISSING), _members(after).get(inner, MISSING))
                        yield Change(Weight.OTHER, f"{key}.{inner}", text, checked=key == "info")
            else:
                if key == "servers":
                    before, after = _addresses(before), _addresses(after)
                checked = not where and key in {"openapi", "servers", "tags"}
                yield Change(Weight.OTHER, f"{where}{key}", _says(before, after), checked)


def _addresses(servers: Any) -> Any:
    """Write servers as their addresses, if they have nothing else."""
    if isinstance(servers, list) and all(server.keys() == {"url"} for server in servers):
        return " ".join(server["url"] for server in servers)
    return servers


def _says(before: Any, after: Any) -> str:
    if before is MISSING or after is MISSING:
        return "is removed" if after is MISSING else "is new"
    plain = not isinstance(before, (list, dict)) and not isinstance(after, (list, dict))
    return f"is {say(after)}, and was {say(before)}" if plain else "is changed"


def _members(node: Any) -> Mapping[str, Any]:
    return node if isinstance(node, Mapping) else {}


def _differ(old: Any, new: Any) -> bool:
    return old is not new and _in_one_order(old) != _in_one_order(new)


def _in_one_order(node: Any) -> str:
    """Write objects in one order, and lists in their own; as text, because 1 equals true."""
    return json.dumps(node, sort_keys=True, default=repr)


def _without(node: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    return {key: value for key, value in node.items() if key not in keys}


def _extensions(node: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in node.items() if key.startswith("x-")}


def _tag(operation: Operation) -> str | None:
    return next(iter(operation.raw.get("tags", ())), None)


def _pair(
    old: list[Operation], new: list[Operation]
) -> tuple[list[tuple[Operation, Operation]], list[Operation], list[Operation]]:
    """Pair the operations by their id, and the others by their endpoint."""
    pairs, gone, added = [], list(old), list(new)
    for key in (lambda operation: operation.name, lambda operation: operation.shape):
        by_key = {key(operation): operation for operation in added if key(operation) is not None}
        for before in list(gone):
            after = by_key.pop(key(before), None)
            if after is not None:
                pairs.append((before, after))
                gone.remove(before)
                added.remove(after)
    pairs.sort(key=lambda pair: old.index(pair[0]))
    return pairs, gone, added


def _required(place: Place, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    before, after = bool(old.get("required")), bool(new.get("required"))
    if before != after:
        text = "is required now" if after else "is no longer required"
        change = place.change(text, breaks_sent=after, breaks_read=before)
        yield Change(change.weight, place.name, text)


def _security(name: str, old: list[Mapping[str, list[str]]], new: list[Mapping[str, list[str]]]) -> Iterator[Change]:
    """Compare who may call: each alternative is a set of schemes with their scopes."""
    before, after = (
        [{(scheme, scope) for scheme, scopes in way.items() for scope in (scopes or [""])} for way in ways] or [set()]
        for ways in (old, new)
    )
    if sorted(map(sorted, before)) == sorted(map(sorted, after)):
        return
    still_enough = all(any(way <= had for way in after) for had in before)
    needed = " or ".join(" and ".join(scope or scheme for scheme, scope in sorted(way)) or "nothing" for way in after)
    yield Change(Weight.COMPATIBLE if still_enough else Weight.BREAKING, name, f"needs {needed} now")


def _uses(document: Document) -> dict[str, Use]:
    """Return for each component schema that an operation uses whether it is sent, read, or both."""
    sent, read = [], []
    for operation in operations(document):
        sent += [list(operation.parameters.values()), operation.body]
        read.append(list(operation.responses.values()))
    read.append(document.get("webhooks", {}))
    sent_names, read_names = reachable(sent, document), reachable(read, document)
    return {
        name: BOTH if name in sent_names and name in read_names else SENT if name in sent_names else READ
        for name in component_schemas(document)
        if name in sent_names | read_names
    }
