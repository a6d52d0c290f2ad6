"""How to read what came back: the envelopes of errors, Retry-After, and texts that are safe to show. No I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

from brex_accounting_api.types import decode

EXCERPT_LENGTH = 300


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, its body as far as it came."""

    status: int
    headers: Mapping[str, str]
    """With names in any case."""
    body: bytes
    defect: str | None = None
    """Why the body is not what was sent: cut short, or a broken encoding."""
    too_large: bool = False

    @property
    def content_type(self) -> str | None:
        return self.headers.get("content-type")

    @property
    def trace_id(self) -> str | None:
        return self.headers.get("x-brex-trace-id")

    def without(self, secret: str) -> Answer:
        """The same answer, should it echo the secret."""
        return replace(self, body=self.body.replace(secret.encode(), b"[redacted]"))


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """No HTTP answer came."""

    reason: str
    sent: bool
    """Whether anything of the request may have reached the server."""
    timed_out: bool


@dataclass(frozen=True, slots=True)
class Envelope:
    """What an error's body says."""

    error_code: str | None
    message: str
    details: dict[str, Any]


def read_envelope(body: bytes) -> Envelope:
    """Read every error body that the contract names: the API's, the gateway's, and the latter under `errors`."""
    try:
        document = decode(Any, body)
    except ValueError:
        document = None
    if isinstance(document, dict):
        inner = document.get("errors")
        if isinstance(inner, list):
            inner = next(iter(inner), None)
        if isinstance(inner, dict) and "error_code" not in document:
            document = inner
        codes = (document.get(name) for name in ("error_code", "code", "type"))
        message, details = document.get("message"), document.get("details")
        return Envelope(
            error_code=next((code for code in codes if isinstance(code, str) and code), None),
            message=printable(message) if isinstance(message, str) else "",
            details=details if isinstance(details, dict) else {},
        )
    return Envelope(error_code=None, message=printable(body.decode("utf-8", "replace")), details={})


def printable(text: str) -> str:
    """Text for one line of a terminal or a log: no control characters, not long."""
    clean = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * EXCERPT_LENGTH]).split())
    return clean if len(clean) <= EXCERPT_LENGTH else clean[: EXCERPT_LENGTH - 1] + "…"


def is_json_type(content_type: str | None) -> bool:
    """Whether a Content-Type is JSON's, or is missing."""
    if content_type is None:
        return True
    return content_type.partition(";")[0].strip().lower().endswith(("/json", "+json"))


def is_json(body: bytes) -> bool:
    try:
        decode(Any, body)
    except ValueError:
        return False
    return True


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds to wait by Retry-After (RFC 9110 10.2.3): delay-seconds or an HTTP-date. Anything else is ignored."""
    value = headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]{1,9}", value):
        return float(value)
    if not re.fullmatch(r"[A-Z][a-z]+,? [-:A-Za-z0-9 ]+", value):
        return None
    try:
        date = parsedate_to_datetime(value)
        moment = date.replace(tzinfo=date.tzinfo or UTC).timestamp()
    except (ValueError, OverflowError):
        return None
    return max(moment - now, 0.0)
