"""JSON with the exact digits of its numbers, in a form that can be copied and written from any depth of calls."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress
from decimal import Decimal
from typing import Any, NoReturn

import msgspec

NOT_A_NUMBER = "JSON has no number that is infinite or not a number"
TOO_DEEP = "the JSON is nested too deeply"
DEEPEST = 64

_TEXT_OR_NUMBER = rb'"[^"\\]*(?:\\.[^"\\]*)*"|-?[0-9][-+.eE0-9]*'


def read_exactly(literal: str) -> Decimal | str:
    """Read a number of any size. One that even a Decimal cannot hold stays text."""
    try:
        return Decimal(literal)
    except ArithmeticError:
        return literal


encoder = msgspec.json.Encoder(decimal_format="number")
_decoder = msgspec.json.Decoder(float_hook=read_exactly)


def read_untyped(content: bytes) -> Any:
    """Read JSON as dicts, lists and plain values."""
    with suppress(msgspec.ValidationError):
        return _decoder.decode(content)
    return _decoder.decode(re.sub(_TEXT_OR_NUMBER, _quote_long_integer, content))


def _quote_long_integer(found: re.Match[bytes]) -> bytes:
    """Python reads no integer of more than 4,300 digits (a Decimal has any number of them): it stays text."""
    long = len(found[0]) > 4300 and found[0].lstrip(b"-").isdigit()  # noqa: PLR2004
    return b'"%s"' % found[0] if long else found[0]


def shallow(source: Any) -> Any:
    """Leave 64 levels, which can be copied and written from any depth of calls; what is deeper becomes its text."""
    level = [source]
    for _ in range(DEEPEST - 1):
        level = [inner for each in level for _, inner in _items(each) if isinstance(inner, (dict, list))]
        if not level:
            return source
    for each in level:
        for place, inner in _items(each):
            if isinstance(inner, (dict, list)):
                each[place] = encoder.encode(inner).decode()
    return source


def _items(source: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(source, dict):
        return list(source.items())
    return list(enumerate(source)) if isinstance(source, list) else []


def finite(number: Decimal) -> Decimal:
    """Return the number. Raises ValueError where JSON has none such."""
    if not number.is_finite():
        raise ValueError(NOT_A_NUMBER)
    return number


def all_finite(value: Any) -> bool:
    """Say whether a number, or each in a list, can be written as JSON."""
    if isinstance(value, list):
        return all(map(all_finite, value))
    return not isinstance(value, Decimal) or value.is_finite()


def refuse_number(name: str) -> NoReturn:
    """Raise ValueError for the field of this name."""
    raise ValueError(f"{NOT_A_NUMBER}: `{name}`")
