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


def column(name: str, separator: str = ",", **fields: Any) -> str:
    (row, *_) = ledger.rows(record(**fields), separator)
    return row[ledger.COLUMNS.index(name)]


@pytest.mark.parametrize(
    ("memo", "commas", "semicolons"),
    [
        *((f"{sign}1+1", f"'{sign}1+1", f"'{sign}1+1") for sign in "=+-@\uff1d\uff0b\uff0d\uff20"),
        ("@SUM(A1)", "'@SUM(A1)", "'@SUM(A1)"),
        (" =1", " '=1", " '=1"),
        ('"=1', "\"'=1", "\"'=1"),
        *((f"{sign}x", f"'{sign}x", f"'{sign}x") for sign in "\t\r\n"),
        # Inside a text, behind what another program takes for the end of a cell or of a row:
        ("x;=1+1", "x;'=1+1", "x;=1+1"),
        ("x,=1+1", "x,=1+1", "x,'=1+1"),
        ("x; -1;@y", "x; '-1;'@y", "x; -1;@y"),
        *((f"x{sign}=1", f"x{sign}'=1", f"x{sign}'=1") for sign in "\t|\r\n\v\f\x1c\x85\u2028\u2029"),
        ('x;"=1"', 'x;"\'=1"', 'x;"=1"'),
        # What is none:
        ("a=b, 5-3, me@example.com", "a=b, 5-3, me@example.com", "a=b, 5-3, me@example.com"),
        ("'=1", "'=1", "'=1"),
        ("lunch; dinner", "lunch; dinner", "lunch; dinner"),
    ],
)
def test_no_text_is_a_formula(memo: str, commas: str, semicolons: str) -> None:
    assert column("memo", memo=memo) == commas
    assert column("memo", ";", memo=memo) == semicolons
    assert ledger.document(record(memo=memo))["memo"] == memo


@given(st.text(alphabet="=+-@;,\t\r\n|\"' x1\u2028", max_size=12), st.sampled_from(",;"), st.sampled_from(",;\t|"))
def test_no_spreadsheet_sees_a_formula_however_it_separates(memo: str, ours: str, theirs: str) -> None:
    """A spreadsheet may separate cells by another sign than the file does, and take quotes for text then."""
    written = StringIO()
    csv.writer(written, delimiter=ours).writerow(["id", ledger.text(memo, ours), "end"])
    quoting = csv.QUOTE_MINIMAL if ours == theirs else csv.QUOTE_NONE
    lines = written.getvalue().splitlines() if quoting == csv.QUOTE_NONE else StringIO(written.getvalue(), newline="")
    for row in csv.reader(lines, delimiter=theirs, quoting=quoting):
        for cell in row:
            assert cell.lstrip(' \t\r\n"')[:1] not in {*"=+-@"}


def test_a_moment_keeps_its_offset() -> None:
    """Its day is the day that the API means, not that of UTC."""
    moment = "2025-11-01T00:30:00+02:00"
    assert column("erp_posting_date", erp_posting_date=moment) == moment
    assert column("updated_at", updated_at="2025-11-01T00:30:00.120000-08:00") == "2025-11-01T00:30:00.120000-08:00"
    assert column("posted_at", posted_at="2025-11-01T00:30:00+00:00") == "2025-11-01T00:30:00Z"
    assert ledger.document(record(erp_posting_date=moment))["erp_posting_date"] == moment


def field(**names: str | None) -> dict[str, Any]:
    return {"brex_field_id": "ef_1", "remote_field_id": None, "remote_field_value_id": None} | names


def coded(*fields: dict[str, Any]) -> dict[str, Any]:
    money = {"amount": Number("1"), "currency": "USD"}
    return {"line_items": [{"id": "l", "type": "DEBIT", "amount": money, "accounting_field_values": fields}]}


NAMED = field(
    remote_field_id="GL_ACCOUNT",
    field_name="GL Account",
    remote_field_value_id="7500",
    field_value_name="7500 Other G&A",
    brex_field_value_id="efo_1",
)
CLASS = field(brex_field_id="ef_2", field_name="Class", field_value_name="Berlin", brex_field_value_id="efo_2")


@pytest.mark.parametrize(
    ("fields", "account", "name", "names", "ids"),
    [
        ([NAMED], "7500", "7500 Other G&A", "GL Account=7500 Other G&A", "GL_ACCOUNT=7500"),
        (
            [CLASS, NAMED],
            *("7500", "7500 Other G&A", "Class=Berlin; GL Account=7500 Other G&A", "ef_2=efo_2; GL_ACCOUNT=7500"),
        ),
        ([NAMED | {"remote_field_value_id": None}], "efo_1", "7500 Other G&A", "GL Account=7500 Other G&A", None),
        ([field(remote_field_id="gl-0", brex_field_value_id="efo_1")], "efo_1", "", "gl-0=efo_1", "gl-0=efo_1"),
        # not coded yet
        ([field(remote_field_id="GL_ACCOUNT", brex_field_value_id=None)], "", "", "GL_ACCOUNT=", "GL_ACCOUNT="),
        ([CLASS], "", "", "Class=Berlin", "ef_2=efo_2"),
        ([], "", "", "", ""),
    ],
)
def test_accounting_fields(fields: list[dict[str, Any]], account: str, name: str, names: str, ids: str | None) -> None:
    given_record = coded(*fields)
    assert column("gl_account", **given_record) == account
    assert column("gl_account_name", **given_record) == name
    assert column("accounting_fields", **given_record) == names
    assert ids is None or column("accounting_field_ids", **given_record) == ids


def test_semicolons_go_with_a_decimal_comma() -> None:
    money = {"amount": Number("-1284750.35"), "currency": "EUR"}
    assert column("record_amount", ";", amount=money) == "-1284750,35"
    assert column("record_amount", amount=money) == "-1284750.35"


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


@pytest.mark.parametrize(
    "kind",
    [
        CSVFormat(),
        CSVFormat(excel=True),
        CSVFormat(semicolon=True),
        CSVFormat(excel=True, semicolon=True),
        JSONLinesFormat(),
    ],
)
def test_the_keys_of_what_is_written(kind: Format) -> None:
    records = [
        record(),
        record(id="=accr_1", version=7, memo="two\nlines\r\nand a \0"),
        record(id="a;b,c", memo="x" * 200_000, vendor={"id": "v", "name": "y" * 300_000}),
    ]
    stream = BytesIO(kind.head + kind.page(records))
    keys = kind.keys(stream)
    assert {kind.key(each) for each in records} <= keys
    assert not stream.closed
    assert stream.read() == b""


def test_names_are_told_without_the_spaces_they_end_in() -> None:
    assert ledger.person(record()) == "Ada Okafor"
    assert ledger.person(record(user=None)) == ""
