"""Outages: a gateway that is away for a moment fails nobody, and one that stays away is not stormed."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from brex_accounting import BrexAccounting, RateLimit, RetryPolicy, aiohttp_transport, errors
from brex_accounting._engine.classify import classify
from brex_accounting._engine.outage import Outage, Turn
from brex_accounting._http.response import Cause, TransportFailure
from brex_accounting.errors import Outcome
from tests.support.calls import (
    CASES,
    CREATE,
    OK,
    READ,
    REFUSED,
    RESET,
    THROTTLED,
    TOKEN,
    UNAVAILABLE,
    Case,
    Rig,
    Step,
    refuse,
)
from tests.support.calls import fail as failing
from tests.support.fault_server import FaultServer, Request, reply
from tests.support.marks import SOAK, many
from tests.support.virtual_time import now, virtual_clock

virtual_time = pytest.mark.virtual_time
GET = CASES[-1]


def away_until(end: Callable[[], float], step: Step) -> Step:
    async def server(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(0.01)
        return await (OK if now() >= end() else step)(request)

    return server


@many
@virtual_time
@pytest.mark.parametrize("lowest", [True, False], ids=["shortest waits", "longest waits"])
@pytest.mark.parametrize("case", [CREATE, GET], ids=str)
@pytest.mark.parametrize("step", [UNAVAILABLE, refuse(502), refuse(504), RESET, REFUSED])
@pytest.mark.parametrize(("seconds", "attempts"), [(0.25, 4), (1.0, 4), (4.0, 6)])
@pytest.mark.parametrize("calls", [1, 3, 20, 100, *([500] if SOAK else [])])
async def test_an_outage_fails_no_call(  # noqa: PLR0917
    calls: int, seconds: float, attempts: int, step: Step, case: Case, lowest: bool
) -> None:
    began = now()
    uniform: dict[str, Any] = {"uniform": lambda low, _high: low} if lowest else {}
    rig = Rig(
        away_until(lambda: began + seconds, step), retry=RetryPolicy(max_attempts=attempts, deadline=600.0), **uniform
    )
    await asyncio.gather(*(rig.call(case) for _ in range(calls)))
    assert len(rig.requests) <= 2 * calls + 25
    await rig.assert_idle()


@many
@virtual_time
@pytest.mark.parametrize(("case", "step"), [(CREATE, UNAVAILABLE), (GET, REFUSED)], ids=["503", "refused"])
@pytest.mark.parametrize(("seconds", "attempts"), [(0.25, 4), (1.0, 4), (4.0, 6)])
async def test_an_outage_fails_none_of_many_calls(seconds: float, attempts: int, case: Case, step: Step) -> None:
    await test_an_outage_fails_no_call(500, seconds, attempts, step, case, lowest=True)


@many
@virtual_time
@pytest.mark.parametrize("step", [UNAVAILABLE, RESET, REFUSED, THROTTLED])
async def test_a_full_outage_sends_a_few_requests(step: Step) -> None:
    rig = Rig(step, retry=RetryPolicy(deadline=1000.0))
    results = await asyncio.gather(*(rig.error() for _ in range(1000)))
    assert len(rig.requests) < 50
    assert sum(error.attempts for error in results) == len(rig.requests)
    sent = {RESET: Outcome.UNKNOWN, UNAVAILABLE: Outcome.UNKNOWN}.get(step, Outcome.NOT_APPLIED)
    assert {error.outcome for error in results if error.attempts} == {sent}
    unsent = [error for error in results if not error.attempts]
    assert len(unsent) > 950
    assert {error.outcome for error in unsent} == {Outcome.NOT_APPLIED}
    assert all("not sent" in str(error) and "It changed nothing" in str(error) for error in unsent)
    await rig.assert_idle()


@virtual_time
async def test_one_503_among_successes_slows_down_nobody() -> None:
    rig = Rig(OK, UNAVAILABLE, OK)
    await asyncio.gather(*(rig.call() for _ in range(5)))
    assert not rig.engine.shared.outage.active
    assert len([time for time in rig.times if time == rig.times[0]]) == 5


@many
@virtual_time
@pytest.mark.parametrize("lowest", [True, False], ids=["shortest waits", "longest waits"])
async def test_429_without_retry_after_slows_down_the_whole_client(lowest: bool) -> None:
    began = now()
    uniform: dict[str, Any] = {"uniform": lambda low, _high: low} if lowest else {}
    rig = Rig(away_until(lambda: began + 5.0, THROTTLED), **uniform)
    await asyncio.gather(*(rig.call() for _ in range(500)))
    assert len(rig.requests) < 580
    await rig.assert_idle()


@virtual_time
async def test_what_was_sent_before_the_throttling_does_not_end_it() -> None:
    rig = Rig(THROTTLED, _late, OK)
    slow = asyncio.create_task(rig.call())
    await rig.call()
    await slow
    # Both went out at once; the first was throttled, and the other's answer says nothing of that.
    assert [round(time - rig.times[0], 3) for time in rig.times] == [0.0, 0.0, 2.0]


async def _late(request: httpx.Request) -> httpx.Response:
    await asyncio.sleep(0.5)
    return await OK(request)


@virtual_time
async def test_a_retry_after_that_is_too_long_for_its_call_pauses_the_others_too() -> None:
    rig = Rig(refuse(429, retry_after="600"), OK)
    error = await rig.error()
    assert isinstance(error, errors.RateLimitedError)
    assert (error.retry_after, error.attempts) == (600.0, 1)
    began = now()
    await rig.call()
    assert now() - began == 60.0


@virtual_time
async def test_a_probe_that_is_cancelled_passes_its_turn_on() -> None:
    rig = Rig(*[UNAVAILABLE] * 5, OK, retry=RetryPolicy(max_attempts=9))
    calls = [asyncio.create_task(rig.call()) for _ in range(5)]
    await asyncio.sleep(0.1)
    assert rig.engine.shared.outage.active
    calls[0].cancel()
    await asyncio.wait(calls)
    assert [call.cancelled() for call in calls] == [True, False, False, False, False]
    await rig.assert_idle()


@virtual_time
async def test_a_probe_on_an_old_connection_is_not_a_failed_probe() -> None:
    outage = Outage(virtual_clock())

    def observe(cause: Cause, *, probe: bool = False) -> None:
        broken = TransportFailure("ReadError", sent=True, timed_out=False, cause=cause)
        result = classify(READ, broken, doubt=False, now=0.0)
        outage.observe(result, now(), probe=probe, retries=0, policy=RetryPolicy())

    for _ in range(9):
        observe(Cause.KEPT_CONNECTION)
    assert not outage.active
    for _ in range(5):
        observe(Cause.OTHER)
    assert await outage.turn() is Turn.PROBE
    waiting = asyncio.create_task(outage.turn())
    await asyncio.sleep(0)
    observe(Cause.KEPT_CONNECTION, probe=True)
    assert await waiting is Turn.PROBE


@virtual_time
async def test_a_cancelled_probe_on_its_way_passes_its_turn_on() -> None:
    async def hangs(_request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(1e6)
        raise AssertionError

    rig = Rig(*[UNAVAILABLE] * 5, hangs, OK, retry=RetryPolicy(max_attempts=9))
    calls = [asyncio.create_task(rig.call()) for _ in range(5)]
    await asyncio.sleep(2.0)
    assert len(rig.requests) == 6
    calls[0].cancel()
    await asyncio.wait(calls)
    assert sum(not call.cancelled() for call in calls) == 4
    await rig.assert_idle()


@virtual_time
async def test_the_deadline_bounds_the_wait() -> None:
    rig = Rig(UNAVAILABLE, retry=RetryPolicy(max_attempts=100, deadline=10.0))
    began = now()
    results = await asyncio.gather(*(rig.error() for _ in range(30)))
    assert now() - began <= 10.0
    assert {type(error) for error in results} <= {errors.ServerError, errors.CallTimeoutError}


@virtual_time
async def test_retry_after_raises_the_pause() -> None:
    rig = Rig(*[refuse(503, retry_after="7")] * 5, OK)
    await asyncio.gather(*(rig.call() for _ in range(5)))
    assert sorted(round(time - rig.times[0], 3) for time in rig.times)[5] == 7.0


@virtual_time
async def test_the_first_attempts_of_a_later_call_wait_too() -> None:
    rig = Rig(*[UNAVAILABLE] * 5, OK)
    early = [asyncio.create_task(rig.call()) for _ in range(5)]
    await asyncio.sleep(0.01)
    began = now()
    await rig.call()
    assert now() > began
    await asyncio.gather(*early)


@pytest.mark.parametrize("kind", ["httpx", "aiohttp"])
@pytest.mark.parametrize("case", [CREATE, GET], ids=str)
async def test_over_sockets_nothing_listens_for_a_while(kind: str, case: Case, unused_tcp_port: int) -> None:
    """The server comes up while the calls wait; nothing is measured but that all succeed."""
    transport = aiohttp_transport if kind == "aiohttp" else None
    url = f"http://127.0.0.1:{unused_tcp_port}"
    policy = RetryPolicy(max_attempts=8)
    async with BrexAccounting(TOKEN, base_url=url, transport=transport, retry=policy, rate_limit=None) as brex:
        calls = [asyncio.create_task(case.call(brex._engine, None)) for _ in range(100)]
        while not brex._engine.shared.outage.active:
            await asyncio.sleep(0.01)
        async with FaultServer(port=unused_tcp_port) as server:
            await asyncio.gather(*calls)
    assert len(server.requests) == 100


@many
def test_threads_with_a_loop_of_their_own_share_a_client() -> None:
    """Eight loops in eight threads, a limit that is always full, and an outage on the way."""
    served = Counter[str]()
    ready, stop, urls = threading.Event(), threading.Event(), list[str]()

    async def serve() -> None:
        async def answer(request: Request) -> None:
            served["all"] += 1
            await reply(503 if 30 <= served["all"] < 36 else 200)(request)

        async with FaultServer(answer) as server:
            urls.append(server.url)
            ready.set()
            while not stop.is_set():
                await asyncio.sleep(0.01)

    server = threading.Thread(target=asyncio.run, args=[serve()])
    server.start()
    ready.wait()
    brex = BrexAccounting(TOKEN, base_url=urls[0], rate_limit=RateLimit(30, per=0.2), retry=RetryPolicy(max_attempts=9))
    problems = list[BaseException]()

    async def work() -> None:
        await asyncio.gather(*(brex._engine.call(READ, {"method": "get", "url": "/v3/thing"}) for _ in range(20)))

    def run() -> None:
        try:
            asyncio.run(work())
        except BaseException as problem:  # noqa: BLE001 - shown by the main thread
            problems.append(problem)

    threads = [threading.Thread(target=run, daemon=True) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(50)
    hanging = [thread for thread in threads if thread.is_alive()]
    stop.set()
    server.join()
    assert (hanging, problems) == ([], [])
    assert served["all"] >= 160
    assert brex._engine.shared.limiter.running == 0


def test_a_loop_that_is_closed_with_calls_pending_frees_its_places() -> None:
    async def never(_request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(1e6)
        raise AssertionError

    brex = BrexAccounting(TOKEN, transport=lambda: httpx.MockTransport(never), rate_limit=RateLimit(2, per=0.01))
    first = asyncio.new_event_loop()
    tasks = [first.create_task(GET.call(brex._engine, None)) for _ in range(4)]  # type: ignore[arg-type]
    first.run_until_complete(asyncio.sleep(0.05))
    first.close()

    async def second() -> None:
        for _ in range(3):
            await asyncio.wait_for(brex._engine.shared.limiter.acquire(), 20)
            brex._engine.shared.limiter.release()

    asyncio.run(second())
    for task in tasks:
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # it was left on purpose
        task.get_coro().close()  # type: ignore[union-attr]


@virtual_time
@pytest.mark.parametrize("step", [failing(httpx.ConnectError("refused"))])
async def test_a_call_without_retries_that_waits_ends_unsent(step: Step) -> None:
    rig = Rig(step, retry=RetryPolicy(max_attempts=2))
    first = [asyncio.create_task(rig.error()) for _ in range(5)]
    await asyncio.sleep(0.01)
    one = rig.engine.with_options(None, RetryPolicy.none())
    with pytest.raises(errors.ConnectionFailedError) as caught:
        await CREATE.call(one, None)
    assert (caught.value.attempts, caught.value.outcome) == (0, Outcome.NOT_APPLIED)
    await asyncio.gather(*first)
