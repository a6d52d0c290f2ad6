"""Sample accounting records, each generated from its serial number, so that every run has the same."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

from ._wire import JSON, Number, Verbatim, timestamp, to_json

# Of every 20 records, 7 are CARD, 7 REIMBURSEMENT and 6 BILL.
_TYPES: Final = (
    ("CARD_EXPENSE_POST", "CARD"),
    ("REIMBURSEMENT_EXPENSE_APPROVAL", "REIMBURSEMENT"),
    ("BILL_EXPENSE", "BILL"),
    ("CARD_EXPENSE_REFUND", "CARD"),
    ("REIMBURSEMENT_EXPENSE_POST", "REIMBURSEMENT"),
    ("BILL_EXPENSE_PAYMENT", "BILL"),
    ("CARD_EXPENSE_REPAYMENT", "CARD"),
    ("REIMBURSEMENT_EXPENSE_REPAYMENT", "REIMBURSEMENT"),
    ("BILL_EXPENSE_CARD_PAYMENT", "BILL"),
    ("CARD_PAYMENT", "CARD"),
    ("REIMBURSEMENT_EXPENSE_MONEY_MOVEMENT_PAYOUT", "REIMBURSEMENT"),
    ("INVOICE", "BILL"),
    ("CARD_PAYMENT_REFUND", "CARD"),
    ("REIMBURSEMENT_EXPENSE_MONEY_MOVEMENT_PAYOUT_REVERSAL", "REIMBURSEMENT"),
    ("INVOICE_PAYMENT", "BILL"),
    ("REWARD_REDEMPTION", "CARD"),
    ("REIMBURSEMENT_EXPENSE_MONEY_MOVEMENT_PAYIN", "REIMBURSEMENT"),
    ("BILL_MONEY_MOVEMENT_PAYIN", "BILL"),
    ("CARD_EXPENSE_ADJUSTMENT", "CARD"),  # unpublished: an alpha adds types without notice
    ("REIMBURSEMENT_EXPENSE_MONEY_MOVEMENT_REFUND", "REIMBURSEMENT"),
)
_MONEY_COMES_BACK: Final = ("REFUND", "REPAYMENT", "REVERSAL", "PAYIN", "REDEMPTION")

# The total of a record, its lines, and about the same amount in the other currency. With floats, the lines of 627.3 and
# 1216.72 do not add up.
_AMOUNTS: Final = (
    ("100.5", ("60.25", "40.25"), "93.27"),
    ("84.1", ("84.1",), "78.04"),
    ("1284750.35", ("1200000", "84750.35"), "1192248.32"),
    ("627.3", ("612.1", "15.2"), "582.13"),
    ("2400", ("2400",), "2227.2"),
    ("42", ("40", "2"), "38.98"),
    ("19.99", ("19.99",), "18.55"),
    ("18640.00", ("12426.67", "6213.33"), "17297.92"),
    ("250.00", ("125.00", "125.00"), "232.00"),
    ("1216.72", ("1204.35", "12.37"), "1129.12"),
    ("7.10", ("3.55", "3.55"), "6.59"),
)
# TRAVEL_ADMIN is unpublished.
_ROLES: Final = ("EMPLOYEE", "SUPER_ADMIN", "BOOKKEEPER", "TRAVEL_ADMIN", "CARD_ADMIN")
_STATUSES: Final = ("ACTIVE", "INVITED", "DISABLED")
_NAMES: Final = (("Ada ", "Okafor"), ("Lin", "Østergård "), ("Tomás  ", "Quispe"), ("Yuki", "Sato"))
_MEMOS: Final = ("Team lunch", "Taxi to the airport — späte Ankunft", "日本出張", '"Quoted", and a tab\t')
_VENDORS: Final = (
    "Northwind Office Supply",
    "Müller & Söhne GmbH",
    "Café Río, S.A. de C.V.",
    'Quill & "Express" Print',
    "Blue Harbor Cloud Hosting",
    "株式会社さくら",
    "Skyline Travel",
    "Baker, Ellis & Co. LLP",
)
_GL_ACCOUNTS: Final = (
    "Office supplies",
    "Travel",
    "Meals",
    "Software",
    "Advertising",
    "Professional fees",
    "Rent",
    "Other G&A",
)
_FIRST: Final = datetime(2025, 4, 24, 16, 13, 49, 959513, UTC)
# Of every 20, one bill is older than its neighbours, and one was edited long after: lists are not in the order of
# updated_at.
_POSTED_EARLIER: Final = {5: timedelta(days=100)}
_EDITED_LATER: Final = {14: timedelta(days=60)}
_ABSENT: Final = object()
SERIALS: Final = 100_000_000
"""How many serial numbers each account has, so that no two accounts share an id."""


class Head(NamedTuple):
    """What queries look at, and when the record was posted."""

    source_type: str
    updated_at: datetime
    version: int
    posted_at: datetime


def sample_head(serial: int) -> Head:
    """Return what queries look at, without generating the whole record."""
    index = serial % SERIALS
    place = index % len(_TYPES)
    posted_at = _FIRST + timedelta(minutes=7 * index) - _POSTED_EARLIER.get(place, timedelta())
    updated_at = posted_at + timedelta(microseconds=index) + _EDITED_LATER.get(place, timedelta())
    return Head(_TYPES[place][1], updated_at, 1 + index % 3 + (place in _EDITED_LATER), posted_at)


@lru_cache(maxsize=1024)  # some pages, which are often read again: 30 microseconds each
def sample_json(serial: int) -> Verbatim:
    """Return a sample record as JSON."""
    return Verbatim(to_json(sample_fields(serial)))


def sample_fields(serial: int) -> dict[str, JSON]:
    """Return a sample record as an AccountingRecordDetailed.

    Two of seven look like real answers: with properties that the description lacks, and other prefixes in ids.
    """
    index, head = serial % SERIALS, sample_head(serial)
    bill, as_sent = head.source_type == "BILL", _is_as_sent(index)
    total, _, elsewhere = _AMOUNTS[index % len(_AMOUNTS)]
    amount, foreign = _money(total, _currency(index)), _money(elsewhere, _currency(index + 1))
    # In real answers card expenses name the merchant; bills name the vendor.
    vendor = index % 7 != 1 and (bill or (as_sent and head.source_type == "CARD"))
    return _present(
        {
            "id": f"accr_{serial:012d}",
            "amount": amount,
            "original_amount": amount if as_sent else (_ABSENT, None, foreign)[index // 2 % 3],
            "billing_amount": amount if as_sent else _ABSENT,
            "type": _TYPES[index % len(_TYPES)][0],
            "review_status": "READY_FOR_EXPORT",
            "status": "SUBMITTED" if as_sent else _ABSENT,
            "source_id": None if index % 9 == 1 else f"{'expense' if as_sent else 'exp'}_{serial:012d}",
            "source_type": head.source_type,
            "erp_posting_date": timestamp(head.posted_at),
            "updated_at": timestamp(head.updated_at),
            "version": head.version,
            "receipts": _receipts(index, serial),
            "user": (_ABSENT, None)[index % 2] if bill or index % 7 == 1 else _user(index % 25, as_sent=as_sent),
            "vendor": _vendor(index % 15, as_sent=as_sent) if vendor else (_ABSENT, None)[index % 2],
            "memo": (_ABSENT, None, _MEMOS[index % len(_MEMOS)])[index // 2 % 3],
            "posted_at": timestamp(head.posted_at, "milliseconds" if as_sent else "microseconds"),
            "due_at": timestamp(head.posted_at + timedelta(days=30)) if bill else (_ABSENT, None)[index % 2],
            "invoice_number": f"INV-{index:05d}" if bill else (_ABSENT, None)[index % 2],
            "line_items": _line_items(index, serial),
        }
    )


def _is_as_sent(index: int) -> bool:
    return index % 7 in {2, 3}


def _is_uncoded(index: int) -> bool:
    """Return whether the charge has no GL account yet."""
    return _TYPES[index % len(_TYPES)][0].startswith("CARD_EXPENSE") and index % 3 != 2  # noqa: PLR2004  # two of three


def _present(fields: Mapping[str, object]) -> dict[str, JSON]:
    return {name: value for name, value in fields.items() if value is not _ABSENT}  # type: ignore[misc]


def _currency(index: int) -> str:
    return ("USD", "USD", "EUR")[index % 3]


def _money(amount: str, currency: str) -> Mapping[str, JSON]:
    return {"amount": Number(amount), "currency": currency}


class _Line(NamedTuple):
    side: str
    amount: JSON
    balances: bool
    """Whether it is the balancing line: the card, the bank or the payable."""


def _line_items(index: int, serial: int) -> list[JSON]:
    total, parts, _ = _AMOUNTS[index % len(_AMOUNTS)]
    comes_back = any(word in _TYPES[index % len(_TYPES)][0] for word in _MONEY_COMES_BACK)
    own, balancing = ("CREDIT", "DEBIT") if comes_back else ("DEBIT", "CREDIT")
    currency = _currency(index)
    lines = [_Line(own, _money(part, currency), balances=False) for part in parts]
    against = [_Line(balancing, _money(total, currency), balances=True)]
    if index % 13 == 1:
        # A fee in the other currency: debits equal credits in each currency.
        fee = _money("0.30", "EUR" if currency == "USD" else "USD")
        lines.append(_Line(own, fee, balances=False))
        against.append(_Line(balancing, fee, balances=True))
    make = _line_item_as_sent if _is_as_sent(index) else _line_item
    return [make(index, f"{serial:010d}{number:02d}", number, line) for number, line in enumerate(lines + against)]


def _line_item(index: int, serial: str, number: int, line: _Line) -> Mapping[str, JSON]:
    variant = index + number
    return _present(
        {
            "id": f"arli_{serial}",
            "type": line.side,
            "amount": line.amount,
            "original_amount": (_ABSENT, None, line.amount)[variant % 3],
            "memo": (None, _ABSENT, _MEMOS[variant % len(_MEMOS)])[variant % 3],
            "accounting_field_values": [_field_value(index, position) for position in range(variant % 3)],
        }
    )


def _line_item_as_sent(index: int, serial: str, _: int, line: _Line) -> Mapping[str, JSON]:
    return _present(
        {
            "memo": None,
            "id": f"accrli_{serial}",
            "type": line.side,
            "amount": line.amount,
            "original_amount": line.amount,
            "billing_amount": _ABSENT if line.balances else line.amount,
            "accounting_field_values": [] if line.balances else [_gl_account(index)],
            "amortization": None,
        }
    )


def _field_value(index: int, position: int) -> Mapping[str, JSON]:
    known_to_the_erp = (index + position) % 2 == 0
    return {
        "brex_field_id": f"ef_{position:012d}",
        "remote_field_id": f"gl-{position}" if known_to_the_erp else None,
        "brex_field_value_id": f"efo_{index % 40:012d}",
        "remote_field_value_id": f"{6000 + index % 40}" if known_to_the_erp else None,
    }


def _gl_account(index: int) -> Mapping[str, JSON]:
    number, uncoded = index % 40, _is_uncoded(index)
    value_id = f"efo_{number:012d}"
    return _present(
        {
            "brex_field_id": "extended_field_000000000000",
            "remote_field_id": "GL_ACCOUNT",
            "field_name": "GL Account",
            "brex_field_value_id": (_ABSENT, None)[index % 2] if uncoded else value_id,
            "remote_field_value_id": f"{6000 + number}" if index % 2 and not uncoded else None,
            "field_value_name": None if uncoded else f"{6000 + number} {_GL_ACCOUNTS[number % len(_GL_ACCOUNTS)]}",
            "type": "IDENTIFIER",
        }
    )


def _receipts(index: int, serial: int) -> object:
    # Brex's are presigned and short-lived; these lead nowhere.
    uri = f"https://receipts.sandbox.invalid/receipt_{serial:012d}?X-Amz-Expires=900"
    uris: JSON = (None, [uri], [uri, f"{uri}&page=2"])[index % 3]
    return (_ABSENT, None, [], [{"id": f"receipt_{serial:012d}", "download_uris": uris}])[index // 3 % 4]


def _user(person: int, *, as_sent: bool) -> Mapping[str, JSON]:
    first_name, last_name = _NAMES[person % len(_NAMES)]
    placed = person % 2 == 0
    return _present(
        {
            "id": f"cuuser_{person:012d}",
            "first_name": first_name,
            "last_name": last_name,
            "email": f"employee{person}@example.com",
            "role": _ROLES[person % len(_ROLES)],
            "status": _STATUSES[person % len(_STATUSES)],
            "account_id": f"cuacc_{person:012d}" if as_sent else _ABSENT,
            "manager_id": "cuuser_000000000000" if placed else _ABSENT,
            "department_id": "department_1" if placed else _ABSENT,
            "department_name": "Field Operations" if placed else _ABSENT,
            "manager_first_name": "Ada " if placed else _ABSENT,
            "manager_last_name": "Okafor" if placed else _ABSENT,
        }
    )


def _vendor(number: int, *, as_sent: bool) -> Mapping[str, JSON]:
    return _present(
        {
            "id": f"{'pmch' if as_sent else 'vendor'}_{number:012d}",
            "name": _VENDORS[number % len(_VENDORS)],
            "contact_name": (_ABSENT, None, "Marta Kowalska")[number % 3],
            "email": (None, "billing@supplier.example", _ABSENT)[number % 3],
            "website": (_ABSENT, None)[number // 3 % 2],
            "phone": (None, _ABSENT, "+1 555 0100")[number // 3 % 3],
        }
    )
