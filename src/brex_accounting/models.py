"""The public names of what the API sends and takes."""

from __future__ import annotations

import decimal
from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from attrs import define, field, frozen

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


@frozen(kw_only=True)
class Integration:
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
    unknown_fields: Mapping[str, Any] = field(factory=dict[str, Any], hash=False)
    """What the API sent that this version does not know."""


@define(kw_only=True, weakref_slot=False, getstate_setstate=False)
class AccountingRecord(AccountingRecordDetailed):
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
        return self.additional_properties


@frozen(kw_only=True)
class RecordPage:
    """One page of accounting records."""

    items: list[AccountingRecord]
    """The records, in the API's order."""
    next_cursor: str | None
    """Pass it as `cursor` to go on after this page; None after the last one, and where ids were split over requests."""
    has_next_page: bool
    """Whether another page follows."""
    total_count: int | None = None
    """How many records match in all, where the API counts them and one request asked for all."""


@frozen
class InvalidRecord:
    """A record that cannot be understood; `on_invalid` receives it."""

    record_id: str | None
    """Its id, where that much can be read."""
    reason: str
    """What does not fit and where, as a JSON path within the record; never what stands there."""
    raw: bytes
    """The record's JSON, as it came."""


@frozen
class ExportSucceeded:
    """The accounting system took the record. Raises ConfigurationError for values that are no text."""

    record_id: str
    """The `AccountingRecord.id`."""
    reference_id: str | None = None
    """What the accounting system calls it."""
    deep_link_url: str | None = None
    """Where a person finds it in the accounting system."""

    def __attrs_post_init__(self) -> None:
        check_text(self.record_id, "record_id")
        if self.reference_id is not None:
            check_text(self.reference_id, "reference_id", may_be_empty=True)
        if self.deep_link_url is not None:
            check_text(self.deep_link_url, "deep_link_url", may_be_empty=True)


@frozen
class ExportFailed:
    """The accounting system did not take the record. Raises ConfigurationError for values that are no text."""

    record_id: str
    """The `AccountingRecord.id`."""
    error_message: str
    """Why, for the people who look after the books at Brex."""

    def __attrs_post_init__(self) -> None:
        check_text(self.record_id, "record_id")
        check_text(self.error_message, "error_message", may_be_empty=True)


ExportResult = ExportSucceeded | ExportFailed
ReportStatus = Literal["reported", "already_exported", "not_ready", "not_found", "not_applied", "unknown"]


@frozen
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
