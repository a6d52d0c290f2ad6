"""Checks of what callers pass in, before anything is sent."""

from __future__ import annotations

import re
import sys
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import import_module
from typing import TypeGuard

import attrs

from .errors import ConfigurationError

VISIBLE_ASCII = re.compile(r"[\x21-\x7e]+")
PRINTABLE_ASCII = re.compile(r"[\x20-\x7e]{1,255}")
SURROGATE = re.compile("[\ud800-\udfff]")
LONGEST_ID = 2000
"""Bytes, in UTF-8: quoted, that is at most 6,000 characters of a URL."""


def check_text(value: object, name: str, *, may_be_empty: bool = False) -> str:
    if not isinstance(value, str):
        raise ConfigurationError(f"{name} must be a string, not {type(value).__name__}.")
    if not value.strip() and not may_be_empty:
        raise ConfigurationError(f"{name} is empty: pass a value.")
    if SURROGATE.search(value):
        raise ConfigurationError(f"{name} holds a character that is not Unicode text (a lone surrogate).")
    return str.__str__(value)  # of an enum's member: its value


def check_id(value: object, name: str) -> str:
    """Check an id that becomes a segment of the path: "." and ".." survive quoting and would lead to another path."""
    text = check_text(value, name)
    if text in {".", ".."}:
        raise ConfigurationError(f"{name} is {text!r}, which is not an id: pass the id that Brex returned.")
    if len(text.encode()) > LONGEST_ID:
        raise ConfigurationError(f"{name} is longer than {LONGEST_ID} bytes: pass the id that Brex returned.")
    return text


def is_id(value: object) -> TypeGuard[str]:
    """Return whether an id that the API gave can be used in a call."""
    try:
        check_id(value, "")
    except ConfigurationError:
        return False
    return True


def check_idempotency_key(value: object) -> str:
    """Check a caller's Idempotency-Key, or make one (a UUIDv4, as Brex recommends)."""
    if value is None:
        return str(uuid.uuid4())
    if not isinstance(value, str) or not PRINTABLE_ASCII.fullmatch(value):
        raise ConfigurationError("idempotency_key must be a string of 1 to 255 printable ASCII characters.")
    if value != value.strip():
        raise ConfigurationError("idempotency_key must not begin or end with a space: HTTP would drop it.")
    return str.__str__(value)


def checked(check: Callable[..., object], *, optional: bool = False, **options: object) -> dict[str, object]:
    """Metadata of a field of a `Checked` class: what its value must pass; an optional one may be None."""

    def run(value: object, name: str) -> None:
        if value is not None or not optional:
            check(value, name, **options)

    return {"check": run}


class Checked:
    """An attrs class that checks its fields when it is made, also where attrs' own validators are turned off."""

    __slots__ = ()

    def __attrs_post_init__(self) -> None:
        for field in attrs.fields(type(self)):  # type: ignore[arg-type]
            if "check" in field.metadata:
                field.metadata["check"](getattr(self, field.name), field.name)


def check_positive(value: object, name: str) -> float:
    if not _is_number(value) or value <= 0:
        raise ConfigurationError(f"{name} must be a positive, finite number.")
    return float(value)


def check_not_negative(value: object, name: str) -> float:
    if not _is_number(value) or value < 0:
        raise ConfigurationError(f"{name} must be a finite number, 0 or more.")
    return float(value)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def check_count(value: object, name: str, *, most: int | None = None) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1 or (most is not None and value > most):
        raise ConfigurationError(
            f"{name} must be a whole number " + ("of at least 1." if most is None else f"from 1 to {most:,}.")
        )
    return int(value)


def check_flag(value: object, name: str) -> bool:
    if not isinstance(value, bool):
        raise ConfigurationError(f"{name} must be True or False.")
    return value


def check_datetime(value: object, name: str) -> datetime:
    """Check a moment in time: an aware datetime, or ISO 8601 with an offset. Returns it in UTC."""
    try:
        moment = _read_iso(value) if isinstance(value, str) else value
        if not isinstance(moment, datetime):
            raise ConfigurationError(f"{name} must be a datetime, or ISO 8601 text such as 2025-11-01T00:00:00Z.")
        if moment.utcoffset() is not None:
            return moment.astimezone(UTC)
        wrong = "has no UTC offset: pass an aware datetime, or add Z or an offset such as +01:00"
    except OverflowError:
        wrong = "is outside the years 1 to 9999 in UTC"
    except (ValueError, TypeError, NotImplementedError):
        wrong = "has a tzinfo that gives no offset"
    raise ConfigurationError(f"{name} {wrong}.")


def _read_iso(text: str) -> datetime | None:
    from dateutil.parser import isoparse  # noqa: PLC0415 - few programs pass text

    # isoparse takes any character before the time: 2025-11-01-05:00Z would be five o'clock.
    if not re.fullmatch(r"[-0-9W]+(?:[Tt ].*)?", text):
        return None
    try:
        return isoparse(text)
    except ValueError:
        return None


def check_token(value: object, name: str) -> str:
    """Check a bearer token without ever showing it."""
    if not isinstance(value, str) or not VISIBLE_ASCII.fullmatch(value):
        raise ConfigurationError(
            f"{name} must be a string of visible ASCII characters: no spaces, no line breaks, not empty."
        )
    return str.__str__(value)


def check_extra(extra: str, *modules: str) -> None:
    """Import the modules of an extra; if one is missing, raise ConfigurationError that says what to install."""
    problem = ""
    for name in modules:
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            problem = f'{error.name or name} is missing: pip install "brex-accounting[{extra}]".'
        except ImportError:  # psycopg, without the C library that it needs
            problem = f'{name} cannot be imported: pip install "{name}[binary]".'
        if problem:
            raise ConfigurationError(problem)
