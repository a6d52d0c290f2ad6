"""The engine: every cell of the design's table "What an answer means", deadline, cancellation, and what it tells.

In virtual time, on a scripted transport; what sockets do is in test_network.py.
"""

import asyncio
import copy
import json
import logging
import pickle
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brex_accounting import Attempt, Integration, Outcome, RateLimit, RetryPolicy, UserToken, errors
from brex_accounting._retry import RetryQuota
from brex_accounting.integrations import Integrations
from brex_accounting.sandbox import Fault, Sandbox
from tests.support.calls import (
    BROKEN_GZIP,
    CASES,
    CREATE,
    DISCONNECT,
    GET,
    HTML,
    INTEGRATION,
    OK,
    REACTIVATE,
    REFUSED,
    RESET,
    THROTTLED,
    TOKEN,
    UNAVAILABLE,
    Case,
    Rig,
    Step,
    answer,
    fail,
    hang,
    pieces,
    refuse,
)
from tests.support.leaks import assert_holds_no
from tests.support.marks import many
from tests.support.virtual_time import now

pytestmark = pytest.mark.virtual_time

# -- the table ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """What an answer means: which error, in how many attempts (of 4), and whether it leaves a doubt of its own."""

    step: Step
    error: type[errors.BrexError]
    attempts: int = 1
    doubt: bool = True
    after_doubt: int | None = None
    """Attempts where an earlier attempt is in doubt, that one included; else one more, up to 4."""


CELLS = {
    "2xx HTML": Cell(HTML, errors.InvalidResponseError, 4),
    "2xx text": Cell(answer(200, b'{"id": "int_1"}', content_type="text/plain"), errors.InvalidResponseError, 4),
    "2xx empty": Cell(answer(200, b""), errors.InvalidResponseError, 4),
    "2xx empty and untyped": Cell(answer(200, b"", content_type=None), errors.InvalidResponseError, 4),
    "204": Cell(answer(204, b"", content_type=None), errors.InvalidResponseError, 4),
    "2xx half of the JSON": Cell(answer(200, b'{"id": "int_1", "ven'), errors.InvalidResponseError, 4),
    "2xx broken gzip": Cell(BROKEN_GZIP, errors.InvalidResponseError, 4),
    "2xx cut short": Cell(pieces(b'{"id":', httpx.RemoteProtocolError("cut")), errors.InvalidResponseError, 4),
    "2xx reset": Cell(pieces(b'{"id":', httpx.ReadError("reset")), errors.InvalidResponseError, 4),
    "2xx stalled": Cell(pieces(b'{"id":', httpx.ReadTimeout("")), errors.CallTimeoutError, 4),
    "2xx dripping": Cell(pieces(b"{", *(20.0, b" ") * 9), errors.CallTimeoutError, 4),
    "2xx empty object": Cell(answer(200, {}), errors.InvalidResponseError),
    "2xx array": Cell(answer(200, b"[1]"), errors.InvalidResponseError),
    "2xx null": Cell(answer(200, b"null"), errors.InvalidResponseError),
    "2xx wrong type": Cell(answer(200, {"id": 1, "vendor": []}), errors.InvalidResponseError),
    **{f"{n}": Cell(answer(n, b""), errors.InvalidResponseError) for n in (101, 301, 302, 303, 304, 307, 308)},
    "408": Cell(refuse(408), errors.APIError, 4),
    **{f"{n}": Cell(refuse(n), errors.ServerError, 4) for n in (500, 501, 502, 503, 504, 520, 599, 777)},
    "500 of the API": Cell(refuse(500, "INTERNAL_ERROR"), errors.ServerError, 4),
    "502 HTML": Cell(answer(502, b"<html>", content_type="text/html"), errors.ServerError, 4),
    "503 empty": Cell(answer(503, b"", content_type=None), errors.ServerError, 4),
    "503 cut short": Cell(pieces(b"{", httpx.ReadError("reset"), status=503), errors.ServerError, 4),
    "429": Cell(THROTTLED, errors.RateLimitedError, 4, doubt=False),
    "429 cut short": Cell(pieces(b"{", httpx.ReadError("cut"), status=429), errors.RateLimitedError, 4, doubt=False),
    "400": Cell(refuse(400, "INVALID_REQUEST"), errors.BadRequestError, doubt=False),
    "400 stalled": Cell(pieces(b"{", httpx.ReadTimeout(""), status=400), errors.BadRequestError, doubt=False),
    "400 of an unknown code": Cell(refuse(400, "NEW"), errors.BadRequestError, doubt=False),
    "401": Cell(refuse(401, "UNAUTHORIZED"), errors.UnauthorizedError, doubt=False),
    "403": Cell(refuse(403, "FORBIDDEN"), errors.ForbiddenError, doubt=False),
    "404": Cell(refuse(404, "NOT_FOUND"), errors.NotFoundError, doubt=False),
    "418": Cell(refuse(418), errors.APIError, doubt=False),
    "422": Cell(refuse(422), errors.UnprocessableError, doubt=False),
    "422 duplicate": Cell(refuse(422, "DUPLICATE_ACCOUNTING_RECORD_IDS"), errors.DuplicateRecordsError, doubt=False),
    "422 not ready": Cell(
        refuse(422, "ACCOUNTING_RECORD_NOT_READY_FOR_EXPORT"), errors.RecordsNotReadyError, doubt=False
    ),
    "409 exists": Cell(refuse(409, "ACTIVE_INTEGRATION_EXISTS"), errors.IntegrationExistsError, doubt=False),
    "409 mismatch": Cell(refuse(409, "VENDOR_ACCOUNT_ID_MISMATCH"), errors.VendorAccountMismatchError, doubt=False),
    "409 not active": Cell(refuse(409, "INTEGRATION_NOT_ACTIVE"), errors.IntegrationNotActiveError, doubt=False),
    "409 other": Cell(refuse(409, "IDEMPOTENCY_KEY_IN_USE"), errors.ConflictError, doubt=False, after_doubt=3),
    "409 HTML": Cell(answer(409, b"<p>", content_type="text/html"), errors.ConflictError, doubt=False, after_doubt=3),
    "refused": Cell(REFUSED, errors.ConnectionFailedError, 4, doubt=False),
    "proxy is overloaded": Cell(fail(httpx.ProxyError("503 Busy")), errors.ConnectionFailedError, 4, doubt=False),
    "proxy fails": Cell(fail(httpx.ProxyError("Something")), errors.ConnectionFailedError, 4, doubt=False),
    "proxy says no": Cell(fail(httpx.ProxyError("403 Forbidden")), errors.ConnectionFailedError, doubt=False),
    "proxy wants credentials": Cell(fail(httpx.ProxyError("407 Who?")), errors.ConnectionFailedError, doubt=False),
    "connect timeout": Cell(fail(httpx.ConnectTimeout("")), errors.CallTimeoutError, 4, doubt=False),
    "no connection to be had": Cell(fail(httpx.PoolTimeout("")), errors.CallTimeoutError, 4, doubt=False),
    "reset": Cell(RESET, errors.ConnectionFailedError, 4),
    "write error": Cell(fail(httpx.WriteError("")), errors.ConnectionFailedError, 4),
    "closed without an answer": Cell(fail(httpx.RemoteProtocolError("closed")), errors.ConnectionFailedError, 4),
    "write timeout": Cell(fail(httpx.WriteTimeout("")), errors.CallTimeoutError, 4),
    "read timeout": Cell(fail(httpx.ReadTimeout("")), errors.CallTimeoutError, 4),
    "no answer at all": Cell(hang, errors.CallTimeoutError, 4),
    "an error of the system": Cell(fail(ConnectionResetError(104, "reset")), errors.ConnectionFailedError, 4),
    "an error nobody expects": Cell(fail(KeyError("what")), errors.ConnectionFailedError, 4),
    "an error of asyncio": Cell(fail(RuntimeError("handler is closed")), errors.ConnectionFailedError, 4),
}
NO_ANSWER = (errors.ConnectionFailedError, errors.CallTimeoutError)


def check(rig: Rig, case: Case, error: errors.BrexError, *, attempts: int, outcome: Outcome) -> None:
    """What holds of every error."""
    assert len(rig.requests) == error.attempts == len(rig.attempts) == attempts
    assert error.outcome is (Outcome.NOT_APPLIED if case.safe else outcome)
    assert error.operation == case.operation
    assert {error.idempotency_key} == set(rig.keys)
    assert len({(r.method, r.url, r.content) for r in rig.requests}) == 1
    assert [a.number for a in rig.attempts] == list(range(1, attempts + 1))
    assert [a.retry_in is None for a in rig.attempts] == [False] * (attempts - 1) + [True]
    assert rig.attempts[-1].error == type(error).__name__
    assert str(error).startswith(f"{case.operation}: ")
    assert_holds_no(TOKEN, error)
    for twin in (copy.copy(error), copy.deepcopy(error), pickle.loads(pickle.dumps(error))):
        assert type(twin) is type(error)
        assert (twin.args, twin.__dict__) == (error.args, error.__dict__)


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("name", CELLS)
async def test_without_an_earlier_doubt(name: str, case: Case) -> None:
    cell = CELLS[name]
    rig = Rig(cell.step)
    error = await rig.error(case)
    assert type(error) is cell.error
    check(rig, case, error, attempts=cell.attempts, outcome=Outcome.UNKNOWN if cell.doubt else Outcome.NOT_APPLIED)
    await rig.assert_idle()


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("name", CELLS)
async def test_after_a_doubt(name: str, case: Case) -> None:
    cell = CELLS[name]
    rig = Rig(RESET, cell.step)
    error = await rig.error(case)
    assert type(error) is cell.error
    attempts = cell.after_doubt or min(cell.attempts + 1, 4)
    check(rig, case, error, attempts=attempts, outcome=Outcome.UNKNOWN)
    await rig.assert_idle()


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("name", [name for name, cell in CELLS.items() if cell.attempts == 4])
async def test_a_retry_that_succeeds(name: str, case: Case) -> None:
    rig = Rig(CELLS[name].step, CELLS[name].step, OK)
    assert case.sum_up(await rig.call(case, "my key")) == case.expected
    assert rig.keys == [None if case.safe else "my key"] * 3
    assert [a.error for a in rig.attempts] == [CELLS[name].error.__name__] * 2 + [None]
    assert [a.status for a in rig.attempts][2] == 200
    await rig.assert_idle()


@pytest.mark.parametrize("name", [name for name, cell in CELLS.items() if cell.attempts == 4])
async def test_which_attempts_leave_a_doubt(name: str) -> None:
    cell = CELLS[name]
    error = await Rig(cell.step, refuse(400)).error()
    assert error.outcome is (Outcome.UNKNOWN if cell.doubt else Outcome.NOT_APPLIED)


async def test_the_second_409_of_another_code_ends_the_call_whatever_came_between() -> None:
    conflict = refuse(409, "IDEMPOTENCY_KEY_IN_USE")
    rig = Rig(RESET, conflict, UNAVAILABLE, conflict, OK, retry=RetryPolicy(max_attempts=9))
    assert type(await rig.error()) is errors.ConflictError
    assert len(rig.requests) == 4


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("status", [200, 201, 202])
async def test_success(case: Case, status: int) -> None:
    rig = Rig(answer(status, x_brex_trace_id="trace-1"))
    assert case.sum_up(await rig.call(case)) == case.expected
    [attempt] = rig.attempts
    assert attempt == Attempt(case.operation, 1, status, None, 0.0, None, rig.keys[0], "trace-1")


class Books:
    """A server that tells the truth about itself: what it does, and whether it applied the change."""

    KINDS: dict[str, tuple[Step, bool | None]] = {  # noqa: RUF012
        "success": (OK, True),
        "reset": (RESET, None),
        "timeout": (fail(httpx.ReadTimeout("")), None),
        "hang": (hang, None),
        "unavailable": (UNAVAILABLE, None),
        "request timeout": (refuse(408), None),
        "html": (HTML, True),
        "shapeless": (answer(200, {}), True),
        "redirect": (answer(302, b""), None),
        "gzip": (BROKEN_GZIP, True),
        "refused": (REFUSED, False),
        "slow to connect": (fail(httpx.ConnectTimeout("")), False),
        "throttled": (THROTTLED, False),
        "throttled for a while": (refuse(429, retry_after="7"), False),
        "throttled for long": (refuse(429, retry_after="61"), False),
        "forbidden": (refuse(403), False),
        "bad request": (refuse(400), False),
        "conflict": (refuse(409, "INTEGRATION_NOT_ACTIVE"), False),
        "key in use": (refuse(409), False),
    }


@settings(max_examples=300, deadline=None)
@given(
    script=st.lists(st.tuples(st.sampled_from(sorted(Books.KINDS)), st.booleans()), min_size=1, max_size=7),
    max_attempts=st.integers(1, 6),
    seconds=st.floats(0.1, 200),
)
async def test_no_call_lies_about_its_outcome(
    script: list[tuple[str, bool]], max_attempts: int, seconds: float
) -> None:
    applied = [known if known is not None else luck for kind, luck in script for known in [Books.KINDS[kind][1]]]
    rig = Rig(
        *(Books.KINDS[kind][0] for kind, _ in script),
        retry=RetryPolicy(max_attempts=max_attempts, deadline=seconds),
    )
    began = now()
    result = await rig.end()
    if isinstance(result, errors.BrexError):
        assert result.attempts == len(rig.requests)
        if result.outcome is Outcome.NOT_APPLIED:
            assert not any([*applied, *[applied[-1]] * 9][: len(rig.requests)])
    else:
        assert result.id == "int_1"
    assert len(rig.requests) <= max_attempts
    assert now() - began <= seconds + 1e-6
    assert len(set(rig.keys)) == 1
    assert 0 <= rig.quota.left <= RetryQuota.CAPACITY
    await rig.assert_idle()


# -- keys --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", [CREATE, DISCONNECT, REACTIVATE], ids=str)
async def test_every_call_has_a_key_of_its_own(case: Case) -> None:
    rig = Rig()
    await asyncio.gather(*(rig.call(case) for _ in range(100)))
    keys = {uuid.UUID(str(key)) for key in rig.keys}
    assert len(keys) == 100
    assert {key.version for key in keys} == {4}


async def test_a_read_sends_no_key() -> None:
    rig = Rig()
    await rig.call(GET)
    assert rig.keys == [None]


@pytest.fixture(params=["reset_after", "cut_body", "delay", "html", "status"])
def loss(request: pytest.FixtureRequest) -> Fault:
    """What befalls an answer after its change was made; the attempt after it goes well."""
    return Fault(request.param, applied=True, seconds=10.8 if request.param == "delay" else 0.0)


@pytest.fixture(params=[True, False], ids=["keys honoured", "keys ignored"])
async def sandbox(request: pytest.FixtureRequest) -> AsyncIterator[Sandbox]:
    async with Sandbox(token="bxt_sandbox", honor_idempotency_keys=request.param) as sandbox:
        yield sandbox


def api(sandbox: Sandbox) -> Integrations:
    rig = Rig(sandbox.transport.handle_async_request, auth=UserToken(sandbox.token), timeout=10.0)
    return Integrations(rig.engine)


async def test_a_create_that_was_applied_and_then_lost_is_made_once(sandbox: Sandbox, loss: Fault) -> None:
    sandbox.fault(loss)
    integration = await api(sandbox).create("ERP_A", "acct-42")
    assert list(sandbox.state.integrations) == [integration.id]
    assert len(sandbox.requests) in {2, 3}


async def test_a_disconnect_that_was_applied_and_then_lost(
    sandbox: Sandbox, loss: Fault, request: pytest.FixtureRequest
) -> None:
    integration = await api(sandbox).create("ERP_A", "acct-42")
    sandbox.fault(loss)
    if "honoured" in request.node.name:
        assert (await api(sandbox).disconnect(integration.id)).status == "DISABLED"
    else:
        with pytest.raises(errors.IntegrationNotActiveError) as caught:
            await api(sandbox).disconnect(integration.id)
        assert (caught.value.outcome, caught.value.current_status) == (Outcome.UNKNOWN, "DISABLED")
    with pytest.raises(errors.IntegrationNotActiveError) as caught:
        await api(sandbox).disconnect(integration.id)
    assert (caught.value.outcome, caught.value.current_status) == (Outcome.NOT_APPLIED, "DISABLED")
    assert caught.value.integration_id == integration.id


async def test_a_reactivate_that_was_applied_and_then_lost(
    sandbox: Sandbox, loss: Fault, request: pytest.FixtureRequest
) -> None:
    integration = await api(sandbox).create("ERP_A", "acct-42")
    await api(sandbox).disconnect(integration.id)
    sandbox.fault(loss)
    if "honoured" in request.node.name:
        assert (await api(sandbox).reactivate(integration.id)).status == "ACTIVE"
    else:
        with pytest.raises(errors.IntegrationExistsError) as caught:
            await api(sandbox).reactivate(integration.id)
        assert (caught.value.outcome, caught.value.existing_integration_id) == (Outcome.UNKNOWN, integration.id)
    with pytest.raises(errors.IntegrationExistsError) as caught:
        await api(sandbox).reactivate(integration.id)
    assert caught.value.outcome is Outcome.NOT_APPLIED


async def test_the_calls_that_only_care_for_the_end_succeed(sandbox: Sandbox, loss: Fault) -> None:
    integration = await api(sandbox).create("ERP_A", "acct-42")
    sandbox.fault(loss)
    await api(sandbox).ensure_disconnected(integration.id)
    assert sandbox.state.active_integration is None
    sandbox.fault(loss)
    await api(sandbox).ensure_active(integration.id)
    assert sandbox.state.active_integration is not None


# -- the deadline ------------------------------------------------------------------------------------------------------


def by_key(steps: dict[str, list[Step]]) -> Step:
    """Steps for each call, told apart by their Idempotency-Keys; after its last one a call succeeds."""

    async def step(request: httpx.Request) -> httpx.Response:
        mine = steps.get(request.headers["Idempotency-Key"], [])
        return await (mine.pop(0) if mine else OK)(request)

    return step


@many
@pytest.mark.parametrize("rate_limit", [None, RateLimit(1000, per=60.0)])
async def test_five_thousand_calls_queue_and_none_runs_out_of_time_unsent(rate_limit: RateLimit | None) -> None:
    rig = Rig(answer(after=0.5), retry=RetryPolicy(deadline=1.0), rate_limit=rate_limit)
    began = now()
    results = await asyncio.gather(*(rig.call() for _ in range(5000)))
    assert len(results) == len(rig.requests) == 5000
    assert rig.transport.most == 20
    assert now() - began > 120.0
    await rig.assert_idle()


@pytest.mark.parametrize("rate_limit", [None, RateLimit(5, per=20.0), RateLimit(100, per=60.0)])
async def test_a_call_under_way_does_not_queue_behind_those_that_have_not_begun(rate_limit: RateLimit | None) -> None:
    slow = answer(after=1.0)
    steps = {"first": [UNAVAILABLE]} | {str(n): [slow] for n in range(5000)}
    rig = Rig(by_key(steps), rate_limit=rate_limit)
    calls = [asyncio.create_task(rig.call(key=key)) for key in steps]
    assert (await calls[0]).id == "int_1"
    for call in calls:
        call.cancel()
    await asyncio.wait(calls)
    await rig.assert_idle()


@pytest.mark.parametrize(
    ("limit", "ends"), [(30.0, 5.0), (2.0, 2.0), (httpx.Timeout(None), 5.0), (httpx.Timeout(2.0), 5.0)]
)
async def test_a_body_that_drips_ends_with_the_timeout_or_with_the_deadline(
    limit: float | httpx.Timeout, ends: float
) -> None:
    rig = Rig(pieces(*(b" ", 0.3) * 1000), timeout=limit, retry=RetryPolicy(max_attempts=1, deadline=5.0))
    began = now()
    error = await rig.error()
    assert (type(error), error.outcome) == (errors.CallTimeoutError, Outcome.UNKNOWN)
    assert now() - began == pytest.approx(ends)


@pytest.mark.parametrize("limit", [30.0, httpx.Timeout(30.0), httpx.Timeout(None, connect=30.0)])
async def test_an_attempt_gets_no_more_than_what_remains(limit: float | httpx.Timeout) -> None:
    rig = Rig(refuse(503, after=3.0), hang, timeout=limit, retry=RetryPolicy(deadline=10.0))
    began = now()
    error = await rig.error()
    assert (type(error), error.attempts) == (errors.CallTimeoutError, 2)
    assert now() - began == pytest.approx(10.0)
    for request, remaining in zip(rig.requests, (10.0, 6.5), strict=True):
        assert set(request.extensions["timeout"].values()) == {remaining}


async def test_a_wait_that_would_end_after_the_deadline_is_not_begun() -> None:
    rig = Rig(UNAVAILABLE, retry=RetryPolicy(deadline=1.2))
    began = now()
    error = await rig.error()
    assert (type(error), error.attempts) == (errors.ServerError, 2)
    assert now() - began == pytest.approx(0.5)
    assert rig.waits == [0.5]


async def test_the_deadline_bounds_a_later_wait_for_a_slot() -> None:
    rig = Rig(by_key({"a": [UNAVAILABLE], "b": [answer(after=20.0)]}), max_connections=1)
    hasty = rig.engine.with_options(None, RetryPolicy(deadline=5.0))
    began = now()
    a = asyncio.create_task(Integrations(hasty).create("ERP_A", "acct-42", idempotency_key="a"))
    b = asyncio.create_task(rig.call(key="b"))
    with pytest.raises(errors.CallTimeoutError) as caught:
        await a
    assert now() - began == 5.0
    assert (caught.value.attempts, caught.value.outcome) == (1, Outcome.UNKNOWN)
    await b
    assert rig.keys == ["a", "b"]
    assert rig.quota.left == RetryQuota.CAPACITY
    await rig.assert_idle()


@pytest.mark.parametrize("first", [UNAVAILABLE, REFUSED])
async def test_the_deadline_bounds_a_later_wait_for_the_limiter(first: Step) -> None:
    rig = Rig(first, OK, rate_limit=RateLimit(1, per=100.0), retry=RetryPolicy(deadline=5.0))
    began = now()
    error = await rig.error()
    assert (type(error), error.attempts) == (errors.CallTimeoutError, 1)
    assert error.outcome is (Outcome.UNKNOWN if first is UNAVAILABLE else Outcome.NOT_APPLIED)
    assert now() - began == 5.0
    assert rig.quota.left == RetryQuota.CAPACITY
    await rig.assert_idle()


async def test_calls_can_share_a_deadline() -> None:
    rig = Rig(answer(after=3.0), retry=RetryPolicy(deadline=5.0))
    deadline = rig.engine.deadline()
    api = Integrations(rig.engine)
    await asyncio.sleep(100.0)
    await api._create("ERP_A", "acct-42", deadline=deadline)
    began = now()
    with pytest.raises(errors.CallTimeoutError):
        await api._create("ERP_A", "acct-42", deadline=deadline)
    assert now() - began == 2.0
    with pytest.raises(errors.CallTimeoutError) as caught:
        await api._create("ERP_A", "acct-42", deadline=deadline)
    assert (caught.value.attempts, caught.value.outcome) == (0, Outcome.NOT_APPLIED)
    assert len(rig.requests) == len(rig.attempts) == 2


# -- the token ---------------------------------------------------------------------------------------------------------


class Tokens:
    """An authorization that does as it is told."""

    def __init__(self, *tokens: str | errors.BrexError | None, renews: bool | errors.BrexError | None = False) -> None:
        self._tokens = list(tokens or (TOKEN,))
        self._renews = renews
        self.rejections: list[str] = []
        self.acceptances: list[str] = []

    async def token(self) -> str:
        token = self._tokens.pop(0) if len(self._tokens) > 1 else self._tokens[0]
        return str(await self._do(token))

    async def rejected(self, token: str) -> bool:
        self.rejections.append(token)
        return bool(await self._do(self._renews))

    def accepted(self, token: str) -> None:
        self.acceptances.append(token)

    async def aclose(self) -> None:
        pass

    @staticmethod
    async def _do(what: Any) -> Any:
        if what is None:
            await asyncio.Event().wait()
        if isinstance(what, errors.BrexError):
            raise what
        return what


UNAUTHORIZED = refuse(401, "UNAUTHORIZED")


class NoTokenError(errors.BrexError):
    """What an authorization may raise."""


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("retry", [RetryPolicy(), RetryPolicy.none()])
async def test_a_refused_token_is_renewed_and_the_call_replayed(case: Case, retry: RetryPolicy) -> None:
    auth = Tokens("old", "new", renews=True)
    rig = Rig(UNAUTHORIZED, OK, auth=auth, retry=retry)
    await rig.call(case)
    assert [r.headers["Authorization"] for r in rig.requests] == ["Bearer old", "Bearer new"]
    assert len(set(rig.keys)) == 1
    assert auth.rejections == ["old"]
    assert [(a.number, a.status, a.retry_in) for a in rig.attempts] == [(1, 401, 0.0), (2, 200, None)]
    assert rig.waits == []


async def test_the_replay_does_not_count_as_an_attempt() -> None:
    rig = Rig(UNAVAILABLE, UNAUTHORIZED, UNAVAILABLE, UNAVAILABLE, UNAVAILABLE, OK, auth=Tokens(renews=True))
    error = await rig.error()
    assert (type(error), error.attempts) == (errors.ServerError, 5)


@pytest.mark.parametrize(("before", "outcome"), [([], Outcome.NOT_APPLIED), ([RESET], Outcome.UNKNOWN)])
async def test_there_is_one_replay(before: list[Step], outcome: Outcome) -> None:
    auth = Tokens("old", "new", "newer", renews=True)
    rig = Rig(*before, UNAUTHORIZED, auth=auth)
    error = await rig.error()
    assert (type(error), error.attempts, error.outcome) == (errors.UnauthorizedError, len(before) + 2, outcome)
    assert len(auth.rejections) == 1


async def test_a_user_token_is_not_replayed() -> None:
    rig = Rig(UNAUTHORIZED)
    assert (await rig.error()).attempts == 1


@pytest.mark.parametrize(("before", "outcome"), [([], Outcome.NOT_APPLIED), ([RESET], Outcome.UNKNOWN)])
async def test_a_token_that_cannot_be_had(before: list[Step], outcome: Outcome) -> None:
    failure = NoTokenError("the grant is dead")
    rig = Rig(*before, OK, auth=Tokens(*[TOKEN] * len(before), failure))
    first, second = await rig.error(key="my key"), await rig.error(GET)
    assert (type(first), str(first)) == (NoTokenError, "the grant is dead")
    assert (first.operation, first.attempts, first.outcome) == ("createIntegration", len(before), outcome)
    assert first.idempotency_key == "my key"
    assert (second.operation, second.idempotency_key, second.outcome) == ("getThing", None, Outcome.NOT_APPLIED)
    assert vars(failure) == {}
    assert_holds_no(TOKEN, first)
    assert rig.quota.left == RetryQuota.CAPACITY
    await rig.assert_idle()


async def test_a_token_that_cannot_be_renewed() -> None:
    rig = Rig(UNAUTHORIZED, auth=Tokens(renews=NoTokenError("the grant is dead")))
    error = await rig.error()
    assert (type(error), error.attempts, error.outcome) == (NoTokenError, 1, Outcome.NOT_APPLIED)
    assert [(a.status, a.error, a.retry_in) for a in rig.attempts] == [(401, "UnauthorizedError", None)]
    assert_holds_no(TOKEN, error)


@pytest.mark.parametrize(
    ("steps", "auth", "kind", "outcome"),
    [
        ([OK], Tokens(None), errors.CallTimeoutError, Outcome.NOT_APPLIED),
        ([RESET, OK], Tokens(TOKEN, None), errors.CallTimeoutError, Outcome.UNKNOWN),
        ([UNAUTHORIZED], Tokens(renews=None), errors.CallTimeoutError, Outcome.NOT_APPLIED),
        ([RESET, UNAUTHORIZED], Tokens(renews=None), errors.CallTimeoutError, Outcome.UNKNOWN),
    ],
)
async def test_the_deadline_bounds_the_token(
    steps: list[Step], auth: Tokens, kind: type[errors.BrexError], outcome: Outcome
) -> None:
    rig = Rig(*steps, auth=auth, retry=RetryPolicy(deadline=7.0))
    began = now()
    error = await rig.error()
    assert (type(error), error.outcome) == (kind, outcome)
    assert now() - began == pytest.approx(7.0)
    assert error.attempts == len(rig.requests) == len(rig.attempts)
    await rig.assert_idle()


async def test_what_the_token_took_is_not_there_for_the_attempt() -> None:
    class Slow(Tokens):
        async def token(self) -> str:
            await asyncio.sleep(6.0)
            return TOKEN

    rig = Rig(hang, auth=Slow(), retry=RetryPolicy(deadline=7.0))
    began = now()
    assert (await rig.error()).outcome is Outcome.UNKNOWN
    assert now() - began == pytest.approx(7.0)
    assert rig.attempts[0].seconds == pytest.approx(1.0)


# -- cancellation ------------------------------------------------------------------------------------------------------

BACKOFF = RetryPolicy(initial_backoff=8.0)
BUSY = {"max_connections": 1}
WAITS: dict[str, Callable[[], tuple[Rig, int]]] = {
    # a rig, and how many requests are sent by the time that the call is cancelled, a second after its start
    "answer": lambda: (Rig(hang), 1),
    "body": lambda: (Rig(pieces(b"{", 60.0)), 1),
    "error's body": lambda: (Rig(pieces(b"{", 60.0, status=503)), 1),
    "backoff": lambda: (Rig(UNAVAILABLE, retry=BACKOFF), 1),
    "Retry-After": lambda: (Rig(refuse(429, retry_after="30")), 1),
    "second attempt": lambda: (Rig(UNAVAILABLE, hang), 2),
    "token": lambda: (Rig(auth=Tokens(None)), 0),
    "new token": lambda: (Rig(UNAUTHORIZED, auth=Tokens(renews=None)), 1),
    "limiter, again": lambda: (Rig(UNAVAILABLE, rate_limit=RateLimit(1, per=60.0)), 1),
}


@pytest.mark.parametrize("name", WAITS)
async def test_cancelled_while_it_waits_for(name: str) -> None:
    rig, sent = WAITS[name]()
    task = asyncio.create_task(rig.call())
    await asyncio.sleep(1.0)
    task.cancel()
    began = now()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert now() == began
    assert len(rig.requests) == sent
    await rig.assert_idle()
    assert rig.quota.left in {RetryQuota.CAPACITY, RetryQuota.CAPACITY - 14 * (sent - 1)}
    await asyncio.sleep(100.0)
    assert len(rig.requests) == sent


@pytest.mark.parametrize("what", ["slot", "limiter"])
async def test_cancelled_while_it_queues(what: str) -> None:
    rig = Rig(answer(after=5.0), max_connections=1) if what == "slot" else Rig(rate_limit=RateLimit(1, per=5.0))
    tasks = [asyncio.create_task(rig.call(key=str(n))) for n in range(5)]
    await asyncio.sleep(1.0)
    for n in (1, 3):
        tasks[n].cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(result, asyncio.CancelledError) for result in results] == [False, True, False, True, False]
    assert rig.keys == ["0", "2", "4"]
    await rig.assert_idle()


async def in_wait_for(rig: Rig) -> None:
    await asyncio.wait_for(rig.call(), 1.0)


async def in_timeout(rig: Rig) -> None:
    async with asyncio.timeout(1.0):
        await rig.call()


async def in_a_task_group_that_fails(rig: Rig) -> None:
    async def fails() -> None:
        await asyncio.sleep(1.0)
        raise TimeoutError

    async def group_of_two() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(rig.call())
            group.create_task(fails())

    with pytest.raises(ExceptionGroup) as caught:
        await group_of_two()
    raise caught.value.exceptions[0]


async def in_gather(rig: Rig) -> None:
    calls = asyncio.gather(rig.call(), rig.call())
    await asyncio.sleep(1.0)
    calls.cancel()
    with pytest.raises(asyncio.CancelledError):
        await calls
    raise TimeoutError


@pytest.mark.parametrize("ends", [in_wait_for, in_timeout, in_a_task_group_that_fails, in_gather])
@pytest.mark.parametrize("name", WAITS)
async def test_ended_from_outside(ends: Callable[[Rig], Any], name: str) -> None:
    rig, _ = WAITS[name]()
    began = now()
    with pytest.raises(TimeoutError):
        await ends(rig)
    assert now() - began == 1.0
    await rig.assert_idle()
    sent = len(rig.requests)
    await asyncio.sleep(100.0)
    assert len(rig.requests) == sent


@pytest.mark.parametrize("name", WAITS)
async def test_dropped_in_the_middle(name: str) -> None:
    rig, _ = WAITS[name]()
    coroutine = rig.call()
    coroutine.send(None)
    coroutine.close()
    await rig.assert_idle()


async def test_a_call_in_a_task_that_was_cancelled_and_cleans_up() -> None:
    rig = Rig(hang, OK, hang)

    async def clean_up() -> errors.BrexError | None:
        try:
            await asyncio.sleep(60.0)
        except asyncio.CancelledError:
            await rig.call()  # its first attempt times out
            return await rig.error()
        return None

    task = asyncio.create_task(clean_up())
    await asyncio.sleep(1.0)
    task.cancel()
    assert type(await task) is errors.CallTimeoutError
    assert len(rig.requests) == 2 + 4
    await rig.assert_idle()


@pytest.mark.parametrize("error", [httpx.ReadError("closed"), RuntimeError("closed"), OSError()])
async def test_a_transport_that_makes_an_error_of_a_cancellation(error: Exception) -> None:
    async def step(_request: httpx.Request) -> httpx.Response:
        try:
            await asyncio.sleep(60.0)
        except asyncio.CancelledError:
            raise error from None
        return httpx.Response(200)

    rig = Rig(step)
    task = asyncio.create_task(rig.call())
    await asyncio.sleep(1.0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(rig.requests) == 1
    assert type(await Rig(step, timeout=1.0).error()) is errors.ConnectionFailedError
    await rig.assert_idle()


async def test_a_transport_that_is_cancelled_inside() -> None:
    rig = Rig(fail(asyncio.CancelledError()))
    with pytest.raises(asyncio.CancelledError):
        await rig.call()
    await rig.assert_idle()


async def test_cancelled_and_let_in_at_the_same_moment() -> None:
    rig = Rig(answer(after=1.0), max_connections=1, rate_limit=RateLimit(1, per=0.5))
    for moment in (1.0, 1.5, 2.5, 3.0):
        first, second, third = (asyncio.create_task(rig.call()) for _ in range(3))
        asyncio.get_running_loop().call_at(now() + moment, second.cancel)
        await asyncio.wait([first, second, third])
        await asyncio.sleep(10.0)
        await rig.assert_idle()
    await rig.call()


@settings(max_examples=40, deadline=None)
@given(
    latencies=st.lists(st.sampled_from([0.0, 0.1, 0.25, 1.0]), min_size=1, max_size=5),
    moments=st.lists(st.sampled_from([None, 0.0, 0.1, 0.25, 0.35, 0.5, 1.0, 1.1, 2.0]), min_size=20, max_size=60),
    rate_limit=st.sampled_from([None, RateLimit(2, per=0.5), RateLimit(10, per=0.25)]),
    max_connections=st.integers(1, 4),
)
async def test_cancellations_at_any_moment_leave_nothing_behind(
    latencies: list[float], moments: list[float | None], rate_limit: RateLimit | None, max_connections: int
) -> None:
    steps = [step for seconds in latencies for step in (answer(after=seconds), refuse(503, after=seconds))]
    rig = Rig(*steps * 10, OK, rate_limit=rate_limit, max_connections=max_connections)
    calls = [asyncio.create_task(rig.call(key=str(n))) for n in range(len(moments))]
    for call, moment in zip(calls, moments, strict=True):
        if moment is not None:
            asyncio.get_running_loop().call_later(moment, call.cancel)
    await asyncio.gather(*calls, return_exceptions=True)
    assert rig.transport.most <= max_connections
    await rig.assert_idle()
    rig.transport.go_on_with(OK)
    assert len(await asyncio.gather(*(rig.call() for _ in range(10)))) == 10
    await rig.assert_idle()


# -- the client is closed in mid-call ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("first", "outcome"), [(UNAVAILABLE, Outcome.UNKNOWN), (REFUSED, Outcome.NOT_APPLIED)])
async def test_closed_during_a_backoff(first: Step, outcome: Outcome) -> None:
    rig = Rig(first, OK, retry=BACKOFF)
    call = asyncio.create_task(rig.error())
    await asyncio.sleep(1.0)
    await rig.network.aclose()
    error = await call
    assert (type(error), error.outcome, error.attempts) == (errors.ConnectionFailedError, outcome, 1)
    assert "The client is closed" in str(error)
    await rig.assert_idle()


@pytest.mark.parametrize(
    ("make", "within"),
    [
        (lambda: Rig(answer(after=5.0), max_connections=1, rate_limit=RateLimit(1, per=1000.0)), 5.0),
        (lambda: Rig(rate_limit=RateLimit(1, per=5.0)), 20.0),
    ],
    ids=["slot", "limiter"],
)
async def test_what_queues_when_the_client_is_closed_is_not_sent(make: Callable[[], Rig], within: float) -> None:
    rig, began = make(), now()
    calls = [asyncio.create_task(rig.call()) for _ in range(5)]
    await asyncio.sleep(1.0)
    await rig.network.aclose()
    first, *others = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(first, Integration)
    assert {type(other) for other in others} == {errors.ConfigurationError}
    assert now() - began <= within
    assert len(rig.requests) == 1
    await rig.assert_idle()


# -- together ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate_limit", [None, RateLimit(3, per=1.0), RateLimit(50, per=1.0)])
async def test_no_more_than_max_connections_at_a_time(rate_limit: RateLimit | None) -> None:
    mixture = [answer(after=0.2), refuse(503, after=0.1), RESET, OK]
    rig = Rig(*mixture * 1000, max_connections=7, rate_limit=rate_limit)
    await asyncio.gather(*(rig.call() for _ in range(100)), return_exceptions=True)
    assert rig.transport.most == (7 if rate_limit is None or rate_limit.requests > 7 else 3)
    await rig.assert_idle()


async def test_a_429_pauses_every_call_of_the_client() -> None:
    rig = Rig(answer(after=2.0), refuse(429, after=1.0, retry_after="10"), OK)
    view = rig.engine.with_options(None, RetryPolicy(max_attempts=1))
    began = now()
    calls = [asyncio.create_task(rig.call()) for _ in range(2)]
    await asyncio.sleep(1.5)
    calls += [asyncio.create_task(Integrations(view).create("ERP_A", "acct-42")) for _ in range(30)]
    await asyncio.gather(*calls)
    assert [time - began for time in rig.times] == [0.0, 0.0, *[11.0] * 31]


async def test_a_view_has_a_policy_of_its_own_and_the_quota_of_all() -> None:
    rig = Rig(UNAVAILABLE)
    view = rig.engine.with_options(None, RetryPolicy(max_attempts=2))
    with pytest.raises(errors.ServerError) as caught:
        await CREATE.call(view, None)
    assert caught.value.attempts == 2
    assert rig.quota.left == RetryQuota.CAPACITY - 14
    assert (await rig.error()).attempts == 4
    assert rig.quota.left == RetryQuota.CAPACITY - 4 * 14


# -- what it tells -----------------------------------------------------------------------------------------------------


async def test_on_attempt_and_the_log(caplog: pytest.LogCaptureFixture) -> None:
    body = {"error_code": "INTERNAL_ERROR", "message": "canary in the body"}
    rig = Rig(
        answer(500, body, after=2.0, x_brex_trace_id="trace-1"),
        RESET,
        refuse(429, "SLOW", after=1.0, retry_after="30"),
        answer(after=0.25, x_brex_trace_id="trace-2"),
    )
    with caplog.at_level(logging.DEBUG, logger="brex_accounting"):
        await rig.call(key="my key")
    assert rig.attempts == [
        Attempt("createIntegration", 1, 500, "ServerError", 2.0, 0.5, "my key", "trace-1"),
        Attempt("createIntegration", 2, None, "ConnectionFailedError", 0.0, 1.0, "my key", None),
        Attempt("createIntegration", 3, 429, "RateLimitedError", 1.0, 30.0, "my key", None),
        Attempt("createIntegration", 4, 200, None, 0.25, None, "my key", "trace-2"),
    ]
    assert [(r.name, r.levelname, r.getMessage()) for r in caplog.records] == [
        ("brex_accounting", "DEBUG", "createIntegration attempt 1: 500 in 2.000 s"),
        ("brex_accounting", "INFO", "createIntegration attempt 1: 500, next attempt in 0.500 s"),
        ("brex_accounting", "DEBUG", "createIntegration attempt 2: ConnectionFailedError in 0.000 s"),
        (
            "brex_accounting",
            "INFO",
            "createIntegration attempt 2: ConnectionFailedError, next attempt in 1.000 s",
        ),
        ("brex_accounting", "DEBUG", "createIntegration attempt 3: 429 in 1.000 s"),
        ("brex_accounting", "INFO", "createIntegration attempt 3: 429, next attempt in 30.000 s"),
        ("brex_accounting", "DEBUG", "createIntegration attempt 4: 200 in 0.250 s"),
    ]


@pytest.mark.parametrize("name", CELLS)
async def test_the_log_shows_neither_the_token_nor_a_body(name: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        await Rig(CELLS[name].step, auth=Tokens(renews=True)).error()
    assert caplog.records
    for secret in (TOKEN, "<html>", "no: ", "int_9"):
        assert secret not in caplog.text


async def test_a_hook_that_raises_is_ignored(caplog: pytest.LogCaptureFixture) -> None:
    def hook(_attempt: Attempt) -> None:
        raise ValueError("broken hook")

    rig = Rig(UNAVAILABLE, OK, on_attempt=hook)
    assert (await rig.call()).id == "int_1"
    assert [r.getMessage() for r in caplog.records if r.levelname == "WARNING"] == [
        "on_attempt raised, which is ignored"
    ] * 2
    assert TOKEN not in caplog.text


async def test_a_hook_that_cancels_the_call() -> None:
    def hook(_attempt: Attempt) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()

    rig = Rig(UNAVAILABLE, OK, on_attempt=hook)
    task = asyncio.create_task(rig.call())
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(rig.requests) == 1
    await rig.assert_idle()


# -- a server that repeats the token -----------------------------------------------------------------------------------

ESCAPED = TOKEN.replace("/", "\\/").replace("+", "\\u002B").replace("=", "\\u003d")
ECHOES = {
    "message": answer(400, {"error_code": "INVALID_REQUEST", "message": f"what is {TOKEN}?"}),
    "code": answer(400, {"error_code": TOKEN, "message": "what?"}),
    "details": answer(409, {"error_code": "ACTIVE_INTEGRATION_EXISTS", "details": {"existing_integration_id": TOKEN}}),
    "deep in the details": answer(400, {"error_code": "NEW", "details": {"a": [{TOKEN: TOKEN}]}}),
    "escaped": answer(400, f'{{"error_code": "NEW", "message": "{ESCAPED}", "details": ["{ESCAPED}"]}}'.encode()),
    "text": answer(502, f"Authorization: Bearer {TOKEN}".encode(), content_type="text/html"),
    "text, at the end of the excerpt": answer(502, b"." * 290 + TOKEN.encode(), content_type="text/html"),
    "trace id": answer(400, {}, x_brex_trace_id=TOKEN),
    "content type": answer(200, b"", content_type=TOKEN),
    "the body of a success": answer(200, json.dumps({TOKEN: TOKEN}).encode()),
    "the name of a field": answer(200, json.dumps(INTEGRATION | {"created_at": TOKEN}).encode()),
    "an error of the transport": fail(httpx.RemoteProtocolError(f"illegal header line: b'{TOKEN}'")),
    "an error nobody expects": fail(KeyError(TOKEN)),
}


@pytest.mark.parametrize("case", [CREATE, GET], ids=str)
@pytest.mark.parametrize("name", ECHOES)
async def test_a_token_that_the_server_repeats(name: str, case: Case, caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(ECHOES[name])
    with caplog.at_level(logging.DEBUG, logger="brex_accounting"):
        error = await rig.error(case)
    assert_holds_no(TOKEN, error)
    assert_holds_no(TOKEN[:12], error)
    assert TOKEN not in caplog.text + repr(rig.attempts)
