"""Reads JSON as models, and as anything of models."""

from __future__ import annotations

import re
from decimal import Decimal
from enum import Enum
from functools import cache
from typing import Any, get_args

import httpx
import msgspec

from .exact import NOT_A_NUMBER, TOO_DEEP, all_finite, encoder, read_exactly, read_untyped, shallow
from .kinds import Anything, AwareDatetime, WholeNumber
from .model import Model, fields_of, hints_of, keep_unknown, unknown_of

# Of msgspec's messages only that of a wrong constant shows what was found. (Patterns that few need are compiled then.)
_FOUND_VALUE = r"(?s)(?<=^Invalid enum value) .*?(?= - at `[^`]*`$|$)"


class InvalidResponse(Exception):  # noqa: N818 - as the generator's own UnexpectedStatus
    """The body of an answer is not what the API's description says: not JSON, cut short, or of another shape.

    ``reason`` says where and why (a JSON path and the types), never the values found there.
    """

    def __init__(self, status_code: int, content: bytes, reason: str) -> None:
        self.status_code = status_code
        self.content = content
        self.reason = reason
        super().__init__(f"the answer with status {status_code} ({len(content)} bytes) cannot be understood: {reason}")


def decode(kind: Any, content: bytes) -> Any:
    """Read JSON as a model, or anything of models.

    Exact (a number is a Decimal of its literal digits), and lenient only where nothing is lost (7.0 is the integer 7).
    Raises ValueError that says where and why the content does not fit, never what it holds.
    """
    try:
        value = decode_known(kind, content)
        keep_unknown(value, content)
    except RecursionError:
        reason = TOO_DEEP
    except ValueError as error:
        reason = re.sub(_FOUND_VALUE, "", str(error))
    else:
        if all_finite(value):
            return value
        reason = NOT_A_NUMBER
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
    return decoder(kind).decode(encoder.encode(_mend_times(kind, read_untyped(content))))


@cache
def decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    """The decoder behind `decode_known`, which rounds a time of more than six digits and wants its seconds."""
    return msgspec.json.Decoder(kind, dec_hook=_read_other, float_hook=read_exactly)


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
        hints = hints_of(model) if model else {}
        source = {name: _mend_times(hints.get(name), item) for name, item in source.items()}
    for inner in get_args(kind):
        source = (
            [_mend_times(inner, item) for item in source] if isinstance(source, list) else _mend_times(inner, source)
        )
    return source


def _read_other(kind: Any, source: Any) -> Any:
    if kind is Anything:
        return shallow(source)
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
    content = encoder.encode(source)
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
        known = (getattr(value, field.alias) for field in fields_of(type(value)))
        return len(unknown_of(value)) + sum(map(_count_unknown, known))
    return sum(map(_count_unknown, value)) if isinstance(value, list) else 0
