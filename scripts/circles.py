"""Schemas that are made of one another: circles are cut, and what stands beside alternatives becomes part of each.

Brex describes families of schemas so: the parent is one of its children (oneOf), and each child is its parent and more
(allOf). The generator, and the validator, follow such a circle for ever.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

from scripts.read_description import RefusedError
from scripts.schemas import PROSE, component, follow, shape_of

Node = dict[str, Any]

CHOICES = ("oneOf", "anyOf")
OBJECT = ("properties", "required", "additionalProperties")


def cut_circles(document: Node, name: str) -> None:
    """Put what a parent itself says of its members into its children, in place of the parent, in place.

    Raises RefusedError for a circle that has no such parent; the name is for the message.
    """
    schemas: Node = document.get("components", {}).get("schemas", {})
    _refuse_circles(schemas, _parts, f"{name} cannot be generated: the schema {{}} is part of itself (allOf).")
    before = copy.deepcopy(schemas)
    for child, schema in schemas.items():
        _cut(schema, child, before)
    _refuse_circles(schemas, _made_of, f"{name} cannot be generated: the schema {{}} is one of its own alternatives.")


def _cut(schema: Any, child: str, schemas: Node) -> None:
    """Replace, in what a child is made of, each parent that leads back to the child."""
    if not isinstance(schema, dict):
        return
    parts = []
    for part in schema.get("allOf", ()):
        parent = component(part)
        if parent in schemas and child in _reach(parent, schemas, _made_of):
            own = _without_choices(schemas[parent])
            _cut(own, child, schemas)
            parts += [own] if own.keys() & {*OBJECT, "allOf"} else []
        else:
            _cut(part, child, schemas)
            parts.append(part)
    schema.pop("allOf", None)
    if parts:
        schema["allOf"] = parts
    for choice in _choices(schema):
        inline = [part for part in choice.get("allOf", ()) if component(part) == child]
        if inline:
            _cut(choice, child, schemas)


def _without_choices(schema: Node) -> Node:
    """Copy what a schema says itself, apart from its alternatives."""
    own = {key: copy.deepcopy(value) for key, value in schema.items() if key not in {*CHOICES, *PROSE, "discriminator"}}
    if "allOf" in own:
        own["allOf"] = [_without_choices(part) for part in own["allOf"]]
    return own


def _choices(schema: Node) -> Iterator[Node]:
    for keyword in CHOICES:
        yield from (choice for choice in schema.get(keyword, ()) if isinstance(choice, dict))


def _parts(schema: Any) -> Iterator[str]:
    """Find the components that a schema is, by reference or allOf."""
    if isinstance(schema, dict):
        name = component(schema)
        if name is not None:
            yield name
        for part in schema.get("allOf", ()):
            yield from _parts(part)


def _made_of(schema: Any) -> Iterator[str]:
    """Find the components that a schema is or may be."""
    if isinstance(schema, dict):
        name = component(schema)
        if name is not None:
            yield name
        for keyword in ("allOf", *CHOICES):
            for part in schema.get(keyword, ()):
                yield from _made_of(part)


def _reach(name: str, schemas: Node, step: Callable[[Any], Iterator[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [name]
    while waiting:
        new = set(step(schemas.get(waiting.pop()))) - found
        found |= new
        waiting += new
    return found


def _refuse_circles(schemas: Node, step: Callable[[Any], Iterator[str]], message: str) -> None:
    for name in schemas:
        if name in _reach(name, schemas, step):
            raise RefusedError(message.format(name))


def spread_choices(schema: Node, document: Node) -> None:
    """Make what stands beside alternatives a part of each: the generator would drop it, or drop the alternatives."""
    own = {key: schema[key] for key in OBJECT if schema.get(key) not in (None, True, {}, [])}
    parts = schema.get("allOf", ())
    for number, part in enumerate(parts):
        if not own and len(parts) == 1 and component(part) is not None:
            continue  # it is that other schema
        whole = follow(part, document) if isinstance(part, dict) else {}
        for keyword in CHOICES:
            if keyword in whole and not any(map(schema.__contains__, CHOICES)):
                schema[keyword] = copy.deepcopy(whole[keyword])
                schema["allOf"][number] = _without_choices(whole)
    keywords = [keyword for keyword in CHOICES if keyword in schema]
    beside = [part for part in schema.get("allOf", ()) if part.keys() - PROSE]
    if len(keywords) != 1 or not (beside or own):
        return
    [keyword] = keywords
    if own:
        beside.append({"type": "object", **own})
    if all(choice.keys() <= {"required", "type", *PROSE} and "required" in choice for choice in schema[keyword]):
        del schema[keyword]  # they only say which members come together
        return
    for key in (*OBJECT, "allOf", "type"):
        schema.pop(key, None)
    schema[keyword] = [_joined(choice, beside, document) for choice in schema[keyword]]


def _joined(choice: Node, beside: list[Node], document: Node) -> Node:
    shape = shape_of(choice, document, expand=True)
    if shape.types == set() and shape.nullable:
        return choice
    missing = []
    for part in beside:
        wanted = shape_of(part, document, expand=True)
        if not (wanted.properties.keys() <= shape.properties.keys() and wanted.required <= shape.required):
            missing.append(copy.deepcopy(part))
    return {"allOf": [*missing, choice]} if missing else choice
