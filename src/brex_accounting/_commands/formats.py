"""The formats of an export: CSV and JSON Lines."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from io import StringIO, TextIOWrapper
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

import msgspec

from brex_accounting.models import AccountingRecord

from .exit_codes import Code, stop
from .ledger import COLUMNS, document, rows, text

if TYPE_CHECKING:
    from _csv import Reader

LONGEST_TEXT = 2**31 - 1
"""Characters of a value in a CSV file. Python's default limit, 131,072, is less than a memo can hold."""

Key = tuple[str, str]
"""A record as it is written: its id and its version."""


def csv_reader(lines: Iterable[str], *, separator: str = ",", strict: bool = False) -> Reader:
    """Read CSV with values of any length."""
    csv.field_size_limit(LONGEST_TEXT)
    return csv.reader(lines, delimiter=separator, strict=strict)


class Format(Protocol):
    """How records become bytes."""

    head: bytes

    def page(self, records: Iterable[AccountingRecord]) -> bytes:
        """Write records, whole lines."""
        ...

    def key(self, record: AccountingRecord) -> Key:
        """Identify a record as `keys` does."""
        ...

    def keys(self, stream: IO[bytes]) -> set[Key]:
        """Read which records are there; leaves the stream open, at its end."""
        ...


class CSVFormat:
    """A row for each line item."""

    def __init__(self, *, excel: bool = False, semicolon: bool = False) -> None:
        self._separator = ";" if semicolon else ","
        self._encoding = "utf-8-sig" if excel else "utf-8"  # without a BOM, Excel reads another encoding
        self.head = self._csv([COLUMNS]).encode(self._encoding)

    def page(self, records: Iterable[AccountingRecord]) -> bytes:
        """Write records."""
        return self._csv(row for record in records for row in rows(record, self._separator)).encode()

    def key(self, record: AccountingRecord) -> Key:
        """Identify a record as `keys` does."""
        return text(record.id, self._separator), str(record.version)

    def keys(self, stream: IO[bytes]) -> set[Key]:
        """Read which records are there."""
        wrapper = TextIOWrapper(stream, encoding="utf-8", newline="")
        try:
            return {(row[0], row[1]) for row in csv_reader(wrapper, separator=self._separator)}
        finally:
            wrapper.detach()

    def _csv(self, lines: Iterable[Iterable[str]]) -> str:
        written = StringIO()
        # Rows end with \r\n (RFC 4180): with another ending, csv would not quote a \r in a text.
        csv.writer(written, delimiter=self._separator).writerows(lines)
        return written.getvalue()


class JSONLinesFormat:
    """A record a line."""

    head = b""

    def page(self, records: Iterable[AccountingRecord]) -> bytes:
        """Write records."""
        return b"".join(msgspec.json.encode(document(record)) + b"\n" for record in records)

    def key(self, record: AccountingRecord) -> Key:
        """Identify a record as `keys` does."""
        return record.id, str(record.version)

    def keys(self, stream: IO[bytes]) -> set[Key]:
        """Read which records are there."""
        read = (msgspec.json.decode(line, type=_Written) for line in stream)
        return {(each.id, str(each.version)) for each in read}


class _Written(msgspec.Struct):
    id: str
    version: int


def format_of(file: Path, *, excel: bool = False, semicolon: bool = False) -> Format:
    """Choose by the extension."""
    match file.suffix.lower():
        case ".csv":
            return CSVFormat(excel=excel, semicolon=semicolon)
        case ".jsonl" | ".ndjson":
            if excel or semicolon:
                stop(f"--{'excel' if excel else 'semicolon'} is for CSV: name a file that ends in .csv.", Code.USAGE)
            return JSONLinesFormat()
        case _:
            return stop(f"{file} ends in neither .csv nor .jsonl or .ndjson: its name says what to write.", Code.USAGE)
