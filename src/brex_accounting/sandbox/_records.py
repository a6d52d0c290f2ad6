"""Accounting records, samples and custom ones, and how they change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from ._requests import parse_date_time
from ._samples import sample_fields, sample_head, sample_json
from ._wire import JSON, Number, Verbatim, exact_json, timestamp, to_json

_TYPES: Final = {"CARD": "CARD_EXPENSE_POST", "REIMBURSEMENT": "REIMBURSEMENT_EXPENSE_APPROVAL", "BILL": "BILL_EXPENSE"}
_BILLS: Final = ("BILL", "INVOICE")


@dataclass(slots=True)
class Record:
    """An accounting record: what queries look at, and the rest of its fields.

    A sample is generated from its serial number each time it is shown, so that 100,000 of them need little memory.
    """

    index: int
    """Its place in lists."""
    serial: int
    """The number in its ids; a sample is generated from it."""
    id: str
    source_type: str
    review_status: str
    updated_at: datetime
    version: int
    is_sample: bool = False
    fields: dict[str, JSON] = field(default_factory=dict, repr=False)
    """The fields that were given; for a sample, those that were changed."""

    def change(self, fields: Mapping[str, JSON], now: datetime) -> None:
        """Replace these fields; version and updated_at go up unless they are among them.

        ValueError when a field that queries look at is invalid; then nothing is changed.
        """
        if fields.get("id", self.id) != self.id:
            raise ValueError("id cannot be changed")
        # A clock that stands still or was set back must not hide an edit from a poller.
        risen: dict[str, JSON] = {
            "version": self.version + 1,
            "updated_at": timestamp(max(now, self.updated_at + timedelta(0, 0, 1))),
        }
        self._take({**risen, **fields})

    def to_wire(self, *, single_entry: bool = False) -> Mapping[str, JSON]:
        """Return the record as an AccountingRecordDetailed.

        Brex does not publish what `single_entry` does. Here it leaves out the balancing lines (the card, the bank, the
        payable) and keeps the side of the first line.
        """
        fields = (sample_fields(self.serial) if self.is_sample else {}) | self.fields
        if single_entry:
            fields["line_items"] = _first_side(fields.get("line_items"))
        return fields

    def to_json(self, *, single_entry: bool = False) -> Verbatim:
        """Return the same as JSON."""
        if self.is_sample and not self.fields and not single_entry:
            return sample_json(self.serial)
        return Verbatim(to_json(self.to_wire(single_entry=single_entry)))

    def _take(self, fields: Mapping[str, JSON]) -> None:
        source_type, review_status = _text(fields, "source_type", self), _text(fields, "review_status", self)
        version, updated_at = fields["version"], fields["updated_at"]
        if type(version) is not int:
            raise ValueError("version must be an integer")
        if not isinstance(updated_at, str):
            raise ValueError("updated_at must be a date-time")  # noqa: TRY004  # like any invalid field
        self.updated_at = parse_date_time("updated_at", updated_at)
        self.source_type, self.review_status, self.version = source_type, review_status, version
        self.fields |= fields


def sample_records(count: int, *, first_serial: int = 0) -> list[Record]:
    """Return this many records, all READY_FOR_EXPORT."""
    return [_sample(index, first_serial + index) for index in range(count)]


def _sample(index: int, serial: int) -> Record:
    head = sample_head(serial)
    return Record(
        index=index,
        serial=serial,
        id=f"accr_{serial:012d}",
        source_type=head.source_type,
        review_status="READY_FOR_EXPORT",
        updated_at=head.updated_at,
        version=head.version,
        is_sample=True,
    )


def new_record(index: int, serial: int, given: Mapping[str, JSON], now: datetime) -> Record:
    """Make a record of these fields, with sensible defaults for required ones.

    ValueError when a field that queries look at is invalid; the others may hold anything.
    """
    fields = {**_defaults(serial, given, now), **given}
    record_id = fields["id"]
    if not isinstance(record_id, str) or not record_id:
        raise ValueError("id must be a string that is not empty")
    record = Record(index, serial, record_id, "", "", now, 1)
    record._take(fields)  # noqa: SLF001  # its other constructor
    return record


def _defaults(serial: int, given: Mapping[str, JSON], now: datetime) -> dict[str, JSON]:
    moment = timestamp(now)
    amount = given.get("amount", {"amount": Number("84.10"), "currency": "USD"})
    source_type = given.get("source_type", _source_type(str(given.get("type", ""))))
    return {
        "id": f"accr_{serial:012d}",
        "amount": amount,
        "type": _TYPES.get(str(source_type), "CARD_EXPENSE_POST"),
        "review_status": "READY_FOR_EXPORT",
        "source_type": source_type,
        "erp_posting_date": moment,
        "updated_at": moment,
        "version": 1,
        "posted_at": moment,
        "line_items": [
            {"id": f"arli_{serial:010d}{number:02d}", "type": side, "amount": amount, "accounting_field_values": []}
            for number, side in enumerate(("DEBIT", "CREDIT"))
        ],
    }


def _source_type(record_type: str) -> str:
    if record_type.startswith("REIMBURSEMENT"):
        return "REIMBURSEMENT"
    return "BILL" if record_type.startswith(_BILLS) else "CARD"


def _first_side(line_items: JSON) -> JSON:
    """Keep the lines on the side of the first; anything but a list stays as it is."""
    if not isinstance(line_items, Sequence) or isinstance(line_items, str):
        return line_items
    sides = [item.get("type") if isinstance(item, Mapping) else None for item in line_items]
    return [item for item, side in zip(line_items, sides, strict=True) if side == sides[0]]


def _text(fields: Mapping[str, JSON], name: str, record: Record) -> str:
    value = fields.get(name, getattr(record, name))
    if not isinstance(value, str):
        raise ValueError(f"{name} must be a string")  # noqa: TRY004  # like any invalid field
    return value


def read_fields(given: Mapping[str, object]) -> dict[str, JSON]:
    """Return a record's fields as JSON; ValueError for what JSON cannot express."""
    fields = exact_json(given)
    if not isinstance(fields, dict):
        raise ValueError("a record must be a mapping of its fields")  # noqa: TRY004  # like any invalid field
    return fields
