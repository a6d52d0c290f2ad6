"""The models as their users hold them. The API is an alpha, and its documentation contradicts itself."""

from __future__ import annotations

import contextlib
import copy
import decimal
import json
import pickle
import sys
import weakref
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import attrs
import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brex_accounting import (
    AccountingRecord,
    Attempt,
    BrexAccounting,
    ConfigurationError,
    ExportFailed,
    ExportSucceeded,
    Integration,
    IntegrationStatus,
    InvalidRecord,
    InvalidResponseError,
    Money,
    Outcome,
    RateLimit,
    RecordPage,
    ReportOutcome,
    RetryPolicy,
)
from brex_accounting._records.parsing import read_page, read_record
from brex_accounting_api.types import Model, encode
from tests.support.records import RECORD, REQUIRED, at, changed, record, shown, write

# The example that Brex publishes; it has no `integration_id`, which Brex's schema requires.
PUBLISHED = {
    "id": "int_abc123",
    "vendor": "ERP_A",
    "status": "ACTIVE",
    "created_at": "2025-08-15T10:00:00Z",
    "vendor_account_id": "vendor_account_id",
}


async def read(body: Any) -> Integration:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=body))
    async with BrexAccounting("bxt_secret", transport=transport) as brex:
        return await brex.integrations.create("ERP_A", "vendor_account_id")


async def refusal(body: Any) -> InvalidResponseError:
    with pytest.raises(InvalidResponseError) as caught:
        await read(body)
    error = caught.value
    assert (error.outcome, error.attempts, error.status) == (Outcome.UNKNOWN, 1, 200)
    return error


async def test_the_published_example() -> None:
    integration = await read(PUBLISHED)
    assert integration == Integration(
        id="int_abc123",
        vendor="ERP_A",
        vendor_account_id="vendor_account_id",
        status=IntegrationStatus.ACTIVE,
        created_at=datetime(2025, 8, 15, 10, tzinfo=UTC),
    )
    assert integration.unknown_fields == {}


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ({"integration_id": "int_1"}, "int_1"),
        ({"id": "int_1"}, "int_1"),
        ({"integration_id": "int_1", "id": "int_2"}, "int_1"),
        ({"id": "int_2", "integration_id": "int_1"}, "int_1"),
        ({"integration_id": None, "id": "int_1"}, "int_1"),
        ({"integration_id": "", "id": "int_1"}, "int_1"),
        ({"integration_id": "int_1", "id": None}, "int_1"),
    ],
)
async def test_either_spelling_of_the_id(ids: dict[str, object], expected: str) -> None:
    integration = await read({name: value for name, value in PUBLISHED.items() if name != "id"} | ids)
    assert integration.id == expected
    assert integration.unknown_fields == {}


@pytest.mark.parametrize("ids", [{}, {"id": None}, {"id": ""}, {"integration_id": "", "id": None}])
async def test_no_id(ids: dict[str, object]) -> None:
    error = await refusal({name: value for name, value in PUBLISHED.items() if name != "id"} | ids)
    assert "`integration_id`" in str(error)
    assert "`id`" in str(error)


async def test_what_this_version_does_not_know_is_kept() -> None:
    integration = await read(PUBLISHED | {"status": "PAUSED", "rate": 1.10, "owner": {"id": 7, "tags": [None]}})
    assert integration.status == "PAUSED"
    assert integration.status not in {IntegrationStatus.ACTIVE, IntegrationStatus.DISABLED}
    assert (integration.status.value, str(integration.status)) == ("PAUSED", "PAUSED")
    assert integration.unknown_fields == {"rate": Decimal("1.1"), "owner": {"id": 7, "tags": [None]}}


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2025-04-24T16:13:49.959513Z", datetime(2025, 4, 24, 16, 13, 49, 959513, UTC)),
        ("2025-04-24T16:13:49+02:00", datetime(2025, 4, 24, 14, 13, 49, 0, UTC)),
        ("2025-04-24t16:13:49-00:00", datetime(2025, 4, 24, 16, 13, 49, 0, UTC)),
    ],
)
async def test_times(text: str, moment: datetime) -> None:
    created_at = (await read(PUBLISHED | {"created_at": text})).created_at
    assert created_at == moment
    assert isinstance(created_at.utcoffset(), timedelta)


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        *(({name: None}, name) for name in ("vendor", "vendor_account_id", "status", "created_at")),
        *(({name: 5}, name) for name in ("integration_id", "id", "vendor", "vendor_account_id", "status")),
        ({"created_at": "2025-08-15T10:00:00"}, "created_at"),
        ({"created_at": "2025-08-15"}, "created_at"),
        ({"created_at": "yesterday"}, "created_at"),
        ({"vendor": {"id": "SECRET-LEDGER"}}, "vendor"),
    ],
)
async def test_wrong_types(wrong: dict[str, object], where: str) -> None:
    error = await refusal(PUBLISHED | wrong)
    assert f"`$.{where}`" in str(error)
    assert "SECRET-LEDGER" not in repr(vars(error)) + str(error)


@pytest.mark.parametrize("name", ["vendor", "vendor_account_id", "status", "created_at"])
async def test_missing_fields(name: str) -> None:
    error = await refusal({key: value for key, value in PUBLISHED.items() if key != name})
    assert f"`{name}`" in str(error)


@pytest.mark.parametrize(
    "body", [[], [PUBLISHED], "int_1", 5, True, {}, {"integration": PUBLISHED}, {"data": [PUBLISHED]}]
)
async def test_wrong_shapes(body: object) -> None:
    await refusal(body)


async def test_an_integration_is_a_value() -> None:
    one, same = await read(PUBLISHED | {"status": "PAUSED"}), await read(PUBLISHED | {"status": "PAUSED"})
    assert one == same
    assert len({one, same}) == 1
    assert one != await read(PUBLISHED)
    assert copy.copy(one) == copy.deepcopy(one) == pickle.loads(pickle.dumps(one)) == one
    with pytest.raises(AttributeError):
        one.id = "int_2"  # type: ignore[misc]


# -- records -----------------------------------------------------------------------------------------------------------

NEW = {"approval": {"score": 0.10, "by": [None, True]}, "source": "a name of ours", "_source": 1, "to_dict": 2}
NEW_AS_READ = NEW | {"approval": {"score": Decimal("0.1"), "by": [None, True]}}
MONEY = {"amount": 5, "currency": "USD", "rate": {"exact": 1.10}}


def read_on_a_page(source: bytes) -> AccountingRecord:
    return read_page(b'{"items":[%s],"has_next_page":false}' % source).page.items[0]


def new_record(**changes: object) -> AccountingRecord:
    return read_on_a_page(write(record(**changes)))


def twins(one: AccountingRecord) -> list[AccountingRecord]:
    pickles = [pickle.loads(pickle.dumps(one, protocol)) for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1)]
    return [copy.copy(one), copy.deepcopy(one), *pickles, AccountingRecord.from_dict(one.to_dict())]


@pytest.mark.parametrize("asked_first", [False, True])
def test_unknown_fields_of_a_record(asked_first: bool) -> None:
    one = new_record(**NEW, amount=MONEY)
    if asked_first:
        _ = one.unknown_fields
    for twin in [*twins(one), one]:
        assert twin.unknown_fields == NEW_AS_READ
        assert twin.additional_properties == twin.unknown_fields
        assert twin.amount.additional_properties == {"rate": {"exact": Decimal("1.1")}}
        assert type(twin.unknown_fields["approval"]["score"]) is Decimal
        assert twin.user is not None
        assert twin.user.additional_properties == {}


@pytest.mark.parametrize("where", ["user", "vendor"])
def test_unknown_fields_further_in(where: str) -> None:
    one = read_record(write(changed((where, "new"), 1)))
    assert one.unknown_fields == {}
    assert getattr(one, where).additional_properties == {"new": 1}
    for path in [
        ("line_items", 1, "new"),
        ("line_items", 1, "accounting_field_values", 0, "new"),
        ("receipts", 0, "new"),
    ]:
        one = read_record(write(changed(path, 1)))
        assert one.unknown_fields == {}
        holder = at(one, path[:-1])
        assert isinstance(holder, Model)
        assert holder.additional_properties == {"new": 1}


@pytest.mark.parametrize(
    "path", [("amount",), ("user",), ("line_items", 1), ("line_items", 0, "billing_amount")], ids=shown
)
def test_what_is_unknown_further_in_is_there_without_asking_the_record(path: tuple[str | int, ...]) -> None:
    holder = at(read_record(write(changed((*path, "new"), 1))), path)
    assert isinstance(holder, Model)
    assert holder.additional_properties == {"new": 1}
    assert holder.to_dict()["new"] == 1


@pytest.mark.parametrize("make", [read_record, read_on_a_page])
def test_a_copy_with_other_values_keeps_what_is_unknown(make: Callable[[bytes], AccountingRecord]) -> None:
    one = make(write(record(**NEW, amount={"amount": 5, "currency": "USD", "rate": 1})))
    twin = one.__replace__(memo="Other")
    assert (twin.memo, twin.version, twin.unknown_fields) == ("Other", one.version, NEW_AS_READ)
    assert twin.amount.additional_properties == {"rate": 1}
    cast("dict[str, Any]", twin.unknown_fields)["mine"] = 2
    assert one.unknown_fields == NEW_AS_READ
    with pytest.raises(TypeError, match="nonsense"):
        one.__replace__(nonsense=1)
    with pytest.raises(ValueError, match="not a number"):
        one.amount.__replace__(amount=Decimal("NaN"))
    if sys.version_info >= (3, 13):
        assert copy.replace(one, memo="Other").unknown_fields == NEW_AS_READ


def test_unknown_fields_are_not_compared() -> None:
    one, other = new_record(new=1), new_record()
    assert one == other
    assert one.unknown_fields != other.unknown_fields
    assert one == other
    assert new_record() != new_record(memo="Other")
    for twin in twins(one):
        assert (type(twin), twin) == (AccountingRecord, one)


def test_a_copy_has_unknown_fields_of_its_own() -> None:
    one = new_record(new=1)
    for twin in twins(one):
        cast("dict[str, Any]", twin.unknown_fields)["mine"] = 2
    assert one.unknown_fields == {"new": 1}


def test_what_somebody_added_further_in_is_not_lost() -> None:
    one = new_record(amount=MONEY)
    one.amount.additional_properties["mine"] = 1
    assert one.unknown_fields == {}
    assert one.amount.additional_properties == {"mine": 1, "rate": {"exact": Decimal("1.10")}}


def test_a_record_that_somebody_changed_still_has_its_unknown_fields() -> None:
    one = new_record(**NEW)
    one.amount.amount = Decimal("NaN")
    one.line_items = []
    one.user = None
    assert one.unknown_fields["to_dict"] == 2


def test_a_number_that_python_does_not_take_for_an_integer_stays_text() -> None:
    """Python makes no int of more than 4,300 digits; a Decimal of any."""
    one = new_record(new=[msgspec.Raw(b"9" * 5000), "1" * 5000, msgspec.Raw(b"-" + b"8" * 5000), 7])
    assert one.unknown_fields == {"new": ["9" * 5000, "1" * 5000, "-" + "8" * 5000, 7]}
    exact = new_record(amount={"amount": msgspec.Raw(b"9" * 5000), "currency": "USD"}, new=1)
    assert exact.unknown_fields == {"new": 1}
    assert exact.amount.amount == Decimal("9" * 5000)


def test_unknown_fields_too_deep_for_this_stack_are_not_lost() -> None:
    one = new_record(new=msgspec.Raw(b"[" * 700 + b"]" * 700))

    def deeper(left: int) -> None:
        if left:
            deeper(left - 1)
        else:
            assert "new" in one.unknown_fields

    with contextlib.suppress(RecursionError, ValueError):
        deeper(sys.getrecursionlimit() - 400)
    assert "new" in one.unknown_fields


def test_a_record_of_the_users_own() -> None:
    full = new_record()
    made = AccountingRecord(**{name: getattr(full, name) for name in attrs.fields_dict(AccountingRecord)})
    assert made == full
    assert made.unknown_fields == {}
    assert made.is_balanced


# -- what leaves the SDK -----------------------------------------------------------------------------------------------

DECLARED = [
    *("id", "amount", "original_amount", "type", "review_status", "source_id", "source_type", "erp_posting_date"),
    *("updated_at", "version", "receipts", "user", "vendor", "memo", "posted_at", "due_at", "invoice_number"),
    *("line_items", "billing_amount", "status"),
]


def sparse() -> AccountingRecord:
    """A record with only what it must have."""
    return read_record(write({name: value for name, value in RECORD.items() if name in REQUIRED["record"].split()}))


def test_a_dict_has_every_declared_key() -> None:
    for one in (sparse(), new_record(), new_record(memo=None)):
        assert list(one.to_dict()) == list(one.to_dict(mode="json")) == DECLARED
        assert list(json.loads(one.to_json())) == DECLARED
        assert list(one.to_dict()["line_items"][0]) == list(one.line_items[0].to_dict())
    assert sparse().to_dict()["user"] is None
    assert list(new_record(new=1).to_dict()) == [*DECLARED, "new"]
    assert b'"memo":null' not in encode(sparse())


def test_a_dict_holds_what_the_record_holds() -> None:
    one = new_record(new=[1, msgspec.Raw(b"2.50")], posted_at="2025-04-24T18:13:49.959513+02:00")
    found = one.to_dict()
    assert found["amount"] == {"amount": Decimal("100.50"), "currency": "USD"}
    assert (found["posted_at"], type(found["review_status"])) == (one.posted_at, str)
    assert found["posted_at"].utcoffset() == timedelta(hours=2)
    assert [str(each) for each in found["new"]] == ["1", "2.50"]


def test_a_dict_for_json_has_amounts_and_times_as_text() -> None:
    one = new_record(
        new=[1, msgspec.Raw(b"2.50"), None, True],
        amount={"amount": msgspec.Raw(b"90071992547409.930"), "currency": "USD", "rate": msgspec.Raw(b"1.10")},
    )
    found = json.loads(json.dumps(one.to_dict(mode="json")))
    assert found["amount"] == {"amount": "90071992547409.930", "currency": "USD", "rate": "1.10"}
    assert (found["new"], found["version"]) == ([1, "2.50", None, True], 7)
    assert found["posted_at"] == "2025-04-24T18:13:49.959513+02:00"
    assert found["line_items"][0]["amount"]["amount"] == "100.50"
    again = AccountingRecord.from_dict(found)
    assert again == one
    assert again.to_dict(mode="json") == found


def test_json_keeps_the_digits() -> None:
    one = new_record(amount={"amount": msgspec.Raw(b"90071992547409.930"), "currency": "USD"}, new=msgspec.Raw(b"1.10"))
    written = one.to_json()
    assert written.startswith(b'{"id":"accr_1","amount":{"amount":90071992547409.930,"currency":"USD"},"orig')
    assert written.endswith(b',"new":1.10}')
    again = read_record(written)
    assert again == one
    assert again.to_json() == written


def test_a_mode_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match='mode must be "python" or "json", not \'JSON\''):
        new_record().to_dict(mode=cast("Any", "JSON"))


@pytest.mark.parametrize("amount", [Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity")], ids=str)
def test_what_is_not_a_number_does_not_leave(amount: Decimal) -> None:
    with pytest.raises(ValueError, match=r"^JSON has no number that is infinite or not a number: `amount`$"):
        Money(amount=amount, currency="USD")
    one = new_record()
    one.amount.amount = amount
    for leave in (one.to_json, one.to_dict, lambda: one.to_dict(mode="json"), lambda: encode(one)):
        with pytest.raises(ValueError, match="JSON has no number"):
            leave()


def test_no_model_has_room_for_anything_else() -> None:
    """So nothing that encodes `vars()` finds half of a record there."""
    one = new_record(new=1)
    line = one.line_items[0]
    parts: list[Any] = [one, one.amount, one.user, one.vendor, line, line.accounting_field_values[0]]
    parts += one.receipts or []
    for value in parts:
        assert not hasattr(value, "__dict__")
        with pytest.raises(TypeError):
            dict(value)
        with pytest.raises(AttributeError):
            value.source = "mine"
        assert weakref.ref(value)() is value


def test_a_real_answer() -> None:
    """It holds more than the description does; nothing of that is unknown to the models."""
    source = (Path(__file__).parent / "data" / "record-beyond-description.json").read_bytes()
    one = read_record(source)
    assert (one.status, one.review_status, one.vendor and one.vendor.contact_name) == ("SUBMITTED", "PREPARE", None)
    assert one.billing_amount == one.amount == Money(amount=Decimal("27.9"), currency="EUR")
    assert (one.user and one.user.account_id) == "cuacc_000000000000000000000417"
    debit, credit = one.line_items
    assert (debit.billing_amount, credit.billing_amount, debit.amortization) == (one.amount, None, None)
    coded, uncoded, unnamed = debit.accounting_field_values
    assert (coded.field_name, coded.field_value_name, coded.type) == ("GL Account", "6420 Travel", "IDENTIFIER")
    assert (uncoded.brex_field_value_id, unnamed.brex_field_value_id) == (None, None)
    assert credit.accounting_field_values == []
    assert one.is_balanced
    found = json.loads(one.to_json(), parse_float=Decimal)
    found["posted_at"] = found["posted_at"].replace(".250000Z", ".250Z")
    assert without_none(found) == without_none(json.loads(source, parse_float=Decimal))
    assert one.unknown_fields == {}
    for value in (one.user, one.vendor, debit, coded):
        assert isinstance(value, Model)
        assert value.additional_properties == {}


def without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_none(item) for name, item in value.items() if item is not None}
    return [without_none(item) for item in value] if isinstance(value, list) else value


# -- nesting -----------------------------------------------------------------------------------------------------------


def nested(depth: int) -> msgspec.Raw:
    return msgspec.Raw(b'{"a":[' * (depth // 2) + b"1.50" + b"]}" * (depth // 2))


@pytest.mark.parametrize(
    "where", [("new",), ("line_items", 0, "new"), ("amount", "new"), ("line_items", 0, "amortization")], ids=shown
)
@pytest.mark.parametrize("depth", [2, 60, 64, 66, 200, 400, 800, 960, 2_000, 20_000, 200_000])
def test_no_depth_is_too_deep_for_a_clear_answer(where: tuple[str | int, ...], depth: int) -> None:
    source = write(changed(where, nested(depth)))
    try:
        one = read_record(source)
    except ValueError as error:
        assert "nested too deeply" in str(error)  # noqa: PT017
        assert depth > 900
        return
    for twin in [one, *twins(one)]:
        written = twin.to_json()
        assert read_record(written) == read_record(encode(twin)) == one
        assert "1.50" in json.dumps(twin.to_dict(mode="json"))
        found = at(twin, where[:-1])
        assert isinstance(found, Model)
        assert str(found.to_dict()[where[-1]]).count("{") == depth // 2


def test_what_is_nested_further_than_64_levels_becomes_text() -> None:
    one = new_record(new=nested(72))
    value: Any = one.unknown_fields["new"]
    levels = 0
    while not isinstance(value, str):
        value = value["a"] if isinstance(value, dict) else value[0]
        levels += 1
    assert levels == 64
    assert value == '{"a":[{"a":[{"a":[{"a":[1.50]}]}]}]}'


def test_a_value_that_is_nested_too_deeply_is_refused() -> None:
    deep: Any = 1
    for _ in range(100_000):
        deep = [deep]
    one = new_record()
    cast("dict[str, Any]", one.unknown_fields)["deep"] = deep
    for leave in (one.to_json, one.to_dict, lambda: encode(one), lambda: Money.from_dict({"amount": 1, "x": deep})):
        with pytest.raises(ValueError, match="nested too deeply"):
            leave()


# -- balance -----------------------------------------------------------------------------------------------------------


def line(side: str, amount: str, currency: str = "USD") -> Any:
    fields = {"id": "arli_1", "type": side, "accounting_field_values": []}
    return fields | {"amount": {"amount": msgspec.Raw(amount.encode()), "currency": currency}}


def balanced(*lines: Any) -> bool:
    return new_record(line_items=list(lines)).is_balanced


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], True),
        ([("DEBIT", "1")], False),
        ([("CREDIT", "1")], False),
        ([("DEBIT", "0")], True),
        ([("DEBIT", "-0.0")], True),
        ([("DEBIT", "0.1"), ("DEBIT", "0.2"), ("CREDIT", "0.3")], True),
        ([("DEBIT", "100.50"), ("CREDIT", "100.5")], True),
        ([("DEBIT", "1e2"), ("CREDIT", "100.00")], True),
        ([("DEBIT", "90071992547409.93"), ("CREDIT", "90071992547409.92"), ("CREDIT", "0.01")], True),
        ([("DEBIT", "90071992547409.93"), ("CREDIT", "90071992547409.92")], False),
        ([("DEBIT", "1e40"), ("DEBIT", "1e-40"), ("CREDIT", "1e40")], False),
        ([("DEBIT", "1e40"), ("DEBIT", "1e-40"), ("CREDIT", "1e-40"), ("CREDIT", "1e40")], True),
        ([("DEBIT", "1e999999"), ("CREDIT", "1e999999")], True),
        ([("DEBIT", "1e999999"), ("DEBIT", "1"), ("CREDIT", "1e999999")], False),
        ([("DEBIT", "1", "USD"), ("CREDIT", "1", "EUR")], False),
        ([("DEBIT", "1", "USD"), ("CREDIT", "1", "USD"), ("DEBIT", "2", "EUR"), ("CREDIT", "2", "EUR")], True),
        ([("DEBIT", "1", "USD"), ("CREDIT", "2", "USD"), ("DEBIT", "2", "EUR"), ("CREDIT", "1", "EUR")], False),
        ([("DEBIT", "-5"), ("CREDIT", "-5")], True),
        ([("DEBIT", "1"), ("CREDIT", "1"), ("MEMO", "7")], True),
        ([("MEMO", "7")], True),
        ([("DEBIT", "1"), ("MEMO", "1")], False),
    ],
)
def test_balance(lines: list[tuple[str, ...]], expected: bool) -> None:
    with decimal.localcontext(prec=3):  # the user's own is not ours
        assert balanced(*(line(*each) for each in lines)) is expected


entries = st.tuples(
    st.sampled_from(["DEBIT", "CREDIT", "NEW"]),
    st.decimals(-(10**30), 10**30, allow_nan=False, places=6) | st.integers(-5, 5).map(Decimal),
    st.sampled_from(["USD", "EUR", "JPY"]),
)


@given(st.lists(entries, max_size=8), st.booleans())
def test_the_balance_is_that_of_fractions(lines: list[tuple[str, Decimal, str]], close: bool) -> None:
    signs = {"DEBIT": 1, "CREDIT": -1, "NEW": 0}
    if close:  # so that half of them balance
        opposite = {"DEBIT": "CREDIT", "CREDIT": "DEBIT", "NEW": "NEW"}
        lines = lines + [(opposite[side], amount, currency) for side, amount, currency in reversed(lines)]
    sums = {
        currency: sum(signs[side] * Fraction(amount) for side, amount, its in lines if its == currency)
        for currency in ("USD", "EUR", "JPY")
    }
    assert balanced(*(line(side, str(amount), currency) for side, amount, currency in lines)) is not any(sums.values())


# -- results -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", ["", " ", None, 5, b"accr_1", "\ud800"])
def test_a_result_needs_the_id_of_a_record(value: Any) -> None:
    for make in (lambda: ExportSucceeded(value), lambda: ExportFailed(value, "no")):
        with pytest.raises(ConfigurationError, match=r"^record_id "):
            make()


@pytest.mark.parametrize("value", [5, b"x", True, ["x"], "\udfff"])
def test_what_a_result_says_is_text(value: Any) -> None:
    for name, make in {
        "reference_id": lambda: ExportSucceeded("accr_1", value),
        "deep_link_url": lambda: ExportSucceeded("accr_1", None, value),
        "error_message": lambda: ExportFailed("accr_1", value),
    }.items():
        with pytest.raises(ConfigurationError, match=f"^{name} "):
            make()
    with pytest.raises(ConfigurationError, match=r"^error_message "):
        ExportFailed("accr_1", cast("str", None))


def test_models_can_change_and_have_no_hash() -> None:
    for value in (new_record(), Money(amount=Decimal(1), currency="USD")):
        with pytest.raises(TypeError, match="unhashable"):
            hash(value)


def test_checks_do_not_depend_on_the_validators_of_attrs() -> None:
    attrs.validators.set_disabled(True)
    try:
        wrong: list[Callable[[], object]] = [
            lambda: ExportSucceeded(""),
            lambda: ExportFailed("accr_1", cast("str", None)),
            lambda: RetryPolicy(max_attempts=0),
            lambda: RetryPolicy(deadline=float("nan")),
            lambda: RetryPolicy(max_backoff=-1),
            lambda: RateLimit(0, per=1),
            lambda: RateLimit(1, per=float("inf")),
            lambda: attrs.evolve(RetryPolicy(), max_attempts=0),
        ]
        for make in wrong:
            with pytest.raises(ConfigurationError):
                make()
        with pytest.raises(ValueError, match="not a number"):
            Money(amount=Decimal("NaN"), currency="USD")
    finally:
        attrs.validators.set_disabled(False)


def test_what_people_make_and_receive_is_of_attrs() -> None:
    kinds = [RetryPolicy, RateLimit, Attempt, Integration, RecordPage, InvalidRecord, ExportSucceeded, ExportFailed]
    for kind in [*kinds, ReportOutcome, AccountingRecord, Money]:
        assert attrs.has(kind)
        assert not hasattr(kind.__new__(kind), "__dict__")


def test_results_and_outcomes_are_values() -> None:
    for make in (
        lambda: ExportSucceeded("accr_1", "ref", "https://erp.example"),
        lambda: ExportFailed("accr_1", ""),
        lambda: InvalidRecord("accr_1", "why", b"{}"),
        lambda: ReportOutcome("accr_1", "unknown", "why"),
        lambda: RecordPage(items=[new_record(new=1)], next_cursor="c", has_next_page=True, total_count=7),
    ):
        one: Any = make()
        assert one == make() == copy.deepcopy(one) == pickle.loads(pickle.dumps(one))
        with pytest.raises(AttributeError):
            one.record_id = one.items = None
