"""What goes over the wire: JSON with exact numbers, answers and error envelopes."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from http import HTTPStatus
from ipaddress import ip_address
from typing import Literal, TypeAlias

JSON: TypeAlias = "bool | int | str | Sequence[JSON] | Mapping[str, JSON] | None"
_scalar = json.JSONEncoder().encode
_quote = json.encoder.encode_basestring_ascii
Headers: TypeAlias = tuple[tuple[str, str], ...]


class Verbatim(str):
    """JSON text, written as it is."""

    __slots__ = ()


class Number(Verbatim):
    """A JSON number, kept as its literal, so that it never passes through a float."""

    __slots__ = ()


def to_json(value: JSON) -> str:
    """Write compact JSON, with numbers as their literals, which json.dumps cannot do."""
    if isinstance(value, str):  # first, since most values are
        return str(value) if isinstance(value, Verbatim) else _quote(value)
    if isinstance(value, dict):
        return "{" + ",".join([f"{_quote(name)}:{to_json(item)}" for name, item in value.items()]) + "}"
    if isinstance(value, list):
        return "[" + ",".join([to_json(item) for item in value]) + "]"
    return _scalar(value)


def exact_json(value: object) -> JSON:
    """Convert a Python value to JSON: Decimals and floats by their digits, aware datetimes in UTC.

    ValueError for what JSON cannot express.
    """
    match value:
        case bool() | int() | str() | None:
            return value
        case float() | Decimal():
            number = Decimal(repr(value)) if isinstance(value, float) else value
            if not number.is_finite():
                raise ValueError(f"{value} is not a JSON number")
            return Number(number)
        case datetime():
            if value.tzinfo is None:
                raise ValueError("a datetime must be aware")
            return timestamp(value)
        case Mapping():
            return {_name(name): exact_json(item) for name, item in value.items()}
        case list() | tuple():
            return [exact_json(item) for item in value]
        case _:
            raise ValueError(f"{type(value).__name__} is not a JSON value")


def _name(name: object) -> str:
    if not isinstance(name, str):
        raise ValueError("names in a JSON object must be strings")  # noqa: TRY004  # like any invalid value
    return name


def timestamp(moment: datetime, precision: Literal["milliseconds", "microseconds"] = "microseconds") -> str:
    """Format a time as Brex does: in UTC, with Z and six or three digits of a second."""
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=precision)}Z"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, without the headers that every answer has."""

    status: int
    body: bytes
    headers: Headers = ()
    media_type: str = "application/json"


def success(value: JSON) -> Reply:
    """Answer 200 with this value."""
    return Reply(HTTPStatus.OK, to_json(value).encode())


def error(
    status: int,
    code: str,
    message: str,
    details: Mapping[str, JSON] | None = None,
    *,
    headers: Headers = (),
) -> Reply:
    """Answer with an AccountingErrorResponse."""
    body = to_json({"error_code": code, "message": message, "details": details})
    return Reply(status, body.encode(), headers)


def gateway_error(status: int, *, headers: Headers = ()) -> Reply:
    """Answer with the envelope of Brex's gateway, which is not in the description."""
    try:
        known = HTTPStatus(status)
    except ValueError:
        body = to_json({"type": "UNKNOWN_ERROR", "message": f"The gateway answered {status}."})
    else:
        body = to_json({"type": known.name, "message": known.phrase})
    return Reply(status, body.encode(), headers)


def html(status: int, *, headers: Headers = ()) -> Reply:
    """Answer with a page of HTML, as proxies do."""
    page = f"<!DOCTYPE html><html><head><title>{status}</title></head><body><h1>{status}</h1></body></html>"
    return Reply(status, page.encode(), headers, "text/html")


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach the host."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
