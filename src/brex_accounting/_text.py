"""Text that is safe to show: one short line without control characters or secrets."""

from __future__ import annotations

import re
from typing import TypeVar, cast

T = TypeVar("T")

EXCERPT_LENGTH = 300

SHORTEST_SECRET = 8
"""Characters: a shorter token, such as a test's, is a word that ids are made of too."""


def redact(text: str, secret: str) -> str:
    """Take the secret out, also as JSON may write it: signs with a backslash before them, or as their number."""
    if len(secret) < SHORTEST_SECRET:
        return text
    characters = (c if c.isalnum() else rf"(?:\\?{re.escape(c)}|\\u00(?i:{ord(c):02x}))" for c in secret)
    return re.sub("".join(characters), "[redacted]", text)


def printable(text: str) -> str:
    """Text for one line of a terminal or a log: no control characters, not long."""
    clean = " ".join("".join(c if c.isprintable() else " " for c in text[: 4 * EXCERPT_LENGTH]).split())
    return clean if len(clean) <= EXCERPT_LENGTH else clean[: EXCERPT_LENGTH - 1] + "…"


def without_bom(body: bytes) -> bytes:
    """Take away the byte order mark that some servers put before JSON (RFC 8259 8.1 lets readers ignore it)."""
    return body.removeprefix(b"\xef\xbb\xbf")


class Secret(str):
    """A string whose repr shows nothing: tracebacks with locals show reprs."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'[secret]'"


def veil(value: T) -> T:
    """Return the same, and if it is a string, one that shows nothing."""
    return cast("T", Secret(value)) if isinstance(value, str) else value
