"""A digest of what is booked of a record: it changes when, and only when, the ERP's entry would."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from operator import attrgetter
from typing import Any

from brex_accounting.models import AccountingRecord, LineItem, Money

# Not version, updated_at and review_status, which move for other reasons; not the links of receipts, which expire; not
# what this version of the SDK does not know, which moves when Brex adds a property. What is None is left out, with its
# name, so that a property that comes to be known and has no value changes nothing.
_RECORD = (
    *("id", "amount", "original_amount", "billing_amount", "type", "source_id", "source_type"),
    *("erp_posting_date", "posted_at", "due_at", "memo", "invoice_number"),
)
_LINE = ("id", "type", "amount", "original_amount", "billing_amount", "amortization", "memo")
_VALUE = ("brex_field_id", "remote_field_id", "brex_field_value_id", "remote_field_value_id")
_USER = ("id", "first_name", "last_name", "email", "department_id", "department_name", "location_id", "location_name")
_VENDOR = ("id", "name")
_ALL: tuple[tuple[str, ...], ...] = (_RECORD, _LINE, _VALUE, _USER, _VENDOR)
_values_of = {names: attrgetter(*names) for names in _ALL}


def digest(record: AccountingRecord) -> str:
    """Return the digest, which is the same for equal values however the API wrote them, and in whatever order."""
    content = [
        _pick(record, _RECORD),
        None if record.user is None else _pick(record.user, _USER),
        None if record.vendor is None else _pick(record.vendor, _VENDOR),
        sorted(receipt.id for receipt in record.receipts or ()),
        _sorted(_line(line) for line in record.line_items),
    ]
    return hashlib.sha256(repr(content).encode("utf-8", "surrogatepass")).hexdigest()


def _line(line: LineItem) -> list[Any]:
    return [*_pick(line, _LINE), _sorted(_pick(value, _VALUE) for value in line.accounting_field_values)]


def _pick(thing: Any, names: tuple[str, ...]) -> list[Any]:
    """Name and value, in turns, of what is not None."""
    picked = list[Any]()
    for name, value in zip(names, _values_of[names](thing), strict=True):
        if value is not None:
            picked += (name, _plain(value))
    return picked


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, Money):
        return _number(value.amount), value.currency
    if isinstance(value, datetime):
        try:
            return value.astimezone(UTC).isoformat()
        except OverflowError:  # at the ends of the calendar
            return value.isoformat()
    return json.dumps(value, sort_keys=True, default=str)


def _number(amount: Decimal) -> str:
    """100.5 and 100.50 are the same amount; no context rounds here."""
    sign, digits, exponent = amount.as_tuple()
    text = "".join(map(str, digits))
    kept = text.rstrip("0")
    if not isinstance(exponent, int) or not kept:
        return "0"
    return f"{'-' if sign else ''}{kept.lstrip('0')}e{exponent + len(text) - len(kept)}"


def _sorted(values: Iterable[list[Any]]) -> list[Any]:
    return sorted(values, key=repr)
