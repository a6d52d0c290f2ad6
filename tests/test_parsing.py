"""Records as they are read: exactly, or not at all, and one that cannot be read loses no other."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brex_accounting import AccountingRecord, InvalidRecord, LineItemType, RecordType, ReviewStatus, SourceType
from brex_accounting._records.parsing import (
    UnreadableRecordError,
    read_lenient_page,
    read_page,
    read_record,
    read_status_page,
    read_updated_ids,
)
from tests.support.records import RECORD, Path, at, changed, fields, page, record, shown, write

AMOUNTS: list[Path] = [path for path, _ in fields() if len(path) > 1 and path[-1] == "amount" and path[-2] != 0]
TIMES: list[Path] = [("erp_posting_date",), ("updated_at",), ("posted_at",), ("due_at",)]
FIELDS = [pytest.param(path, required, id=shown(path)) for path, required in fields()]


def raw(text: str) -> msgspec.Raw:
    return msgspec.Raw(text.encode())


def read(node: object) -> AccountingRecord:
    return read_record(write(node))


def reason(node: object) -> str:
    with pytest.raises(ValueError, match=r".") as caught:
        read(node)
    assert caught.value.__context__ is None
    return str(caught.value)


# -- values ------------------------------------------------------------------------------------------------------------

LITERALS = [
    *("90071992547409.93", "0.1", "0.10", "1e2", "1E+2", "1.5e-7", "0", "-0.0", "100", "-3", "0.30"),
    *("123456789012345678901234567890.12", "1e999999999999999999", "1e-999999999999999999", "0e5"),
    *("18446744073709551616", "9" * 4000, "0." + "3" * 5000),
]


def same(one: Decimal, other: Decimal) -> bool:
    return one.as_tuple() == other.as_tuple()


@pytest.mark.parametrize("path", AMOUNTS, ids=shown)
@pytest.mark.parametrize("literal", LITERALS, ids=lambda literal: literal[:24])
def test_money_is_the_literal_digits(path: Path, literal: str) -> None:
    amount = at(read(changed(path, raw(literal))), path)
    assert type(amount) is Decimal
    assert same(amount, Decimal(literal))


digits = st.text("0123456789", min_size=1, max_size=30)
literals = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "-"]),
    digits.map(lambda each: each.lstrip("0") or "0"),
    st.just("") | digits.map(".{}".format),
    st.just("")
    | st.builds(
        "{}{}{}".format, st.sampled_from("eE"), st.sampled_from(["", "+", "-"]), digits.map(lambda each: each[:17])
    ),
)


@given(literals.filter(lambda literal: not same(Decimal(literal), Decimal("-0"))))  # an integer has no such sign
def test_any_number_of_json_is_that_very_decimal(literal: str) -> None:
    body = write(RECORD | {"amount": {"amount": raw(literal), "currency": "USD"}, "fee": raw(literal)})
    found = read_record(body)
    assert same(found.amount.amount, Decimal(literal))
    unknown = found.unknown_fields["fee"]
    assert unknown == Decimal(literal)
    again = AccountingRecord.from_dict(found.to_dict())
    assert same(again.amount.amount, Decimal(literal))


@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_any_decimal_goes_there_and_back(amount: Decimal) -> None:
    found = read(record(amount={"amount": amount, "currency": "USD"}))
    assert same(found.amount.amount, amount)


@pytest.mark.parametrize("path", AMOUNTS, ids=shown)
@pytest.mark.parametrize("word", ["NaN", "-nan", "sNaN", "Infinity", "-inf"])
def test_what_is_no_number_names_its_place(path: Path, word: str) -> None:
    assert f"infinite or not a number: `amount` - at `{shown(path[:-1])}`" in reason(changed(path, word))


@pytest.mark.parametrize("path", AMOUNTS, ids=shown)
@pytest.mark.parametrize(
    "literal", ["1e99999999999999999999", "-1e-99999999999999999999", '"ten"', "true", "[1]", "null"]
)
def test_an_amount_that_no_decimal_holds(path: Path, literal: str) -> None:
    assert f" - at `{shown(path)}`" in reason(changed(path, raw(literal)))


WHOLE = [("7.0", 7), ("7", 7), ("0", 0), ("-1", -1), ("70e-1", 7), ("1e2", 100), ('"7"', 7)]
WHOLE += [("9007199254740993.0", 2**53 + 1), ("18446744073709551616", 2**64)]
NOT_WHOLE = ["7.5", "true", "null", '"seven"', '""', '"7.5"', "[]", "{}", "1e400", "1e999999999999999999"]
NOT_WHOLE += ["1e99999999999999999999", "9" * 5000, '"' + "9" * 5000 + '"', '"\u0667"', "1e-1"]


@pytest.mark.parametrize(("literal", "number"), WHOLE)
def test_a_version_and_a_count_are_whole_numbers(literal: str, number: int) -> None:
    version = read(record(version=raw(literal))).version
    assert (version, type(version)) == (number, int)
    count = read_page(page(total_count=raw(literal))).page.total_count
    assert (count, type(count)) == (number, int)


@pytest.mark.parametrize("literal", NOT_WHOLE, ids=lambda literal: literal[:24])
def test_what_is_not_whole_is_refused(literal: str) -> None:
    assert " - at `$.version`" in reason(record(version=raw(literal)))
    if literal != "null":
        with pytest.raises(ValueError, match=r" - at `\$.total_count`"):
            read_page(page(total_count=raw(literal)))


@pytest.mark.parametrize("path", TIMES, ids=shown)
def test_times_have_their_offset(path: Path) -> None:
    for text, moment, offset in [
        ("2025-04-24T16:13:49.959513Z", datetime(2025, 4, 24, 16, 13, 49, 959513, UTC), 0),
        ("2025-04-24T16:13:49+05:30", datetime(2025, 4, 24, 10, 43, 49, 0, UTC), 330),
        ("2025-04-24t16:13:49-00:00", datetime(2025, 4, 24, 16, 13, 49, 0, UTC), 0),
        ("2026-06-11T00:00Z", datetime(2026, 6, 11, tzinfo=UTC), 0),
        ("2026-06-11t01:30+01:30", datetime(2026, 6, 11, tzinfo=UTC), 90),
        ("2026-06-11T23:59:59.9999999Z", datetime(2026, 6, 11, 23, 59, 59, 999999, UTC), 0),
        ("2026-06-11T23:59:59.1234567890-00:00", datetime(2026, 6, 11, 23, 59, 59, 123456, UTC), 0),
        ("2026-06-11T23:59:59.12345649Z", datetime(2026, 6, 11, 23, 59, 59, 123456, UTC), 0),
    ]:
        found = cast("datetime", at(read(changed(path, text)), path))
        assert (found, found.utcoffset()) == (moment, timedelta(minutes=offset))


@pytest.mark.parametrize("path", TIMES, ids=shown)
@pytest.mark.parametrize(
    "wrong",
    [
        *("2025-04-24T16:13:49", "2025-04-24", "20250424", 20250424, "1745510400", 1745510400, 1.5, 0, "", "null"),
        *("yesterday", "2025-02-30T00:00:00Z", "2025-04-24T25:00:00Z", True, [], {}),
        *(
            "2025-04-24T16:13",
            "2025-04-24T16:60Z",
            "2025-04-24T16Z",
            "2025-04-24T16:13:49+01:75",
            "2025-04-24T16:13.5Z",
        ),
    ],
)
def test_what_is_no_moment_is_refused(path: Path, wrong: object) -> None:
    assert f" - at `{shown(path)}`" in reason(changed(path, wrong))


def test_text_that_looks_like_a_time_stays_as_it_is() -> None:
    text = "2026-06-11T23:59:59.9999999Z"
    for memo in (text, "2026-06-11T00:00Z"):
        found = read(record(posted_at=text, memo=memo, new=memo))
        assert (found.posted_at.microsecond, found.memo, found.unknown_fields) == (999999, memo, {"new": memo})
        assert memo.encode() in found.to_json()


def test_odd_times_on_a_page() -> None:
    body = page(
        record("accr_0"),
        record("accr_1", posted_at="2026-06-11T23:59:59.9999999Z"),
        record("accr_2", due_at="2026-06-11T00:00Z"),
    )
    found = read_page(body).page.items
    assert [each.id for each in found] == ["accr_0", "accr_1", "accr_2"]
    assert found[1].posted_at == datetime(2026, 6, 11, 23, 59, 59, 999999, UTC)
    assert found[2].due_at == datetime(2026, 6, 11, tzinfo=UTC)
    assert found[0] == read(record("accr_0"))


def test_odd_times_change_nothing_else() -> None:
    odd = write(record("accr_0", posted_at="2026-06-11T23:59:59.9999999Z", new=raw("[ 1.10,\t1e2 ]")))
    broken = b'{"id": "accr_1",  "new": 1.10}'
    read = read_lenient_page(b'{"items": [%s, %s], "has_next_page": false}' % (odd, broken))
    [found], [invalid] = read.page.items, read.invalid
    assert invalid.raw == broken
    assert [str(each) for each in found.unknown_fields["new"]] == ["1.10", "1E+2"]


def test_names_keep_their_spaces() -> None:
    found = read(RECORD)
    assert found.user is not None
    assert found.vendor is not None
    assert (found.user.first_name, found.user.last_name, found.vendor.name) == ("Ada  ", "Okafor ", "Paper Ltd ")


def test_each_value_is_read() -> None:
    found = read(RECORD)
    for path, _ in fields():
        value = at(found, path)
        written: Any = RECORD
        for step in path:
            written = written[step]
        if isinstance(value, str | int):
            assert value == written
        if isinstance(written, msgspec.Raw):
            assert value == Decimal(bytes(written).decode())
    assert isinstance(found.line_items[1].type, LineItemType)
    assert (found.type, found.source_type) == (RecordType.BILL_EXPENSE, SourceType.BILL)
    assert found.review_status is ReviewStatus.READY_FOR_EXPORT


@pytest.mark.parametrize("text", ["null", "None", "7", "true", "2025-04-24T16:13:49Z", "a\0b", "𝄞", " "])
def test_text_stays_text(text: str) -> None:
    found = read(record(memo=text, invoice_number=text))
    assert (found.memo, found.invoice_number) == (text, text)


@pytest.mark.parametrize(("path", "required"), FIELDS)
def test_null_and_absent_are_none_or_are_refused(path: Path, required: bool) -> None:
    for value in (None, ...):
        node = changed(path, value)
        if not required:
            assert at(read(node), path) is None
            continue
        text = reason(node)
        if value is None:
            assert f" - at `{shown(path)}`" in text
        else:
            assert f"missing required field `{path[-1]}`" in text
            assert len(path) == 1 or f" - at `{shown(path[:-1])}`" in text


@pytest.mark.parametrize(("path", "required"), FIELDS)
@pytest.mark.parametrize("wrong", [{"JANE": "JANE"}, ["JANE"], ["JANE", {"JANE": []}], False], ids=str)
def test_a_field_of_another_type_names_its_place_and_no_value(path: Path, required: bool, wrong: object) -> None:
    if isinstance(wrong, list) and path[-1] == "download_uris":
        wrong = [wrong]
    secret = {"memo": "JANE", "user": None} if path[0] not in {"memo", "user"} else {"vendor": None}
    body = write(page_of(changed(path, wrong) | secret))
    read = read_lenient_page(body)
    [invalid] = read.invalid
    assert [each.id for each in read.page.items] == ["accr_0", "accr_9"]
    assert invalid.record_id == (None if path == ("id",) else "accr_1")
    assert f"at `{shown(path)}" in invalid.reason
    assert "JANE" not in invalid.reason
    assert msgspec.json.decode(invalid.raw) == msgspec.json.decode(write(changed(path, wrong) | secret))
    with pytest.raises(UnreadableRecordError) as caught:
        read_page(body)
    assert caught.value.record_id == invalid.record_id
    assert invalid.reason in str(caught.value)
    assert (invalid.record_id or "without a readable id") in str(caught.value)
    assert "JANE" not in str(caught.value)


def page_of(item: object) -> object:
    return {"items": [record("accr_0"), item, record("accr_9")], "has_next_page": False}


@pytest.mark.parametrize(
    "path",
    [path for path, _ in fields() if path[-1] in {"type", "role", "status", "source_type", "review_status"}],
    ids=shown,
)
def test_an_enum_value_that_is_new(path: Path) -> None:
    found = at(read(changed(path, "NEW ONE")), path)
    assert found == "NEW ONE"
    assert str(found) == f"{found}" == "NEW ONE"
    assert type(found) is type(at(read(RECORD), path))


# -- pages -------------------------------------------------------------------------------------------------------------

DEEP = 300_000  # more than the stack of any Python holds
CUT_EMOJI = rb'{"id": "accr_1", "memo": "\ud83d"}'
BROKEN: dict[str, tuple[bytes, str | None]] = {
    "null": (b"null", None),
    "a number": (b"5", None),
    "text": (b'"accr_1"', None),
    "a list": (b'["accr_1"]', None),
    "empty": (b"{}", None),
    "only an id": (b'{"id":"accr_1"}', "accr_1"),
    "an id of another type": (b'{"id":5}', None),
    "no UTF-8 in a known field": (write(RECORD).replace(b"lunch", b"\xff\xfe"), "accr_1"),
    "no UTF-8 in an unknown field": (
        write(RECORD | {"new": "lunch"}).replace(b'"new":"lunch"', b'"new":"\xff"'),
        "accr_1",
    ),
    "no UTF-8 in a name": (write(RECORD | {"new": "lunch"}).replace(b'"new"', b'"\xff"'), "accr_1"),
    "an emoji cut in two": (write(RECORD).replace(b"lunch", rb"\ud83d"), "accr_1"),
    "the other half": (write(RECORD).replace(b"lunch", rb"\ude00"), "accr_1"),
    "an emoji cut in two in an unknown field": (write(RECORD | {"new": raw(r'["\ud83d"]')}), "accr_1"),
    "an escape that is none": (write(RECORD).replace(b"lunch", rb"\q"), None),
    "a control character": (write(RECORD).replace(b"lunch", b"\x01"), None),
    "a long version": (write(RECORD | {"version": raw("9" * 5000)}), "accr_1"),
    "deep": (write(RECORD | {"new": raw("[" * DEEP + "]" * DEEP)}), None),
    "deep objects": (write(RECORD | {"new": raw('{"a":' * DEEP + "1" + "}" * DEEP)}), None),
}


@pytest.mark.parametrize(("item", "record_id"), BROKEN.values(), ids=BROKEN)
def test_a_broken_record_loses_no_other(item: bytes, record_id: str | None) -> None:
    body = write(page_of("@")).replace(b'"@"', b" " + item + b"\n")
    found = read_lenient_page(body)
    assert [each.id for each in found.page.items] == ["accr_0", "accr_9"]
    assert found.page.items[0] == read(record("accr_0"))
    [invalid] = found.invalid
    assert (invalid.record_id, invalid.raw) == (record_id, item)
    assert "lunch" not in invalid.reason
    assert "xff" not in invalid.reason
    with pytest.raises(UnreadableRecordError) as caught:
        read_page(body)
    assert caught.value.record_id == record_id


@pytest.mark.parametrize(
    "item", [item for item, record_id in BROKEN.values() if record_id], ids=[n for n, (_, r) in BROKEN.items() if r]
)
def test_a_broken_record_alone_is_named_too(item: bytes) -> None:
    with pytest.raises(UnreadableRecordError, match="the record accr_1: ") as caught:
        read_record(item)
    assert caught.value.record_id == "accr_1"


@pytest.mark.parametrize("body", [b"", b"<html>", b"null", b"[]", write(RECORD)[:-1], b'{"id":"accr_1'])
def test_what_is_no_record_is_not_called_one(body: bytes) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        read_record(body)
    assert not isinstance(caught.value, UnreadableRecordError)


def test_invalid_records_come_in_their_order() -> None:
    found = read_lenient_page(page(None, record("accr_1"), 5, {"id": "accr_2"}, record("accr_3"), CUT_EMOJI.decode()))
    assert [(each.record_id, each.raw[:4]) for each in found.invalid] == [
        *((None, b"null"), (None, b"5"), ("accr_2", b'{"id'), (None, b'"{\\"')),
    ]
    assert all(isinstance(each, InvalidRecord) for each in found.invalid)


@pytest.mark.parametrize(
    ("cursor", "more", "expected"),
    [
        ("c", True, ("c", True)),
        ("c", False, (None, False)),
        (None, False, (None, False)),
        ("", False, (None, False)),
        (None, True, (None, True)),
        ("", True, (None, True)),
    ],
)
def test_a_cursor_is_there_where_more_is(cursor: str | None, more: bool, expected: tuple[str | None, bool]) -> None:
    found = read_page(page(cursor=cursor, more=more)).page
    assert (found.next_cursor, found.has_next_page, found.items, found.total_count) == (*expected, [], None)


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"null", b"[]", b"{}", b"<html>", b'{"items": []}', b'{"has_next_page": false}', b"\xff"),
        *(b'{"items": null, "has_next_page": false}', b'{"items": {}, "has_next_page": false}'),
        *(page(more=None, has_next_page=value) for value in ("false", 0, None, [])),
        *(page(more=False, next_cursor=value) for value in (5, [], {})),
        page(record())[:-1],
        rb'{"items": ["\ud83d"], "has_next_page": 5}',
        rb'{"items": ["\ud83d"]',
    ],
)
def test_what_is_no_page(body: bytes) -> None:
    for reader in cast("list[Callable[[bytes], object]]", [read_page, read_lenient_page]):
        with pytest.raises(ValueError, match=r".") as caught:
            reader(body)
        assert not isinstance(caught.value, UnreadableRecordError)


def test_unknown_fields_of_a_page_do_no_harm() -> None:
    assert len(read_page(page(record(), record(), new=[{"items": 5}])).page.items) == 2


# -- the other answers -------------------------------------------------------------------------------------------------


def test_how_far_records_are_is_read_whatever_else_they_hold() -> None:
    body = page({"id": "accr_1", "review_status": "NEW", "amount": "?"}, record("accr_2"), cursor="c")
    found = read_status_page(body)
    assert [(each.id, each.review_status) for each in found.items] == [
        ("accr_1", "NEW"),
        ("accr_2", "READY_FOR_EXPORT"),
    ]
    assert (found.has_next_page, found.next_cursor) == (True, "c")


@pytest.mark.parametrize("wrong", [rb'"\ud83d"', b'"\xff"', b"1e99999999999999999999", b"null", b"9" * 4000])
def test_how_far_records_are_is_read_beside_what_cannot_be(wrong: bytes) -> None:
    body = page(record("accr_1", memo="@"), record("accr_2")).replace(b'"@"', wrong)
    assert [each.id for each in read_status_page(body).items] == ["accr_1", "accr_2"]


def test_a_status_page_passes_over_what_has_no_status() -> None:
    read = read_status_page(page({"id": 5}, {"id": "a"}, None, {"id": "accr_1", "review_status": "EXPORTED"}))
    assert [each.id for each in read.items] == ["accr_1"]


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b"null", page(record())[:-1]])
def test_what_is_no_status_page(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"truncated|missing required field|Expected") as caught:
        read_status_page(body)
    assert caught.value.__context__ is None


def test_updated_ids() -> None:
    assert read_updated_ids(b'{"updated_accounting_record_ids": ["a", "b"], "new": 1}') == ("a", "b")
    for body in (b"{}", b'{"updated_accounting_record_ids": null}', b'{"updated_accounting_record_ids": [5]}', b"[]"):
        with pytest.raises(ValueError, match=r"updated_accounting_record_ids|Expected `object`"):
            read_updated_ids(body)


# -- time --------------------------------------------------------------------------------------------------------------


def cpu_seconds(body: bytes) -> float:
    began = time.process_time()
    read_page(body)
    return time.process_time() - began


def test_a_page_of_a_hundred_is_read_in_less_than_20_ms() -> None:
    body = page(*(record(f"accr_{n}", new={"x": [n] * 200}) for n in range(100)))
    assert len(body) > 200_000
    assert min(cpu_seconds(body) for _ in range(5)) < 0.020


def test_what_a_record_lacks_as_a_whole_has_a_path_too() -> None:
    whole = record("accr_1")
    del whole["amount"]  # type: ignore[attr-defined]
    [invalid] = read_lenient_page(page(whole)).invalid
    assert (invalid.record_id, invalid.reason) == ("accr_1", "Object missing required field `amount` - at `$`")
