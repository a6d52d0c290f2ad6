"""Shared types, and the reading and writing of models."""

import datetime
import math
import re
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from functools import lru_cache
from types import GenericAlias
from typing import (
    IO,
    TYPE_CHECKING,
    Annotated,
    Any,
    BinaryIO,
    Generic,
    Literal,
    Self,
    TypeVar,
    get_args,
)

import httpx
import msgspec

from .errors import InvalidResponse


class Unset:
    def __bool__(self) -> Literal[False]:
        return False


UNSET: Unset = Unset()

# The types that `httpx.Client(files=)` accepts.
FileContent = IO[bytes] | bytes | str
FileTypes = (
    # (filename, file (or bytes), content_type)
    tuple[str | None, FileContent, str | None]
    # (filename, file (or bytes), content_type, headers)
    | tuple[str | None, FileContent, str | None, Mapping[str, str]]
)
RequestFiles = list[tuple[str, FileTypes]]


@dataclass
class File:
    """Contains information for file uploads"""

    payload: BinaryIO
    file_name: str | None = None
    mime_type: str | None = None

    def to_tuple(self) -> FileTypes:
        """Return a tuple representation that httpx will accept for multipart/form-data"""
        return self.file_name, self.payload, self.mime_type


T = TypeVar("T")


@dataclass
class Response(Generic[T]):
    """A response from an endpoint"""

    status_code: int
    content: bytes
    headers: MutableMapping[str, str]
    parsed: T | None


AwareDatetime = Annotated[datetime.datetime, msgspec.Meta(tz=True)]
"""A date and time with its offset: RFC 3339 asks for one, and a time without one could mean any hour of a day."""


class OpenStrEnum(StrEnum):
    """An enum that keeps the values it does not know: they equal, hash and print as their wire string."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, str):
            return None
        member = str.__new__(cls, value)
        member._name_ = member._value_ = value
        return member


class OpenIntEnum(IntEnum):
    """An enum that keeps the values it does not know: they equal and hash as their number."""

    @classmethod
    def _missing_(cls, value: object) -> Self | None:
        if not isinstance(value, int):
            return None
        member = int.__new__(cls, value)
        member._name_, member._value_ = str(value), value
        return member


if TYPE_CHECKING:
    from typing import Union as OneOf

    WholeNumber = int
else:

    class _AnyInstance(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return True

    class OneOf(metaclass=_AnyInstance):
        """A choice that msgspec cannot make: between models, or between two kinds that are both text or both lists."""

        def __class_getitem__(cls, kinds: tuple[Any, ...]) -> GenericAlias:
            return GenericAlias(cls, kinds)

    class WholeNumber(metaclass=_AnyInstance):
        """An int that may come as 7.0 or "7". msgspec's own way to take those also takes a number for a date."""


class Model(msgspec.Struct, dict=True):
    """What every model can do."""

    @property
    def additional_properties(self) -> dict[str, Any]:
        """Properties that the description does not know, as they came; they are sent along, and not compared."""
        return _unknown(self)

    @classmethod
    def from_dict(cls, src_dict: Mapping[str, Any]) -> Self:
        """Read a model from what `json.loads` gives. Raises ValueError that says where it does not fit."""
        model: Self = decode(cls, encode(src_dict))
        return model

    def to_dict(self) -> dict[str, Any]:
        """Return dicts, lists and plain values, with the names on the wire; numbers with a fraction are Decimals."""
        properties: dict[str, Any] = to_builtins(self)
        return properties

    def __copy__(self) -> Self:
        twin = msgspec.structs.replace(self)
        _unknown(twin).update(_unknown(self))
        return twin

    def __reduce__(self) -> tuple[Any, ...]:
        return *super().__reduce__()[:2], self.__dict__


_encoder = msgspec.json.Encoder(decimal_format="number")


def _exact(literal: str) -> Decimal | str:
    """Read a number of any size. One that even a Decimal cannot hold stays text."""
    try:
        return Decimal(literal)
    except ArithmeticError:
        return literal


_untyped = msgspec.json.Decoder(float_hook=_exact)
_text_or_number = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|-?[0-9][-+.eE0-9]*')


def _quote_long_integer(found: "re.Match[bytes]") -> bytes:
    """Python reads no integer of more than 4,300 digits (a Decimal has any number of them): it stays text."""
    long = len(found[0]) > 4300 and found[0].lstrip(b"-").isdigit()
    return b'"%s"' % found[0] if long else found[0]


# Of msgspec's messages only that of a wrong constant shows what was found.
_found_value = re.compile(r"(?s)(?<=^Invalid enum value) .*?(?= - at `[^`]*`$|$)")


def encode(value: Any) -> bytes:
    """Write a model, or anything of models, as JSON: a Decimal with exactly its digits, what is None or unset left out."""
    return _encoder.encode(to_builtins(value))


def decode(kind: Any, content: bytes) -> Any:
    """Read JSON as a model, or anything of models.

    Exact (a number is a Decimal of its literal digits), and lenient only where nothing is lost (7.0 is the integer 7).
    Raises ValueError that says where and why the content does not fit, never what it holds.
    """
    try:
        value = decoder(kind).decode(content)
        keep_unknown(value, content)
    except RecursionError:
        reason = "the JSON is nested too deeply"
    except ValueError as error:
        reason = _found_value.sub("", str(error))
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


@lru_cache(maxsize=None)
def decoder(kind: Any) -> "msgspec.json.Decoder[Any]":
    """The decoder behind `decode`, for those who want its speed. It leaves out the unknown properties, and whether a number is finite."""
    return msgspec.json.Decoder(kind, dec_hook=_read_other, float_hook=_exact)


def keep_unknown(value: Any, content: bytes) -> None:
    """Add to a model, and to the models in it, the unknown properties that `decoder` left out of this content."""
    try:
        source = _untyped.decode(content)
    except msgspec.ValidationError:
        source = _untyped.decode(_text_or_number.sub(_quote_long_integer, content))
    _keep_unknown(value, source)


def to_builtins(value: Any) -> Any:
    if isinstance(value, Model):
        known = {
            field.encode_name: item
            for field in _fields(type(value))
            if (item := getattr(value, field.name)) is not None or field.required
        }
        value = _unknown(value) | known
    if isinstance(value, Mapping):
        return {name: to_builtins(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_builtins(item) for item in value]
    if isinstance(value, (Decimal, float)):
        return _finite(value)
    return msgspec.to_builtins(value)


def _finite(number: Decimal | float) -> Decimal | float:
    if not (number.is_finite() if isinstance(number, Decimal) else math.isfinite(number)):
        raise ValueError("JSON has no number that is infinite or not a number")
    return number


@lru_cache(maxsize=None)
def _fields(model: type[Model]) -> tuple[msgspec.structs.FieldInfo, ...]:
    return msgspec.structs.fields(model)


@lru_cache(maxsize=None)
def _fields_by_wire_name(model: type[Model]) -> dict[str, str]:
    return {field.encode_name: field.name for field in _fields(model)}


def _unknown(model: Model) -> dict[str, Any]:
    """Keep them apart from the model's attributes: a property could be named like a method."""
    unknown: dict[str, Any] = model.__dict__.setdefault("additional_properties", {})
    return unknown


def _keep_unknown(value: Any, source: Any) -> None:
    if isinstance(value, Model) and isinstance(source, dict):
        known = _fields_by_wire_name(type(value))
        for name, item in source.items():
            if name in known:
                _keep_unknown(getattr(value, known[name]), item)
            else:
                _unknown(value)[name] = item
    elif isinstance(value, list) and isinstance(source, list) and len(value) == len(source):
        for inner, item in zip(value, source, strict=True):
            _keep_unknown(inner, item)
    elif isinstance(value, Decimal):
        _finite(value)


_digits = re.compile("-?[0-9]{1,20}")
_json_kinds = {bool: "bool", Decimal: "float", str: "str", list: "array", dict: "object", type(None): "null"}


def _read_other(kind: Any, source: Any) -> Any:
    return _read_whole_number(source) if kind is WholeNumber else _read_one_of(kind, source)


def _read_whole_number(source: Any) -> int:
    if type(source) is int:
        return source
    number = Decimal(source) if isinstance(source, str) and _digits.fullmatch(source) else source
    if isinstance(number, Decimal) and number.adjusted() < 20 and number == number.to_integral_value():
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
        return len(_unknown(value)) + sum(_count_unknown(getattr(value, name)) for name in value.__struct_fields__)
    return sum(map(_count_unknown, value)) if isinstance(value, list) else 0


__all__ = [
    "UNSET",
    "AwareDatetime",
    "File",
    "FileTypes",
    "Model",
    "OneOf",
    "OpenIntEnum",
    "OpenStrEnum",
    "RequestFiles",
    "Response",
    "Unset",
    "WholeNumber",
    "decode",
    "decoder",
    "encode",
    "keep_unknown",
    "read_answer",
]
