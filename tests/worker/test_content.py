"""The digest of what is booked: equal for equal values, another for another."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from brex_accounting._records.parsing import read_record
from brex_accounting.worker._content import digest
from tests.support.records import RECORD, Path, changed, fields, shown, write

IRRELEVANT = {"version", "updated_at", "review_status", "status", "download_uris", "role", "field_name"}
IRRELEVANT |= {"field_value_name", "type", "account_id"}
"""Names of what moves without a change of what is booked. (The type of a record and of a line does count.)"""
OTHER: dict[type, Any] = {str: "other", int: 99, list: [], msgspec.Raw: msgspec.Raw(b"1.07")}


def of(node: Any) -> str:
    return digest(read_record(write(node)))


def is_booked(path: Path) -> bool:
    name, place = path[-1], path[:-1]
    if "user" in place and (str(name).startswith(("manager", "title")) or name in IRRELEVANT):
        return False
    if "vendor" in place and name not in {"id", "name"}:
        return False
    if name == "type":
        return "accounting_field_values" not in place
    return name not in IRRELEVANT


def leaves() -> list[Path]:
    """The fields that are plain values."""

    def at(path: Path) -> Any:
        thing: Any = RECORD
        for step in path:
            thing = thing[step]
        return thing

    return [path for path, _ in fields() if not isinstance(at(path), (dict, list)) and at(path) is not None]


def other_value(path: Path) -> Any:
    name = str(path[-1])
    if name.endswith(("_at", "_date")):
        return "2024-02-29T12:00:00Z"
    if name == "amount":
        return msgspec.Raw(b"1.07")
    return 99 if name == "version" else "OTHER"


@pytest.mark.parametrize("path", [pytest.param(path, id=shown(path)) for path in leaves()])
def test_each_field_counts_or_does_not(path: Path) -> None:
    edited = changed(path, other_value(path))
    assert (of(edited) != of(RECORD)) == is_booked(path)


def test_the_same_values_written_otherwise() -> None:
    amount = {"amount": msgspec.Raw(b"1.0050e2"), "currency": "USD"}
    twin = RECORD | {
        "amount": amount,
        "posted_at": "2025-04-24T16:13:49.959513Z",  # in RECORD with another offset
        "line_items": RECORD["line_items"][::-1],
        "receipts": [{"id": "receipt_1", "download_uris": None}],
        "a_property_that_is_new": 5,
    }
    assert of(twin) == of(RECORD)
    assert of(changed(("vendor",))) == of(changed(("vendor",), None))
    assert of(changed(("receipts",))) == of(changed(("receipts",), [])) != of(RECORD)


@pytest.mark.parametrize(
    ("one", "same"),
    [("0", "0.00"), ("-0", "0"), ("100", "1e2"), ("0.10", "0.1"), ("90071992547409.93", "90071992547409.930")],
)
def test_amounts_are_compared_by_their_value(one: str, same: str) -> None:
    def with_amount(text: str) -> str:
        return of(RECORD | {"amount": {"amount": msgspec.Raw(text.encode()), "currency": "USD"}})

    assert with_amount(one) == with_amount(same)
    assert Decimal(one) == Decimal(same)
    for other in ("0.01", "90071992547409.94", "-100", "1000"):
        assert with_amount(one) != with_amount(other)


def test_times_at_the_ends_of_the_calendar() -> None:
    for moment in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"):
        assert of(RECORD | {"due_at": moment}) != of(RECORD)


def test_no_amount_is_rounded_or_written_out() -> None:
    long = "1" * 500 + "." + "7" * 500
    huge = "1e999999999"
    digests = {
        of(RECORD | {"amount": {"amount": msgspec.Raw(text.encode()), "currency": "USD"}})
        for text in (long, long + "1", huge, "1e999999998")
    }
    assert len(digests) == 4


def test_a_digest_says_nothing_of_the_record() -> None:
    assert len(of(RECORD)) == 64
    assert int(of(RECORD), 16)
