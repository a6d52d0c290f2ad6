"""What a report sends, and what it ends in."""

from __future__ import annotations

import json
from typing import Any, cast

import httpx
import pytest

from brex_accounting import (
    BrexAccounting,
    BrexError,
    ConfigurationError,
    DuplicateRecordsError,
    ExportFailed,
    ExportResult,
    ExportSucceeded,
    InvalidResponseError,
    NotFoundError,
    Outcome,
    RecordsNotReadyError,
    RetryPolicy,
)
from brex_accounting.records import Records
from brex_accounting.sandbox import Fault, Sandbox
from tests.support.calls import RESET, Rig, answer

pytestmark = pytest.mark.virtual_time


async def echo(request: httpx.Request) -> httpx.Response:
    """Take all that was sent."""
    taken = [each["accounting_record_id"] for each in json.loads(request.content)["results"]]
    return await answer(200, {"updated_accounting_record_ids": taken})(request)


UPDATED = echo
ONE = [ExportSucceeded("accr_1")]


async def sent(*results: ExportResult) -> Any:
    rig = Rig(UPDATED)
    await Records(rig.engine).report(results)
    [request] = rig.requests
    assert (request.method, request.url.path, request.url.query) == (
        "POST",
        "/v3/accounting/records/export-results",
        b"",
    )
    assert request.headers["content-type"] == "application/json"
    return json.loads(request.content)


@pytest.mark.parametrize(
    ("result", "body"),
    [
        (ExportSucceeded("accr_1"), {"success": {}}),
        (ExportSucceeded("accr_1", "JE-7"), {"success": {"reference_id": "JE-7"}}),
        (ExportSucceeded("accr_1", None, "https://e"), {"success": {"deep_link_url": "https://e"}}),
        (ExportSucceeded("accr_1", "JE", "u"), {"success": {"reference_id": "JE", "deep_link_url": "u"}}),
        (ExportSucceeded("accr_1", "", ""), {"success": {"reference_id": "", "deep_link_url": ""}}),
        (ExportFailed("accr_1", "Konto fehlt: 6000 €\n"), {"failure": {"error_message": "Konto fehlt: 6000 €\n"}}),
        (ExportFailed("accr_1", ""), {"failure": {"error_message": ""}}),
    ],
)
async def test_a_result_goes_out_as_the_contract_says(result: ExportResult, body: Any) -> None:
    assert await sent(result) == {"results": [{"accounting_record_id": "accr_1"} | body]}


async def test_results_keep_their_order() -> None:
    results = [ExportFailed(f"accr_{n}", "no") if n % 3 else ExportSucceeded(f"accr_{n}") for n in range(1500)]
    body = await sent(*results)
    assert [each["accounting_record_id"] for each in body["results"]] == [each.record_id for each in results]
    assert [len(each) for each in body["results"]] == [2] * 1500


async def test_it_tells_which_records_were_updated() -> None:
    rig = Rig(answer(200, {"updated_accounting_record_ids": ["b", "accr_1", "a"]}))
    assert await Records(rig.engine).report(cast("Any", iter(ONE))) == ("b", "accr_1", "a")


@pytest.mark.parametrize("taken", [[], ["accr_1"], ["accr_1", "accr_3"], ["accr_7", "accr_8", "accr_9"]])
@pytest.mark.parametrize("doubt", [False, True])
async def test_an_answer_that_does_not_name_each_record(taken: list[str], doubt: bool) -> None:
    rig = Rig(*[RESET] * doubt, answer(200, {"updated_accounting_record_ids": taken}))
    results = [ExportSucceeded("accr_1"), ExportFailed("accr_2", "no"), ExportSucceeded("accr_3")]
    with pytest.raises(InvalidResponseError, match=r"it does not name \d of the 3 records that were sent") as caught:
        await Records(rig.engine).report(results, idempotency_key="mine")
    error = caught.value
    assert (error.outcome, error.status, error.idempotency_key) == (Outcome.UNKNOWN, 200, "mine")
    assert error.attempts == 1 + doubt
    assert "idempotency_key='mine'" in str(error)


async def test_keys() -> None:
    rig = Rig(RESET, UPDATED)
    records = Records(rig.engine)
    await records.report(ONE, idempotency_key="mine")
    await records.report(ONE)
    await records.report(ONE)
    assert rig.keys[:2] == ["mine"] * 2
    assert len(set(rig.keys)) == 3
    with pytest.raises(ConfigurationError, match="idempotency_key"):
        await records.report(ONE, idempotency_key="")


@pytest.mark.parametrize(
    ("results", "says"),
    [
        ([], "results is empty"),
        ((), "results is empty"),
        ("accr_1", "results must be several results"),
        (b"accr_1", "results must be several results"),
        (None, "results must be several results"),
        (ONE[0], "results must be several results"),
        ({"accr_1": ONE[0]}, "not str"),
        ([None], "not NoneType"),
        (["accr_1"], "not str"),
        ([{"record_id": "accr_1"}], "not dict"),
        ([ExportSucceeded], "not type"),
        ([*ONE, ExportSucceeded("accr_2"), *ONE], "more than one result for the record accr_1"),
        ([*ONE, ExportFailed("accr_1", "no")], "more than one result for the record accr_1"),
    ],
)
async def test_results_that_cannot_be_right(results: Any, says: str) -> None:
    rig = Rig(UPDATED)
    with pytest.raises(ConfigurationError) as caught:
        await Records(rig.engine).report(results)
    assert says in str(caught.value)
    assert (caught.value.outcome, rig.requests) == (Outcome.NOT_APPLIED, [])


def refused(status: int, code: str, **details: Any) -> Any:
    return answer(status, {"error_code": code, "message": "No", "details": details})


ERRORS: dict[str, tuple[Any, type[BrexError], tuple[str, ...]]] = {
    "unknown": (
        refused(404, "NOT_FOUND", not_found_export_entry_source_ids=["accr_1", "accr_7"]),
        NotFoundError,
        ("accr_1", "accr_7"),
    ),
    "duplicate": (
        refused(422, "DUPLICATE_ACCOUNTING_RECORD_IDS", duplicate_accounting_record_ids=["accr_1"]),
        DuplicateRecordsError,
        ("accr_1",),
    ),
    "not ready": (
        refused(422, "ACCOUNTING_RECORD_NOT_READY_FOR_EXPORT", not_ready_for_export_accounting_record_ids=["accr_1"]),
        RecordsNotReadyError,
        ("accr_1",),
    ),
    "unnamed": (refused(404, "NOT_FOUND"), NotFoundError, ()),
    "named by other things": (
        refused(422, "DUPLICATE_ACCOUNTING_RECORD_IDS", duplicate_accounting_record_ids=["a", 5, None]),
        DuplicateRecordsError,
        ("a",),
    ),
    "named by one thing": (
        refused(404, "NOT_FOUND", not_found_export_entry_source_ids="accr_1"),
        NotFoundError,
        (),
    ),
}


@pytest.mark.parametrize("doubt", [False, True])
@pytest.mark.parametrize(("step", "kind", "record_ids"), ERRORS.values(), ids=ERRORS)
async def test_a_refusal_names_its_records(step: Any, kind: type[BrexError], record_ids: Any, doubt: bool) -> None:
    rig = Rig(*[RESET] * doubt, step)
    with pytest.raises(kind) as caught:
        await Records(rig.engine).report(ONE, idempotency_key="mine")
    error = cast("Any", caught.value)
    assert type(error) is kind
    assert (error.record_ids, error.idempotency_key) == (record_ids, "mine")
    assert (error.outcome, error.attempts) == ((Outcome.UNKNOWN, 2) if doubt else (Outcome.NOT_APPLIED, 1))
    assert error.operation == "reportAccountingExportResults"


@pytest.mark.parametrize("body", [{}, {"updated_accounting_record_ids": None}, {"updated_accounting_record_ids": [5]}])
async def test_an_answer_of_another_shape(body: Any) -> None:
    rig = Rig(answer(200, body))
    with pytest.raises(InvalidResponseError) as caught:
        await Records(rig.engine).report(ONE)
    assert (caught.value.outcome, caught.value.attempts) == (Outcome.UNKNOWN, 1)


# -- against the sandbox -----------------------------------------------------------------------------------------------


def in_process(sandbox: Sandbox) -> BrexAccounting:
    retry = RetryPolicy(initial_backoff=0)
    return BrexAccounting(sandbox.token, base_url=sandbox.url, transport=sandbox.transport, retry=retry)


async def test_the_whole_report_or_nothing_of_it() -> None:
    async with Sandbox(records=4) as sandbox, in_process(sandbox) as brex:
        ready = [each.id async for each in brex.records.iterate()]
        with pytest.raises(NotFoundError) as unknown:
            await brex.records.report([ExportSucceeded(ready[0]), ExportSucceeded("accr_none")])
        assert unknown.value.record_ids == ("accr_none",)
        sandbox.state.set_review_status(ready[1], "REVIEW")
        with pytest.raises(RecordsNotReadyError) as not_ready:
            await brex.records.report([ExportSucceeded(ready[0]), ExportFailed(ready[1], "no")])
        assert not_ready.value.record_ids == (ready[1],)
        assert [each.review_status for each in (await brex.records.query(ids=ready[:2])).items] == [
            *("READY_FOR_EXPORT", "REVIEW")
        ]
        reported = await brex.records.report(
            [ExportSucceeded(ready[0], "JE-1", "https://e"), ExportFailed(ready[2], "x")]
        )
        assert set(reported) == {ready[0], ready[2]}
        assert (await brex.records.get(ready[0])).review_status == "EXPORTED"
        assert (await brex.records.get(ready[2])).review_status != "READY_FOR_EXPORT"


async def test_a_report_that_was_made_before_its_answer_was_lost() -> None:
    async with Sandbox(records=1) as sandbox, in_process(sandbox) as brex:
        [record] = (await brex.records.query()).items
        sandbox.fault(Fault("reset_after"))
        assert await brex.records.report([ExportSucceeded(record.id)]) == (record.id,)
    async with Sandbox(records=1, honor_idempotency_keys=False) as sandbox, in_process(sandbox) as brex:
        sandbox.fault(Fault("reset_after"))
        with pytest.raises(RecordsNotReadyError) as caught:
            await brex.records.report([ExportSucceeded(record.id)])
        assert (caught.value.outcome, caught.value.record_ids) == (Outcome.UNKNOWN, (record.id,))
