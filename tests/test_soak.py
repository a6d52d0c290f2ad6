"""Under load, over real sockets: cancellations at random, and bursts of many clients.

`SOAK=10000 python -m pytest tests/test_soak.py` makes so many cancellations for each seed, and bursts of 80 clients.
"""

import asyncio
import gc
import os
import random
import resource
import sys

import pytest

from brex_accounting import BrexAccounting, RateLimit, RetryPolicy, errors
from tests.support.calls import TOKEN
from tests.support.fault_server import JSON, Fault, FaultServer, Request, chunked, close, head, ok, raw, reply, reset
from tests.support.marks import many

CANCELLATIONS = int(os.environ.get("SOAK", "400"))
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


# -- bursts of many clients --------------------------------------------------------------------------------------------

CLIENTS, DESCRIPTORS, BURSTS = (80, 1024, 5) if CANCELLATIONS > 5000 else (8, 128, 1)
SCRIPT = """
import asyncio, random, resource, sys
from brex_accounting import BrexAccounting

clients, descriptors, bursts, url = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
chance = random.Random(1)

async def burst(brex):
    await asyncio.gather(*(brex.integrations.create("ERP_A", "acct-42") for _ in range(20)))

async def main():
    several = [BrexAccounting("bxt_12345678", base_url=url, rate_limit=None) for _ in range(clients)]
    for _ in range(bursts):
        for brex in several:
            await burst(brex)
        await asyncio.sleep(chance.uniform(0.0, 2.0))
        chance.shuffle(several)
        for start in range(0, clients, 8):
            await asyncio.gather(*(burst(brex) for brex in several[start : start + 8]))
        for brex in several:
            await brex.integrations.create("ERP_A", "acct-42")
    for brex in several:
        await brex.aclose()

asyncio.run(main())
"""


@many
@pytest.mark.timeout(600)
async def test_bursts_of_many_clients_in_few_descriptors() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # for the server's ends
    try:
        async with FaultServer(raw(0.005, head(length=len(JSON)), JSON), idle=0.5) as server:
            arguments = [str(CLIENTS), str(DESCRIPTORS), str(BURSTS), server.url]
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", SCRIPT, *arguments, stderr=asyncio.subprocess.PIPE
            )
            _, problems = await process.communicate()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (process.returncode, problems.decode()) == (0, "")
    assert server.accepted > CLIENTS * 20
