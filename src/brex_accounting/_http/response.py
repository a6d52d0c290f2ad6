"""How to read what came back: the envelopes of errors, Retry-After, and texts that are safe to show. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import parsedate_to_datetime

from brex_accounting._text import redact

from .body import MAX_BODY


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP answer, its body as far as it came."""

    status: int
    headers: Mapping[str, str]
    """With names in any case."""
    body: bytes
    defect: str | None = None
    """Why the body is not what was sent: cut short, or a broken encoding."""
    too_large: bool = False

    @property
    def length(self) -> int:
        """How many bytes of the body came, after decompression; of one that is too large, how many were taken."""
        return MAX_BODY + 1 if self.too_large else len(self.body)

    @property
    def content_type(self) -> str | None:
        return self.headers.get("content-type")

    @property
    def trace_id(self) -> str | None:
        return self.headers.get("x-brex-trace-id")

    def without(self, secret: str) -> Response:
        """The same answer, should it echo the secret."""
        return replace(
            self,
            headers={name.lower(): redact(value, secret) for name, value in self.headers.items()},
            body=redact(self.body.decode("latin-1"), secret).encode("latin-1"),
        )


@dataclass(frozen=True, slots=True)
class TransportFailure:
    """No HTTP answer came."""

    reason: str
    sent: bool
    """Whether anything of the request may have reached the server."""
    timed_out: bool

    def without(self, secret: str) -> TransportFailure:
        """The same, should the reason quote an answer that echoes the secret."""
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
