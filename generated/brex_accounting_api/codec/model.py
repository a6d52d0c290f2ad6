"""What all models have in common: their fields, and the properties that they do not know."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from typing import Any, Literal, Self, get_type_hints

import attrs

from .exact import TOO_DEEP, encoder, read_untyped, shallow


class Model:  # noqa: PLW1641 - its fields may change, so it has no hash
    """What every model can do. Each is an attrs class whose fields msgspec fills in, by their types."""

    # Not fields of attrs, or a property of that name on the wire would fill them in. Until somebody asks for the
    # unknown properties, the JSON that they are in may stand in their place.
    __slots__ = ("__weakref__", "_unknown")
    _unknown: dict[str, Any] | bytes

    @property
    def additional_properties(self) -> dict[str, Any]:
        """Properties that the description does not know, as they came; they are sent along, and not compared.

        Numbers with a fraction are Decimals, and what is nested more than 64 levels deep is its JSON text.
        """
        return unknown_of(self)

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Read a model from what `json.loads` or `to_dict` gives.

        Raises ValueError that says where it does not fit. A float for an amount is taken as long as it can hold all its
        digits; read JSON with ``parse_float=Decimal`` to keep any.
        """
        model: Self = reading.decode(cls, writing.encode(src_dict))
        refuse_floats(model, src_dict)
        return model

    def to_dict(self, *, mode: Literal["python", "json"] = "python") -> dict[str, Any]:
        """Return every property by its name on the wire, None where there is none; models become dicts too.

        Args:
            mode: "python" keeps Decimals, dates and times; "json" gives what `json.dumps` takes, with those as text.
        """
        if mode not in {"python", "json"}:
            raise ValueError(f'mode must be "python" or "json", not {mode!r}')
        properties: dict[str, Any] = writing.tree(self, mode, sparse=False)
        return properties

    def to_json(self) -> bytes:
        """Write every property in the order of the description, null where there is none; amounts keep their digits."""
        return encoder.encode(writing.tree(self, "wire", sparse=False))

    def to_multipart(self) -> list[tuple[str, Any]]:
        """Return the parts of a multipart/form-data body, as httpx takes them for `files`."""
        return writing.to_parts(self)

    # Here and not made by attrs for each class, which would cost more at every import than all else about them.
    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, field.alias) == getattr(other, field.alias) for field in fields_of(type(self)))

    def __repr__(self) -> str:
        values = (f"{field.alias}={getattr(self, field.alias)!r}" for field in fields_of(type(self)))
        return f"{type(self).__name__}({', '.join(values)})"

    def __init_subclass__(cls) -> None:
        cls.__replace__ = Model.__replace__  # type: ignore[method-assign]  # or attrs makes one that forgets

    def __replace__(self, /, **changes: Any) -> Self:
        """Return a copy with other values, as `copy.replace` does; with the unknown properties, unlike attrs.evolve."""
        unknown = dict(unknown_of(self))
        twin = type(self)(**{field.alias: getattr(self, field.alias) for field in fields_of(type(self))} | changes)
        twin._unknown = unknown
        return twin

    def __getstate__(self) -> object:
        """Let copies and pickles have unknown properties of their own."""
        state = super().__getstate__()
        if isinstance(state, tuple) and isinstance(state[1].get("_unknown"), dict):
            state[1]["_unknown"] = dict(state[1]["_unknown"])
        return state

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, handler: Any) -> dict[str, Any]:
        from .pydantic_schema import object_schema  # noqa: PLC0415 - for pydantic alone

        model: Any = cls
        hints = hints_of(model)
        properties = [(field.name, hints[field.name], field.default is attrs.NOTHING) for field in fields_of(cls)]
        read = lambda value, _: cls.from_dict(value)  # noqa: E731
        return object_schema(cls, handler, properties, read=read, write=writing.properties_of, extra="allow")

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        from .pydantic_schema import object_json_schema  # noqa: PLC0415 - for pydantic alone

        return object_json_schema(cls, schema, handler)


def name_on_the_wire(model: type[Model], names: Mapping[str, str]) -> None:
    """Give fields other names on the wire: msgspec takes those of an attrs class's fields for both.

    So it is shown fields of these names, and finds the descriptors of the real ones behind them. `alias` keeps the name
    in Python.
    """
    hints = get_type_hints(model, include_extras=True)
    model.__annotations__ = {names.get(name, name): kind for name, kind in hints.items()}
    fields = attrs.fields(model)  # type: ignore[arg-type]
    shown = (each.evolve(name=names.get(each.name, each.name), alias=each.name) for each in fields)
    model.__attrs_attrs__ = tuple(shown)  # type: ignore[attr-defined]
    for name, on_the_wire in names.items():
        setattr(model, on_the_wire, model.__dict__[name])


def fields_of(model: type) -> Any:
    """The fields: their `name` on the wire, and the one in Python as their `alias`."""
    return model.__attrs_attrs__  # type: ignore[attr-defined]


@cache
def _names(model: type) -> dict[str, str]:
    return {field.name: field.alias for field in fields_of(model)}


@cache
def hints_of(model: type) -> dict[str, Any]:
    """The types of the fields, by their names on the wire."""
    return get_type_hints(model, include_extras=True)


# -- unknown properties ------------------------------------------------------------------------------------------------


def keep_source(model: Model, content: bytes) -> None:
    """Keep the JSON that `decode_known` read a model from: the unknown properties are looked for when somebody asks.

    Those of the models in this one are there once somebody has asked for its own.
    """
    model._unknown = content


def keep_unknown(value: Any, content: bytes) -> None:
    """Add to a model, and to the models in it, the unknown properties that `decode_known` left out of this content."""
    try:
        return _keep_unknown(value, read_untyped(content))
    except RecursionError:
        pass
    raise ValueError(TOO_DEEP)


def unknown_of(model: Model) -> dict[str, Any]:
    """Keep them apart from the model's fields: a property could be named like a method."""
    unknown = getattr(model, "_unknown", None)
    if isinstance(unknown, bytes):
        keep_unknown(model, unknown)
        unknown = model._unknown
    if not isinstance(unknown, dict):
        unknown = model._unknown = {}
    return unknown


def _keep_unknown(value: Any, source: Any) -> None:
    if isinstance(value, Model):
        if not isinstance(source, dict):
            raise ValueError(TOO_DEEP)  # noqa: TRY004 - of the JSON, not of an argument
        model: Any = type(value)
        known, unknown = _names(model), {}
        for name, item in source.items():
            if name not in known:
                unknown[name] = shallow(item)
            elif isinstance(item, (dict, list)):
                _keep_unknown(getattr(value, known[name]), item)
        before = getattr(value, "_unknown", None)
        if unknown or before is not None:
            value._unknown = unknown | before if isinstance(before, dict) else unknown
    elif isinstance(value, list) and isinstance(source, list) and len(value) == len(source):
        for inner, item in zip(value, source, strict=True):
            _keep_unknown(inner, item)


def refuse_floats(value: Any, source: Any) -> None:
    """Refuse a float where a number was read: beyond 15 digits it is another number than the one that was written."""
    if isinstance(value, Model) and isinstance(source, Mapping):
        for field in fields_of(type(value)):
            refuse_floats(getattr(value, field.alias), source.get(field.name))
    elif isinstance(value, list) and isinstance(source, (list, tuple)):
        for inner, item in zip(value, source, strict=False):
            refuse_floats(inner, item)
    elif isinstance(value, Decimal) and isinstance(source, float) and len(value.as_tuple().digits) > sys.float_info.dig:
        raise ValueError("a float does not hold all digits of an amount: read the JSON with parse_float=Decimal")


# They use what stands above.
from . import reading, writing  # noqa: E402
