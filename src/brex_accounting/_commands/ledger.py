"""Accounting records as rows of a ledger, and as JSON. No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from brex_accounting.models import AccountingRecord, LineItem, LineItemType, Money

LONGEST_PLAIN = 60
"""Characters. An amount that would be longer is written with an exponent."""

COLUMNS = (
    "record_id",
    "version",
    "type",
    "source_type",
    "source_id",
    "review_status",
    "erp_posting_date",
    "posted_at",
    "due_at",
    "updated_at",
    "invoice_number",
    "vendor_id",
    "vendor_name",
    "user_id",
    "user_name",
    "user_email",
    "memo",
    "record_amount",
    "record_currency",
    "line_id",
    "line_memo",
    "line_type",
    "line_amount",
    "debit",
    "credit",
    "currency",
    "original_amount",
    "original_currency",
    "accounting_fields",
)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "\N{FULLWIDTH EQUALS SIGN}", "\N{FULLWIDTH PLUS SIGN}",
            "\N{FULLWIDTH HYPHEN-MINUS}", "\N{FULLWIDTH COMMERCIAL AT}")  # fmt: skip


def amount(value: Decimal) -> str:
    """Write an amount with each of its digits, and without an exponent: `Decimal` reads the very value back.

    Only what no ledger holds, such as 1E+999, keeps its exponent.
    """
    exponent = value.as_tuple().exponent
    plain = isinstance(exponent, int) and exponent > -LONGEST_PLAIN and value.adjusted() < LONGEST_PLAIN
    return format(value, "f") if plain else str(value)


def text(value: str | None) -> str:
    """Write what somebody typed so that no spreadsheet takes it for a formula."""
    if not value:
        return ""
    return f"'{value}" if value.startswith(_FORMULA) else value


def moment(value: datetime | None) -> str:
    """Write a moment in UTC, as the API does."""
    return "" if value is None else value.astimezone(UTC).isoformat().replace("+00:00", "Z")


def rows(record: AccountingRecord) -> Iterator[list[str]]:
    """Write a record as rows of `COLUMNS`: one for each line item, or a single one where it has none."""
    user, vendor = record.user, record.vendor
    own = [
        text(record.id),
        str(record.version),
        text(record.type),
        text(record.source_type),
        text(record.source_id),
        text(record.review_status),
        moment(record.erp_posting_date),
        moment(record.posted_at),
        moment(record.due_at),
        moment(record.updated_at),
        text(record.invoice_number),
        text(vendor.id if vendor else None),
        text(vendor.name if vendor else None),
        text(user.id if user else None),
        text(person(record)),
        text(user.email if user else None),
        text(record.memo),
        *_money(record.amount),
    ]
    for line in record.line_items:
        yield own + _line(line)
    if not record.line_items:
        yield own + [""] * (len(COLUMNS) - len(own))


def person(record: AccountingRecord) -> str:
    """Name the user of a record."""
    return "" if record.user is None else " ".join(f"{record.user.first_name} {record.user.last_name}".split())


def document(record: AccountingRecord) -> dict[str, Any]:
    """Write a record as what becomes JSON: the API's own names, amounts as text, null where there is nothing.

    As text, for most readers of JSON make binary floats of numbers, and lose cents.
    """
    written: dict[str, Any] = _exact(record.to_dict())
    return written


def _line(line: LineItem) -> list[str]:
    value, currency = _money(line.amount)
    return [
        text(line.id),
        text(line.memo),
        text(line.type),
        value,
        value if line.type == LineItemType.DEBIT else "",
        value if line.type == LineItemType.CREDIT else "",
        currency,
        *_money(line.original_amount),
        text("; ".join(
            f"{field.field_name or field.remote_field_id or field.brex_field_id}="
            f"{field.field_value_name or field.remote_field_value_id or field.brex_field_value_id or ''}"
            for field in line.accounting_field_values
        )),
    ]  # fmt: skip


def _money(money: Money | None) -> list[str]:
    return ["", ""] if money is None else [amount(money.amount), text(money.currency)]


def _exact(value: Any) -> Any:
    if isinstance(value, Decimal):
        return amount(value)
    if isinstance(value, datetime):
        return msgspec.to_builtins(value)
    if isinstance(value, dict):
        return {name: _exact(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_exact(each) for each in value]
    return value
