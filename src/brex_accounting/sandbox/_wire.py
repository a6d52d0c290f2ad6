"""What goes over the wire: JSON with exact numbers, answers, the one error envelope; and where to."""

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


class Number(str):
    """A JSON number, held as the literal to write, so that it never passes through a float."""

    __slots__ = ()


def to_json(value: JSON) -> str:
    """Write compact JSON; json.dumps cannot write a number from its literal."""
    if isinstance(value, str):  # first, for most values are text
        return str(value) if isinstance(value, Number) else _quote(value)
    if isinstance(value, dict):
        return "{" + ",".join([f"{_quote(name)}:{to_json(item)}" for name, item in value.items()]) + "}"
    if isinstance(value, list):
        return "[" + ",".join([to_json(item) for item in value]) + "]"
    return _scalar(value)


def exact_json(value: object) -> JSON:
    """Return a value from Python as JSON: Decimals and floats by their digits, aware datetimes in UTC.

    ValueError for what JSON cannot say.
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
                raise ValueError("a datetime must have a time zone")
            return timestamp(value)
        case Mapping():
            return {_name(name): exact_json(item) for name, item in value.items()}
        case list() | tuple():
            return [exact_json(item) for item in value]
        case _:
            raise ValueError(f"{type(value).__name__} is not a JSON value")


def _name(name: object) -> str:
    if not isinstance(name, str):
        raise ValueError("the names in a JSON object are text")  # noqa: TRY004  # as above
    return name


def timestamp(moment: datetime, precision: Literal["milliseconds", "microseconds"] = "microseconds") -> str:
    """Write a moment as Brex does: in UTC, with Z and six digits of a second, or three."""
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec=precision)}Z"


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, complete but for the headers that every answer has."""

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
    """Answer with the envelope of Brex's gateway, which the description does not know."""
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
    """Tell whether only this machine can reach it."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
