"""Reads JSON as models, and as anything of models."""

from __future__ import annotations

import re
from contextlib import suppress
from decimal import Decimal
from enum import Enum
from functools import cache
from types import NoneType
from typing import Any, get_args, get_origin

import httpx
import msgspec

from .exact import NOT_A_NUMBER, TOO_DEEP, all_finite, encoder, read_exactly, read_untyped, shallow
from .kinds import Anything, AwareDatetime
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
        with suppress(msgspec.ValidationError):
            return decoder(kind).decode(content)
    return decoder(kind).decode(encoder.encode(_mend(kind, shallow(read_untyped(content)))))


@cache
def decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    """The decoder behind `decode_known`. It reads nothing that `_mend` mends, and rounds long fractions of seconds."""
    return msgspec.json.Decoder(kind, dec_hook=_read_other, float_hook=read_exactly)


# -- what msgspec cannot read ------------------------------------------------------------------------------------------

_WHOLE = "-?[0-9]{1,20}"
_TIME = r"(?a)(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d)(?::(\d\d)(\.\d{1,6})?\d*)?([Zz]|[-+]\d\d:\d\d)"

has_long_fraction = re.compile(rb"\.[0-9]{7}").search


def _mend(kind: Any, source: Any) -> Any:
    """Write what is clear, if odd, as msgspec reads it: whole numbers and times."""
    if kind is int:
        return _whole_number(source)
    if kind == AwareDatetime:
        return _time(source)
    if isinstance(source, dict):
        model: Any = kind if isinstance(kind, type) and issubclass(kind, Model) else None
        hints = hints_of(model) if model else {}
        source = {name: _mend(hints.get(name), item) for name, item in source.items()}
    inner = [each for each in get_args(kind) if each is not NoneType]
    if len(inner) != 1:  # of several choices, none is clear
        return source
    if get_origin(kind) is list and isinstance(source, list):
        return [_mend(inner[0], item) for item in source]
    return _mend(inner[0], source)


def _whole_number(source: Any) -> Any:
    """Read 7.0 and "7" as 7. msgspec's own way to take those also takes a number for a date."""
    number = Decimal(source) if isinstance(source, str) and re.fullmatch(_WHOLE, source) else source
    if isinstance(number, Decimal) and number.adjusted() < 20 and number == number.to_integral_value():  # noqa: PLR2004
        return int(number)
    return source


def _time(source: Any) -> Any:
    """Give a time its seconds, and cut its fraction: the last tick of a period does not belong to the next one."""
    found = re.fullmatch(_TIME, source) if isinstance(source, str) else None
    return f"{found[1]}:{found[2] or '00'}{found[3] or ''}{found[4]}" if found else source


def _read_other(kind: Any, source: Any) -> Any:
    return shallow(source) if kind is Anything else _read_one_of(kind, source)


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
