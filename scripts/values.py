"""What one value is: as relied_on.yaml says it, and as a description does; and how the two differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from scripts.schemas import Document, Shape, say, shape_of


@dataclass(frozen=True)
class Value:
    """A value, in the words of relied_on.yaml."""

    kind: str
    required: bool = False
    nullable: bool = False
    values: tuple[str, ...] | None = None
    largest: float | None = None
    """How large it may be, or how many items it may have."""
    smallest: float | None = None

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
        """Read a schema of the description, whether it stands in its place or has a name."""
        shape = shape_of(schema, document, expand=True)
        values = None if shape.values is None else tuple(map(say, shape.values))
        largest = _limit(shape.rest, "maximum", "maxItems", -1)
        smallest = _limit(shape.rest, "minimum", "minItems", 1)
        return cls(kind_of(schema, document), required, shape.nullable, values, largest, smallest)


def kind_of(schema: Any, document: Document) -> str:
    """Name the type of a schema: that of an object by its component, every other as if it stood in its place."""
    shape = _seen(schema, document)
    if shape.items is not None:
        return f"array of {kind_of(shape.items, document)}"
    if shape.choices:
        return " or ".join(sorted({kind_of(choice, document) for choice in shape.choices}))
    # In Python, all numbers of a type are one, however many bits they have elsewhere.
    formats = [shape.rest["format"]] if "format" in shape.rest and not shape.types & {"integer", "number"} else []
    return " ".join([str(shape), *map(str, formats)])


def _seen(schema: Any, document: Document) -> Shape:
    whole = shape_of(schema, document, expand=True)
    return shape_of(schema, document) if "object" in whole.types or whole.properties else whole


def _limit(limits: Mapping[str, Any], number: str, items: str, step: int) -> float | None:
    found = [limits[keyword] for keyword in (number, items) if isinstance(limits.get(keyword), (int, float))]
    exclusive = limits.get("exclusive" + number.capitalize())  # a flag in OpenAPI 3.0, a number in 3.1
    if exclusive is True:
        found = [limit + step for limit in found]
    elif exclusive is not None and exclusive is not False:
        found.append(exclusive + step)
    return (min if step < 0 else max)(found, default=None)


def _alternatives(kind: str) -> set[str]:
    """What a value may be: an array of alternatives counts as alternative arrays."""
    array, of, items = kind.rpartition("array of ")
    return {array + of + item for item in items.split(" or ")}


def _takes(found: str, needed: str, *, sent: bool) -> bool:
    """Whether a kind is the one that is needed; what is sent may be one of several, or text of any format."""
    one, other = _alternatives(needed), _alternatives(found)
    without_format = {kind.replace("string date-time", "string") for kind in one}
    return one <= other or without_format <= other if sent else one == other


def differences(name: str, needs: Value, found: Value, where: str, *, sent: bool) -> Iterator[str]:
    """Say where a value is not what the facade needs: what it sends may be taken more widely, what it reads may not."""
    if not _takes(found.kind, needs.kind, sent=sent):
        yield f"{name} is {found.kind} now, and was {needs.kind}, {where}."
    yield from _enum_differences(name, needs, found, where, sent=sent)
    if needs.largest is not None and found.largest is not None and found.largest < needs.largest:
        yield f"{name} goes up to {found.largest:g} now, and the facade sends up to {needs.largest:g}, {where}."
    if needs.largest is not None and found.smallest is not None and found.smallest > 1:
        yield f"{name} starts at {found.smallest:g} now, and the facade may send 1, {where}."
    if needs.nullable and not found.nullable:
        yield f"{name} is no longer nullable: null meant that there is none, and another value may now, {where}."
    if found.nullable and not needs.nullable and not sent:
        yield f"{name} may be null now, {where}."
    if needs.required and not found.required and not sent:
        yield f"{name} is no longer required, {where}."
    if found.required and not needs.required and sent:
        yield f"{name} is required now, and the facade may leave it out, {where}."


def _enum_differences(name: str, needs: Value, found: Value, where: str, *, sent: bool) -> Iterator[str]:
    if needs.values is None and found.values is not None:
        yield f"{name} has become an enum ({', '.join(found.values)}), and was free text, {where}."
    elif needs.values is not None and found.values is None and not sent:
        yield f"{name} is no longer an enum, {where}."
    for value in needs.values or ():
        if found.values is not None and value not in found.values:
            yield f"{name} no longer has the value {value}, {where}."
