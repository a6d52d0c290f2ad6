"""Who may send, and when: the gate and the rate limiter, in virtual time and against a server that counts strictly."""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brex_accounting import BrexAccounting, RateLimit
from brex_accounting._clock import Clock
from brex_accounting._engine.limits import RateLimiter
from brex_accounting._http.gate import Gate
from tests.support.calls import OK, THROTTLED, TOKEN, Rig
from tests.support.fault_server import FaultServer, Request, reply
from tests.support.marks import SOAK, examples, many
from tests.support.virtual_time import now, virtual_clock

virtual_time = pytest.mark.virtual_time


class StrictWindow:
    """Counts as the server does: never more than so many in any window, wherever it begins."""

    def __init__(self, limit: RateLimit) -> None:
        self.limit = limit
        self.taken: deque[float] = deque()
        self.refused = 0

    def take(self, time: float) -> bool:
        while self.taken and self.taken[0] <= time - self.limit.per:
            self.taken.popleft()
        if len(self.taken) >= self.limit.requests:
            self.refused += 1
            return False
        self.taken.append(time)
        return True


# -- the gate ----------------------------------------------------------------------------------------------------------


async def pass_through(gate: Gate, order: list[str], name: str, *, again: bool = False) -> None:
    await gate.acquire(again=again)
    try:
        order.append(name)
        await asyncio.sleep(1.0)
    finally:
        gate.release()


@virtual_time
async def test_the_gate_lets_in_in_the_order_of_arrival_and_those_who_were_in_before_first() -> None:
    gate, order = Gate(1), list[str]()
    await asyncio.gather(
        *(pass_through(gate, order, f"first {n}") for n in range(3)),
        *(pass_through(gate, order, f"again {n}", again=True) for n in range(3)),
    )
    assert order == ["first 0", "again 0", "again 1", "again 2", "first 1", "first 2"]


@virtual_time
async def test_nobody_who_comes_later_slips_in() -> None:
    gate, order = Gate(1), list[str]()
    await gate.acquire()
    waits = asyncio.create_task(pass_through(gate, order, "waits"))
    await asyncio.sleep(0)
    gate.release()
    late = asyncio.create_task(pass_through(gate, order, "late"))  # before the other's task runs
    await asyncio.gather(waits, late)
    assert order == ["waits", "late"]


@many
@virtual_time
async def test_ten_thousand_wait_and_are_cancelled_within_the_second() -> None:
    gate, order = Gate(1), list[str]()
    await gate.acquire()
    crowd = [asyncio.create_task(pass_through(gate, order, str(n))) for n in range(10_000)]
    await asyncio.sleep(0)
    began = asyncio.get_running_loop().time()
    for task in crowd[:-1]:
        task.cancel()
    gate.release()
    await crowd[-1]
    assert order == ["9999"]
    assert now() - began == 1.0


@virtual_time
async def test_let_in_and_cancelled_in_the_same_moment() -> None:
    gate = Gate(1)
    await gate.acquire()
    first, second = (asyncio.create_task(gate.acquire()) for _ in range(2))
    await asyncio.sleep(0)
    gate.release()
    first.cancel()
    await asyncio.wait([first])
    assert first.cancelled()
    await second


class Crowd:
    """Tasks in front of a gate and inside of it."""

    def __init__(self, size: int) -> None:
        self.gate = Gate(size)
        self.inside = list[asyncio.Task[None]]()
        self.waiting = list[asyncio.Task[None]]()

    async def come(self) -> None:
        self.waiting.append(asyncio.create_task(self.gate.acquire()))

    async def come_again(self) -> None:
        self.waiting.append(asyncio.create_task(self.gate.acquire(again=True)))

    async def leave(self) -> None:
        if self.inside:
            self.inside.pop()
            self.gate.release()

    async def cancel_the_first(self) -> None:
        if self.waiting:
            self.waiting[0].cancel()

    async def cancel_the_last(self) -> None:
        if self.waiting:
            self.waiting[-1].cancel()

    async def run(self) -> None:
        await asyncio.sleep(0)
        for task in [task for task in self.waiting if task.done()]:
            self.waiting.remove(task)
            if not task.cancelled():
                self.inside.append(task)


@virtual_time
@settings(deadline=None)
@given(
    size=st.integers(1, 3),
    moves=st.lists(
        st.sampled_from(
            [Crowd.come, Crowd.come_again, Crowd.leave, Crowd.cancel_the_first, Crowd.cancel_the_last, Crowd.run]
        ),
        min_size=20,
        max_size=60,
    ),
)
async def test_a_gate_loses_no_place(size: int, moves: list[Callable[[Crowd], Awaitable[None]]]) -> None:
    crowd = Crowd(size)
    for move in moves:
        await move(crowd)
    for _ in range(3):
        await crowd.run()
    assert len(crowd.inside) <= size
    assert not crowd.waiting or len(crowd.inside) == size
    while crowd.inside or crowd.waiting:
        await crowd.leave()
        for _ in range(3):
            await crowd.run()
    assert crowd.gate._free == size


# -- the limiter -------------------------------------------------------------------------------------------------------


async def attempt(limiter: RateLimiter, took: list[float], *, lasts: float, arrives: float) -> None:
    """An attempt that reaches the server somewhere in the time that it lasts."""
    await limiter.acquire()
    try:
        await asyncio.sleep(lasts * arrives)
        took.append(now())
        await asyncio.sleep(lasts * (1 - arrives))
    finally:
        limiter.release()


@virtual_time
@settings(deadline=None, max_examples=examples(60))
@given(
    requests=st.integers(1, 20),
    per=st.floats(0.01, 100.0),
    attempts=st.lists(st.tuples(st.floats(0, 3), st.floats(0, 2), st.floats(0, 1)), min_size=1, max_size=100),
)
async def test_never_more_than_the_limit_in_any_window(
    requests: int, per: float, attempts: list[tuple[float, float, float]]
) -> None:
    limiter, took = RateLimiter(RateLimit(requests, per=per), virtual_clock()), list[float]()

    async def one(begins: float, lasts: float, arrives: float) -> None:
        await asyncio.sleep(begins * per)
        await attempt(limiter, took, lasts=lasts * per, arrives=arrives)

    await asyncio.gather(*(one(*times) for times in attempts))
    assert len(took) == len(attempts)
    took.sort()
    for first, beyond in zip(took, took[requests:], strict=False):
        assert beyond - first >= per * (1 - 1e-9)
    assert limiter.running == 0


@virtual_time
async def test_the_limit_is_used_in_full() -> None:
    limiter, took = RateLimiter(RateLimit(100, per=60.0), virtual_clock()), list[float]()
    began = now()
    await asyncio.gather(*(attempt(limiter, took, lasts=0.0, arrives=0.0) for _ in range(1000)))
    assert now() - began == pytest.approx(9 * 60.0)


@virtual_time
async def test_first_come_first_served() -> None:
    limiter, order = RateLimiter(RateLimit(3, per=1.0), virtual_clock()), list[int]()

    async def one(n: int) -> None:
        await limiter.acquire()
        order.append(n)
        limiter.release()

    tasks = []
    for n in range(100):
        tasks.append(asyncio.create_task(one(n)))
        if n % 7 == 0:
            await asyncio.sleep(0.1)
    tasks[50].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert order == [n for n in range(100) if n != 50]


@virtual_time
@pytest.mark.parametrize(
    ("limit", "at_its_end"), [(None, 4), (RateLimit(2, per=1.0), 2), (RateLimit(1000, per=60.0), 4)]
)
async def test_a_pause_holds_everybody(limit: RateLimit | None, at_its_end: int) -> None:
    limiter, took = RateLimiter(limit, virtual_clock()), list[float]()
    began = now()
    tasks = [asyncio.create_task(attempt(limiter, took, lasts=0.25, arrives=0.0)) for _ in range(4)]
    await asyncio.sleep(0.5)
    limiter.pause(10.0)
    limiter.pause(5.0)  # does not shorten the other
    tasks += [asyncio.create_task(attempt(limiter, took, lasts=0.25, arrives=0.0)) for _ in range(4)]
    await asyncio.gather(*tasks)
    assert not [time for time in took if 0.5 < time - began < 10.5]
    assert [time - began for time in took].count(10.5) == at_its_end


@virtual_time
async def test_more_at_work_than_the_limit_allows_wait_for_one_to_end() -> None:
    limiter, took = RateLimiter(RateLimit(2, per=1.0), virtual_clock()), list[float]()
    began = now()
    await asyncio.gather(*(attempt(limiter, took, lasts=lasts, arrives=0.0) for lasts in (5.0, 7.0, 1.0)))
    assert [time - began for time in took] == [0.0, 0.0, 6.0]


def test_a_limiter_goes_on_in_another_event_loop() -> None:
    limiter = RateLimiter(RateLimit(2, per=0.05), Clock())

    async def some() -> None:
        async def one() -> None:
            await limiter.acquire()
            limiter.release()

        abandoned = [asyncio.create_task(one()) for _ in range(20)]
        await asyncio.sleep(0.06)
        assert not abandoned[-1].done()

    for _ in range(3):
        asyncio.run(some())
    assert limiter.running == 0


LIMIT = RateLimit(100, per=1.0)


async def saturate(create: Callable[[], Awaitable[object]], ends: float) -> int:
    """Calls of 50 tasks until the time is over."""
    loop = asyncio.get_running_loop()

    async def work() -> int:
        done = 0
        while True:
            await create()
            if loop.time() > ends:
                return done
            done += 1

    return sum(await asyncio.gather(*(work() for _ in range(50))))


@many
@virtual_time
@pytest.mark.parametrize("seed", range(20 if SOAK else 1))
async def test_saturated_in_virtual_time(seed: int) -> None:
    chance, window = random.Random(seed), StrictWindow(LIMIT)

    async def server(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(chance.uniform(0.0, 0.05))
        step = OK if window.take(now()) else THROTTLED
        await asyncio.sleep(chance.uniform(0.0, 0.05))
        return await step(request)

    rig = Rig(server, rate_limit=LIMIT)
    done = await saturate(rig.call, now() + 20.0)
    assert window.refused == 0
    assert done >= 0.9 * 2000


async def test_saturated_over_sockets() -> None:
    """How much gets through is measured in virtual time; here, that a server which counts strictly refuses nothing."""
    loop = asyncio.get_running_loop()
    window = StrictWindow(LIMIT)

    async def count(request: Request) -> None:
        await reply(200 if window.take(loop.time()) else 429)(request)

    async with FaultServer(count) as server, BrexAccounting(TOKEN, base_url=server.url, rate_limit=LIMIT) as brex:
        await saturate(lambda: brex.integrations.create("ERP_A", "acct-42"), loop.time() + 1.9)
    assert window.refused == 0
