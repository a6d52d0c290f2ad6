"""Reads the bodies of successes into the public models. Each reader raises ValueError that says where it stops."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

import msgspec

from brex_accounting._text import printable
from brex_accounting.models import AccountingRecord, InvalidRecord, RecordPage, ReviewStatus
from brex_accounting_api.models import ExportResultsResponse
from brex_accounting_api.types import decode, decode_known, decoder, has_long_fraction, keep_source

T = TypeVar("T")


class UnreadableRecordError(ValueError):
    """An answer holds a record that cannot be understood."""

    def __init__(self, record: InvalidRecord) -> None:
        super().__init__(f"the record {printable(record.record_id or 'without a readable id')}: {record.reason}")
        self.record_id = record.record_id


class ReadPage(msgspec.Struct, frozen=True):
    """A page, and the records on it that cannot be understood."""

    page: RecordPage
    invalid: list[InvalidRecord]

    @property
    def next_cursor(self) -> str | None:
        return self.page.next_cursor

    @property
    def has_next_page(self) -> bool:
        return self.page.has_next_page

    @property
    def record_ids(self) -> list[str]:
        """As far as they can be read."""
        readable = [each.id for each in self.page.items]
        return readable + [each.record_id for each in self.invalid if each.record_id is not None]


class _Page(msgspec.Struct):
    """A page whose items are not parsed yet: a bad one must not lose the others."""

    items: list[msgspec.Raw]
    has_next_page: bool
    total_count: msgspec.Raw = msgspec.Raw(b"null")
    next_cursor: str | None = None


class _KnownPage(msgspec.Struct):
    """A page whose records all fit."""

    items: list[AccountingRecord]
    has_next_page: bool
    total_count: int | None = None
    next_cursor: str | None = None


class _Identified(msgspec.Struct):
    id: str


class RecordStatus(msgspec.Struct):
    """The id and the review status of a record."""

    id: str
    review_status: ReviewStatus


class StatusPage(msgspec.Struct):
    """A page of the records whose status can be read, whatever else they hold."""

    items: list[RecordStatus]
    has_next_page: bool
    next_cursor: str | None = None

    @property
    def has_news(self) -> bool:
        return bool(self.items)

    @property
    def record_ids(self) -> list[str]:
        return [each.id for each in self.items]


def read_record(body: bytes) -> AccountingRecord:
    """Read an answer that is a record, with all that is unknown in it: of one record, that costs next to nothing."""
    try:
        _check_text(body)
        one: AccountingRecord = decode(AccountingRecord, body)
    except ValueError as error:
        invalid = _invalid(body, error)
    else:
        return one
    if invalid.record_id is None:
        raise ValueError(invalid.reason)
    raise UnreadableRecordError(invalid)


def read_lenient_page(body: bytes) -> ReadPage:
    """Read a page, and separate the records that cannot be understood."""
    page = _read_at_once(body)
    if page is not None:
        return ReadPage(page, [])
    wire = _read_wire_page(body)
    items, invalid = [], []
    for raw in wire.items:
        source = bytes(raw)
        try:
            items.append(_read_record(source))
        except ValueError as error:
            invalid.append(_invalid(source, error))
    return ReadPage(_page(wire, items, _count(wire.total_count)), invalid)


def _read_at_once(body: bytes) -> RecordPage | None:
    """Read a page whose records all fit, the usual one, in half the time; None for any other."""
    if has_long_fraction(body):
        return None
    try:
        _check_text(body)
        page = decoder(_KnownPage).decode(body)
        sources = decoder(_Page).decode(body).items
    except (ValueError, RecursionError):
        return None
    for record, source in zip(page.items, sources, strict=True):
        keep_source(record, bytes(source))
    return _page(page, page.items, page.total_count)


def _count(raw: msgspec.Raw) -> int | None:
    try:
        count: int | None = decode(int | None, bytes(raw))
    except ValueError as error:
        reason = f"{error} - at `$.total_count`"
    else:
        return count
    raise ValueError(reason)


def _page(wire: _Page | _KnownPage, items: list[AccountingRecord], count: int | None) -> RecordPage:
    return RecordPage(
        items=items,
        next_cursor=(wire.next_cursor or None) if wire.has_next_page else None,
        has_next_page=wire.has_next_page,
        total_count=count,
    )


def read_page(body: bytes) -> ReadPage:
    """Read a page on which every record can be understood."""
    read = read_lenient_page(body)
    if read.invalid:
        raise UnreadableRecordError(read.invalid[0])
    return read


def read_status_page(body: bytes) -> StatusPage:
    """Read a page for the status of its records."""
    wire = _read_wire_page(body)
    statuses = (_read_status(bytes(raw)) for raw in wire.items)
    return StatusPage([each for each in statuses if each is not None], wire.has_next_page, wire.next_cursor)


def read_updated_ids(body: bytes) -> tuple[str, ...]:
    """Read the ids of the records whose results were taken."""
    return tuple(_read(ExportResultsResponse, body).updated_accounting_record_ids)


def _read(kind: Callable[..., T], body: bytes) -> T:
    """Read what holds no times, several times as fast; what does not fit is read once more, for the reason."""
    try:
        value: T = decoder(kind).decode(body)
    except (ValueError, RecursionError):
        pass
    else:
        return value
    again: T = decode(kind, body)
    return again


def _read_wire_page(body: bytes) -> _Page:
    try:
        return _read(_Page, body)
    except ValueError:
        split = split_items(body)
        if split is None:
            raise
    items, rest = split
    return msgspec.structs.replace(_read(_Page, rest), items=[msgspec.Raw(item) for item in items])


def _read_record(body: bytes) -> AccountingRecord:
    """Read a record in one pass; unknown fields stay in the source until somebody asks for them."""
    _check_text(body)
    try:
        record: AccountingRecord = decode_known(AccountingRecord, body)
    except (ValueError, RecursionError):
        record = decode(AccountingRecord, body)  # for the reason, without values
    keep_source(record, body)
    return record


def _check_text(body: bytes) -> None:
    """Check that what the decoder skips is text too."""
    if body.isascii():
        return
    with suppress(UnicodeDecodeError):  # its text would show what stands there
        body.decode()
        return
    message = "the JSON is not UTF-8"
    raise ValueError(message)


def _invalid(source: bytes, error: ValueError) -> InvalidRecord:
    """Describe a record that does not fit. A reason about the record as a whole gets a path too."""
    reason = str(error)
    return InvalidRecord(_record_id(source), reason if " - at `" in reason else f"{reason} - at `$`", source)


def _read_status(source: bytes) -> RecordStatus | None:
    with suppress(ValueError):
        return _read(RecordStatus, source)
    with suppress(ValueError):
        return msgspec.convert(_parse_leniently(source), RecordStatus)
    return None


def _record_id(source: bytes) -> str | None:
    try:
        return _read(_Identified, source).id
    except ValueError:
        pass
    document = _parse_leniently(source)
    found = document.get("id") if isinstance(document, dict) else None
    return found if isinstance(found, str) else None


def _parse_leniently(source: bytes) -> object:
    """Read JSON that may hold half a surrogate pair in some text: json takes it, msgspec does not."""
    try:
        return json.loads(source)
    except (ValueError, RecursionError):
        return None


_TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[][{},:"]', re.DOTALL)


def split_items(page: bytes) -> tuple[list[bytes], bytes] | None:
    """Return the items, and the page without them; None if it has no complete `items`."""
    items: list[bytes] = []
    depth = began = start = 0
    before = last = b""
    for token in _TOKEN.finditer(page):
        sign = token[0]
        if sign in b"[{":
            depth += 1
            if not began and (depth, before, last, sign) == (2, b'"items"', b":", b"["):
                began = start = token.end()
        elif sign in b"]}":
            depth -= 1
        elif sign == b'"':  # a text without an end
            return None
        ends = began and depth == 1
        if ends or (began and depth == 2 and sign == b","):  # noqa: PLR2004 - the depth of the items
            items.append(page[start : token.start()].strip())
            start = token.end()
        if ends:
            found = [] if items == [b""] else items
            return (found, page[:began] + page[token.start() :]) if all(found) else None
        before, last = last, sign
    return None
