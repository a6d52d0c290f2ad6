"""What comes back: an HTTP response, or the transport's failure. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import Enum, auto

from brex_accounting._text import redact

from .body import MAX_BODY


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response, its body as far as it was received."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    """Names are case-insensitive."""
    body: bytes = field(repr=False)
    defect: str | None = None
    """Why the body is not what was sent: cut short, or a broken encoding."""
    too_large: bool = False
    surplus: bool = False
    """Whether something more was received behind it. Then nobody can say which request it answers."""

    @property
    def length(self) -> int:
        """The length of the body in bytes, after decompression; of one that is too large, how many were read."""
        return MAX_BODY + 1 if self.too_large else len(self.body)

    @property
    def content_type(self) -> str | None:
        return self.headers.get("content-type")

    @property
    def trace_id(self) -> str | None:
        return self.headers.get("x-brex-trace-id")

    def without(self, secret: str) -> Response:
        """The same, in case it echoes the secret."""
        return replace(
            self,
            headers={name.lower(): redact(value, secret) for name, value in self.headers.items()},
            body=redact(self.body.decode("latin-1"), secret).encode("latin-1"),
        )


class Cause(Enum):
    """Why there is no response, where that decides what to do next."""

    OTHER = auto()
    PROXY_CREDENTIALS = auto()
    """The proxy does not accept the user name and password (401, 407)."""
    PROXY_REFUSAL = auto()
    """The proxy refuses to connect to this address (any other 4xx)."""
    DESCRIPTORS = auto()
    """The process, or the machine, has no file descriptor left."""
    KEPT_CONNECTION = auto()
    """A connection kept from an earlier request broke before any of the response came: the server, or something on the
    way to it, has given it up."""


@dataclass(frozen=True, slots=True)
class TransportFailure:
    """There is no HTTP response."""

    reason: str
    sent: bool
    """Whether anything of the request may have reached the server."""
    timed_out: bool
    cause: Cause = Cause.OTHER
    unfinished: Response | None = None
    """What was received, if the time was over before the body was."""

    def without(self, secret: str) -> TransportFailure:
        """The same, in case the reason quotes an answer that echoes the secret."""
        return replace(self, reason=redact(self.reason, secret))


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds to wait by Retry-After (RFC 9110 10.2.3): delay-seconds or an HTTP-date. Anything else is ignored."""
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value):
        return float(value)
    if not re.fullmatch(r"[A-Z][a-z]+,? [-:A-Za-z0-9 ]+", value):
        return None
    try:
        date = parsedate_to_datetime(value)
        moment = date.replace(tzinfo=date.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError):
        return None
    return max(moment - now, 0.0)
