"""Accounting records as rows of a ledger, and as JSON. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from brex_accounting.models import AccountingFieldValue, AccountingRecord, LineItem, LineItemType, Money

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
    "gl_account",
    "gl_account_name",
    "accounting_fields",
    "accounting_field_ids",
)
GL_ACCOUNT = {"GLACCOUNT", "GENERALLEDGERACCOUNT", "GL"}
"""What the field of the general ledger account is called, as letters alone."""
_FORMULA = r"=+\-@\uff1d\uff0b\uff0d\uff20"
"""What begins a formula; the last four are the same signs in full width."""
_LINE_BREAKS = r"\r\n\v\f\x1c-\x1e\x85\u2028\u2029"


def _formulas(separators: str) -> re.Pattern[str]:
    """Match what comes before a formula: the beginning of a cell, or a separator that another spreadsheet uses."""
    return re.compile(rf"(?:\A|[{separators}{_LINE_BREAKS}])[\s\"\x00]*(?=[{_FORMULA}])|\A(?=[\t\r\n])")


_BY_COMMAS, _BY_SEMICOLONS = _formulas(r";\t|"), _formulas(r",\t|")


def amount(value: Decimal) -> str:
    """Write an amount with each of its digits and without an exponent: `Decimal` reads the same value back.

    Only amounts beyond any ledger's, such as 1E+999, keep their exponent.
    """
    exponent = value.as_tuple().exponent
    plain = isinstance(exponent, int) and exponent > -LONGEST_PLAIN and value.adjusted() < LONGEST_PLAIN
    return format(value, "f") if plain else str(value)


def text(value: str | None, separator: str = ",") -> str:
    """Write what somebody typed so that no spreadsheet takes it, or part of it, for a formula.

    One that separates cells by another sign than the file begins a new cell in the middle of a text.
    """
    if not value:
        return ""
    # An apostrophe before a formula makes it text.
    return (_BY_COMMAS if separator == "," else _BY_SEMICOLONS).sub(lambda found: f"{found[0]}'", str.__str__(value))


def moment(value: datetime | None) -> str:
    """Write a moment with the offset that came: its day is the day that the API means."""
    return "" if value is None else value.isoformat().replace("+00:00", "Z")


def gl_account(line: LineItem) -> AccountingFieldValue | None:
    """Return the line's general ledger account, if it is coded."""
    for each in line.accounting_field_values:
        for name in (each.remote_field_id, each.field_name):
            if name and "".join(filter(str.isalpha, name)).upper() in GL_ACCOUNT:
                return each
    return None


def gl_accounts(record: AccountingRecord) -> str:
    """Name the general ledger accounts of a record's lines for people."""
    accounts = [account for line in record.line_items if (account := gl_account(line))]
    return ", ".join(dict.fromkeys(filter(None, map(field_value, accounts))))


def field_name(each: AccountingFieldValue) -> str:
    """Name an accounting field for people."""
    return each.field_name or each.remote_field_id or each.brex_field_id


def field_value(each: AccountingFieldValue) -> str:
    """Name the value of an accounting field for people."""
    return each.field_value_name or field_value_id(each)


def field_value_id(each: AccountingFieldValue) -> str:
    """Return the accounting system's id of a value, or Brex's if it has none."""
    return each.remote_field_value_id or each.brex_field_value_id or ""


def rows(record: AccountingRecord, separator: str = ",") -> Iterator[list[str]]:
    """Write a record as rows of `COLUMNS`: one for each line item, or a single one if it has none."""
    user, vendor = record.user, record.vendor
    texts = (
        record.id,
        str(record.version),
        record.type,
        record.source_type,
        record.source_id,
        record.review_status,
        moment(record.erp_posting_date),
        moment(record.posted_at),
        moment(record.due_at),
        moment(record.updated_at),
        record.invoice_number,
        vendor.id if vendor else None,
        vendor.name if vendor else None,
        user.id if user else None,
        person(record),
        user.email if user else None,
        record.memo,
    )
    own = [text(each, separator) for each in texts] + _money(record.amount, separator)
    for line in record.line_items:
        yield own + _line(line, separator)
    if not record.line_items:
        yield own + [""] * (len(COLUMNS) - len(own))


def person(record: AccountingRecord) -> str:
    """Name the user of a record."""
    return "" if record.user is None else " ".join(f"{record.user.first_name} {record.user.last_name}".split())


def document(record: AccountingRecord) -> dict[str, Any]:
    """Return a record as plain values for JSON: the API's own names, amounts as text, null for what is missing.

    As text, because most readers of JSON make binary floats of numbers and lose cents.
    """
    written: dict[str, Any] = _exact(record.to_dict())
    return written


def _line(line: LineItem, separator: str) -> list[str]:
    value, currency = _money(line.amount, separator)
    account, fields = gl_account(line), line.accounting_field_values
    names = (f"{field_name(each)}={field_value(each)}" for each in fields)
    ids = (f"{each.remote_field_id or each.brex_field_id}={field_value_id(each)}" for each in fields)
    return [
        *(text(each, separator) for each in (line.id, line.memo, line.type)),
        value,
        value if line.type == LineItemType.DEBIT else "",
        value if line.type == LineItemType.CREDIT else "",
        currency,
        *_money(line.original_amount, separator),
        text(field_value_id(account) if account else None, separator),
        text(account.field_value_name if account else None, separator),
        text("; ".join(names), separator),
        text("; ".join(ids), separator),
    ]


def _money(money: Money | None, separator: str) -> list[str]:
    """Write an amount, with a decimal comma if semicolons separate the cells: all locales use both or neither."""
    if money is None:
        return ["", ""]
    digits = amount(money.amount)
    return [digits if separator == "," else digits.replace(".", ","), text(money.currency, separator)]


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
