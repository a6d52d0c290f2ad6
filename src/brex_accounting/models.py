"""The public names of what the API sends and takes."""

from __future__ import annotations

import decimal
from collections import defaultdict
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

import attrs
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
from brex_accounting_api.types import AwareDatetime

from ._arguments import Checked, check_text, checked
from .errors import BrexError, ConfigurationError, Outcome

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

T = TypeVar("T")

# Reprs and pickles name the public place. Where their annotations name other models, those are looked up before.
for _kind in (AccountingFieldValue, LineItem, Money, Receipt, User, Vendor):
    _hints = get_type_hints(_kind, include_extras=True)
    _kind.__annotations__ = {name: _hints[name] for name in _kind.__annotations__}
    _kind.__module__ = __name__
for _enum in (IntegrationStatus, LineItemType, RecordType, ReviewStatus, SourceType):
    _enum.__module__ = __name__

# Wide enough that a sum of real amounts is never rounded; one that would be is refused instead.
_EXACT = decimal.Context(prec=10_000, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN, traps=[decimal.Inexact])


class _Value:
    """A class of attrs that pydantic reads and writes too."""

    __slots__ = ()

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: Any, handler: Any) -> dict[str, Any]:
        """Called by pydantic alone, for FastAPI's return types and for fields of pydantic's models."""
        from brex_accounting_api.codec.pydantic_schema import object_schema  # noqa: PLC0415

        hints = get_type_hints(cls, include_extras=True)
        properties = [(each.name, hints[each.name], each.default is attrs.NOTHING) for each in attrs.fields(cls)]  # type: ignore[arg-type]
        read = lambda value, inner: _make(cls, inner(value))  # noqa: E731
        return object_schema(cls, handler, properties, read=read, write=_shallow)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: Any, handler: Any) -> dict[str, Any]:
        from brex_accounting_api.codec.pydantic_schema import object_json_schema  # noqa: PLC0415

        return object_json_schema(cls, schema, handler)


def _make(kind: Callable[..., T], fields: dict[str, Any]) -> T:
    try:
        return kind(**fields)
    except ConfigurationError as error:
        reason = str(error)
    raise ValueError(reason)  # which pydantic takes for a mistake in its input


class _ErrorAsText:
    """An error leaves as its text; what it did is not in there, so that one made of text is UNKNOWN."""

    def __get_pydantic_core_schema__(self, _source: Any, _handler: Any) -> dict[str, Any]:
        text = {"type": "str"}
        error = {
            "type": "function-wrap",
            "function": {"type": "no-info", "function": _read_error},
            "schema": text,
            "serialization": {"type": "function-plain", "function": str, "return_schema": text},
        }
        return {"type": "nullable", "schema": error}


def _read_error(value: Any, inner: Callable[[Any], str]) -> BrexError:
    return value if isinstance(value, BrexError) else BrexError(inner(value), outcome=Outcome.UNKNOWN)


def _shallow(value: Any) -> dict[str, Any]:
    return attrs.asdict(value, recurse=False)


@frozen(kw_only=True)
class Integration(_Value):
    """A connection between a Brex account and an accounting system."""

    id: str
    """Brex's id for it, ``int_…``."""
    vendor: str
    """The vendor id that Brex assigned to the accounting system."""
    vendor_account_id: str
    """The customer's account in the accounting system."""
    status: IntegrationStatus
    """ACTIVE or DISABLED; a value that this version does not know is kept, and equals its string."""
    created_at: AwareDatetime
    """When it was created, with the UTC offset."""
    unknown_fields: Mapping[str, Any] = field(factory=dict[str, Any], hash=False)
    """What the API sent that this version does not know."""


@define(kw_only=True, eq=False, repr=False, weakref_slot=False, getstate_setstate=False)
class AccountingRecord(AccountingRecordDetailed):
    """A financial event on the account, with all that an accounting system needs to book it.

    Amounts are Decimals in major currency units (100.5 is a hundred dollars and fifty cents), with exactly the digits
    that the API sent. Times carry their offset. What the API left out and what it sent as null both read as None. Names
    are as they were entered, with any trailing spaces. Enums keep values that this version does not know.

    There is no date of purchase: book by `erp_posting_date`. The `download_uris` of a receipt work for 15 minutes;
    `brex.records.get` fetches the record with fresh ones.
    """

    @property
    def is_balanced(self) -> bool:
        """Whether debits equal credits, exactly and in each currency.

        False without the balancing lines (`single_entry`). A line of a type that this version does not know counts on
        neither side.
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

        Those further in are in `additional_properties` of the money, line item, … On a page they are read when somebody
        asks the record for its own, which `to_dict`, `to_json`, `copy` and `pickle` do. `copy.replace` keeps them;
        `attrs.evolve` does not.
        """
        return self.additional_properties


@frozen(kw_only=True)
class RecordPage(_Value):
    """One page of accounting records."""

    items: list[AccountingRecord]
    """The records, in the API's order."""
    next_cursor: str | None
    """Pass it as `cursor` to go on after this page; None after the last one, and where ids were split over requests."""
    has_next_page: bool
    """Whether another page follows."""
    total_count: int | None = None
    """How many records match in total, if the API counts them and one request asked for all."""


@frozen
class InvalidRecord(_Value):
    """A record that cannot be understood; `on_invalid` receives it."""

    record_id: str | None
    """Its id, where that much can be read."""
    reason: str
    """What does not fit and where, as a JSON path within the record; never what stands there."""
    raw: bytes
    """The record's JSON, as received."""


@frozen
class ExportSucceeded(Checked, _Value):
    """The accounting system took the record. Raises ConfigurationError for values that are not text."""

    record_id: str = field(metadata=checked(check_text))
    """The `AccountingRecord.id`."""
    reference_id: str | None = field(default=None, metadata=checked(check_text, optional=True, may_be_empty=True))
    """What the accounting system calls it."""
    deep_link_url: str | None = field(default=None, metadata=checked(check_text, optional=True, may_be_empty=True))
    """Where a person finds it in the accounting system."""


@frozen
class ExportFailed(Checked, _Value):
    """The accounting system did not take the record. Raises ConfigurationError for values that are not text."""

    record_id: str = field(metadata=checked(check_text))
    """The `AccountingRecord.id`."""
    error_message: str = field(metadata=checked(check_text, may_be_empty=True))
    """Why, for the people who keep the books at Brex."""


ExportResult = ExportSucceeded | ExportFailed
ReportStatus = Literal["reported", "already_exported", "not_ready", "not_found", "not_applied", "unknown"]


@frozen
class ReportOutcome(_Value):
    """What became of one result given to `report_all`."""

    record_id: str
    status: ReportStatus
    """``reported``: the API took this result. ``already_exported``: the record is EXPORTED, by this call or before it.
    ``not_ready``: it is not READY_FOR_EXPORT, and this result was not taken. ``not_found``: there is no such record.
    ``not_applied``: the API did not take this result; `error` says why. ``unknown``: it may have; look at the record.
    """
    message: str | None = None
    """More about the status, for people."""
    error: Annotated[BrexError | None, _ErrorAsText()] = None
    """What stood in the way."""
