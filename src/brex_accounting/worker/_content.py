"""A digest of what is booked of a record: it changes when, and only when, the ERP's entry would."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from brex_accounting.models import AccountingRecord, Money

# Not version, updated_at and review_status, which move for other reasons; not the links of receipts, which expire; not
# what this version of the SDK does not know, which moves when Brex adds a property.
_RECORD = (
    *("id", "amount", "original_amount", "billing_amount", "type", "source_id", "source_type"),
    *("erp_posting_date", "posted_at", "due_at", "memo", "invoice_number"),
)
_LINE = ("id", "type", "amount", "original_amount", "billing_amount", "amortization", "memo")
_VALUE = ("brex_field_id", "remote_field_id", "brex_field_value_id", "remote_field_value_id")
_USER = ("id", "first_name", "last_name", "email", "department_id", "department_name", "location_id", "location_name")
_VENDOR = ("id", "name")


def digest(record: AccountingRecord) -> str:
    """Return the digest, which is the same for equal values however the API wrote them, and in whatever order."""
    content = _pick(record, _RECORD)
    content["user"] = _pick(record.user, _USER)
    content["vendor"] = _pick(record.vendor, _VENDOR)
    content["receipts"] = sorted(receipt.id for receipt in record.receipts or ())
    content["line_items"] = sorted((_line(line) for line in record.line_items), key=_text)
    return hashlib.sha256(_text(content).encode("utf-8", "surrogatepass")).hexdigest()


def _line(line: Any) -> dict[str, Any]:
    values = (_pick(value, _VALUE) for value in line.accounting_field_values)
    return _pick(line, _LINE) | {"accounting_field_values": sorted(values, key=_text)}


def _pick(thing: Any, names: Any) -> dict[str, Any]:
    """Leave out what is None, so that a property that comes to be known with no value changes nothing."""
    picked = {name: _plain(getattr(thing, name, None)) for name in names}
    return {name: value for name, value in picked.items() if value is not None}


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, str):
        return None if value is None else str.__str__(value)
    if isinstance(value, datetime):
        try:
            return value.astimezone(UTC).isoformat()
        except OverflowError:  # at the ends of the calendar
            return value.isoformat()
    return [_number(value.amount), value.currency] if isinstance(value, Money) else value


def _number(amount: Decimal) -> str:
    """100.5 and 100.50 are the same amount; no context rounds here."""
    sign, digits, exponent = amount.as_tuple()
    text = "".join(map(str, digits))
    kept = text.rstrip("0")
    if not isinstance(exponent, int) or not kept.strip("0"):
        return "0"
    return f"{'-' if sign else ''}{kept.lstrip('0')}e{exponent + len(text) - len(kept)}"


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
