"""Reads the body of a response, decompressed and within a bound."""

from __future__ import annotations

import zlib

MAX_BODY = 64 * 1024 * 1024

_STEP = 1024 * 1024


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
