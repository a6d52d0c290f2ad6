"""Our classes in FastAPI and pydantic: what comes out is exact, or an error."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import httpx
import msgspec
import pytest
from fastapi import FastAPI
from pydantic import BaseModel, TypeAdapter, ValidationError

from brex_accounting import (
    AccountingRecord,
    BrexError,
    ExportFailed,
    ExportSucceeded,
    Integration,
    IntegrationStatus,
    InvalidRecord,
    LineItem,
    Money,
    Outcome,
    RateLimit,
    RecordPage,
    ReportOutcome,
    RetryPolicy,
    ReviewStatus,
)
from brex_accounting._records.parsing import read_page, read_record
from tests.support.marks import not_src
from tests.support.records import page, record, write

EXACT = "90071992547409.930"


def raw(literal: str) -> msgspec.Raw:
    return msgspec.Raw(literal.encode())


RECORD = read_record(
    write(
        record(
            type="NEW ONE",
            amount={"amount": raw(EXACT), "currency": "USD", "rate": {"exact": raw("1.10")}},
            new=[raw("1.10"), None, 7],
        )
    )
)
INTEGRATION = Integration(
    id="int_1",
    vendor="ERP_A",
    vendor_account_id="account",
    status=IntegrationStatus("PAUSED"),
    created_at=datetime(2025, 8, 15, 10, tzinfo=UTC),
    unknown_fields={"owner": {"tags": [None, 7]}},
)
PAGE = read_page(page(record(), RECORD.to_dict(), cursor="c", total_count=7)).page
OUTCOME = ReportOutcome("accr_1", "not_applied", "why", BrexError("the API is away", outcome=Outcome.NOT_APPLIED))
VALUES = [RECORD, RECORD.amount, RECORD.line_items[0], RECORD.user, INTEGRATION, PAGE]
VALUES += [ExportSucceeded("accr_1", "JE-7"), ExportFailed("accr_1", "no"), InvalidRecord("accr_1", "why", b"{}")]
by_type = pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)


async def get(handler: Callable[[], Any], **options: Any) -> httpx.Response:
    app = FastAPI()
    app.get("/", **options)(handler)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
        assert (await client.get("/openapi.json")).status_code == 200
        return await client.get("/")


def handler(value: object, annotation: object) -> Callable[[], Any]:
    async def answer() -> Any:
        return value

    answer.__annotations__ = {} if annotation is None else {"return": annotation}
    return answer


# -- FastAPI -----------------------------------------------------------------------------------------------------------


async def test_a_record_is_answered_exactly() -> None:
    answer = await get(handler(RECORD, AccountingRecord))
    assert (answer.status_code, answer.json()) == (200, RECORD.to_dict(mode="json"))
    assert answer.json()["amount"] == {"amount": EXACT, "currency": "USD", "rate": {"exact": "1.10"}}
    assert answer.json()["new"] == ["1.10", None, 7]
    listed = await get(handler([RECORD], list[AccountingRecord]))
    assert listed.json() == [answer.json()]


@by_type
async def test_each_is_answered_exactly_as_a_return_type(value: Any) -> None:
    answer = await get(handler(value, type(value)))
    assert answer.status_code == 200
    assert TypeAdapter(type(value)).validate_json(answer.content) == value
    assert EXACT in answer.text or "9930" not in answer.text


async def test_an_outcome_is_answered_with_its_error_as_text() -> None:
    answer = await get(handler([OUTCOME, ReportOutcome("accr_2", "reported")], list[ReportOutcome]))
    assert answer.json() == [
        {"record_id": "accr_1", "status": "not_applied", "message": "why", "error": "the API is away"},
        {"record_id": "accr_2", "status": "reported", "message": None, "error": None},
    ]
    [first, _] = TypeAdapter(list[ReportOutcome]).validate_json(answer.content)
    assert (type(first.error), str(first.error)) == (BrexError, "the API is away")
    assert first.error is not None
    assert first.error.outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("annotation", [None, Any], ids=["none", "Any"])
@pytest.mark.parametrize(
    "value",
    [*VALUES, OUTCOME, RetryPolicy(), RateLimit(1, per=1.0), [RECORD], {"record": RECORD}],
    ids=lambda value: type(value).__name__,
)
async def test_without_a_return_type_there_is_no_nonsense(value: object, annotation: object) -> None:
    assert (await get(handler(value, annotation))).status_code == 500


async def test_a_handler_may_leave_things_out() -> None:
    shown = await get(handler(RECORD, AccountingRecord), response_model_include={"id", "amount"})
    assert shown.json() == {"id": "accr_1", "amount": RECORD.to_dict(mode="json")["amount"]}
    hidden = await get(handler(RECORD, AccountingRecord), response_model_exclude={"user", "line_items"})
    assert hidden.json().keys() == RECORD.to_dict().keys() - {"user", "line_items"}
    deep = await get(handler(RECORD, AccountingRecord), response_model_exclude={"amount": {"rate"}, "new": True})
    assert deep.json()["amount"] == {"amount": EXACT, "currency": "USD"}
    one = read_record(write(record(memo=None)))
    short = (await get(handler(one, AccountingRecord), response_model_exclude_none=True)).json()
    assert ("memo" in short, "amortization" in short["line_items"][0]) == (False, False)


async def test_an_amount_that_is_not_a_number_is_not_answered() -> None:
    one = read_record(write(record()))
    one.amount.amount = Decimal("NaN")
    assert (await get(handler(one, AccountingRecord))).status_code == 500
    one = read_record(write(record(new={"x": 1})))
    one.amount.additional_properties["rate"] = float("inf")
    assert (await get(handler(one, AccountingRecord))).status_code == 500


# -- pydantic ----------------------------------------------------------------------------------------------------------


class Row(BaseModel):
    record: AccountingRecord
    money: Money | None = None
    status: ReviewStatus = ReviewStatus.EXPORTED
    page: RecordPage | None = None


def test_fields_of_a_model() -> None:
    row = Row(record=RECORD, money=RECORD.amount, status=ReviewStatus("NEW"), page=PAGE)
    assert row.record is RECORD
    dumped = row.model_dump()
    assert dumped["record"] == RECORD.to_dict()
    assert type(dumped["record"]["amount"]["amount"]) is Decimal
    assert dumped["record"]["posted_at"] == RECORD.posted_at
    assert json.loads(row.model_dump_json())["record"] == row.model_dump(mode="json")["record"]
    assert row.model_dump(mode="json")["record"] == RECORD.to_dict(mode="json")
    for again in (
        Row.model_validate_json(row.model_dump_json()),
        Row.model_validate(dumped),
        row.model_copy(deep=True),
    ):
        assert again == row
        assert again.record.to_dict(mode="json") == RECORD.to_dict(mode="json")
        assert again.status == "NEW"


@by_type
def test_each_goes_there_and_back(value: Any) -> None:
    adapter = TypeAdapter(type(value))
    assert adapter.validate_python(value) is value
    assert adapter.validate_json(adapter.dump_json(value)) == value
    assert adapter.validate_python(adapter.dump_python(value)) == value


@pytest.mark.parametrize(
    ("kind", "wrong", "shown"),
    [
        (AccountingRecord, {"id": 5}, r"Expected `str`, got `int` - at `\$\.id`"),
        (AccountingRecord, [], "Expected `object`, got `array`"),
        (Money, {"amount": "NaN", "currency": "USD"}, "infinite or not a number"),
        (Money, {"amount": 90071992547409.93, "currency": "USD"}, "a float does not hold all digits of an amount"),
        (Integration, {"id": "int_1"}, "Field required"),
        (Integration, Integration, "valid dictionary"),
        (ExportSucceeded, {"record_id": " "}, "record_id is empty"),
    ],
)
def test_what_does_not_fit_is_refused(kind: Any, wrong: object, shown: str) -> None:
    with pytest.raises((ValidationError, ValueError), match=shown):
        TypeAdapter(kind).validate_python(wrong)


def test_a_time_needs_its_offset() -> None:
    integration = TypeAdapter(Integration).dump_python(INTEGRATION, mode="json")
    for time in ("2025-08-15T10:00:00", "2025-08-15"):
        with pytest.raises(ValidationError):
            TypeAdapter(Integration).validate_python(integration | {"created_at": time})


def test_the_schema_names_the_properties() -> None:
    written = TypeAdapter(AccountingRecord).json_schema(mode="serialization")
    assert (written["title"], written["required"]) == ("AccountingRecord", list(RECORD.to_dict())[:-1])
    assert {"Money", "LineItem", "User", "Vendor", "Receipt", "AccountingFieldValue"} <= written["$defs"].keys()
    amount = written["$defs"]["Money"]["properties"]["amount"]
    assert (amount["type"], "number" in json.dumps(amount)) == ("string", False)
    status = written["properties"]["review_status"]
    status = written["$defs"].get("ReviewStatus", status)
    assert (status["type"], "EXPORTED" in status["examples"], "enum" in status) == ("string", True, False)
    read = TypeAdapter(LineItem).json_schema()
    assert read["required"] == ["id", "type", "amount", "accounting_field_values"]
    assert TypeAdapter(RecordPage).json_schema()["title"] == "RecordPage"


@not_src
def test_nothing_of_it_is_imported_before_pydantic_asks() -> None:
    script = "import sys; from brex_accounting import *; Money; AccountingRecord; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert not {name for name in run.stdout.split() if "pydantic" in name}
