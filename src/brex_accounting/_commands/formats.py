"""The formats of an export: CSV and JSON Lines."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from io import StringIO, TextIOWrapper
from pathlib import Path
from typing import IO, Protocol

import msgspec

from brex_accounting.models import AccountingRecord

from .exit_codes import Code, stop
from .ledger import COLUMNS, document, rows, text

Key = tuple[str, str]
"""A record as it is written: its id and its version."""


class Format(Protocol):
    """How records become bytes."""

    head: bytes

    def page(self, records: Iterable[AccountingRecord]) -> bytes:
        """Write records, whole lines."""
        ...

    def key(self, record: AccountingRecord) -> Key:
        """Tell a record from others."""
        ...

    def keys(self, stream: IO[bytes]) -> set[Key]:
        """Read which records are there; leaves the stream open, at its end."""
        ...


class CSVFormat:
    """A row for each line item."""

    def __init__(self) -> None:
        self.head = _csv([COLUMNS])

    def page(self, records: Iterable[AccountingRecord]) -> bytes:
        """Write records."""
        return _csv(row for record in records for row in rows(record))

    def key(self, record: AccountingRecord) -> Key:
        """Tell a record from others."""
        return text(record.id), str(record.version)

    def keys(self, stream: IO[bytes]) -> set[Key]:
        """Read which records are there."""
        wrapper = TextIOWrapper(stream, encoding="utf-8", newline="")
        try:
            return {(row[0], row[1]) for row in csv.reader(wrapper)}
        finally:
            wrapper.detach()


class JSONLinesFormat:
    """A record a line."""

    head = b""

    def page(self, records: Iterable[AccountingRecord]) -> bytes:
        """Write records."""
        return b"".join(msgspec.json.encode(document(record)) + b"\n" for record in records)

    def key(self, record: AccountingRecord) -> Key:
        """Tell a record from others."""
        return record.id, str(record.version)

    def keys(self, stream: IO[bytes]) -> set[Key]:
        """Read which records are there."""
        read = (msgspec.json.decode(line, type=_Written) for line in stream)
        return {(each.id, str(each.version)) for each in read}


class _Written(msgspec.Struct):
    id: str
    version: int


def format_of(file: Path) -> Format:
    """Choose by the extension."""
    match file.suffix.lower():
        case ".csv":
            return CSVFormat()
        case ".jsonl" | ".ndjson":
            return JSONLinesFormat()
        case _:
            return stop(f"{file} ends in neither .csv nor .jsonl or .ndjson: its name says what to write.", Code.USAGE)


def _csv(lines: Iterable[Iterable[str]]) -> bytes:
    written = StringIO()
    csv.writer(written).writerows(lines)  # with \r\n (RFC 4180): by another ending it would not quote a \r in a text
    return written.getvalue().encode()
