"""Reads the body of a response, decompressed and within a bound."""

from __future__ import annotations

import zlib

from brex_accounting._text import without_bom

MAX_BODY = 64 * 1024 * 1024

_STEP = 1024 * 1024
_GZIP = {"gzip", "x-gzip"}  # the same, by RFC 9110 8.4.1.3
_PLAIN = {"", "identity", "none", "utf-8", "utf8"}  # the last three are servers' mistakes for no encoding


class Body:
    """A body on its way in: decompressed, and never much more of it in memory than the limit.

    httpx's own decoders turn 64 KiB that was compressed twice into gigabytes, accept a compressed body that was cut
    short, and read only the first member of a gzip body that has several.
    """

    def __init__(self, content_encoding: str | None = None, limit: int = MAX_BODY) -> None:
        self._limit = limit
        self._encodings = _read_encodings(content_encoding) if content_encoding else []
        self._member: zlib._Decompress | None = None
        """The gzip member that is being read."""
        if len(self._encodings) == 1 and self._encodings[0] in _GZIP:
            self._member = _new_member()
        self._content = bytearray()
        self._received = 0

    def feed(self, raw: bytes) -> None:
        """Take what was received. Raises zlib.error if it cannot be decompressed."""
        self._received += len(raw)
        if self._member is None:
            self._content += raw[: self._limit + 1 - len(self._content)]
            return
        while raw and not self.too_large:
            if self._member.eof:
                raw = raw.lstrip(b"\0")  # padding, as gzip takes it
                if not raw:
                    break
                self._member = _new_member()  # RFC 1952 2.2: members follow each other
            self._content += self._member.decompress(raw, min(_STEP, self._limit + 1 - len(self._content)))
            raw = self._member.unused_data if self._member.eof else self._member.unconsumed_tail

    @property
    def decompressed(self) -> bytes:
        """The body as far as it was received; nothing of one that is too large."""
        return b"" if self.too_large else bytes(self._content)

    @property
    def content(self) -> bytes:
        """The same without a byte order mark."""
        return without_bom(self.decompressed)

    @property
    def too_large(self) -> bool:
        return self._received > self._limit or len(self._content) > self._limit

    @property
    def defect(self) -> str | None:
        """What is wrong with a body that was received to its end."""
        if self._member is None:
            return "its Content-Encoding was not asked for" if self._encodings else None
        return "its body was cut short" if self._received and not self._member.eof else None


def _read_encodings(content_encoding: str) -> list[str]:
    encodings = (each.strip().lower() for each in content_encoding.split(","))
    return [each for each in encodings if each not in _PLAIN]


def _new_member() -> zlib._Decompress:
    return zlib.decompressobj(zlib.MAX_WBITS | 16)
