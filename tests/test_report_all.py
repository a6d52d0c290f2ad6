"""`report_all`: every result ends as one outcome, and the outcome is true."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brex_accounting import (
    ConfigurationError,
    ConnectionFailedError,
    DuplicateRecordsError,
    ExportFailed,
    ExportResult,
    ExportSucceeded,
    ForbiddenError,
    InvalidResponseError,
    NotFoundError,
    Outcome,
    RateLimitedError,
    RecordsNotReadyError,
    ReportOutcome,
    RetryPolicy,
    ServerError,
    UnprocessableError,
)
from brex_accounting._records.reporting import BATCH, BATCHES_AT_ONCE
from brex_accounting.records import Records
from brex_accounting.sandbox import Sandbox
from tests.support.calls import TOKEN, Rig, Step, answer, refuse
from tests.support.marks import SOAK, many
from tests.support.virtual_time import VirtualTimeLoop

pytestmark = pytest.mark.virtual_time

REPORT = "POST"
LOOK = "GET"


class Books:
    """A sandbox behind the scripted transport: each request takes the next fault for its method."""

    def __init__(self, records: int, *, honor_idempotency_keys: bool = True) -> None:
        self.sandbox = Sandbox(
            records=records, token=TOKEN, rate_limit=None, honor_idempotency_keys=honor_idempotency_keys
        )
        self.faults: dict[str, list[Step | None]] = {REPORT: [], LOOK: []}
        self.ids = list(self.sandbox.state.records)
        self.bodies: list[list[str]] = []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method == REPORT:
            self.bodies.append([each["accounting_record_id"] for each in json.loads(request.content)["results"]])
        faults = self.faults[request.method]
        fault = faults.pop(0) if faults else None
        return await (fault or self.serve)(request)

    async def serve(self, request: httpx.Request) -> httpx.Response:
        return await self.sandbox.transport.handle_async_request(request)

    def then(self, step: Step) -> Step:
        """Let the request through, and lose its answer."""

        async def serve_and_fail(request: httpx.Request) -> httpx.Response:
            await self.serve(request)
            return await step(request)

        return serve_and_fail

    def set_status(self, record_id: str, status: str) -> None:
        self.sandbox.state.set_review_status(record_id, status)

    def status(self, record_id: str) -> str | None:
        record = self.sandbox.state.records.get(record_id)
        return record and record.review_status

    def applied(self) -> Counter[str]:
        return Counter(export.result.record_id for export in self.sandbox.state.exports)


async def reset(_request: httpx.Request) -> httpx.Response:
    raise httpx.ReadError("reset by peer")


async def refused(_request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused")


async def silent(_request: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("no answer")


UNAVAILABLE = refuse(503)
THROTTLED = refuse(429)
FORBIDDEN = refuse(403)


async def report_all(books: Books, results: Sequence[ExportResult], **options: Any) -> tuple[list[ReportOutcome], Rig]:
    rig = Rig(books, **options)
    outcomes = await Records(rig.engine).report_all(results)
    await rig.assert_idle()
    assert [outcome.record_id for outcome in outcomes] == [result.record_id for result in results]
    check_against_the_ledger(books, results, outcomes)
    return outcomes, rig


def check_against_the_ledger(
    books: Books,
    results: Sequence[ExportResult],
    outcomes: Sequence[ReportOutcome],
) -> None:
    """What an outcome says has to be so."""
    applied = books.applied()
    assert max(applied.values(), default=0) <= 1
    for result, outcome in zip(results, outcomes, strict=True):
        succeeded = isinstance(result, ExportSucceeded)
        exported = books.status(result.record_id) == "EXPORTED"
        match outcome.status:
            case "reported":
                assert applied[result.record_id] == 1
                assert exported == succeeded
            case "already_exported":
                assert succeeded
                assert exported
            case "unknown":
                assert outcome.error is not None
            case "not_applied":
                assert applied[result.record_id] == 0
            case _:
                assert applied[result.record_id] == 0
                assert not (succeeded and exported)


def successes(ids: Iterable[str]) -> list[ExportResult]:
    return [ExportSucceeded(each) for each in ids]


def failures(ids: Iterable[str]) -> list[ExportResult]:
    return [ExportFailed(each, "unknown GL account") for each in ids]


def statuses(outcomes: Iterable[ReportOutcome]) -> list[str]:
    return [outcome.status for outcome in outcomes]


# -- when all goes well ------------------------------------------------------------------------------------------------


async def test_goes_out_in_batches_a_few_at_a_time() -> None:
    books = Books(1050)
    most = now = 0

    async def slowly(request: httpx.Request) -> httpx.Response:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await asyncio.sleep(1.0)
        now -= 1
        return await books.serve(request)

    books.faults[REPORT] = [slowly] * 11
    outcomes, rig = await report_all(books, successes(books.ids))
    assert statuses(outcomes) == ["reported"] * 1050
    assert books.bodies == [books.ids[start : start + BATCH] for start in range(0, 1050, BATCH)]
    assert most == BATCHES_AT_ONCE
    assert len(set(rig.keys)) == 11
    assert all(outcome.message is None and outcome.error is None for outcome in outcomes)


async def test_takes_any_iterable_and_keeps_its_order() -> None:
    books = Books(4)
    results = [ExportSucceeded(books.ids[2], "bill-7", "https://erp.example/7"), *failures([books.ids[0]])]
    outcomes = await Records(Rig(books).engine).report_all(iter(results))
    assert [(each.record_id, each.status) for each in outcomes] == [
        (books.ids[2], "reported"),
        (books.ids[0], "reported"),
    ]
    [success, failure] = (export.result for export in books.sandbox.state.exports)
    assert (success.reference_id, success.deep_link_url) == ("bill-7", "https://erp.example/7")
    assert failure.error_message == "unknown GL account"


async def test_of_nothing_sends_nothing() -> None:
    outcomes, rig = await report_all(Books(0), [])
    assert (outcomes, rig.requests) == ([], [])


@pytest.mark.parametrize(
    ("results", "text"),
    [
        ([ExportSucceeded("accr_1"), ExportFailed("accr_2", ""), ExportFailed("accr_1", "")], "accr_1"),
        (["accr_1"], "not str"),
        ("accr_1", "several results"),
        (None, "several results"),
    ],
)
async def test_refuses_what_cannot_be_right_before_anything_is_sent(results: Any, text: str) -> None:
    rig = Rig(Books(0))
    with pytest.raises(ConfigurationError, match=text):
        await Records(rig.engine).report_all(results)
    assert rig.requests == []


# -- what the API refuses by name --------------------------------------------------------------------------------------


async def test_ids_that_are_not_there_are_taken_out_and_the_rest_is_sent_again() -> None:
    books = Books(3)
    outcomes, rig = await report_all(books, successes(["nope", *books.ids, "never"]))
    assert statuses(outcomes) == ["not_found", "reported", "reported", "reported", "not_found"]
    assert isinstance(outcomes[0].error, NotFoundError)
    assert books.bodies == [["nope", *books.ids, "never"], books.ids]
    assert len(set(rig.keys)) == 2


async def test_a_404_that_names_nothing_is_settled_by_a_query() -> None:
    books = Books(2)
    books.faults[REPORT] = [answer(404, {"error_code": "NOT_FOUND", "message": "no"})]
    outcomes, _rig = await report_all(books, successes([*books.ids, "nope"]))
    assert statuses(outcomes) == ["reported", "reported", "not_found"]
    assert len(books.bodies) == 2


async def test_a_404_that_is_not_the_apis_ends_it() -> None:
    books = Books(2)
    books.faults[REPORT] = [answer(404, b"<html>", content_type="text/html")]
    outcomes, rig = await report_all(books, successes(books.ids))
    assert statuses(outcomes) == ["not_applied"] * 2
    assert len(rig.requests) == 1


async def test_records_that_are_not_ready_are_queried() -> None:
    books = Books(6)
    exported, failed, reviewed, both = books.ids[:4]
    for record_id, status in {exported: "EXPORTED", failed: "EXPORTED", reviewed: "REVIEW", both: "PREPARE"}.items():
        books.set_status(record_id, status)
    results = [*successes([exported]), *failures([failed]), *successes([reviewed]), *failures([both])]
    outcomes, _rig = await report_all(books, results + successes(books.ids[4:]))
    assert statuses(outcomes) == ["already_exported", "not_ready", "not_ready", "not_ready", "reported", "reported"]
    assert isinstance(outcomes[1].error, RecordsNotReadyError)
    assert outcomes[3].message == "It is PREPARE, not READY_FOR_EXPORT."
    assert books.bodies[1:] == [books.ids[4:]]


@many
async def test_many_that_are_not_ready_cost_no_quota() -> None:
    books = Books(8000)
    for record_id in books.ids[::100]:
        books.set_status(record_id, "EXPORTED")
    outcomes, rig = await report_all(books, successes(books.ids))
    assert Counter(statuses(outcomes)) == {"reported": 7920, "already_exported": 80}
    assert rig.quota.left == rig.quota.CAPACITY
    assert rig.waits == []


async def test_a_422_that_contradicts_the_query_ends() -> None:
    books = Books(2)
    details = {"not_ready_for_export_accounting_record_ids": books.ids[:1]}
    body = {"error_code": "ACCOUNTING_RECORD_NOT_READY_FOR_EXPORT", "message": "no", "details": details}
    books.faults[REPORT] = [answer(422, body)] * 10
    outcomes, rig = await report_all(books, successes(books.ids))
    assert statuses(outcomes) == ["not_ready", "not_applied"]
    assert len(books.bodies) == 4
    assert len(rig.waits) == 3


def not_ready(*record_ids: str) -> Step:
    details = {"not_ready_for_export_accounting_record_ids": record_ids} if record_ids else None
    body = {"error_code": "ACCOUNTING_RECORD_NOT_READY_FOR_EXPORT", "message": "no", "details": details}
    return answer(422, body)


def duplicate(*record_ids: str) -> Step:
    details = {"duplicate_accounting_record_ids": record_ids}
    return answer(422, {"error_code": "DUPLICATE_ACCOUNTING_RECORD_IDS", "message": "twice", "details": details})


@pytest.mark.parametrize(
    ("refusal", "success", "failure"),
    [
        (not_ready, "not_applied", "not_ready"),
        (lambda *_: not_ready(), "not_applied", "not_applied"),
        (lambda *_: answer(404, {"error_code": "NOT_FOUND", "message": "no"}), "not_applied", "not_applied"),
    ],
)
async def test_a_refusal_without_doubt_whose_records_cannot_be_queried(
    refusal: Callable[..., Step], success: str, failure: str
) -> None:
    books = Books(2)
    books.faults[REPORT] = [refusal(*books.ids)]
    books.faults[LOOK] = [UNAVAILABLE] * 100
    outcomes, _rig = await report_all(books, [*successes(books.ids[:1]), *failures(books.ids[1:])])
    assert statuses(outcomes) == [success, failure]
    assert all(outcome.error is not None and outcome.error.outcome is Outcome.NOT_APPLIED for outcome in outcomes)


@pytest.mark.parametrize("refusal", [not_ready, duplicate, lambda *_: not_ready()])
async def test_a_422_that_was_applied_in_part(refusal: Callable[..., Step]) -> None:
    """Brex does not say that this cannot be. A failure that was taken must not come out as one that was not."""
    books = Books(4)
    culprit, success, failure, other = books.ids
    books.set_status(culprit, "PREPARE")

    async def in_part(request: httpx.Request) -> httpx.Response:
        books.set_status(success, "EXPORTED")
        books.set_status(failure, "REVIEW")
        return await refusal(culprit)(request)

    books.faults[REPORT] = [in_part]
    results = [*successes([culprit]), *failures([other]), *successes([success]), *failures([failure])]
    outcomes = await Records(Rig(books).engine).report_all(results)
    assert statuses(outcomes)[1:] == ["reported", "already_exported", "unknown"]
    assert outcomes[0].status in {"not_ready", "not_applied"}
    assert isinstance(outcomes[3].error, UnprocessableError)
    assert outcomes[2].message == "It was exported, by this call or before it."
    assert outcomes[3].message == (
        "It is REVIEW, not READY_FOR_EXPORT: possibly by this report, which the API refused because of other records."
    )


async def test_what_the_api_takes_for_duplicates_is_taken_out() -> None:
    books = Books(2)
    details = {"duplicate_accounting_record_ids": books.ids[:1]}
    body = {"error_code": "DUPLICATE_ACCOUNTING_RECORD_IDS", "message": "twice", "details": details}
    books.faults[REPORT] = [answer(422, body)]
    outcomes, _rig = await report_all(books, successes(books.ids))
    assert statuses(outcomes) == ["not_applied", "reported"]
    assert isinstance(outcomes[0].error, DuplicateRecordsError)
    assert "report each record once" in (outcomes[0].message or "")


async def test_a_duplicate_after_a_doubt_is_unknown() -> None:
    books = Books(2)
    details = {"duplicate_accounting_record_ids": books.ids[:1]}
    body = {"error_code": "DUPLICATE_ACCOUNTING_RECORD_IDS", "message": "twice", "details": details}
    books.faults[REPORT] = [UNAVAILABLE, answer(422, body)]
    outcomes, _rig = await report_all(books, successes(books.ids))
    assert statuses(outcomes) == ["unknown", "reported"]
    assert isinstance(outcomes[0].error, ServerError)


# -- what ends a batch -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "error", "requests"),
    [
        (FORBIDDEN, ForbiddenError, 1),
        (THROTTLED, RateLimitedError, 4),
        (refused, ConnectionFailedError, 4),
    ],
)
async def test_what_the_api_certainly_did_not_take_is_not_applied(fault: Step, error: type, requests: int) -> None:
    books = Books(2)
    books.faults[REPORT] = [fault] * 10
    outcomes, rig = await report_all(books, successes(books.ids))
    assert statuses(outcomes) == ["not_applied"] * 2
    assert type(outcomes[0].error) is error
    assert outcomes[0].error.outcome is Outcome.NOT_APPLIED
    assert len(rig.requests) == requests


async def test_one_batch_that_ends_badly_leaves_the_others_alone() -> None:
    books = Books(250)
    books.faults[REPORT] = [None, FORBIDDEN]
    outcomes, _rig = await report_all(books, successes(books.ids))
    assert statuses(outcomes) == ["reported"] * 100 + ["not_applied"] * 100 + ["reported"] * 50


async def test_a_closed_client_raises_nothing() -> None:
    rig = Rig(Books(1))
    await rig.network.aclose()
    [outcome] = await Records(rig.engine).report_all(successes(["accr_1"]))
    assert outcome.status == "not_applied"
    assert isinstance(outcome.error, ConfigurationError)


# -- in doubt ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", [reset, silent, UNAVAILABLE, answer(200, b"<html>", content_type="text/html"), answer(200, {})]
)
async def test_after_a_doubt_the_records_are_queried_and_what_is_ready_is_sent_again(fault: Step) -> None:
    books = Books(3)
    books.faults[REPORT] = [fault]
    outcomes, rig = await report_all(books, successes(books.ids))
    assert statuses(outcomes) == ["reported"] * 3
    assert [request.method for request in rig.requests] == [REPORT, LOOK, REPORT]
    assert rig.keys[0] == rig.keys[2]
    assert rig.requests[0].content == rig.requests[2].content
    assert rig.quota.left == rig.quota.CAPACITY


@pytest.mark.parametrize("fault", [reset, silent, UNAVAILABLE, answer(200, {})])
@pytest.mark.parametrize("honored", [True, False])
async def test_successes_that_were_applied_are_not_sent_again(fault: Step, honored: bool) -> None:
    books = Books(3, honor_idempotency_keys=honored)
    books.faults[REPORT] = [books.then(fault)]
    outcomes, rig = await report_all(books, successes(books.ids))
    assert statuses(outcomes) == ["already_exported"] * 3
    assert [request.method for request in rig.requests] == [REPORT, LOOK]


@pytest.mark.parametrize(("honored", "expected"), [(True, "reported"), (False, "unknown")])
async def test_failures_that_were_applied_can_be_known_only_from_their_answer(honored: bool, expected: str) -> None:
    books = Books(3, honor_idempotency_keys=honored)
    books.faults[REPORT] = [books.then(reset)]
    results = [*successes(books.ids[:1]), *failures(books.ids[1:])]
    outcomes, rig = await report_all(books, results)
    assert statuses(outcomes) == ["already_exported", expected, expected]
    assert [request.method for request in rig.requests][:3] == [REPORT, LOOK, REPORT]
    assert rig.keys[0] == rig.keys[2]
    assert rig.requests[0].content == rig.requests[2].content
    if not honored:
        assert isinstance(outcomes[1].error, ConnectionFailedError)
        assert "REVIEW" in (outcomes[1].message or "")


async def test_nothing_is_sent_after_a_repetition_in_doubt_before_the_records_were_queried() -> None:
    books = Books(3)
    books.faults[REPORT] = [books.then(reset), reset, UNAVAILABLE]
    outcomes, rig = await report_all(books, failures(books.ids))
    assert statuses(outcomes) == ["reported"] * 3
    assert [request.method for request in rig.requests] == [REPORT, LOOK] * 3 + [REPORT]
    assert len(set(rig.keys[::2])) == 1


async def test_a_repetition_is_an_attempt_like_any_other() -> None:
    books = Books(3)
    books.faults[REPORT] = [books.then(reset), reset, reset]
    outcomes, rig = await report_all(books, failures(books.ids), retry=RetryPolicy(max_attempts=2))
    assert statuses(outcomes) == ["unknown"] * 3
    assert [request.method for request in rig.requests] == [REPORT, LOOK] * 2


@pytest.mark.parametrize("refusal", [FORBIDDEN, refuse(400), THROTTLED])
async def test_what_is_unknown_carries_the_error_that_left_it_in_doubt(refusal: Step) -> None:
    books = Books(2)
    books.faults[REPORT] = [UNAVAILABLE, *[refusal] * 10]
    outcomes, _rig = await report_all(books, successes(books.ids))
    assert statuses(outcomes) == ["unknown"] * 2
    assert isinstance(outcomes[0].error, ServerError)
    assert outcomes[0].error.outcome is Outcome.UNKNOWN


async def test_what_is_ready_after_a_doubt_goes_out_with_a_key_of_its_own_when_the_rest_is_gone() -> None:
    books = Books(2)

    async def half(request: httpx.Request) -> httpx.Response:
        books.set_status(books.ids[0], "EXPORTED")
        return await reset(request)

    books.faults[REPORT] = [half]
    outcomes, rig = await report_all(books, successes(books.ids))
    assert statuses(outcomes) == ["already_exported", "reported"]
    assert rig.keys[0] != rig.keys[2]


async def test_attempts_that_are_used_up_leave_it_unknown() -> None:
    books = Books(2)
    books.faults[REPORT] = [UNAVAILABLE] * 10
    outcomes, rig = await report_all(books, successes(books.ids))
    assert statuses(outcomes) == ["unknown"] * 2
    assert isinstance(outcomes[0].error, ServerError)
    assert [request.method for request in rig.requests] == [REPORT, LOOK] * 4


async def test_without_retries_there_is_one_attempt_and_one_look() -> None:
    books = Books(2)
    books.faults[REPORT] = [books.then(reset)]
    results = [*successes(books.ids[:1]), *failures(books.ids[1:])]
    outcomes, rig = await report_all(books, results, retry=RetryPolicy.none())
    assert statuses(outcomes) == ["already_exported", "unknown"]
    assert [request.method for request in rig.requests] == [REPORT, LOOK]


async def test_nothing_is_sent_again_before_a_query_was_answered() -> None:
    books = Books(2)
    books.faults[REPORT] = [reset]
    books.faults[LOOK] = [UNAVAILABLE] * 6
    outcomes, rig = await report_all(books, successes(books.ids))
    assert statuses(outcomes) == ["reported"] * 2
    assert [request.method for request in rig.requests] == [REPORT, *[LOOK] * 7, REPORT]


async def test_a_query_that_is_never_answered_leaves_it_unknown() -> None:
    books = Books(2)
    books.faults[REPORT] = [books.then(reset)]
    books.faults[LOOK] = [UNAVAILABLE] * 100
    outcomes, _rig = await report_all(books, successes(books.ids))
    assert statuses(outcomes) == ["unknown"] * 2
    assert len(books.bodies) == 1


async def test_the_deadline_bounds_a_batch_with_all_its_queries() -> None:
    books = Books(2)
    books.faults[REPORT] = [silent] * 10
    rig = Rig(books, retry=RetryPolicy(max_attempts=100, deadline=20.0, initial_backoff=4.0))
    outcomes = await Records(rig.engine).report_all(successes(books.ids))
    assert statuses(outcomes) == ["unknown"] * 2 or statuses(outcomes) == ["reported"] * 2
    assert rig.times[-1] - rig.times[0] <= 20.0


async def test_a_refusal_after_a_doubt_is_unknown() -> None:
    books = Books(2)
    books.faults[REPORT] = [reset, FORBIDDEN]
    outcomes, _rig = await report_all(books, successes(books.ids))
    assert statuses(outcomes) == ["unknown"] * 2


async def test_an_answer_that_passes_over_a_record_is_a_doubt() -> None:
    books = Books(2)
    books.faults[REPORT] = [books.then(answer(200, {"updated_accounting_record_ids": books.ids[:1]}))]
    outcomes, _rig = await report_all(books, successes(books.ids))
    assert statuses(outcomes) == ["reported", "already_exported"]


async def test_an_answer_to_somebody_else_is_a_doubt_about_all() -> None:
    books = Books(3)
    books.faults[REPORT] = [answer(200, {"updated_accounting_record_ids": ["accr_7", "accr_8", "accr_9"]})]
    outcomes, rig = await report_all(books, successes(books.ids))
    assert statuses(outcomes) == ["reported"] * 3
    assert [request.method for request in rig.requests] == [REPORT, LOOK, REPORT]


async def test_a_status_of_somebody_else_s_records_says_nothing() -> None:
    """Least of all that a record which it passes over does not exist."""
    books = Books(2)
    page = {"items": [{"id": "accr_9", "review_status": "EXPORTED"}], "has_next_page": False}
    books.faults[REPORT] = [answer(404, {"error_code": "NOT_FOUND", "message": "no"})]
    books.faults[LOOK] = [answer(200, page)]
    outcomes, _rig = await report_all(books, successes(books.ids))
    assert statuses(outcomes) == ["reported"] * 2


async def test_older_records_are_looked_for_too() -> None:
    books = Books(1)
    books.faults[REPORT] = [books.then(reset)]
    _, rig = await report_all(books, successes(books.ids))
    assert rig.requests[1].url.params["updated_at[gt]"] == "2000-01-01T00:00:00+00:00"


async def test_an_answer_that_names_nothing_is_a_doubt_that_ends() -> None:
    books = Books(1)
    books.faults[REPORT] = [answer(200, {"updated_accounting_record_ids": []})] * 10
    outcomes, _rig = await report_all(books, successes(books.ids))
    assert statuses(outcomes) == ["unknown"]
    assert isinstance(outcomes[0].error, InvalidResponseError)
    assert len(books.bodies) == 4


async def test_a_key_that_is_still_at_work_is_waited_for() -> None:
    books = Books(2)
    books.faults[REPORT] = [silent, refuse(409, "IDEMPOTENCY_KEY_IN_PROGRESS")]
    outcomes, rig = await report_all(books, successes(books.ids))
    assert statuses(outcomes) == ["reported"] * 2
    assert [request.method for request in rig.requests] == [REPORT, LOOK, REPORT, LOOK, REPORT]


async def test_a_report_that_lands_late_is_not_made_twice() -> None:
    books = Books(2, honor_idempotency_keys=False)
    late: list[httpx.Request] = []

    async def lose(request: httpx.Request) -> httpx.Response:
        late.append(request)
        raise httpx.ReadTimeout("no answer")

    async def land_first(request: httpx.Request) -> httpx.Response:
        await books.serve(late[0])
        return await books.serve(request)

    books.faults[REPORT] = [lose, land_first]
    outcomes, _rig = await report_all(books, [*successes(books.ids[:1]), *failures(books.ids[1:])])
    assert statuses(outcomes) == ["already_exported", "unknown"]


async def test_a_record_on_the_page_that_nobody_could_read_does_not_matter() -> None:
    books = Books(2)
    items = [{"id": each, "review_status": "EXPORTED", "amount": "what?"} for each in books.ids]
    books.faults[REPORT] = [books.then(reset)]
    books.faults[LOOK] = [answer(200, {"items": items, "has_next_page": False})]
    outcomes, _rig = await report_all(books, successes(books.ids))
    assert statuses(outcomes) == ["already_exported"] * 2


async def test_long_ids_are_queried_in_several_requests() -> None:
    ids = [f"accr_{number:03d}_{'x' * 200}" for number in range(100)]
    asked: list[str] = []

    async def serve(request: httpx.Request) -> httpx.Response:
        if request.method == REPORT:
            raise httpx.ReadError("reset")
        assert len(str(request.url)) < 6000
        page = request.url.params.get_list("ids")
        asked.extend(page)
        items = [{"id": each, "review_status": "EXPORTED"} for each in page]
        return httpx.Response(200, json={"items": items, "has_next_page": False})

    outcomes = await Records(Rig(serve).engine).report_all(successes(ids))
    assert statuses(outcomes) == ["already_exported"] * 100
    assert sorted(asked) == sorted(ids)


@pytest.mark.parametrize("steps", range(1, 60, 3))
async def test_cancelling_leaves_nothing_behind(steps: int) -> None:
    books = Books(500)
    books.faults[REPORT] = [reset, UNAVAILABLE] * 2
    rig = Rig(books)
    task = asyncio.create_task(Records(rig.engine).report_all(successes(books.ids)))
    for _ in range(steps):
        await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.wait([task])
    await rig.assert_idle()


@pytest.mark.parametrize("seconds", [0.2, 1.0, 2.0, 3.0, 4.0, 5.0])
async def test_cancelling_gives_back_what_the_pauses_drew(seconds: float) -> None:
    books = Books(300)

    async def slow(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0.2)
        return await silent(request)

    books.faults[REPORT] = [slow] * 99
    rig = Rig(books, retry=RetryPolicy(max_attempts=9))
    task = asyncio.create_task(Records(rig.engine).report_all(successes(books.ids)))
    await asyncio.sleep(seconds)
    drawn = rig.quota.left < rig.quota.CAPACITY
    task.cancel()
    await asyncio.wait([task])
    assert (drawn, rig.quota.left) == (seconds > 0.2, rig.quota.CAPACITY)


# -- chaos -------------------------------------------------------------------------------------------------------------


def chaos(books: Books, seed: int, share: float) -> Step:
    """Of the requests, let so many go wrong."""
    chance = random.Random(seed)
    ways = [
        books.then(reset),
        reset,
        UNAVAILABLE,
        books.then(refuse(520)),
        THROTTLED,
        books.then(silent),
        silent,
        books.then(answer(200, b"<html>", content_type="text/html")),
    ]

    async def serve(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(chance.uniform(0.0, 0.2))
        return await (chance.choice(ways) if chance.random() < share else books)(request)

    return serve


MANY = 10_000 if SOAK else 2_500


@many
@pytest.mark.timeout(120)
@pytest.mark.parametrize("honored", [True, False])
async def test_many_results_while_a_fifth_of_the_requests_go_wrong(honored: bool) -> None:
    books = Books(MANY, honor_idempotency_keys=honored)
    for record_id in books.ids[::97]:
        books.set_status(record_id, "EXPORTED")
    for record_id in books.ids[::89]:
        books.set_status(record_id, "REVIEW")
    results = [
        failures([each])[0] if number % 20 == 0 else ExportSucceeded(each) for number, each in enumerate(books.ids)
    ]
    results[MANY // 2 : MANY // 2] = successes(f"nope_{number}" for number in range(50))
    rig = Rig(chaos(books, 20261124, 0.2))
    outcomes = await Records(rig.engine).report_all(results)
    await rig.assert_idle()
    check_against_the_ledger(books, results, outcomes)
    found = Counter(statuses(outcomes))
    assert found["not_found"] == 50
    assert found["unknown"] <= MANY * 0.01
    assert found["not_applied"] == 0
    for result, outcome in zip(results, outcomes, strict=True):
        if outcome.status == "unknown":
            assert isinstance(result, ExportFailed)
            assert books.status(result.record_id) != "READY_FOR_EXPORT"


@given(
    seed=st.integers(0, 2**32),
    share=st.sampled_from([0.2, 0.5, 0.9]),
    honored=st.booleans(),
    before=st.lists(
        st.sampled_from(["READY_FOR_EXPORT", "EXPORTED", "REVIEW", "PREPARE", None]), min_size=1, max_size=8
    ),
    attempts=st.integers(1, 5),
)
def test_outcomes_are_true_whatever_happens(
    seed: int, share: float, honored: bool, before: list[str | None], attempts: int
) -> None:
    books = Books(len(before), honor_idempotency_keys=honored)
    for record_id, status in zip(books.ids, before, strict=True):
        if status is None:
            del books.sandbox.state.records[record_id]
        else:
            books.set_status(record_id, status)
    chance = random.Random(seed)
    results = [failures([each])[0] if chance.random() < 0.3 else ExportSucceeded(each) for each in books.ids]

    async def run() -> list[ReportOutcome]:
        rig = Rig(chaos(books, seed, share), retry=RetryPolicy(max_attempts=attempts))
        return await Records(rig.engine).report_all(results)

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        outcomes = runner.run(run())
    assert [outcome.record_id for outcome in outcomes] == books.ids
    check_against_the_ledger(books, results, outcomes)
