"""Reads the bodies of successes into the public models. Each reader raises ValueError that says where it stops."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import TypeVar

import msgspec

from brex_accounting_api.models import ExportResultsResponse
from brex_accounting_api.models import Integration as WireIntegration
from brex_accounting_api.types import decode, decoder

from ._answers import printable
from .models import AccountingRecord, Integration, InvalidRecord, RecordPage, ReviewStatus

T = TypeVar("T")


class UnreadableRecordError(ValueError):
    """A page holds a record that cannot be understood."""

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


class _Page(msgspec.Struct):
    """A page whose items are still as they came: one that does not fit must not lose the others."""

    items: list[msgspec.Raw]
    has_next_page: bool
    total_count: int | None = None
    next_cursor: str | None = None


class _Identified(msgspec.Struct):
    id: str


class RecordStatus(msgspec.Struct):
    """As much of a record as tells how far it is."""

    id: str
    review_status: ReviewStatus


class StatusPage(msgspec.Struct):
    """A page of no more than that, which no other field of a record can make unreadable."""

    items: list[RecordStatus]
    has_next_page: bool
    next_cursor: str | None = None


def read_integration(body: bytes) -> Integration:
    """Read an integration. Its id comes as `integration_id` or as `id`: Brex publishes both (contract, trap 1)."""
    wire: WireIntegration = decode(WireIntegration, body)
    integration_id = wire.integration_id or wire.id
    if not integration_id:
        message = "Object missing both `integration_id` and `id`"
        raise ValueError(message)
    return Integration(
        id=integration_id,
        vendor=wire.vendor,
        vendor_account_id=wire.vendor_account_id,
        status=wire.status,
        created_at=wire.created_at,
        unknown_fields=dict(wire.additional_properties),
    )


def read_record(body: bytes) -> AccountingRecord:
    """Read a record in one pass; what the model does not know stays in the source until somebody asks for it."""
    body.decode()  # what the decoder passes over has to be text too
    record = _read(AccountingRecord, body)
    if not all(amount.is_finite() for amount in _amounts(record)):
        message = "JSON has no number that is infinite or not a number"
        raise ValueError(message)
    record.__dict__["source"] = body
    return record


def read_lenient_page(body: bytes) -> ReadPage:
    """Read a page, and set the records apart that cannot be understood."""
    wire = _read(_Page, body)
    items, invalid = [], []
    for raw in wire.items:
        source = bytes(raw)
        try:
            items.append(read_record(source))
        except ValueError as error:
            invalid.append(InvalidRecord(_record_id(source), str(error), source))
    page = RecordPage(
        items=items, next_cursor=wire.next_cursor, has_next_page=wire.has_next_page, total_count=wire.total_count
    )
    return ReadPage(page, invalid)


def read_page(body: bytes) -> ReadPage:
    """Read a page on which every record can be understood."""
    read = read_lenient_page(body)
    if read.invalid:
        raise UnreadableRecordError(read.invalid[0])
    return read


def read_status_page(body: bytes) -> StatusPage:
    """Read a page for how far its records are."""
    return _read(StatusPage, body)


def read_updated_ids(body: bytes) -> tuple[str, ...]:
    """Read the ids of the records whose results were taken."""
    return tuple(_read(ExportResultsResponse, body).updated_accounting_record_ids)


def _read(kind: Callable[..., T], body: bytes) -> T:
    """Read without the unknown properties, four times as fast; what does not fit is read once more, for the reason."""
    try:
        value: T = decoder(kind).decode(body)
    except (ValueError, RecursionError):
        pass
    else:
        return value
    again: T = decode(kind, body)
    return again


def _amounts(record: AccountingRecord) -> Iterator[Decimal]:
    yield record.amount.amount
    if record.original_amount is not None:
        yield record.original_amount.amount
    for line in record.line_items:
        yield line.amount.amount
        if line.original_amount is not None:
            yield line.original_amount.amount


def _record_id(source: bytes) -> str | None:
    try:
        return _read(_Identified, source).id
    except ValueError:
        return None
