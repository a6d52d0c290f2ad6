"""Sample accounting records, each made from its number alone, so that every run has the same."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from ._wire import JSON, Number, timestamp

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
    ("CARD_EXPENSE_ADJUSTMENT", "CARD"),  # not published: an alpha adds types without notice
    ("REIMBURSEMENT_EXPENSE_MONEY_MOVEMENT_REFUND", "REIMBURSEMENT"),
)
_MONEY_COMES_BACK: Final = ("REFUND", "REPAYMENT", "REVERSAL", "PAYIN", "REDEMPTION")

# The total of a record, and the lines that make it up.
_AMOUNTS: Final = (
    ("100.5", ("60.25", "40.25")),
    ("0.01", ("0.01",)),
    ("90071992547409.93", ("90071992547409.92", "0.01")),
    ("0.3", ("0.1", "0.2")),
    ("1e2", ("1e2",)),
    ("42", ("40", "2")),
    ("19.99", ("19.99",)),
    ("1234567.89", ("1000000", "234567.89")),
    ("250.00", ("125.00", "125.00")),
    ("0.1", ("0.1",)),
    ("7.10", ("3.55", "3.55")),
)
# TRAVEL_ADMIN is not published.
_ROLES: Final = ("EMPLOYEE", "SUPER_ADMIN", "BOOKKEEPER", "TRAVEL_ADMIN", "CARD_ADMIN")
_STATUSES: Final = ("ACTIVE", "INVITED", "DISABLED")
_NAMES: Final = (("Ada ", "Okafor"), ("Lin", "Østergård "), ("Tomás  ", "Quispe"), ("Yuki", "Sato"))
_MEMOS: Final = ("Team lunch", "Taxi to the airport — späte Ankunft", "日本出張", '"Quoted", and a tab\t')
_FIRST: Final = datetime(2025, 4, 24, 16, 13, 49, 959513, UTC)
_ABSENT: Final = object()
SERIALS: Final = 100_000_000
"""How many numbers an account has for its ids, so that no two accounts share one."""


class Head(NamedTuple):
    """What lists look at."""

    source_type: str
    updated_at: datetime
    version: int


def sample_head(serial: int) -> Head:
    """Return what lists look at, without making the whole record."""
    index = serial % SERIALS
    updated_at = _FIRST + timedelta(minutes=7 * index, microseconds=index)
    return Head(_TYPES[index % len(_TYPES)][1], updated_at, 1 + index % 3)


def sample_fields(serial: int) -> dict[str, JSON]:
    """Return a sample record as an AccountingRecordDetailed; `serial` is the number in its ids."""
    index, head = serial % SERIALS, sample_head(serial)
    bill = head.source_type == "BILL"
    posted_at = _FIRST + timedelta(minutes=7 * index)
    return _present(
        {
            "id": f"accr_{serial:012d}",
            "amount": _money(_AMOUNTS[index % len(_AMOUNTS)][0], _currency(index)),
            "original_amount": (_ABSENT, None, _money("93.27", _currency(index + 1)))[index % 3],
            "type": _TYPES[index % len(_TYPES)][0],
            "review_status": "READY_FOR_EXPORT",
            "source_id": None if index % 9 == 1 else f"exp_{serial:012d}",
            "source_type": head.source_type,
            "erp_posting_date": timestamp(posted_at),
            "updated_at": timestamp(head.updated_at),
            "version": head.version,
            "receipts": _receipts(index, serial),
            "user": (_ABSENT, None)[index % 2] if bill or index % 7 == 1 else _user(index % 25),
            "vendor": _vendor(index % 15) if bill and index % 7 != 1 else (_ABSENT, None)[index % 2],
            "memo": (_ABSENT, None, _MEMOS[index % len(_MEMOS)])[index // 2 % 3],
            "posted_at": timestamp(posted_at),
            "due_at": timestamp(posted_at + timedelta(days=30)) if bill else (_ABSENT, None)[index % 2],
            "invoice_number": f"INV-{index:05d}" if bill else (_ABSENT, None)[index % 2],
            "line_items": _line_items(index, serial),
        }
    )


def _present(fields: Mapping[str, object]) -> dict[str, JSON]:
    return {name: value for name, value in fields.items() if value is not _ABSENT}  # type: ignore[misc]


def _currency(index: int) -> str:
    return ("USD", "USD", "EUR")[index % 3]


def _money(amount: str, currency: str) -> Mapping[str, JSON]:
    return {"amount": Number(amount), "currency": currency}


def _line_items(index: int, serial: int) -> list[JSON]:
    total, parts = _AMOUNTS[index % len(_AMOUNTS)]
    comes_back = any(word in _TYPES[index % len(_TYPES)][0] for word in _MONEY_COMES_BACK)
    own, balancing = ("CREDIT", "DEBIT") if comes_back else ("DEBIT", "CREDIT")
    currency = _currency(index)
    lines = [(own, _money(part, currency)) for part in parts]
    against = [(balancing, _money(total, currency))]
    if index % 13 == 1:
        # A fee in the other currency: the sides balance for each currency, not across them.
        fee = _money("0.30", "EUR" if currency == "USD" else "USD")
        lines.append((own, fee))
        against.append((balancing, fee))
    return [_line_item(index, serial, number, *line) for number, line in enumerate(lines + against)]


def _line_item(index: int, serial: int, number: int, side: str, amount: JSON) -> Mapping[str, JSON]:
    variant = index + number
    return _present(
        {
            "id": f"arli_{serial:010d}{number:02d}",
            "type": side,
            "amount": amount,
            "original_amount": (_ABSENT, None, amount)[variant % 3],
            "memo": (None, _ABSENT, _MEMOS[variant % len(_MEMOS)])[variant % 3],
            "accounting_field_values": [_field_value(index, position) for position in range(variant % 3)],
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


def _receipts(index: int, serial: int) -> object:
    # Presigned and short-lived at Brex; here they lead nowhere.
    uri = f"https://receipts.sandbox.invalid/receipt_{serial:012d}?X-Amz-Expires=900"
    uris: JSON = (None, [uri], [uri, f"{uri}&page=2"])[index % 3]
    return (_ABSENT, None, [], [{"id": f"receipt_{serial:012d}", "download_uris": uris}])[index // 3 % 4]


def _user(person: int) -> Mapping[str, JSON]:
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
            "manager_id": "cuuser_000000000000" if placed else _ABSENT,
            "department_id": "department_1" if placed else _ABSENT,
            "department_name": "Field Operations" if placed else _ABSENT,
            "manager_first_name": "Ada " if placed else _ABSENT,
            "manager_last_name": "Okafor" if placed else _ABSENT,
        }
    )


def _vendor(supplier: int) -> Mapping[str, JSON]:
    return _present(
        {
            "id": f"vendor_{supplier:012d}",
            "name": f"Supplier {supplier} GmbH & Co. KG",
            "contact_name": (_ABSENT, None, "Marta Kowalska")[supplier % 3],
            "email": (None, "billing@supplier.example", _ABSENT)[supplier % 3],
            "website": (_ABSENT, None)[supplier // 3 % 2],
            "phone": (None, _ABSENT, "+1 555 0100")[supplier // 3 % 3],
        }
    )
