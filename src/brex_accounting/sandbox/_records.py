"""Sample accounting records, each made from its index alone, so that every run has the same."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final

from ._wire import JSON, Number

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


def timestamp(moment: datetime) -> str:
    """Write a moment as Brex does, with microseconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@dataclass(slots=True)
class Record:
    """An accounting record: what changes in its life, and an index from which the rest is made."""

    index: int
    review_status: str = "READY_FOR_EXPORT"
    version: int = 1
    id: str = field(init=False)
    source_type: str = field(init=False)
    updated_at: datetime = field(init=False)

    def __post_init__(self) -> None:
        """Make the fields that queries look at."""
        self.id = f"accr_{self.index:012d}"
        self.source_type = _TYPES[self.index % len(_TYPES)][1]
        self.updated_at = _FIRST + timedelta(minutes=7 * self.index, microseconds=self.index)

    def move_to(self, review_status: str, moment: datetime) -> None:
        """Change the review status, which makes a new version."""
        self.review_status = review_status
        self.updated_at = moment
        self.version += 1

    def to_wire(self, *, single_entry: bool) -> Mapping[str, JSON]:
        """Return the record as an AccountingRecordDetailed.

        What `single_entry` does is not published. Here it leaves out the balancing lines (the card, the bank,
        the payable), so that what remains is what the ERP books against an account of its own.
        """
        index, bill = self.index, self.source_type == "BILL"
        posted_at = _FIRST + timedelta(minutes=7 * index)
        return _present(
            {
                "id": self.id,
                "amount": _money(_AMOUNTS[index % len(_AMOUNTS)][0], _currency(index)),
                "original_amount": (_ABSENT, None, _money("93.27", _currency(index + 1)))[index % 3],
                "type": _TYPES[index % len(_TYPES)][0],
                "review_status": self.review_status,
                "source_id": None if index % 9 == 1 else f"exp_{index:012d}",
                "source_type": self.source_type,
                "erp_posting_date": timestamp(posted_at),
                "updated_at": timestamp(self.updated_at),
                "version": self.version,
                "receipts": _receipts(index),
                "user": (_ABSENT, None)[index % 2] if bill or index % 7 == 1 else _user(index % 25),
                "vendor": _vendor(index % 15) if bill and index % 7 != 1 else (_ABSENT, None)[index % 2],
                "memo": (_ABSENT, None, _MEMOS[index % len(_MEMOS)])[index // 2 % 3],
                "posted_at": timestamp(posted_at),
                "due_at": timestamp(posted_at + timedelta(days=30)) if bill else (_ABSENT, None)[index % 2],
                "invoice_number": f"INV-{index:05d}" if bill else (_ABSENT, None)[index % 2],
                "line_items": _line_items(index, single_entry=single_entry),
            }
        )


def sample_records(count: int) -> list[Record]:
    """Return exactly this many records, all READY_FOR_EXPORT."""
    return [Record(index, version=1 + index % 3) for index in range(count)]


def _present(fields: Mapping[str, object]) -> Mapping[str, JSON]:
    return {name: value for name, value in fields.items() if value is not _ABSENT}  # type: ignore[misc]


def _currency(index: int) -> str:
    return ("USD", "USD", "EUR")[index % 3]


def _money(amount: str, currency: str) -> Mapping[str, JSON]:
    return {"amount": Number(amount), "currency": currency}


def _line_items(index: int, *, single_entry: bool) -> list[JSON]:
    total, parts = _AMOUNTS[index % len(_AMOUNTS)]
    comes_back = any(word in _TYPES[index % len(_TYPES)][0] for word in _MONEY_COMES_BACK)
    own, balancing = ("CREDIT", "DEBIT") if comes_back else ("DEBIT", "CREDIT")
    lines = [(own, part, _currency(index)) for part in parts]
    against = [(balancing, total, _currency(index))]
    if index % 13 == 1:
        # A fee in the other currency: the sides balance for each currency, not across them.
        fee_currency = "EUR" if _currency(index) == "USD" else "USD"
        lines.append((own, "0.30", fee_currency))
        against.append((balancing, "0.30", fee_currency))
    if not single_entry:
        lines += against
    return [_line_item(index, number, *line) for number, line in enumerate(lines)]


def _line_item(index: int, number: int, side: str, amount: str, currency: str) -> Mapping[str, JSON]:
    variant = index + number
    return _present(
        {
            "id": f"arli_{index:010d}{number:02d}",
            "type": side,
            "amount": _money(amount, currency),
            "original_amount": (_ABSENT, None, _money(amount, currency))[variant % 3],
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


def _receipts(index: int) -> object:
    # Presigned and short-lived at Brex; here they lead nowhere.
    uri = f"https://receipts.sandbox.invalid/receipt_{index:012d}?X-Amz-Expires=900"
    uris: JSON = (None, [uri], [uri, f"{uri}&page=2"])[index % 3]
    return (_ABSENT, None, [], [{"id": f"receipt_{index:012d}", "download_uris": uris}])[index // 3 % 4]


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
