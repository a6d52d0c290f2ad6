"""Cancellations at random under load, over real sockets: nothing is lost by them.

`SOAK=10000 python -m pytest tests/test_soak.py` makes so many for each seed.
"""

import asyncio
import gc
import os
import random

import pytest

from brex_accounting import BrexAccounting, RateLimit, RetryPolicy, errors
from tests.support.calls import TOKEN
from tests.support.fault_server import JSON, Fault, FaultServer, Request, chunked, close, head, ok, raw, reply, reset
from tests.support.marks import many

CANCELLATIONS = int(os.environ.get("SOAK", "1500"))
CONNECTIONS = 10
AT_A_TIME = 25


def moody(chance: random.Random) -> Fault:
    """A server in a hurry, at its ease, or in trouble."""
    half = len(JSON) // 2

    async def fault(request: Request) -> None:
        pause = chance.uniform(0.0, 0.004)
        moods = {
            ok: 4,
            raw(pause, head(length=len(JSON)), JSON): 6,
            raw(head(length=len(JSON)), JSON[:half], pause, JSON[half:]): 4,
            raw(chunked(JSON)[:-9], pause, chunked(JSON)[-9:]): 2,
            reply(503): 2,
            reset: 1,
            close: 1,
            raw(head(length=len(JSON)), JSON[:half], then="close"): 1,
        }
        [mood] = chance.choices(list(moods), list(moods.values()))
        await mood(request)

    return fault


@many
@pytest.mark.timeout(600 if CANCELLATIONS > 5000 else 60)
@pytest.mark.parametrize("rate_limit", [None, RateLimit(50, per=0.05)], ids=["no limit", "limit"])
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_cancellations_at_random(seed: int, rate_limit: RateLimit | None) -> None:
    chance = random.Random(seed)
    policy = RetryPolicy(initial_backoff=0.004, max_backoff=0.008)
    cancelled = 0

    async def one(brex: BrexAccounting) -> None:
        nonlocal cancelled
        call = asyncio.create_task(brex.integrations.disconnect("int_1"))
        done, _ = await asyncio.wait([call], timeout=chance.choice([0.0, 0.001, 0.002, 0.004, 0.008, 0.03]))
        if not done:
            call.cancel()
            await asyncio.wait([call], timeout=1.0)
            assert call.done()
            cancelled += call.cancelled()
        if not call.cancelled() and call.exception() is not None:
            assert isinstance(call.exception(), errors.BrexError)

    async def go_on(brex: BrexAccounting) -> None:
        while cancelled < CANCELLATIONS:
            await one(brex)

    async with FaultServer(moody(chance)) as server:
        async with BrexAccounting(
            TOKEN, base_url=server.url, retry=policy, rate_limit=rate_limit, max_connections=CONNECTIONS
        ) as brex:
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_A_TIME):
                    group.create_task(go_on(brex))
            server.faults = [ok]
            await asyncio.gather(*(brex.integrations.create("ERP_A", "acct-42") for _ in range(100)))
            await server.closes_all(left=CONNECTIONS)
            assert brex._engine.shared.limiter.running == 0
        await server.closes_all()
        gc.collect()  # where a connection or a task was left, it warns now
        assert len(asyncio.all_tasks()) == 1
    assert cancelled >= CANCELLATIONS
    assert server.accepted > CANCELLATIONS / 20  # not all of them were in the queue
