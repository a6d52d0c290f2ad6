"""The one place where bytes become models and models become bytes."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from functools import cache
from types import GenericAlias
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn, Self, get_args, get_type_hints
from uuid import UUID

import attrs
import httpx
import msgspec


class _WithOffset:
    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> dict[str, Any]:
        return {"type": "datetime", "tz_constraint": "aware"}


AwareDatetime = Annotated[datetime, msgspec.Meta(tz=True), _WithOffset()]
"""A date and time with its offset: RFC 3339 asks for one, and a time without one could mean any hour of a day."""


class InvalidResponse(Exception):  # noqa: N818 - as the generator's own UnexpectedStatus
    """The body of an answer is not what the API's description says: not JSON, cut short, or of another shape.

    ``reason`` says where and why (a JSON path and the types), never the values found there.
    """

    def __init__(self, status_code: int, content: bytes, reason: str) -> None:
        self.status_code = status_code
        self.content = content
        self.reason = reason
        super().__init__(f"the answer with status {status_code} ({len(content)} bytes) cannot be understood: {reason}")


# -- types -------------------------------------------------------------------------------------------------------------


class OpenStrEnum(StrEnum):
    """An enum that keeps the values it does not know: they equal, hash and print as their wire string."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        member = str.__new__(cls, value)
        member._name_ = member._value_ = value
        return member

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> dict[str, Any]:
        from .pydantic_schema import open_enum_schema  # noqa: PLC0415 - for pydantic alone

        return open_enum_schema(cls, "str")

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        from .pydantic_schema import open_enum_json_schema  # noqa: PLC0415 - for pydantic alone

        return open_enum_json_schema(cls, schema, handler)


class OpenIntEnum(IntEnum):
    """An enum that keeps the values it does not know: they equal and hash as their number."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, int):
            return None
        member = int.__new__(cls, value)
        member._name_, member._value_ = str(value), value
        return member

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> dict[str, Any]:
        from .pydantic_schema import open_enum_schema  # noqa: PLC0415 - for pydantic alone

        return open_enum_schema(cls, "int")

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        from .pydantic_schema import open_enum_json_schema  # noqa: PLC0415 - for pydantic alone

        return open_enum_json_schema(cls, schema, handler)


if TYPE_CHECKING:
    from typing import Any as Anything
    from typing import Union as OneOf

    WholeNumber = int
else:

    class _AnyInstance(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return True

    class Anything(metaclass=_AnyInstance):
        """Any JSON."""

        @classmethod
        def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> dict[str, Any]:
            return {"type": "any"}

    class OneOf(metaclass=_AnyInstance):
        """A choice that msgspec cannot make: between models, or between two kinds that are both text or both lists."""

        def __class_getitem__(cls, kinds: tuple[Any, ...]) -> GenericAlias:
            return GenericAlias(cls, kinds)

        @classmethod
        def __get_pydantic_core_schema__(cls, source: Any, handler: Any) -> dict[str, Any]:
            from .pydantic_schema import choice_schema  # noqa: PLC0415 - for pydantic alone

            return choice_schema(source, handler)

    class WholeNumber(metaclass=_AnyInstance):
        """An int that may come as 7.0 or "7". msgspec's own way to take those also takes a number for a date."""

        @classmethod
        def __get_pydantic_core_schema__(cls, _source: Any, _handler: Any) -> dict[str, Any]:
            return {"type": "int"}


class Model:
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
        return _unknown(self)

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Read a model from what `json.loads` or `to_dict` gives.

        Raises ValueError that says where it does not fit. A float for an amount is taken as long as it can hold all its
        digits; read JSON with ``parse_float=Decimal`` to keep any.
        """
        model: Self = decode(cls, encode(src_dict))
        _refuse_floats(model, src_dict)
        return model

    def to_dict(self, *, mode: Literal["python", "json"] = "python") -> dict[str, Any]:
        """Return every property by its name on the wire, None where there is none; models become dicts too.

        Args:
            mode: "python" keeps Decimals, dates and times; "json" gives what `json.dumps` takes, with those as text.
        """
        properties: dict[str, Any] = _tree(self, mode, sparse=False)
        return properties

    def to_json(self) -> bytes:
        """Write every property in the order of the description, null where there is none; amounts keep their digits."""
        return _encoder.encode(_tree(self, "wire", sparse=False))

    def to_multipart(self) -> list[tuple[str, Any]]:
        """Return the parts of a multipart/form-data body, as httpx takes them for `files`."""
        parts = []
        for name, value in (_known(self, sparse=True) | _unknown(self)).items():
            parts += [(name, _part(item)) for item in (value if isinstance(value, list) else [value])]
        return parts

    # Here and not made by attrs for each class, which would cost more at every import than all else about them.
    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(getattr(self, field.alias) == getattr(other, field.alias) for field in _fields(type(self)))

    __hash__ = None  # type: ignore[assignment]  # its fields may change

    def __repr__(self) -> str:
        values = (f"{field.alias}={getattr(self, field.alias)!r}" for field in _fields(type(self)))
        return f"{type(self).__name__}({', '.join(values)})"

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
        hints = _hints(model)
        properties = [(field.name, hints[field.name], field.default is attrs.NOTHING) for field in _fields(cls)]
        read = lambda value, _: cls.from_dict(value)  # noqa: E731
        return object_schema(cls, handler, properties, read=read, write=_properties, extra="allow")

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
    model.__attrs_attrs__ = tuple(each.evolve(name=names.get(each.name, each.name)) for each in fields)  # type: ignore[attr-defined]
    for name, on_the_wire in names.items():
        setattr(model, on_the_wire, model.__dict__[name])


def _fields(model: type) -> Any:
    """The fields: their `name` on the wire, and the one in Python as their `alias`."""
    return model.__attrs_attrs__  # type: ignore[attr-defined]


@cache
def _names(model: type) -> dict[str, str]:
    return {field.name: field.alias for field in _fields(model)}


@cache
def _hints(model: type) -> dict[str, Any]:
    return get_type_hints(model, include_extras=True)


# -- writing -----------------------------------------------------------------------------------------------------------

_TOO_DEEP = "the JSON is nested too deeply"
_encoder = msgspec.json.Encoder(decimal_format="number")
_Mode = Literal["python", "json", "wire"]


def encode(value: Any) -> bytes:
    """Write a model, or anything of models, as the API takes it.

    A Decimal with exactly its digits; an optional property that is None is left out. Raises ValueError for what JSON
    cannot hold.
    """
    return _encoder.encode(_tree(value, "wire", sparse=True))


def to_form(body: Model) -> dict[str, Any]:
    """Return the fields of an urlencoded form, as httpx takes them for `data`; objects in it are JSON."""
    return {name: _form_value(value) for name, value in _tree(body, "wire", sparse=True).items()}


def _form_value(value: Any) -> Any:
    if isinstance(value, list):
        return [_form_value(item) for item in value]
    return _encoder.encode(value).decode() if isinstance(value, dict) else value


def _part(value: Any) -> Any:
    if hasattr(value, "to_tuple"):  # a File
        return value.to_tuple()
    plain = _tree(value, "wire", sparse=True)
    if isinstance(plain, str):
        return (None, plain.encode(), "text/plain")
    return (None, _encoder.encode(plain), "application/json" if isinstance(plain, dict) else "text/plain")


def _known(model: Model, *, sparse: bool) -> dict[str, Any]:
    """The properties by their names on the wire; a sparse one leaves out what is None, unless it is required."""
    values = ((field, getattr(model, field.alias)) for field in _fields(type(model)))
    return {
        field.name: item for field, item in values if item is not None or not sparse or field.default is attrs.NOTHING
    }


def _properties(model: Model) -> dict[str, Any]:
    """All properties, each as it is. Raises ValueError for what JSON cannot hold."""
    known = _known(model, sparse=False)
    for value in known.values():
        if isinstance(value, Decimal):
            _finite(value)
    unknown: dict[str, Any] = _tree(_unknown(model), "python", sparse=False)
    return known | {name: item for name, item in unknown.items() if name not in known}


def _tree(value: Any, mode: _Mode, *, sparse: bool) -> Any:
    try:
        return _plain(value, mode, sparse=sparse)
    except RecursionError:
        pass
    raise ValueError(_TOO_DEEP)


def _plain(value: Any, mode: _Mode, *, sparse: bool) -> Any:
    if value is None or type(value) in {str, int, bool}:
        return value
    if isinstance(value, Model):
        known = _known(value, sparse=sparse)
        value = known | {name: item for name, item in _unknown(value).items() if name not in known}
    if isinstance(value, Mapping):
        return {name: _plain(item, mode, sparse=sparse) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, mode, sparse=sparse) for item in value]
    if isinstance(value, Decimal):
        return str(_finite(value)) if mode == "json" else _finite(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(_NOT_A_NUMBER)
    if mode == "python" and isinstance(value, (date, UUID)):
        return value
    return msgspec.to_builtins(value)


# -- reading -----------------------------------------------------------------------------------------------------------

_NOT_A_NUMBER = "JSON has no number that is infinite or not a number"
# Of msgspec's messages only that of a wrong constant shows what was found. (Patterns that few need are compiled then.)
_FOUND_VALUE = r"(?s)(?<=^Invalid enum value) .*?(?= - at `[^`]*`$|$)"


def decode(kind: Any, content: bytes) -> Any:
    """Read JSON as a model, or anything of models.

    Exact (a number is a Decimal of its literal digits), and lenient only where nothing is lost (7.0 is the integer 7).
    Raises ValueError that says where and why the content does not fit, never what it holds.
    """
    try:
        value = decode_known(kind, content)
        keep_unknown(value, content)
    except RecursionError:
        reason = _TOO_DEEP
    except ValueError as error:
        reason = re.sub(_FOUND_VALUE, "", str(error))
    else:
        return value
    raise ValueError(reason)


def read_answer(kind: Any, response: httpx.Response) -> Any:
    """Read the JSON of an answer. Raises InvalidResponse where it does not fit."""
    try:
        return decode(kind, response.content)
    except ValueError as error:
        reason = str(error)
    raise InvalidResponse(response.status_code, response.content, reason)


def decode_known(kind: Any, content: bytes) -> Any:
    """Read JSON as `decode` does, several times as fast: without the unknown properties.

    Raises ValueError and RecursionError as they come, with values in their texts.
    """
    if not has_long_fraction(content):
        try:
            return decoder(kind).decode(content)
        except msgspec.ValidationError as error:
            if "datetime" not in str(error):
                raise
    return decoder(kind).decode(_encoder.encode(_mend_times(kind, _untyped(content))))


@cache
def decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    """The decoder behind `decode_known`, which rounds a time of more than six digits and wants its seconds."""
    return msgspec.json.Decoder(kind, dec_hook=_read_other, float_hook=_exact)


def keep_source(model: Model, content: bytes) -> None:
    """Keep the JSON that `decode_known` read a model from: the unknown properties are looked for when somebody asks.

    Those of the models in this one are there once somebody has asked for its own.
    """
    model._unknown = content  # noqa: SLF001 - this module's own


def all_finite(value: Any) -> bool:
    """Say whether a number, or each in a list, can be written as JSON."""
    if isinstance(value, list):
        return all(map(all_finite, value))
    return not isinstance(value, Decimal) or value.is_finite()


def refuse_number(name: str) -> NoReturn:
    """Raise ValueError for the field of this name."""
    raise ValueError(f"{_NOT_A_NUMBER}: `{name}`")


def _refuse_floats(value: Any, source: Any) -> None:
    """Refuse a float where a number was read: beyond 15 digits it is another number than the one that was written."""
    if isinstance(value, Model) and isinstance(source, Mapping):
        for field in _fields(type(value)):
            _refuse_floats(getattr(value, field.alias), source.get(field.name))
    elif isinstance(value, list) and isinstance(source, (list, tuple)):
        for inner, item in zip(value, source, strict=False):
            _refuse_floats(inner, item)
    elif isinstance(value, Decimal) and isinstance(source, float) and len(value.as_tuple().digits) > sys.float_info.dig:
        raise ValueError("a float does not hold all digits of an amount: read the JSON with parse_float=Decimal")


def _finite(number: Decimal) -> Decimal:
    if not number.is_finite():
        raise ValueError(_NOT_A_NUMBER)
    return number


def _exact(literal: str) -> Decimal | str:
    """Read a number of any size. One that even a Decimal cannot hold stays text."""
    try:
        return Decimal(literal)
    except ArithmeticError:
        return literal


# -- unknown properties ------------------------------------------------------------------------------------------------

_untyped_decoder = msgspec.json.Decoder(float_hook=_exact)
_TEXT_OR_NUMBER = rb'"[^"\\]*(?:\\.[^"\\]*)*"|-?[0-9][-+.eE0-9]*'
_DEEPEST = 64


def _unknown(model: Model) -> dict[str, Any]:
    """Keep them apart from the model's fields: a property could be named like a method."""
    unknown = getattr(model, "_unknown", None)
    if isinstance(unknown, bytes):
        keep_unknown(model, unknown)
        unknown = model._unknown  # noqa: SLF001
    if not isinstance(unknown, dict):
        unknown = model._unknown = {}  # noqa: SLF001
    return unknown


def keep_unknown(value: Any, content: bytes) -> None:
    """Add to a model, and to the models in it, the unknown properties that `decode_known` left out of this content."""
    _keep_unknown(value, _untyped(content))


def _untyped(content: bytes) -> Any:
    try:
        source = _untyped_decoder.decode(content)
    except msgspec.ValidationError:
        source = _untyped_decoder.decode(re.sub(_TEXT_OR_NUMBER, _quote_long_integer, content))
    return _shallow(source)


def _quote_long_integer(found: re.Match[bytes]) -> bytes:
    """Python reads no integer of more than 4,300 digits (a Decimal has any number of them): it stays text."""
    long = len(found[0]) > 4300 and found[0].lstrip(b"-").isdigit()  # noqa: PLR2004
    return b'"%s"' % found[0] if long else found[0]


def _shallow(source: Any) -> Any:
    """Leave 64 levels, which can be copied and written from any depth of calls; what is deeper becomes its text."""
    level = [source]
    for _ in range(_DEEPEST - 1):
        level = [inner for each in level for _, inner in _items(each) if isinstance(inner, (dict, list))]
        if not level:
            return source
    for each in level:
        for place, inner in _items(each):
            if isinstance(inner, (dict, list)):
                each[place] = _encoder.encode(inner).decode()
    return source


def _items(source: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(source, dict):
        return list(source.items())
    return list(enumerate(source)) if isinstance(source, list) else []


def _keep_unknown(value: Any, source: Any) -> None:
    if isinstance(value, Model):
        if not isinstance(source, dict):
            raise ValueError(_TOO_DEEP)  # noqa: TRY004 - of the JSON, not of an argument
        model: Any = type(value)
        known = _names(model)
        unknown = {}
        for name, item in source.items():
            if name in known:
                _keep_unknown(getattr(value, known[name]), item)
            else:
                unknown[name] = item
        if unknown or isinstance(getattr(value, "_unknown", None), bytes):
            value._unknown = unknown  # noqa: SLF001
    elif isinstance(value, list) and isinstance(source, list) and len(value) == len(source):
        for inner, item in zip(value, source, strict=True):
            _keep_unknown(inner, item)
    elif isinstance(value, Decimal):
        _finite(value)


# -- what msgspec cannot read ------------------------------------------------------------------------------------------

_DIGITS = "-?[0-9]{1,20}"
_json_kinds = {bool: "bool", Decimal: "float", str: "str", list: "array", dict: "object", type(None): "null"}
_TIME = r"(?a)(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d)(?::(\d\d)(\.\d{1,6})?\d*)?([Zz]|[-+]\d\d:\d\d)"

has_long_fraction = re.compile(rb"\.[0-9]{7}").search


def _mend_times(kind: Any, source: Any) -> Any:
    """Give times their seconds, and cut their fractions: the last tick of a period does not belong to the next one."""
    if kind == AwareDatetime:
        found = re.fullmatch(_TIME, source) if isinstance(source, str) else None
        return f"{found[1]}:{found[2] or '00'}{found[3] or ''}{found[4]}" if found else source
    if isinstance(source, dict):
        model: Any = kind if isinstance(kind, type) and issubclass(kind, Model) else None
        hints = _hints(model) if model else {}
        source = {name: _mend_times(hints.get(name), item) for name, item in source.items()}
    for inner in get_args(kind):
        source = (
            [_mend_times(inner, item) for item in source] if isinstance(source, list) else _mend_times(inner, source)
        )
    return source


def _read_other(kind: Any, source: Any) -> Any:
    if kind is Anything:
        return _shallow(source)
    return _read_whole_number(source) if kind is WholeNumber else _read_one_of(kind, source)


def _read_whole_number(source: Any) -> int:
    if type(source) is int:
        return source
    number = Decimal(source) if isinstance(source, str) and re.fullmatch(_DIGITS, source) else source
    if isinstance(number, Decimal) and number.adjusted() < 20 and number == number.to_integral_value():  # noqa: PLR2004
        return int(number)
    raise ValueError(f"Expected `int`, got `{_json_kinds[type(source)]}`")


def _read_one_of(kind: Any, source: Any) -> Any:
    """Read the first choice that fits and knows everything in it, or else the one that knows the most."""
    content = encode(source)
    readings, reasons = [], []
    for choice in get_args(kind):
        try:
            readings.append(decode(choice, content))
        except ValueError as error:
            reasons.append(f"{getattr(choice, '__name__', choice)}: {error}")
        else:
            if not _count_unknown(readings[-1]):
                break
    if not readings:
        raise ValueError("; ".join(reasons))
    return min(readings, key=_count_unknown)


def _count_unknown(value: Any) -> int:
    if isinstance(value, Enum):
        return int(type(value).__members__.get(value.name) is not value)
    if isinstance(value, Model):
        known = (getattr(value, field.alias) for field in _fields(type(value)))
        return len(_unknown(value)) + sum(map(_count_unknown, known))
    return sum(map(_count_unknown, value)) if isinstance(value, list) else 0


__all__ = [
    "Anything",
    "AwareDatetime",
    "InvalidResponse",
    "Model",
    "OneOf",
    "OpenIntEnum",
    "OpenStrEnum",
    "WholeNumber",
    "all_finite",
    "decode",
    "decode_known",
    "decoder",
    "encode",
    "has_long_fraction",
    "keep_source",
    "keep_unknown",
    "name_on_the_wire",
    "read_answer",
    "refuse_number",
    "to_form",
]
