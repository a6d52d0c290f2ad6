"""Schemas of OpenAPI, in few words, and any that one can think of."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

Node = dict[str, Any]

TEXT: Node = {"type": "string"}
NUMBER: Node = {"type": "number"}
INTEGER: Node = {"type": "integer"}
TIME: Node = {"type": "string", "format": "date-time"}


def reference(name: str) -> Node:
    return {"$ref": f"#/components/schemas/{name}"}


def array(items: Node) -> Node:
    return {"type": "array", "items": items}


def one_of(*schemas: Node) -> Node:
    return {"oneOf": list(schemas)}


def model(properties: Node, *required: str) -> Node:
    return {"type": "object", "properties": properties} | ({"required": list(required)} if required else {})


def content(schema: Node, kind: str = "application/json") -> Node:
    return {"content": {kind: {"schema": schema}}}


def described(sent: Node, read: Node, version: str = "3.0.0", **operation: Any) -> Node:
    """A description of one operation that sends one schema, and reads the other."""
    return {
        "openapi": version,
        "info": {"title": "t", "version": "1"},
        "paths": {
            "/things/{id}": {
                "parameters": [{"name": "id", "in": "path", "required": True, "schema": TEXT}],
                "post": {
                    "operationId": "makeThing",
                    "requestBody": {"required": True, **content(sent)},
                    "responses": {"200": {"description": "d", **content(read)}},
                    **operation,
                },
            }
        },
    }


schemas = st.recursive(
    st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["string", "integer", ["string", "null"], ["null"], "null"]),
            "enum": st.lists(st.sampled_from(["A", "B", 1, None, True]), min_size=1, max_size=3),
            "const": st.sampled_from(["A", None]),
            "nullable": st.booleans(),
            "format": st.sampled_from(["date", "int32"]),
            "default": st.sampled_from(["x", None, {"title": "x"}]),
            "$ref": st.sampled_from(["#/components/schemas/A", "#/components/schemas/B", "#/paths/~1things~1{id}"]),
            "description": st.just("words"),
        },
    )
    | st.booleans(),
    lambda inner: st.fixed_dictionaries(
        {},
        optional={
            "properties": st.dictionaries(st.sampled_from(["a", "title", "properties", "$ref"]), inner, max_size=3),
            "required": st.lists(st.sampled_from(["a", "title", "gone"]), max_size=2, unique=True),
            "items": inner,
            "additionalProperties": inner,
            "allOf": st.lists(inner, min_size=1, max_size=2),
            "oneOf": st.lists(inner, min_size=1, max_size=3),
            "anyOf": st.lists(inner, min_size=1, max_size=3),
            "not": inner,
        },
    ),
    max_leaves=8,
)
documents = st.builds(
    lambda sent, read, a, b, version: described(sent, read, version) | {"components": {"schemas": {"A": a, "B": b}}},
    schemas,
    schemas,
    schemas,
    schemas,
    st.sampled_from(["3.0.3", "3.1.0"]),
)
