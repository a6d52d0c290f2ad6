"""The generated client alone, as the ordinary openapi-python-client client that it is."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import importlib
import json
import pickle
import pkgutil
import traceback
from collections.abc import Awaitable, Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any, Literal, cast

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import brex_accounting_api
from brex_accounting_api import AuthenticatedClient, Client, models
from brex_accounting_api.api.accounting_integrations import create_integration, disconnect_integration
from brex_accounting_api.api.accounting_records import (
    get_accounting_record,
    query_accounting_records,
    report_accounting_export_results,
)
from brex_accounting_api.errors import InvalidResponse, UnexpectedStatus
from brex_accounting_api.models import (
    AccountingErrorResponse,
    AccountingFieldValue,
    AccountingRecordDetailed,
    AccountingRecordsResponse,
    CreateIntegrationRequest,
    ExportFailureDetails,
    ExportSuccessDetails,
    FailedExportResult,
    Integration,
    IntegrationStatus,
    Money,
    QueryAccountingRecordsReviewStatus,
    ReportExportResultsRequest,
    SourceType,
    SuccessfulExportResult,
)
from brex_accounting_api.types import UNSET, Model, Response, decode, decoder, encode, keep_unknown
from tests.support.marks import not_src

Node = dict[str, Any]
unhurried = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])

pytestmark = not_src

TOKEN = "bxt_a_secret"
SECRET = "Jane Doe"
HUGE = "1e99999999999999999999"
URL = "https://api.example"
INTEGRATION: Node = {
    "id": "int_abc123",
    "vendor": "ERP_A",
    "status": "ACTIVE",
    "created_at": "2025-08-15T10:00:00Z",
    "vendor_account_id": "account",
}
RECORD = """{
  "id": "accr_1", "type": "CARD_EXPENSE_POST", "review_status": "READY_FOR_EXPORT", "source_type": "CARD",
  "amount": {"amount": 90071992547409.93, "currency": "USD"},
  "original_amount": {"amount": 0.1, "currency": "EUR", "rate": {"exact": 1.10}},
  "erp_posting_date": "2025-04-24T00:00:00Z", "updated_at": "2025-04-24T16:13:49.959513Z",
  "posted_at": "2025-04-24T18:13:49.959513+02:00", "due_at": null, "version": 7.0, "memo": null,
  "user": {"id": "cuuser_1", "first_name": "Jane ", "last_name": "Doe ", "email": "j@example.com",
           "role": "ASTRONAUT", "status": "ACTIVE"},
  "line_items": [
    {"id": "arli_1", "type": "DEBIT", "amount": {"amount": 1e2, "currency": "USD"},
     "accounting_field_values": [{"brex_field_id": "ef_1", "remote_field_id": null, "brex_field_value_id": "efo_1"}]}],
  "purchase": {"points": [1, 2.50, null]}
}"""


class Server:
    """Answers every request with the same, and keeps the last."""

    def __init__(self, status: int = 200, body: object = None, headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.headers = headers
        self.request: httpx.Request | None = None

    def handle(self, request: httpx.Request) -> httpx.Response:
        self.request = request
        return httpx.Response(self.status, content=self.body, headers=self.headers)

    def client(self, **options: Any) -> AuthenticatedClient:
        transport = {"transport": httpx.MockTransport(self.handle)}
        return AuthenticatedClient(URL, token=TOKEN, httpx_args=transport, **options)

    @property
    def received(self) -> httpx.Request:
        assert self.request is not None
        return self.request


def record_with(**changes: object) -> bytes:
    return json.dumps(json.loads(RECORD) | changes).encode()


Call = Callable[[AuthenticatedClient], Awaitable[Any]]


async def get_sync(client: AuthenticatedClient) -> object:
    return get_accounting_record.sync("accr_1", client=client)


async def get_sync_detailed(client: AuthenticatedClient) -> object:
    return get_accounting_record.sync_detailed("accr_1", client=client).parsed


async def get_asyncio(client: AuthenticatedClient) -> object:
    return await get_accounting_record.asyncio("accr_1", client=client)


async def get_asyncio_detailed(client: AuthenticatedClient) -> object:
    return (await get_accounting_record.asyncio_detailed("accr_1", client=client)).parsed


four_ways = pytest.mark.parametrize("call", [get_sync, get_sync_detailed, get_asyncio, get_asyncio_detailed])


def get_record(body: bytes | str = RECORD) -> AccountingRecordDetailed:
    content = body if isinstance(body, bytes) else body.encode()
    found = get_accounting_record.sync("accr_1", client=Server(body=content).client())
    assert isinstance(found, AccountingRecordDetailed)
    return found


# Answers


@four_ways
async def test_an_answer_is_read(call: Call) -> None:
    server = Server(body=RECORD.encode())
    record = await call(server.client())
    assert (type(record), record.id, record.line_items[0].type) == (AccountingRecordDetailed, "accr_1", "DEBIT")
    assert str(server.received.url) == f"{URL}/v3/accounting/records/accr_1"
    assert server.received.headers["authorization"] == f"Bearer {TOKEN}"


@four_ways
async def test_an_error_of_the_description_is_an_answer(call: Call) -> None:
    body = {"error_code": "NOT_FOUND", "message": "Gone", "details": None}
    error = await call(Server(404, body).client())
    assert error == AccountingErrorResponse.from_dict(body)


def test_a_detailed_answer_holds_what_came() -> None:
    server = Server(body=RECORD.encode(), headers={"x-brex-trace-id": "trace"})
    answer = get_accounting_record.sync_detailed("accr_1", client=server.client())
    assert (answer.status_code, answer.content) == (200, RECORD.encode())
    assert answer.headers["X-Brex-Trace-Id"] == "trace"


@four_ways
@pytest.mark.parametrize("status", [418, 520, 599, 302])
async def test_an_undocumented_status_is_an_error_with_a_plain_number(call: Call, status: int) -> None:
    with pytest.raises(UnexpectedStatus) as caught:
        await call(Server(status, SECRET).client())
    assert (caught.value.status_code, caught.value.content) == (status, json.dumps(SECRET).encode())
    assert type(caught.value.status_code) is int


def test_an_undocumented_status_is_none_where_that_is_asked_for() -> None:
    client = Server(520).client(raise_on_unexpected_status=False)
    answer = get_accounting_record.sync_detailed("accr_1", client=client)
    assert (answer.status_code, type(answer.status_code), answer.parsed) == (520, int, None)


@four_ways
async def test_html_is_an_invalid_response(call: Call) -> None:
    page = f"<html>{SECRET}</html>".encode()
    with pytest.raises(InvalidResponse, match=r"status 200 .* cannot be understood: JSON is malformed") as caught:
        await call(Server(body=page, headers={"content-type": "text/html"}).client())
    assert (caught.value.status_code, caught.value.content) == (200, page)


DEEP = 300_000  # more than the stack of any Python holds
NOT_A_RECORD = {
    "nothing": (b"", "truncated"),
    "cut short": (RECORD.encode()[:-1], "truncated"),
    "two documents": (f'{RECORD} "{SECRET}"'.encode(), "trailing characters"),
    "a list": (json.dumps([SECRET]).encode(), "Expected `object`, got `array`"),
    "text": (json.dumps(SECRET).encode(), "Expected `object`, got `str`"),
    "null": (b"null", "Expected `object`, got `null`"),
    "a field missing": (json.dumps({"id": SECRET}).encode(), "missing required field `amount`"),
    "null for a required one": (record_with(id=None), "Expected `str`, got `null` - at `$.id`"),
    "text for a number": (record_with(version=SECRET), "Expected `int`, got `str` - at `$.version`"),
    "a number for text": (record_with(id=5), "Expected `str`, got `int` - at `$.id`"),
    "half a version": (record_with(version=7.5), "Expected `int`, got `float` - at `$.version`"),
    "a flag for a number": (record_with(version=True), "Expected `int`, got `bool` - at `$.version`"),
    "a number for an enum": (record_with(type=5), "Expected `str`, got `int` - at `$.type`"),
    "an amount in words": (
        record_with(amount={"amount": SECRET, "currency": "USD"}),
        "Invalid decimal string - at `$.amount.amount`",
    ),
    "an amount of NaN": (record_with(amount={"amount": "NaN", "currency": SECRET}), "not a number"),
    "an amount of infinity": (record_with(original_amount={"amount": "-inf", "currency": "USD"}), "infinite"),
    "an object for a list": (record_with(line_items={"x": SECRET}), "Expected `array`, got `object`"),
    "a number for a time": (record_with(posted_at=20250424), "Expected `datetime`, got `int` - at `$.posted_at`"),
    "digits for a time": (record_with(posted_at="20250424"), "Invalid RFC3339 encoded datetime - at `$.posted_at`"),
    "the word null for a time": (record_with(due_at="null"), "Invalid RFC3339 encoded datetime - at `$.due_at`"),
    "an amount that no Decimal holds": (
        RECORD.replace("90071992547409.93", HUGE).encode(),
        "Invalid decimal string - at `$.amount.amount`",
    ),
    "a version that no Decimal holds": (RECORD.replace("7.0", HUGE).encode(), "Expected `int`, got `str`"),
    "a naive time": (record_with(posted_at="2025-04-24T16:13:49"), "Expected `datetime` with a timezone"),
    "a date for a time": (record_with(posted_at="2025-04-24"), "Invalid RFC3339 encoded datetime - at `$.posted_at`"),
    "words for a time": (record_with(due_at=SECRET), "Invalid RFC3339 encoded datetime - at `$.due_at`"),
    "no UTF-8": (RECORD.encode().replace(b"Jane", b"\xff\xfe"), "'utf-8' codec can't decode"),
    "nested too deep": (b'{"x":' + b"[" * DEEP + b"]" * DEEP + b"}", "nested too deeply"),
    "nested and cut": (b'{"x":' + b"[" * DEEP, "nested too deeply"),
}


@pytest.mark.parametrize(("body", "reason"), NOT_A_RECORD.values(), ids=NOT_A_RECORD)
def test_another_shape_is_an_invalid_response(body: bytes, reason: str) -> None:
    with pytest.raises(InvalidResponse) as caught:
        get_record(body)
    assert reason in caught.value.reason
    assert caught.value.reason in str(caught.value)
    assert caught.value.content == body


@pytest.mark.parametrize(
    ("status", "body"),
    [(520, SECRET.encode()), (500, SECRET.encode()), *((200, body) for body, _ in NOT_A_RECORD.values())],
    ids=["undocumented", "an error", *NOT_A_RECORD],
)
def test_no_error_shows_what_a_body_holds(status: int, body: bytes) -> None:
    with pytest.raises((InvalidResponse, UnexpectedStatus)) as caught:
        get_accounting_record.sync("accr_1", client=Server(status, body).client())
    texts = [str(caught.value), repr(caught.value), *traceback.format_exception(caught.value)]
    assert "Jane" not in "".join(texts)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("found", ["Jane Doe", "Jane - at `$.Doe`", "Jane\n'"])
def test_a_constant_that_differs_is_not_shown(found: str) -> None:
    constant = Literal["cat"]
    for kind, value, place in [(constant, found, ""), (list[constant], [found], " - at `$[0]`")]:
        with pytest.raises(ValueError, match="Invalid enum value") as caught:
            decode(kind, json.dumps(value).encode())
        assert str(caught.value) == f"Invalid enum value{place}"


# Values


@pytest.mark.parametrize(
    "literal", ["90071992547409.93", "0.1", "0.10", "100", "-3", "1e2", "1.5E-7", "123456789012345678901234567890.12"]
)
def test_an_amount_keeps_its_digits(literal: str) -> None:
    money = decode(Money, f'{{"amount":{literal},"currency":"USD"}}'.encode())
    assert type(money.amount) is Decimal
    assert str(money.amount) == str(Decimal(literal))
    written = encode(money)
    assert written == f'{{"amount":{Decimal(literal)},"currency":"USD"}}'.encode()
    assert json.loads(written, parse_float=Decimal)["amount"] == Decimal(literal)


@unhurried
@given(st.decimals(allow_nan=False, allow_infinity=False))
def test_every_amount_comes_back(amount: Decimal) -> None:
    money = decode(Money, encode(Money(amount=amount, currency="USD")))
    assert money.amount == amount
    assert money.amount.as_tuple()[1:] == amount.as_tuple()[1:]


@pytest.mark.parametrize("amount", [Decimal("NaN"), Decimal("sNaN"), Decimal("-Infinity"), float("nan"), float("inf")])
def test_an_amount_that_is_no_number_is_not_sent(amount: Any) -> None:
    with pytest.raises(ValueError, match="JSON has no number"):
        encode(Money(amount=amount, currency="USD"))


@pytest.mark.parametrize(
    ("literal", "version"),
    [("7.0", 7), ("7", 7), ("1e2", 100), ('"7"', 7), ("9007199254740993.0", 9007199254740993), ("-0.0", 0)],
)
def test_a_version_is_a_whole_number(literal: str, version: int) -> None:
    record = get_record(RECORD.replace('"version": 7.0', f'"version": {literal}'))
    assert (record.version, type(record.version)) == (version, int)


@pytest.mark.parametrize("number", [HUGE, "-1e-99999999999999999999", "9" * 5000, "-" + "9" * 5000])
def test_a_number_beyond_all_types_stays_text(number: str) -> None:
    record = get_record(RECORD.replace("2.50", number))
    assert record.additional_properties == {"purchase": {"points": [1, number, None]}}
    money = Money(amount=Decimal(1), currency="USD")
    keep_unknown(money, f'{{"amount":1,"currency":"{"8" * 5000}","x":[{number}, "{number}", 0.{"3" * 5000}]}}'.encode())
    assert money.additional_properties == {"x": [number, number, Decimal("0." + "3" * 5000)]}


def test_an_error_may_hold_any_number() -> None:
    body = b'{"error_code":"NEW","message":"No","details":{"balance":%s}}' % HUGE.encode()
    found = get_accounting_record.sync("accr_1", client=Server(400, body).client())
    assert isinstance(found, AccountingErrorResponse)
    assert (found.error_code, found.message) == ("NEW", "No")
    assert found.details is not None
    assert found.details.additional_properties == {"balance": HUGE}


def test_an_unknown_enum_value_is_kept() -> None:
    user = get_record().user
    assert user is not None
    assert user.role == "ASTRONAUT"
    for value in [SourceType("ROCKET"), *SourceType]:
        text = str.__str__(value)
        assert (value, str(value), value.value, f"{value}") == (text, text, text, text)
        assert hash(value) == hash(text)
        assert {text: 1}[value] == 1
        for twin in (copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value)), SourceType(text)):
            assert (twin, type(twin)) == (value, SourceType)
        assert encode(value) == f'"{text}"'.encode()
    assert SourceType("ROCKET") not in list(SourceType)
    with pytest.raises(ValueError, match="5 is not a valid SourceType"):
        SourceType(cast("str", 5))


def copies(model: Model) -> Iterator[Model]:
    yield copy.copy(model)
    yield copy.deepcopy(model)
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        yield pickle.loads(pickle.dumps(model, protocol))


def test_unknown_properties_are_kept() -> None:
    record = get_record()
    for twin in cast("list[AccountingRecordDetailed]", [record, *copies(record)]):
        assert twin == record
        assert twin.additional_properties == {"purchase": {"points": [1, Decimal("2.50"), None]}}
        assert twin.original_amount is not None
        assert twin.original_amount.additional_properties == {"rate": {"exact": Decimal("1.10")}}
        assert twin.amount.additional_properties == {}
        assert twin.to_dict()["original_amount"]["rate"] == {"exact": Decimal("1.10")}


def test_a_copy_has_unknown_properties_of_its_own() -> None:
    record = get_record()
    for twin in copies(record):
        twin.additional_properties["new"] = 1
    assert "new" not in record.additional_properties


def test_unknown_properties_hide_nothing() -> None:
    names = ["to_dict", "from_dict", "additional_properties", "__deepcopy__", "__reduce_ex__", "__class__", "__dict__"]
    unknown = dict.fromkeys(names, SECRET)
    money = Money.from_dict({"amount": 1, "currency": "USD"} | unknown)
    for twin in [money, *copies(money)]:
        assert twin.additional_properties == unknown
        assert twin.to_dict() == {"amount": 1, "currency": "USD"} | unknown
        assert Money.from_dict(twin.to_dict()) == money


def test_absent_and_null_both_read_as_none() -> None:
    record = get_record()
    assert (record.memo, record.due_at, record.vendor, record.receipts) == (None, None, None, None)
    [line] = record.line_items
    [value] = line.accounting_field_values
    assert (value.remote_field_id, value.remote_field_value_id, line.original_amount) == (None, None, None)
    assert (record.to_dict()["memo"], record.to_dict()["line_items"][0]["memo"]) == (None, None)
    assert b"memo" not in encode(record)


@pytest.mark.parametrize("name", ["integration_id", "id"])
def test_an_integration_has_either_id(name: str) -> None:
    integration = Integration.from_dict(
        {key: value for key, value in INTEGRATION.items() if key != "id"} | {name: "int_1"}
    )
    assert {integration.integration_id, integration.id} == {"int_1", None}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2025-04-24T16:13:49.959513Z", datetime(2025, 4, 24, 16, 13, 49, 959513, UTC)),
        ("2025-04-24t16:13:49z", datetime(2025, 4, 24, 16, 13, 49, tzinfo=UTC)),
        ("2025-04-24T16:13:49+05:30", datetime(2025, 4, 24, 16, 13, 49, tzinfo=timezone(timedelta(minutes=330)))),
    ],
)
def test_times_have_their_offset(text: str, expected: datetime) -> None:
    found = Integration.from_dict(INTEGRATION | {"created_at": text}).created_at
    assert (found, found.utcoffset()) == (expected, expected.utcoffset())


# Round trips

texts = st.text(max_size=20)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
amounts = st.decimals(allow_nan=False, allow_infinity=False)
times = st.datetimes(timezones=st.just(UTC)).map(lambda time: time.isoformat().replace("+00:00", "Z"))
unknown_properties = st.dictionaries(texts.map("x-{}".format), values, max_size=3)


def objects(required: dict[str, st.SearchStrategy[Any]], **optional: st.SearchStrategy[Any]) -> st.SearchStrategy[Node]:
    return st.tuples(st.fixed_dictionaries(required, optional=optional), unknown_properties).map(
        lambda both: both[1] | both[0]
    )


money = objects({"amount": amounts, "currency": texts})
field_values = objects({"brex_field_id": texts, "brex_field_value_id": texts}, remote_field_id=texts)
line_items = objects(
    {"id": texts, "type": st.sampled_from(["DEBIT", "CREDIT"]) | texts, "amount": money}
    | {"accounting_field_values": st.lists(field_values, max_size=2)},
    original_amount=money,
    memo=texts,
)
records = objects(
    dict.fromkeys(("id", "type", "review_status", "source_type"), texts)
    | dict.fromkeys(("erp_posting_date", "updated_at", "posted_at"), times)
    | {"amount": money, "version": st.integers(), "line_items": st.lists(line_items, max_size=2)},
    receipts=st.lists(objects({"id": texts}, download_uris=st.lists(texts, max_size=2)), max_size=2),
    vendor=objects({"id": texts, "name": texts}, phone=texts),
    due_at=times,
)


@settings(unhurried, max_examples=30)
@given(objects({"items": st.lists(records, max_size=2), "has_next_page": st.booleans()}, next_cursor=texts))
def test_a_page_is_written_as_it_was_read(source: Node) -> None:
    page = AccountingRecordsResponse.from_dict(source)
    assert json.loads(encode(page), parse_float=Decimal) == source
    assert decode(AccountingRecordsResponse, encode(page)) == page
    assert encode(decode(AccountingRecordsResponse, encode(page))) == encode(page)
    for twin in copies(page):
        assert twin == page
        assert twin.to_dict() == page.to_dict()
        assert encode(twin) == encode(page)


@unhurried
@given(st.sampled_from([getattr(models, name) for name in models.__all__]), values)
def test_whatever_comes_is_read_or_refused(kind: type[Any], value: object) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(decode(kind, encode(value)), kind)


@unhurried
@given(st.binary())
def test_whatever_bytes_come_are_read_or_refused(content: bytes) -> None:
    with pytest.raises(InvalidResponse):
        get_record(content)


@pytest.mark.parametrize("name", models.__all__)
def test_every_model_can_be_read(name: str) -> None:
    assert decoder(getattr(models, name))


def test_every_module_can_be_imported() -> None:
    for module in pkgutil.walk_packages(brex_accounting_api.__path__, "brex_accounting_api."):
        importlib.import_module(module.name)


# Requests


def test_a_request_has_exactly_these_bytes() -> None:
    server = Server(body=INTEGRATION)
    body = CreateIntegrationRequest(vendor="ERP_Ä", vendor_account_id="a/b")
    assert create_integration.sync(client=server.client(), body=body) == Integration.from_dict(INTEGRATION)
    assert server.received.method == "POST"
    assert server.received.content == '{"vendor":"ERP_Ä","vendor_account_id":"a/b"}'.encode()
    assert server.received.headers["content-type"] == "application/json"
    assert server.received.headers["content-length"] == "45"


async def test_a_choice_of_results_has_exactly_these_bytes() -> None:
    server = Server(body={"updated_accounting_record_ids": ["accr_1", "accr_2"]})
    body = ReportExportResultsRequest(
        results=[
            SuccessfulExportResult(accounting_record_id="accr_1", success=ExportSuccessDetails(reference_id="r")),
            FailedExportResult(accounting_record_id="accr_2", failure=ExportFailureDetails(error_message="e")),
        ]
    )
    client = server.client(raise_on_unexpected_status=False)
    await report_accounting_export_results.asyncio(client=client, body=body)
    assert server.received.content == (
        b'{"results":[{"accounting_record_id":"accr_1","success":{"reference_id":"r"}},'
        b'{"accounting_record_id":"accr_2","failure":{"error_message":"e"}}]}'
    )
    assert decode(ReportExportResultsRequest, server.received.content) == body


def test_a_required_null_is_sent_and_an_optional_none_is_not() -> None:
    body = CreateIntegrationRequest(vendor=cast("str", None), vendor_account_id="a")
    assert encode(body) == b'{"vendor":null,"vendor_account_id":"a"}'
    value = AccountingFieldValue(brex_field_id="f", brex_field_value_id="v", remote_field_id=None)
    assert encode(value) == b'{"brex_field_id":"f","brex_field_value_id":"v"}'


def test_a_request_without_a_body_has_none() -> None:
    server = Server(body=INTEGRATION | {"status": "DISABLED"})
    integration = disconnect_integration.sync("int/1 ?ü", client=server.client())
    assert isinstance(integration, Integration)
    assert integration.status is IntegrationStatus.DISABLED
    assert server.received.url.raw_path == b"/v3/accounting/integration/int%2F1%20%3F%C3%BC/disconnect"
    assert server.received.content == b""


PAGE: Node = {"items": [], "has_next_page": False, "total_count": 0.0}
CEST = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("arguments", "query"),
    [
        ({}, "limit=100"),
        ({"limit": UNSET}, ""),
        ({"limit": 7, "cursor": "a b&c"}, "limit=7&cursor=a+b%26c"),
        ({"ids": ["accr_1", "accr_2"]}, "ids=accr_1&ids=accr_2&limit=100"),
        ({"ids": []}, "limit=100"),
        ({"single_entry": True}, "limit=100&single_entry=true"),
        ({"single_entry": False}, "limit=100&single_entry=false"),
        ({"source_type": SourceType("ROCKET")}, "limit=100&source_type=ROCKET"),
        ({"review_status": QueryAccountingRecordsReviewStatus.PREPARE}, "review_status=PREPARE&limit=100"),
        (
            {"updated_atgt": datetime(2025, 4, 24, 16, 13, 49, 959513, CEST)},
            "limit=100&updated_at%5Bgt%5D=2025-04-24T16%3A13%3A49.959513%2B02%3A00",
        ),
    ],
)
def test_a_query_has_exactly_these_parameters(arguments: Any, query: str) -> None:
    server = Server(body=PAGE)
    page = query_accounting_records.sync(client=server.client(), **arguments)
    assert isinstance(page, AccountingRecordsResponse)
    assert (page.total_count, type(page.total_count)) == (0, int)
    assert server.received.url.query.decode() == query


# Clients


def test_waits_thirty_seconds_unless_told_otherwise() -> None:
    server = Server(body=PAGE)

    def timeout(client: AuthenticatedClient) -> set[float | None]:
        query_accounting_records.sync(client=client)
        return set(server.received.extensions["timeout"].values())

    assert timeout(server.client()) == {30.0}
    assert timeout(server.client().with_headers({"x": "y"})) == {30.0}
    assert timeout(server.client(timeout=httpx.Timeout(5))) == {5.0}
    assert timeout(server.client().with_timeout(httpx.Timeout(6))) == {6.0}
    assert timeout(server.client(timeout=None)) == {None}


def test_no_client_shows_its_token() -> None:
    client = Server(body=PAGE).client(cookies={"session": TOKEN})
    shown = [repr(client)]
    query_accounting_records.sync(client=client)
    asyncio.run(query_accounting_records.asyncio(client=client))
    shown += [repr(client), str(client), repr(client.with_headers({"x-key": TOKEN}))]
    shown += [repr(client.with_cookies({"key": TOKEN})), repr(client.with_timeout(httpx.Timeout(1)))]
    plain = Client(URL, headers={"authorization": TOKEN}, cookies={"session": TOKEN}, httpx_args={"auth": ("", TOKEN)})
    shown += [repr(plain), repr(plain.with_headers({"x-key": TOKEN}))]
    assert all("Client(" in text and URL in text for text in shown)
    assert TOKEN not in "".join(shown)


@pytest.mark.parametrize(
    ("options", "name", "value"),
    [
        ({}, "authorization", f"Bearer {TOKEN}"),
        ({"prefix": ""}, "authorization", TOKEN),
        ({"prefix": "Token", "auth_header_name": "X-Auth"}, "x-auth", f"Token {TOKEN}"),
    ],
)
async def test_the_token_is_sent(options: Any, name: str, value: str) -> None:
    server = Server(body=PAGE)
    async with server.client(**options) as client:
        await query_accounting_records.asyncio(client=client)
    assert server.received.headers[name] == value


def test_a_client_leaves_what_it_was_given_as_it_was() -> None:
    headers, cookies = {"x-mine": "1"}, {"session": "2"}
    server = Server(body=PAGE)
    client = server.client(headers=headers, cookies=cookies)
    query_accounting_records.sync(client=client.with_headers({"x-more": "3"}).with_cookies({"more": "4"}))
    query_accounting_records.sync(client=client)
    assert server.received.headers["x-mine"] == "1"
    assert (headers, cookies) == ({"x-mine": "1"}, {"session": "2"})


def test_a_client_with_more_headers_sends_them() -> None:
    server = Server(body=PAGE)
    with server.client().with_headers({"Idempotency-Key": "key"}).with_cookies({"c": "d"}) as client:
        query_accounting_records.sync(client=client)
    assert server.received.headers["idempotency-key"] == "key"
    assert server.received.headers["cookie"] == "c=d"
    assert server.received.headers["authorization"] == f"Bearer {TOKEN}"


def test_ready_made_connections_can_be_set() -> None:
    server = Server(body=PAGE)
    with httpx.Client(base_url="https://other.example", transport=httpx.MockTransport(server.handle)) as connections:
        client = AuthenticatedClient(URL, token=TOKEN).set_httpx_client(connections)
        answer = query_accounting_records.sync_detailed(client=client)
    assert isinstance(answer, Response)
    assert server.received.url.host == "other.example"
