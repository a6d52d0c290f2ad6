"""Records as rows and as JSON."""

import csv
import json
from decimal import Decimal
from io import BytesIO, StringIO
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from brex_accounting import AccountingRecord
from brex_accounting._commands import ledger
from brex_accounting._commands.formats import CSVFormat, Format, JSONLinesFormat
from brex_accounting._records.parsing import read_record
from brex_accounting.sandbox._records import sample_records
from brex_accounting.sandbox._wire import Number, to_json


def record(**fields: Any) -> AccountingRecord:
    wire = {**sample_records(1)[0].to_wire(single_entry=False), **fields}
    return read_record(to_json(wire).encode())


@pytest.mark.parametrize(
    ("literal", "text"),
    [
        ("100.50", "100.50"),
        ("1e2", "100"),
        ("-0.01", "-0.01"),
        ("1E-7", "0.0000001"),
        ("90071992547409.93", "90071992547409.93"),
        ("0", "0"),
        ("-0.00", "-0.00"),
        ("1e59", "1" + "0" * 59),
        ("1e60", "1E+60"),
        ("1e999999", "1E+999999"),
        ("1e-999999", "1E-999999"),
        ("0e999999", "0E+999999"),
    ],
)
def test_amounts(literal: str, text: str) -> None:
    assert ledger.amount(Decimal(literal)) == text


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_an_amount_is_read_back_as_the_very_value(value: Decimal) -> None:
    text = ledger.amount(value)
    assert Decimal(text) == value
    assert len(text) <= max(ledger.LONGEST_PLAIN * 2 + 3, len(str(value)))


@pytest.mark.parametrize("memo", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx", "\uff1d1"])
def test_no_text_is_a_formula(memo: str) -> None:
    (row, *_) = ledger.rows(record(memo=memo))
    assert row[ledger.COLUMNS.index("memo")] == f"'{memo}"
    assert ledger.document(record(memo=memo))["memo"] == memo


def test_a_negative_amount_stays_a_number() -> None:
    lines = [
        {"id": "arli_1", "type": "DEBIT", "amount": {"amount": -5.25, "currency": "USD"}, "accounting_field_values": []}
    ]
    (row,) = ledger.rows(record(line_items=lines))
    assert row[ledger.COLUMNS.index("debit")] == "-5.25"


def test_a_record_without_lines_has_a_row() -> None:
    (row,) = ledger.rows(record(line_items=[]))
    assert len(row) == len(ledger.COLUMNS)
    assert row[0] == "accr_000000000000"


def test_unknown_fields_are_kept_exactly() -> None:
    document = ledger.document(record(tax={"rate": 0.1, "parts": [Number("90071992547409.93")]}))
    assert json.loads(json.dumps(document))["tax"] == {"rate": "0.1", "parts": ["90071992547409.93"]}


@given(st.text(), st.text())
@example("carriage\rreturn", "line\nfeed")
def test_every_text_survives_csv(memo: str, name: str) -> None:
    memo, name = (each.encode("utf-8", "replace").decode() for each in (memo, name))
    vendor = {"id": "vendor_1", "name": name}
    given_record = record(memo=memo, vendor=vendor)
    page = CSVFormat().page([given_record]).decode()
    read = list(csv.reader(StringIO(page, newline="")))
    assert [row[ledger.COLUMNS.index("memo")] for row in read] == [ledger.text(memo)] * len(read)
    assert {row[ledger.COLUMNS.index("vendor_name")] for row in read} == {ledger.text(name)}


@pytest.mark.parametrize("kind", [CSVFormat(), JSONLinesFormat()])
def test_the_keys_of_what_is_written(kind: Format) -> None:
    records = [record(), record(id="=accr_1", version=7, memo="two\nlines\r\nand a \0")]
    stream = BytesIO(kind.head + kind.page(records))
    keys = kind.keys(stream)
    assert {kind.key(each) for each in records} <= keys
    assert not stream.closed
    assert stream.read() == b""


def test_names_are_told_without_the_spaces_they_end_in() -> None:
    assert ledger.person(record()) == "Ada Okafor"
    assert ledger.person(record(user=None)) == ""
