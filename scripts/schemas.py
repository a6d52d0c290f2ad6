"""Schemas of an OpenAPI 3.0 or 3.1 description, in one form: equal meanings look equal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote

Document = Mapping[str, Any]

COMPONENT = "#/components/schemas/"
NOTHING: Document = MappingProxyType({})
PROSE = {"title", "description", "summary", "example", "examples", "externalDocs", "$comment"}
# The keys of these objects are names that somebody chose, not keywords.
NAMES = {
    "$defs",
    "callbacks",
    "content",
    "dependentSchemas",
    "headers",
    "links",
    "mapping",
    "parameters",
    "pathItems",
    "paths",
    "patternProperties",
    "properties",
    "requestBodies",
    "responses",
    "schemas",
    "securitySchemes",
    "variables",
    "webhooks",
}
# The content of these is a value, whatever it looks like.
VALUES = {"const", "default", "enum"}


@dataclass
class Shape:
    """What a schema demands of a value; nested schemas stay as they are."""

    references: list[str] = field(default_factory=list)
    """The schemas that it refers to: one, or several that apply at once. Components go by name, others by place."""
    types: set[str] = field(default_factory=set)
    nullable: bool = False
    values: list[Any] | None = None
    """The values of an enum, without null."""
    properties: dict[str, Any] = field(default_factory=dict)
    required: set[str] = field(default_factory=set)
    items: Any = None
    additional: Any = True
    choices: list[Any] = field(default_factory=list)
    rest: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """Its type in a few words, such as `array of string`."""
        words = " and ".join([*self.references, *sorted(self.types)])
        return words or ("a choice" if self.choices else "object" if self.properties else "anything")


def say(value: Any) -> str:
    """Write a value of the description for a message."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def component(schema: Any) -> str | None:
    """Return the name of the component schema that a reference leads to."""
    reference = schema.get("$ref") if isinstance(schema, Mapping) else None
    if not isinstance(reference, str) or not reference.startswith(COMPONENT):
        return None
    name = unquote(reference.removeprefix(COMPONENT))
    return None if "/" in name else name.replace("~1", "/").replace("~0", "~")


def target(reference: str, document: Document, missing: Any = NOTHING) -> Any:
    """Return what a reference leads to; if nothing, an empty object, or `missing`."""
    steps = unquote(reference).split("/")[1:]
    return at([step.replace("~1", "/").replace("~0", "~") for step in steps], document, missing)


def at(place: Sequence[str], document: Document, missing: Any = NOTHING) -> Any:
    """Return what is at a place; if nothing, an empty object, or `missing`."""
    node: Any = document
    for key in place:
        if isinstance(node, Mapping) and key in node:
            node = node[key]
        elif isinstance(node, list) and key.isdecimal() and int(key) < len(node):
            node = node[int(key)]
        else:
            return missing
    return node


def follow(node: Any, document: Document, loop: Any = NOTHING) -> Any:
    """Follow references to their end; if they lead in a circle, return an empty object, or `loop`."""
    seen = set()
    while isinstance(node, Mapping) and isinstance(node.get("$ref"), str):
        if node["$ref"] in seen:
            return loop
        seen.add(node["$ref"])
        node = target(node["$ref"], document)
    return node


def shape_of(schema: Any, document: Document, *, expand: bool = False) -> Shape:
    """Bring a schema to the one form; with `expand`, what it refers to becomes part of it."""
    shape = Shape()
    _collect(schema, document, shape, expand=expand, seen=frozenset())
    if shape.values is not None and None in shape.values:
        shape.nullable = True
        shape.values = [value for value in shape.values if value is not None]
    if "null" in shape.types:
        shape.nullable = True
        shape.types.remove("null")
    return shape


def _collect(schema: Any, document: Document, shape: Shape, *, expand: bool, seen: frozenset[str]) -> None:
    if not isinstance(schema, Mapping):
        if schema is False:
            shape.rest["never"] = True
        return
    reference = schema.get("$ref")
    if isinstance(reference, str) and not expand:
        shape.references = sorted({*shape.references, component(schema) or reference})
    elif isinstance(reference, str) and reference not in seen:
        _collect(target(reference, document), document, shape, expand=expand, seen=seen | {reference})
    for keyword, value in schema.items():
        _take(keyword, value, shape)
    for part in schema.get("allOf") or ():
        _collect(part, document, shape, expand=expand, seen=seen)
    for keyword in ("oneOf", "anyOf"):
        choices = [choice for choice in schema.get(keyword) or () if not _is_null(choice)]
        shape.nullable |= len(choices) < len(schema.get(keyword) or ())
        if len(choices) == 1:
            _collect(choices[0], document, shape, expand=expand, seen=seen)
        else:
            shape.choices += choices


def _take(keyword: str, value: Any, shape: Shape) -> None:  # noqa: C901 - a table
    match keyword:
        case "type":
            shape.types |= set(value) if isinstance(value, list) else {value}
        case "nullable":
            shape.nullable |= value is True
        case "enum":
            shape.values = list(value)
        case "const":
            shape.values = [value]
        case "properties":
            for name, schema in value.items():
                both = name in shape.properties and shape.properties[name] != schema
                shape.properties[name] = {"allOf": [shape.properties[name], schema]} if both else schema
        case "required":
            if isinstance(value, list):
                shape.required |= set(value)
        case "items":
            shape.items = value
        case "additionalProperties":
            shape.additional = True if value == {} else value
        case "$ref" | "allOf" | "oneOf" | "anyOf":
            pass
        case _ if keyword not in PROSE and not (keyword == "deprecated" and value is False):
            shape.rest[keyword] = without_prose(value)


def _is_null(schema: Any) -> bool:
    return isinstance(schema, Mapping) and schema.get("type") in ("null", ["null"])


def without_prose(node: Any, *, names: bool = False) -> Any:
    """Leave out what is only for human readers."""
    if isinstance(node, list):
        return [without_prose(item) for item in node]
    if not isinstance(node, Mapping):
        return node
    kept = {}
    for key, value in node.items():
        if not names and key == "scopes" and isinstance(value, Mapping):
            kept[key] = dict.fromkeys(value)  # the values are descriptions
        elif names or key not in PROSE:
            opaque = not names and key in VALUES
            kept[key] = value if opaque else without_prose(value, names=_holds_names(key, value, names=names))
    return kept


def prose(node: Any, place: tuple[str, ...] = (), *, names: bool = False) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Find what is only for human readers, and its place."""
    if isinstance(node, list):
        for number, item in enumerate(node):
            yield from prose(item, (*place, str(number)))
    elif isinstance(node, Mapping):
        for key, value in node.items():
            here = (*place, key)
            if not names and key == "scopes" and isinstance(value, Mapping):
                yield from (((*here, scope), words) for scope, words in value.items())
            elif not names and key in PROSE:
                yield here, value
            elif names or key not in VALUES:
                yield from prose(value, here, names=_holds_names(key, value, names=names))


def _holds_names(key: str, value: Any, *, names: bool) -> bool:
    return not names and key in NAMES and isinstance(value, Mapping)


def references(node: Any) -> Iterator[Any]:
    """Find all objects that are references."""
    if isinstance(node, Mapping):
        if isinstance(node.get("$ref"), str):
            yield node
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from references(child)
