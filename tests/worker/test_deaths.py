"""The table of deaths, with real processes: a worker is killed, another one takes over, and each record is booked once.

The sandbox is served over real sockets, and the ERP is a process with a ledger in a file.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from brex_accounting.sandbox import Fault, Sandbox
from tests.support.export_process import POINTS, Client, Plan, Store, make_client, make_worker, open_store
from tests.support.postgres import prepared_database
from tests.support.project import ROOT

KILLS = int(os.environ.get("KILLS", "4"))
SOAK = "KILLS" in os.environ
RECORDS = 3 * KILLS if SOAK else 40
REPORT = "reportAccountingExportResults"
OPTIONS = {
    "book_timeout": 0.6,
    "settle_after": 0.6,
    "initial_backoff": 0.05,
    "max_backoff": 0.5,
    "max_attempts": 30,
    "stop_grace": 5.0,
}

PATIENT = {"book_timeout": 30.0, "settle_after": 30.0}
"""For tests in which nothing is cut off, on a machine however busy."""


@dataclass
class World:
    sandbox: Sandbox
    plan: Plan
    erp: Client
    ledger: Path

    def plans(self, **changes: Any) -> Plan:
        options = self.plan.options | changes.pop("options", {})
        return replace(self.plan, options=options, **changes)

    @asynccontextmanager
    async def worker(self, plan: Plan) -> AsyncIterator[asyncio.subprocess.Process]:
        async with process("tests.support.export_process", json.dumps(asdict(plan))) as worker:
            yield worker

    async def kill(self, die: str, **changes: Any) -> None:
        """Run a worker until it kills itself."""
        async with self.worker(self.plans(die=die, **changes)) as worker:
            assert await worker.wait() == -signal.SIGKILL, die

    async def finish(self, **changes: Any) -> None:
        """Let another worker do the rest, in this process."""
        plan = self.plans(**changes)
        async with make_client(plan) as brex, self.store() as store:
            worker = make_worker(plan, brex, store)
            end = time.monotonic() + 45
            while (due := await worker.drain(budget=20)) is not None:
                assert time.monotonic() < end, await store.status()
                await asyncio.sleep(min(due, 1.0))

    def store(self) -> AbstractAsyncContextManager[Store]:
        return open_store(self.plan)

    def lose_lock(self) -> None:
        """Take the lock from the worker that holds it."""
        if self.plan.account:
            with psycopg.connect(self.plan.store, autocommit=True) as connection:
                query = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
                connection.execute(query)
        else:
            Path(f"{self.plan.store}.lock").unlink()

    def lose_store(self) -> None:
        if self.plan.account:
            with psycopg.connect(self.plan.store, autocommit=True) as connection:
                for table in ("brex_exports", "brex_export_accounts"):
                    connection.execute(f"DELETE FROM {table} WHERE account = %s", [self.plan.account])
        for file in Path(self.plan.store).parent.glob("export.db*"):
            file.unlink()

    async def requested(self, number: int) -> None:
        """Wait until the ERP was asked to book so often."""
        async with asyncio.timeout(30):
            while len((await self.erp.ask("ledger"))["requests"]) < number:
                await asyncio.sleep(0.01)

    async def entries(self) -> list[dict[str, Any]]:
        entries: list[dict[str, Any]] = (await self.erp.ask("ledger"))["entries"]
        return entries

    async def check(self, *, booked: int | None = None) -> None:
        """The ERP's ledger, Brex and the store agree: each record is booked once and reported once."""
        entries = await self.entries()
        assert [json.loads(line)["id"] for line in self.ledger.read_text().splitlines()] == [e["id"] for e in entries]
        assert [each for each, times in Counter(entry["id"] for entry in entries).items() if times > 1] == []
        references = {entry["id"]: entry["reference"] for entry in entries}
        exports = [each.result for each in self.sandbox.state.exports]
        successes = {each.record_id: each.reference_id for each in exports if each.error_message is None}
        assert successes == references
        assert len(exports) == len({each.record_id for each in exports})
        ready = [each.id for each in self.sandbox.state.records.values() if each.review_status == "READY_FOR_EXPORT"]
        assert ready == []
        if booked is not None:
            assert len(entries) == booked
        async with self.store() as store:
            status = await store.status()
            assert (status.exported, status.ready, status.in_doubt, status.booked, status.held, status.worker) == (
                len(entries), 0, 0, 0, 0, None)  # fmt: skip
            for entry in entries:
                kept = await store.get(entry["id"])
                assert kept is not None
                assert (kept.reference_id, kept.content) == (entry["reference"], entry["content"])


@asynccontextmanager
async def process(module: str, *arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    running = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-W", "error", "-m", module, *arguments),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        yield running
    finally:
        with suppress(ProcessLookupError):
            running.kill()
        await running.wait()


@asynccontextmanager
async def make_world(
    folder: Path, kind: str = "sqlite", *, records: int = 8, seed: int = 0, **options: Any
) -> AsyncIterator[World]:
    store, account = (str(folder / "export.db"), "") if kind == "sqlite" else (await prepared_database(), str(folder))
    ledger = folder / "ledger.jsonl"
    ledger.touch()
    sandbox = Sandbox(records=records, rate_limit=None, **options)
    async with sandbox.serve() as url, process("tests.support.erp_process", str(ledger), str(seed)) as erp:
        assert erp.stdout is not None
        port = int(await erp.stdout.readline())
        plan = Plan(url, sandbox.token, store, account, port, options=OPTIONS)
        yield World(sandbox, plan, Client(port), ledger)


@pytest.fixture(params=["sqlite", "postgres"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
async def world(tmp_path: Path, kind: str) -> AsyncIterator[World]:
    async with make_world(tmp_path, kind) as world:
        yield world


async def until(condition: Callable[[], Any], within: float = 30.0) -> None:
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("point", POINTS)
async def test_killed_at_a_point(world: World, point: str) -> None:
    doubts = "upsert" if POINTS.index(point) % 2 else "find"
    after = 1 if point in {"while polling", "before the report", "after the report"} else 3
    await world.kill(point, doubts=doubts, after=after)
    async with world.store() as store:
        before = [await store.get(each) for each in world.sandbox.state.records]
    done = {entry.record_id for entry in before if entry is not None and entry.state in {"booked", "exported"}}
    await world.finish(doubts=doubts)
    await world.check(booked=8)
    requests = Counter((await world.erp.ask("ledger"))["requests"])
    assert {each for each, times in requests.items() if times > 1}.isdisjoint(done)  # a saved reference is enough
    assert len(done) >= (3 if point == "after the reference is saved" else 8 if "report" in point else 0)


async def test_killed_in_a_call_with_neither_find_nor_upsert(world: World) -> None:
    await world.erp.ask("behave", slow=0.2)
    await world.kill("during the call", doubts="person", after=3, options={"concurrency": 1})
    await until(lambda: len(world.ledger.read_text().splitlines()) == 3)
    await world.finish(doubts="person")
    async with world.store() as store:
        [held] = await store.held()
        assert (held.held, held.state) == ("in doubt", "in_doubt")
        [entry] = [each for each in await world.entries() if each["id"] == held.record_id]
        await store.settle(held.record_id, entry["reference"])
    await world.finish(doubts="person")
    await world.check(booked=8)


async def test_the_erp_shows_it_late(world: World) -> None:
    """The wait is counted from the request, over restarts: jobs that live for a moment wait as long together."""
    await world.erp.ask("behave", lose_answer=1.0, late=0.5)
    began = time.monotonic()
    async with world.worker(world.plan) as worker:
        await world.requested(8)
        worker.kill()
        await worker.wait()
    await world.erp.ask("behave")
    assert len(await world.entries()) == 8
    jobs = 0
    while len(world.sandbox.state.exports) < 8:
        jobs += 1
        await world_drain(world)
        await asyncio.sleep(0.1)
    assert jobs > 2
    assert time.monotonic() - began >= 0.6
    await world.check(booked=8)


async def world_drain(world: World) -> None:
    async with make_client(world.plan) as brex, world.store() as store:
        await make_worker(world.plan, brex, store).drain(budget=0.5, poll=False)


@pytest.mark.parametrize("keys", [True, False])
async def test_killed_with_the_report_taken_and_its_answer_on_the_way(tmp_path: Path, kind: str, keys: bool) -> None:
    async with make_world(tmp_path, kind, honor_idempotency_keys=keys) as world:
        await world.erp.ask("behave", refuse=["accr_000000000003"])
        world.sandbox.fault(Fault("delay", operation=REPORT, seconds=60.0, applied=True, times=1))
        async with world.worker(world.plan) as worker:
            await until(lambda: world.sandbox.state.exports != [])
            worker.kill()
            await worker.wait()
        await world.finish()
        await world.check(booked=7)
        async with world.store() as store:
            assert (await store.status()).returned == 1


async def test_the_store_is_lost(world: World) -> None:
    await world.erp.ask("behave", slow=0.05)
    await world.kill("after the reference is saved", after=4)
    world.lose_store()
    assert 4 <= len(await world.entries()) < 8 + 1
    await world.finish()
    await world.check(booked=8)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_lets_what_is_under_way_end(world: World, number: signal.Signals) -> None:
    await world.erp.ask("behave", slow=0.5)
    async with world.worker(world.plans(options=PATIENT | {"concurrency": 3})) as worker:
        await world.requested(3)
        worker.send_signal(number)
        assert await worker.wait() == 0
    entries = await world.entries()
    assert len(entries) == 3  # no new ones
    assert len(world.sandbox.state.exports) == 3  # and those are reported
    await world.finish()
    await world.check(booked=8)


async def test_the_grace_of_a_signal_ends(world: World) -> None:
    await world.erp.ask("behave", slow=60.0)
    plan = world.plans(options=PATIENT | {"concurrency": 2, "stop_grace": 0.3})
    async with world.worker(plan) as worker:
        await world.requested(2)
        began = time.monotonic()
        worker.send_signal(signal.SIGTERM)
        assert await worker.wait() == 0
        assert time.monotonic() - began < 10
    async with world.store() as store:
        assert (await store.status()).in_doubt == 2


async def test_a_second_worker_ends_at_once_and_the_first_goes_on(world: World) -> None:
    await world.erp.ask("behave", slow=0.2)
    async with world.worker(world.plans(options=PATIENT | {"concurrency": 3})) as first:
        await world.requested(1)
        with pytest.raises(Exception, match="Another worker is at"):
            await world.finish()
        await until(lambda: len(world.sandbox.state.exports) == 8)
        first.send_signal(signal.SIGTERM)
        assert await first.wait() == 0
    await world.check(booked=8)


async def test_a_worker_frozen_until_another_took_over_saves_nothing(world: World) -> None:
    await world.erp.ask("behave", slow=0.4)
    async with world.worker(world.plans(options=PATIENT | {"concurrency": 1})) as frozen:
        await world.requested(3)
        await asyncio.sleep(0.2)  # in the middle of a call, not of a transaction
        frozen.send_signal(signal.SIGSTOP)
        world.lose_lock()
        await asyncio.sleep(0.4)
        await world.erp.ask("behave")
        async with world.store() as store, store.lock():
            for entry in await store.due(time.time() + 100, 10, latest=time.time() + 200):
                if entry.state == "booking":  # its settle_after is over
                    await store.save([replace(entry, due=0.0)])
        await world.finish()
        frozen.send_signal(signal.SIGCONT)
        assert await frozen.wait() == 1  # WorkerRunningError
    await world.check(booked=8)


@pytest.mark.parametrize("kind", ["sqlite", "postgres"] if SOAK else ["sqlite"])
@pytest.mark.parametrize("doubts", ["find", "upsert"])
@pytest.mark.parametrize("keys", [True, False] if SOAK else [False])
async def test_killed_at_random(tmp_path: Path, kind: str, doubts: str, keys: bool) -> None:
    """Kills at any time, a fifth of everything goes wrong, and records arrive, are edited and noted meanwhile."""
    seed = random.randrange(10**6) if SOAK else 7
    sys.stdout.write(f"seed {seed}\n")
    chance = random.Random(seed)
    async with make_world(tmp_path, kind, records=RECORDS // 2, seed=seed, honor_idempotency_keys=keys) as world:
        faults = {"lose_request": 0.08, "lose_answer": 0.08, "fail": 0.04}
        await world.erp.ask("behave", **faults, slow=0.02, late=0.4)
        options = {"concurrency": 8, "poll_every": 2.0}
        for _ in range(KILLS):
            world.sandbox.clear_faults()
            for fault in chance.choices(["status", "reset_before", "reset_after", "cut_body"], k=2):
                world.sandbox.fault(Fault(fault, times=1))  # type: ignore[arg-type]
            arrivals = [world.sandbox.add_record() for _ in range(RECORDS // 2 // KILLS)]
            async with world.store() as store:
                await store.note(chance.sample(arrivals, len(arrivals) // 2))
            async with world.worker(world.plans(doubts=doubts, options=options)) as worker:
                assert worker.stdout is not None
                assert await worker.stdout.readline() == b"ready\n"
                await asyncio.sleep(chance.uniform(0.0, 0.5))
                if doubts == "upsert" and arrivals:
                    world.sandbox.edit_record(chance.choice(arrivals), memo=f"edit {chance.random()}")
                worker.kill()
                assert await worker.wait() == -signal.SIGKILL
        world.sandbox.clear_faults()
        await world.erp.ask("behave")
        await world.finish(doubts=doubts, options=options)
        await world.check(booked=len(world.sandbox.state.records))
