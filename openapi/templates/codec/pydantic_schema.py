"""How pydantic reads and writes our classes: as return types of FastAPI, and as fields of pydantic's own models.

pydantic calls this, and nothing here needs it: its core schemas are plain dicts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextvars import ContextVar
from enum import Enum
from typing import Any, get_args

Schema = dict[str, Any]
_UNDER_WAY: ContextVar[frozenset[type]] = ContextVar("under_way", default=frozenset())
Read = Callable[[Any, Callable[[Any], Any]], Any]


def object_schema(
    kind: type,
    handler: Any,
    properties: Iterable[tuple[str, Any, bool]],
    *,
    read: Read,
    write: Callable[[Any], Mapping[str, Any]],
    extra: str = "ignore",
) -> Schema:
    """Take an instance as it is, or what `read` makes of an object; write what `write` gives, and what is in that.

    In JSON, Decimals and times are text.

    Args:
        kind: The class.
        handler: Pydantic's.
        properties: Their names, types, and whether each must be there.
        read: Makes an instance. It is handed the object, and a function that reads the properties by their types.
        write: Returns all properties of an instance.
        extra: What becomes of others: "allow" or "ignore".
    """
    reference = f"{kind.__module__}.{kind.__qualname__}:{id(kind)}"
    around = _UNDER_WAY.get()
    if kind in around:  # a circle, which pydantic does not see here
        return {"type": "definition-ref", "schema_ref": reference}
    fields: dict[str, Schema] = {}
    token = _UNDER_WAY.set(around | {kind})
    try:
        for name, type_, required in properties:
            schema = handler.generate_schema(type_)
            fields[name] = {"type": "typed-dict-field", "schema": schema, "required": required}
    finally:
        _UNDER_WAY.reset(token)

    def validate(value: Any, inner: Callable[[Any], Any]) -> Any:
        return value if isinstance(value, kind) else read(value, inner)

    typed = {"type": "typed-dict", "fields": fields, "extra_behavior": extra}
    return {
        "type": "function-wrap",
        "function": {"type": "no-info", "function": validate},
        "schema": typed,
        # Such a function hands on what a caller includes or excludes.
        "serialization": {
            "type": "function-wrap",
            "function": lambda value, inner: inner(write(value)),
            "schema": typed,
        },
        "ref": reference,
    }


def object_json_schema(kind: type, schema: Schema, handler: Any) -> Schema:
    """Describe what `object_schema` made; what is written has every property."""
    typed = schema["schema"]
    if handler.mode == "serialization":
        typed = typed | {"fields": {name: field | {"required": True} for name, field in typed["fields"].items()}}
    described: Schema = handler(typed)
    return described | {"title": kind.__name__}


def open_enum_schema(kind: type[Enum], values: str) -> Schema:
    """Take any text ("str"), or any whole number ("int")."""
    return {
        "type": "function-after",
        "function": {"type": "no-info", "function": kind},
        "schema": {"type": values},
        "serialization": {
            "type": "function-plain",
            "function": lambda member: getattr(member, "value", member),
            "return_schema": {"type": values},
        },
    }


def open_enum_json_schema(kind: type[Enum], schema: Schema, handler: Any) -> Schema:
    """Describe an open enum: a value that is not among the examples may come too."""
    described: Schema = handler(schema["schema"])
    return described | {"title": kind.__name__, "examples": [member.value for member in kind]}


def choice_schema(source: Any, handler: Any) -> Schema:
    """Take one of several types."""
    return {"type": "union", "choices": [handler.generate_schema(each) for each in get_args(source)]}
