"""How to read what came back: the envelopes of errors, Retry-After, and texts that are safe to show. No I/O."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any

from brex_accounting_api.types import decode

EXCERPT_LENGTH = 300
MAX_BODY = 64 * 1024 * 1024
_STEP = 1024 * 1024


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
    def length(self) -> int:
        """How many bytes of the body came, after decompression; of one that is too large, how many were taken."""
        return MAX_BODY + 1 if self.too_large else len(self.body)

    @property
    def content_type(self) -> str | None:
        return self.headers.get("content-type")

    @property
    def trace_id(self) -> str | None:
        return self.headers.get("x-brex-trace-id")

    def without(self, secret: str) -> Answer:
        """The same answer, should it echo the secret."""
        return replace(
            self,
            headers={name.lower(): _redact(value, secret) for name, value in self.headers.items()},
            body=_redact(self.body.decode("latin-1"), secret).encode("latin-1"),
        )


@dataclass(frozen=True, slots=True)
class NoAnswer:
    """No HTTP answer came."""

    reason: str
    sent: bool
    """Whether anything of the request may have reached the server."""
    timed_out: bool

    def without(self, secret: str) -> NoAnswer:
        """The same, should the reason quote an answer that echoes the secret."""
        return replace(self, reason=_redact(self.reason, secret))


SHORTEST_SECRET = 8
"""Characters: a shorter token, such as a test's, is a word that ids are made of too."""


def _redact(text: str, secret: str) -> str:
    """Take the secret out, also as JSON may write it: signs with a backslash before them, or as their number."""
    if len(secret) < SHORTEST_SECRET:
        return text
    characters = (c if c.isalnum() else rf"(?:\\?{re.escape(c)}|\\u00(?i:{ord(c):02x}))" for c in secret)
    return re.sub("".join(characters), "[redacted]", text)


class Body:
    """A body on its way in: decompressed, and never much more of it in memory than the limit.

    httpx's own decoders make gigabytes of 64 KiB that were compressed twice, and take a compressed body that was cut
    short for a whole one.
    """

    def __init__(self, encoding: str | None = None) -> None:
        self._encoding = (encoding or "identity").strip().lower()
        self._inflater = zlib.decompressobj(zlib.MAX_WBITS | 16) if self._encoding == "gzip" else None
        self._content = bytearray()
        self._received = 0

    def feed(self, raw: bytes) -> None:
        """Take what came. Raises zlib.error where it cannot be decompressed."""
        self._received += len(raw)
        if self._inflater is None:
            self._content += raw[: MAX_BODY + 1 - len(self._content)]
            return
        while raw and not self.too_large and not self._inflater.eof:  # what follows the end is padding
            self._content += self._inflater.decompress(raw, min(_STEP, MAX_BODY + 1 - len(self._content)))
            raw = self._inflater.unconsumed_tail

    @property
    def content(self) -> bytes:
        """The body as far as it came; nothing of one that is too large."""
        return b"" if self.too_large else bytes(self._content)

    @property
    def too_large(self) -> bool:
        return self._received > MAX_BODY or len(self._content) > MAX_BODY

    @property
    def defect(self) -> str | None:
        """What is wrong with a body that came to its end."""
        if self._inflater is None:
            return None if self._encoding == "identity" else "its Content-Encoding was not asked for"
        return "its body was cut short" if self._received and not self._inflater.eof else None


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
    return Envelope(
        error_code=None, message=printable(body[: 16 * EXCERPT_LENGTH].decode("utf-8", "replace")), details={}
    )


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
