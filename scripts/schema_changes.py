"""What changed in the schemas between two descriptions, and whom it breaks: those who send, or those who read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from scripts.schemas import Document, Shape, component, references, say, shape_of, target, without_prose

MISSING = object()
UPPER = {"maxLength", "maxItems", "maxProperties", "maximum", "exclusiveMaximum"}
LOWER = {"minLength", "minItems", "minProperties", "minimum", "exclusiveMinimum"}
LIMITS = UPPER | LOWER | {"pattern", "uniqueItems", "multipleOf", "never"}


class Weight(IntEnum):
    """What a change means for those who use the API as the old description has it."""

    BREAKING = 0
    COMPATIBLE = 1
    OTHER = 2
    """Neither an operation nor its values."""


@dataclass(frozen=True, order=True)
class Change:
    """One thing that changed."""

    weight: Weight
    place: str
    text: str
    checked: bool = field(default=True, compare=False)
    """Whether fit.py checks the facade against it."""

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


@dataclass(frozen=True)
class Use:
    """Whether values of a schema are sent to the API, read from it, or both."""

    sent: bool = False
    read: bool = False

    def __or__(self, other: Use) -> Use:
        return Use(self.sent or other.sent, self.read or other.read)

    def __str__(self) -> str:
        words = [word for word, holds in (("sent", self.sent), ("read", self.read)) if holds]
        return " and ".join(words) or "not used"

    def weigh(self, *, breaks_sent: bool, breaks_read: bool) -> Weight:
        """Weigh a change that breaks senders, readers, or both."""
        if not self.sent and not self.read:
            return Weight.OTHER
        breaks = (self.sent and breaks_sent) or (self.read and breaks_read)
        return Weight.BREAKING if breaks else Weight.COMPATIBLE


SENT, READ, BOTH = Use(sent=True), Use(read=True), Use(sent=True, read=True)


@dataclass(frozen=True)
class Place:
    """The place of a schema in the two descriptions."""

    name: str
    use: Use

    def __str__(self) -> str:
        return f"{self.name} ({self.use})"

    def inside(self, step: str) -> Place:
        """Return a place inside this one."""
        return Place(self.name + step, self.use)

    def change(self, text: str, *, breaks_sent: bool, breaks_read: bool, checked: bool = True) -> Change:
        """Return a change at this place."""
        weight = self.use.weigh(breaks_sent=breaks_sent, breaks_read=breaks_read)
        return Change(weight, str(self), text, checked)


@dataclass(frozen=True)
class Schemas:
    """The schemas of two descriptions."""

    old: Document
    new: Document
    uses: Mapping[str, Use]
    """How each component schema is used."""

    def components(self) -> Iterator[Change]:
        """Compare the component schemas, each once, wherever they are used."""
        old, new = component_schemas(self.old), component_schemas(self.new)
        renamed = self.renamed()
        for name in [*old, *(name for name in new if name not in old)]:
            place = Place(name, self.uses.get(name, Use()))
            if name in old and name in new:
                yield from self.compare(place, old[name], new[name])
            elif name in renamed:
                text = f"the schema is now called {renamed[name]}, and so is its class in generated/"
                yield place.change(text, breaks_sent=True, breaks_read=True)
            elif name in old:
                yield place.change("the schema is removed", breaks_sent=True, breaks_read=True)
            elif name not in renamed.values():
                yield place.change("the schema is new", breaks_sent=False, breaks_read=False)

    def renamed(self) -> dict[str, str]:
        """Find component schemas that only have another name now."""
        old, new = component_schemas(self.old), component_schemas(self.new)
        names: dict[str, str] = {}
        for name in [name for name in old if name not in new]:
            twins = [n for n in sorted(new.keys() - old.keys()) if without_prose(old[name]) == without_prose(new[n])]
            if len(twins) == 1 and twins[0] not in names.values():
                names[name] = twins[0]
        return names

    def compare(self, place: Place, old: Any, new: Any, seen: frozenset[Any] = frozenset()) -> Iterator[Change]:
        """Compare two schemas at one place; `seen` holds the pairs that they are inside of."""
        before, after = shape_of(old, self.old), shape_of(new, self.new)
        if before.references != after.references and not self._only_renamed(before, after):
            text = f"its schema is {_named(after)}, and was {_named(before)}"
            yield place.change(text, breaks_sent=True, breaks_read=True)
            pair = (tuple(before.references), tuple(after.references))
            if pair in seen:
                return
            seen |= {pair}
            before, after = shape_of(old, self.old, expand=True), shape_of(new, self.new, expand=True)
        yield from _values(place, before, after)
        yield from self._properties(place, before, after, seen)
        if before.types == after.types or (before.items and after.items):
            yield from self._inner(place.inside("[]"), before.items, after.items, seen)
        yield from self._inner(place.inside("[*]"), before.additional, after.additional, seen)
        yield from self._choices(place, before.choices, after.choices, seen)
        yield from _keywords(place, before.rest, after.rest)

    def _only_renamed(self, before: Shape, after: Shape) -> bool:
        renamed = self.renamed()
        return sorted(renamed.get(name, name) for name in before.references) == after.references

    def _properties(self, place: Place, before: Shape, after: Shape, seen: frozenset[Any]) -> Iterator[Change]:
        old, new = before.properties, after.properties
        for name in [name for name in old if name not in new]:
            twins = [n for n in new.keys() - old.keys() if without_prose(old[name]) == without_prose(new[n])]
            hint = f"; perhaps it is called {twins[0]} now" if len(twins) == 1 else ""
            yield place.inside(f".{name}").change(f"the property is removed{hint}", breaks_sent=True, breaks_read=True)
        for name in [name for name in new if name not in old]:
            required = name in after.required
            text = f"the property is new ({_inner_name(new[name], self.new)}, {'required' if required else 'optional'})"
            yield place.inside(f".{name}").change(text, breaks_sent=required, breaks_read=False)
        for name in sorted(before.required ^ after.required):
            if (name in old) == (name in new):
                text = "is required now" if name in after.required else "is no longer required"
                breaks_sent = name in after.required
                yield place.inside(f".{name}").change(text, breaks_sent=breaks_sent, breaks_read=not breaks_sent)
        for name in old:
            if name in new:
                yield from self.compare(place.inside(f".{name}"), old[name], new[name], seen)

    def _inner(self, place: Place, old: Any, new: Any, seen: frozenset[Any]) -> Iterator[Change]:
        """Compare the schemas of items or of additional properties; true and false are schemas too."""
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from self.compare(place, old, new, seen)
        elif old != new:
            text = f"is {_inner_name(new, self.new)}, and was {_inner_name(old, self.old)}"
            wider = new is True or new is None
            breaks_read = wider or isinstance(new, Mapping)
            yield place.change(text, breaks_sent=not wider, breaks_read=breaks_read, checked=False)

    def _choices(self, place: Place, old: list[Any], new: list[Any], seen: frozenset[Any]) -> Iterator[Change]:
        """Compare alternatives: components by name, the others by position."""
        before, after = _by_name(old), _by_name(new)
        for name in [*before, *(name for name in after if name not in before)]:
            if name in before and name in after:
                if isinstance(name, int):
                    yield from self.compare(place.inside(f"[choice {name + 1}]"), before[name], after[name], seen)
            elif name in before:
                text = f"may no longer be {_inner_name(before[name], self.old)}"
                yield place.change(text, breaks_sent=True, breaks_read=False)
            else:
                text = f"may be {_inner_name(after[name], self.new)} now"
                yield place.change(text, breaks_sent=False, breaks_read=True)


def component_schemas(document: Document) -> dict[str, Any]:
    """Return the schemas that have a name."""
    schemas: dict[str, Any] = document.get("components", {}).get("schemas", {})
    return schemas


def _named(shape: Shape) -> str:
    return " and ".join(shape.references) or "written out in place"


def _inner_name(schema: Any, document: Document) -> str:
    if schema is None or isinstance(schema, bool):
        return "forbidden" if schema is False else "anything"
    return str(shape_of(schema, document))


def _by_name(choices: list[Any]) -> dict[str | int, Any]:
    names = [component(choice) for choice in choices]
    unnamed = [choice for choice, name in zip(choices, names, strict=True) if name is None]
    named = {name: choice for choice, name in zip(choices, names, strict=True) if name is not None}
    return {**named, **dict(enumerate(unnamed))}


def _values(place: Place, before: Shape, after: Shape) -> Iterator[Change]:
    if before.types != after.types:
        old, new = (" or ".join(sorted(types)) or "anything" for types in (before.types, after.types))
        yield place.change(f"its type is {new}, and was {old}", breaks_sent=True, breaks_read=True)
    if before.nullable != after.nullable:
        text = "may be null now" if after.nullable else "may no longer be null"
        yield place.change(text, breaks_sent=before.nullable, breaks_read=after.nullable)
    old_values, new_values = before.values, after.values
    if old_values is None and new_values is not None:
        text = f"is an enum now: {', '.join(map(say, new_values))}"
        yield place.change(text, breaks_sent=True, breaks_read=True)
    elif old_values is not None and new_values is None:
        text = f"is no longer an enum (was: {', '.join(map(say, old_values))})"
        yield place.change(text, breaks_sent=False, breaks_read=True)
    elif old_values is not None and new_values is not None:
        for value in old_values:
            if value not in new_values:
                yield place.change(f"the value {say(value)} is removed", breaks_sent=True, breaks_read=True)
        for value in new_values:
            if value not in old_values:
                yield place.change(f"the value {say(value)} is new", breaks_sent=False, breaks_read=False)


def _keywords(place: Place, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Change]:
    for keyword in [*before, *(keyword for keyword in after if keyword not in before)]:
        old, new = before.get(keyword, MISSING), after.get(keyword, MISSING)
        if old == new and type(old) is type(new):
            continue
        if keyword == "deprecated":
            text = "is deprecated now" if new is not MISSING else "is no longer deprecated"
        else:
            text = f"{keyword} {step(old, new)}"
        if keyword in {"format", "discriminator"}:
            yield place.change(text, breaks_sent=True, breaks_read=True, checked=keyword == "format")
        elif keyword in LIMITS:
            yield place.change(text, breaks_sent=not _is_wider(keyword, old, new), breaks_read=False, checked=False)
        else:
            yield Change(Weight.OTHER, str(place), text, checked=False)


def step(old: Any, new: Any) -> str:
    """Say what a keyword is now, and what it was."""
    if old is MISSING:
        return f"is {say(new)}, and was not given"
    return f"is no longer given (was {say(old)})" if new is MISSING else f"is {say(new)}, and was {say(old)}"


def _is_wider(keyword: str, old: Any, new: Any) -> bool:
    if new is MISSING or (keyword == "uniqueItems" and new is False):
        return True
    if old is MISSING or not all(isinstance(value, (int, float)) for value in (old, new)):
        return False
    return (keyword in UPPER and new > old) or (keyword in LOWER and new < old)


def reachable(roots: Any, document: Document) -> set[str]:
    """Return the component schemas that these parts of the description refer to, directly or not."""
    names: set[str] = set()
    targets: set[str] = set()
    waiting = [roots]
    while waiting:
        for reference in references(waiting.pop()):
            if reference["$ref"] not in targets:
                targets.add(reference["$ref"])
                names |= {name for name in [component(reference)] if name is not None}
                waiting.append(target(reference["$ref"], document))
    return names
