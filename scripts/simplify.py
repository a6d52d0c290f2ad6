"""Bring the schemas and parameters of a description to one form, before the overlay. What they mean stays the same.

So a revision that only writes them differently changes no class in generated/.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

from scripts.parameters import bracket_parameters
from scripts.schema_changes import LIMITS
from scripts.schemas import NAMES, PROSE, Document

Node = dict[str, Any]

SINGLE = ("items", "additionalProperties", "not", "contains", "propertyNames")
LISTED = ("allOf", "oneOf", "anyOf", "prefixItems")
NAMED = ("properties", "patternProperties", "$defs", "dependentSchemas")
FOLDED = PROSE | LIMITS | {"nullable", "default", "deprecated", "readOnly", "writeOnly", "xml"}
COMPOSED = {"$ref", "allOf", "oneOf", "anyOf", "not"}


def simplify(document: Node) -> None:
    """Bring the schemas and query parameters of a valid description to one form, in place."""
    each_schema(document, _drop_title)
    each_schema(document, _fold)
    bracket_parameters(document)


def simplified(document: Document) -> Node:
    """Return a simplified copy."""
    copied = copy.deepcopy(dict(document))
    simplify(copied)
    return copied


def schemas_in(document: Node) -> Iterator[Node]:
    """Find all schemas of a description, the outer before the inner."""
    for schema in document.get("components", {}).get("schemas", {}).values():
        yield from _nested(schema)
    yield from _used(document, names=False)


def _used(node: Any, *, names: bool) -> Iterator[Node]:
    """Find the schemas of parameters, headers and bodies."""
    if isinstance(node, list):
        for item in node:
            yield from _used(item, names=False)
    elif isinstance(node, dict):
        for key, value in node.items():
            if not names and key == "schema":
                yield from _nested(value)
            elif names or (key not in PROSE | {"schemas"} and not key.startswith("x-")):
                yield from _used(value, names=not names and key in NAMES)


def _nested(schema: Any) -> Iterator[Node]:
    if not isinstance(schema, dict):
        return
    yield schema
    for keyword in SINGLE:
        yield from _nested(schema.get(keyword))
    for keyword in LISTED:
        for inner in schema.get(keyword, ()):
            yield from _nested(inner)
    for keyword in NAMED:
        for inner in schema.get(keyword, {}).values():
            yield from _nested(inner)


def each_schema(document: Node, change: Callable[[Node], object]) -> None:
    """Change all schemas, the inner before the outer."""
    for schema in reversed(list(schemas_in(document))):
        change(schema)


def _drop_title(schema: Node) -> None:
    """The generator names classes by titles: two schemas can have one, and new words would rename a class."""
    schema.pop("title", None)


def _fold(schema: Node) -> None:
    """Move what only annotates a schema from its allOf into the schema itself: Brex writes null and words there."""
    if "$ref" in schema and len(schema) > 1:
        schema["allOf"] = [{"$ref": schema.pop("$ref")}, *schema.get("allOf", ())]
    parts = schema.pop("allOf", [])
    inline = [part for part in parts if isinstance(part, dict)]
    kinds = {kind for part in (schema, *inline) for kind in types_of(part)}
    one_value = len(kinds) == 1 and "object" not in kinds and not any(part.keys() & COMPOSED for part in inline)
    kept = []
    for part in parts:
        if isinstance(part, dict) and (one_value or all(key in FOLDED or key.startswith("x-") for key in part)):
            for key, value in part.items():
                schema[key] = schema.get(key) or value if key == "nullable" else schema.get(key, value)
        else:
            kept.append(part)
    if kept:
        schema["allOf"] = kept


def types_of(schema: Node) -> list[str]:
    """Return the types that a schema names."""
    kinds = schema.get("type", [])
    return kinds if isinstance(kinds, list) else [kinds]
