"""The public names of what the API sends and takes."""

from __future__ import annotations

import decimal
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, Self

import msgspec

from brex_accounting_api.models import (
    AccountingFieldValue,
    AccountingRecordDetailed,
    IntegrationStatus,
    LineItem,
    LineItemType,
    Money,
    Receipt,
    RecordType,
    ReviewStatus,
    SourceType,
    User,
    Vendor,
)
from brex_accounting_api.types import keep_unknown

from ._arguments import check_text
from .errors import BrexError

__all__ = [
    "AccountingFieldValue",
    "AccountingRecord",
    "ExportFailed",
    "ExportResult",
    "ExportSucceeded",
    "Integration",
    "IntegrationStatus",
    "InvalidRecord",
    "LineItem",
    "LineItemType",
    "Money",
    "Receipt",
    "RecordPage",
    "RecordType",
    "ReportOutcome",
    "ReviewStatus",
    "SourceType",
    "User",
    "Vendor",
]

# Wide enough that a sum of real amounts is never rounded; one that would be is refused instead.
_EXACT = decimal.Context(prec=10_000, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN, traps=[decimal.Inexact])


class Integration(msgspec.Struct, kw_only=True, frozen=True):
    """A connection between a Brex account and an accounting system."""

    id: str
    """Brex's id of it, ``int_…``."""
    vendor: str
    """The vendor id that Brex assigned to the accounting system."""
    vendor_account_id: str
    """The customer's account in the accounting system."""
    status: IntegrationStatus
    """ACTIVE or DISABLED; a value that this version does not know is kept, and equals its string."""
    created_at: datetime
    """With its offset."""
    unknown_fields: Mapping[str, Any] = {}
    """What the API sent that this version does not know."""

    def __hash__(self) -> int:
        return hash(self.id)


class AccountingRecord(AccountingRecordDetailed, kw_only=True):
    """A financial event on the account, with all that an accounting system needs to book it.

    Amounts are Decimals in major currency units (100.5 is a hundred dollars fifty), with exactly the digits that the
    API sent. Times carry their offset. What the API left out and what it sent as null both read as None. Names come as
    they were entered, with the spaces they may end in. Enums keep the values that this version does not know.

    There is no date of purchase (contract, trap 9): book by `erp_posting_date`. The `download_uris` of a receipt work
    for 15 minutes; `brex.records.get` fetches the record with fresh ones.
    """

    @property
    def is_balanced(self) -> bool:
        """Whether debits equal credits, exactly and in each currency. Without balancing lines (`single_entry`): no.

        A line whose type this version does not know counts on neither side.
        """
        sums: defaultdict[str, Decimal] = defaultdict(Decimal)
        try:
            for line in self.line_items:
                if line.type in {LineItemType.DEBIT, LineItemType.CREDIT}:
                    add = _EXACT.add if line.type == LineItemType.DEBIT else _EXACT.subtract
                    sums[line.amount.currency] = add(sums[line.amount.currency], line.amount.amount)
        except decimal.Inexact:  # amounts thousands of digits apart
            return False
        return not any(sums.values())

    @property
    def unknown_fields(self) -> Mapping[str, Any]:
        """The top-level fields that this version does not know, as they came; numbers with a fraction are Decimals.

        Those further in are in `additional_properties` of the money, line item, … once this one has been read.
        """
        source = self.__dict__.get("_source")
        if source is not None:
            keep_unknown(self, source)
            del self.__dict__["_source"]
        return super().additional_properties

    @property
    def additional_properties(self) -> dict[str, Any]:
        """The same as `unknown_fields`."""
        return dict(self.unknown_fields)

    def to_dict(self) -> dict[str, Any]:
        """Return dicts, lists and plain values, with the API's names; numbers with a fraction are Decimals."""
        _ = self.unknown_fields
        return super().to_dict()

    def __copy__(self) -> Self:
        _ = self.unknown_fields
        return super().__copy__()


class RecordPage(msgspec.Struct, kw_only=True, frozen=True):
    """One page of accounting records."""

    items: list[AccountingRecord]
    """The records, in the API's order."""
    next_cursor: str | None
    """Pass it as `cursor` to go on after this page; None after the last one, and where ids were split over requests."""
    has_next_page: bool
    """Whether another page follows."""
    total_count: int | None = None
    """How many records match in all, where the API counts them and one request asked for all."""


@dataclass(frozen=True, slots=True)
class InvalidRecord:
    """A record that cannot be understood; `on_invalid` receives it."""

    record_id: str | None
    """Its id, where that much can be read."""
    reason: str
    """What does not fit and where, as a JSON path within the record; never what stands there."""
    raw: bytes
    """The record's JSON, as it came."""


@dataclass(frozen=True, slots=True)
class ExportSucceeded:
    """The accounting system took the record. Raises ConfigurationError for values that are no text."""

    record_id: str
    """The `AccountingRecord.id`."""
    reference_id: str | None = None
    """What the accounting system calls it."""
    deep_link_url: str | None = None
    """Where a person finds it in the accounting system."""

    def __post_init__(self) -> None:
        check_text(self.record_id, "record_id")
        if self.reference_id is not None:
            check_text(self.reference_id, "reference_id", may_be_empty=True)
        if self.deep_link_url is not None:
            check_text(self.deep_link_url, "deep_link_url", may_be_empty=True)


@dataclass(frozen=True, slots=True)
class ExportFailed:
    """The accounting system did not take the record. Raises ConfigurationError for values that are no text."""

    record_id: str
    """The `AccountingRecord.id`."""
    error_message: str
    """Why, for the people who look after the books at Brex."""

    def __post_init__(self) -> None:
        check_text(self.record_id, "record_id")
        check_text(self.error_message, "error_message", may_be_empty=True)


ExportResult = ExportSucceeded | ExportFailed
ReportStatus = Literal["reported", "already_exported", "not_ready", "not_found", "not_applied", "unknown"]


@dataclass(frozen=True, slots=True)
class ReportOutcome:
    """What became of one result given to `report_all`."""

    record_id: str
    status: ReportStatus
    """``reported``: the API took this result. ``already_exported``: the record is EXPORTED, by this call or before it.
    ``not_ready``: it is not READY_FOR_EXPORT, and this result was not taken. ``not_found``: there is no such record.
    ``not_applied``: the API did not take this result; `error` says why. ``unknown``: it may have; look at the record.
    """
    message: str | None = None
    """What to know beside the status, for people."""
    error: BrexError | None = None
    """What stood in the way."""
