"""The worker as its users' type checkers see it: mypy --strict and pyright agree that this is right.

A line with an ignore is a mistake that both must find: an ignore that is not needed is an error.
"""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import assert_type

from brex_accounting import AccountingRecord, BrexAccounting, BrexError, ExportFailed, ExportSucceeded, Outcome
from brex_accounting.worker import (
    ExportEntry,
    ExportState,
    ExportStatus,
    ExportStore,
    ExportStoreError,
    ExportWorker,
    NotBookedError,
    SQLiteExportStore,
    WorkerRunningError,
)

Booking = Callable[[AccountingRecord], Awaitable[str | ExportSucceeded | ExportFailed]]


async def book(record: AccountingRecord) -> str:
    if record.memo is None:
        raise NotBookedError("no memo", retry_in=60.0)
    return f"JE-{record.id}"


async def book_or_refuse(record: AccountingRecord) -> ExportSucceeded | ExportFailed:
    return ExportFailed(record.id, "no") if record.is_balanced else ExportSucceeded(record.id, "JE-1", None)


async def find(record: AccountingRecord) -> str | None:
    return record.id or None


async def find_with_link(record: AccountingRecord) -> ExportSucceeded | None:
    return ExportSucceeded(record.id, "JE-1", "https://erp.example/JE-1")


def not_async(record: AccountingRecord) -> str:
    return record.id


def on_change(entry: ExportEntry) -> None:
    assert_type(entry.state, ExportState)
    assert_type(entry.held, str | None)
    assert_type(entry.due, float)


async def work(brex: BrexAccounting, store: ExportStore) -> None:
    booking: Booking = book
    worker = ExportWorker(
        brex,
        booking,
        store,
        find=find,
        concurrency=16,
        book_timeout=30,
        settle_after=120,
        bills_since=datetime(2025, 1, 1, tzinfo=UTC),
        bills_overlap=timedelta(hours=1),
        on_change=on_change,
    )
    assert_type(await worker.run(signals=True), None)
    assert_type(await worker.drain(budget=60), float | None)
    assert_type(worker.stop(), None)
    ExportWorker(brex, book_or_refuse, store, upsert=True)
    ExportWorker(brex, book, store, find=find_with_link)
    ExportWorker(brex, not_async, store)  # type: ignore[arg-type]
    ExportWorker(brex, book, store, find=book_or_refuse)  # type: ignore[arg-type]


async def desk(path: Path) -> None:
    store = SQLiteExportStore(path)
    status = await store.status()
    assert_type(status, ExportStatus)
    assert_type(status.oldest, datetime | None)
    assert_type(await store.held(), list[ExportEntry])
    assert_type(await store.get("accr_1"), ExportEntry | None)
    assert_type(await store.prune(datetime.now(UTC)), int)
    try:
        await store.note(("accr_1",))
        await store.settle("accr_1", None)
        await store.settle("accr_1", "JE-1")
        await store.retry("accr_1")
    except WorkerRunningError as error:
        assert_type(error, WorkerRunningError)
    except ExportStoreError as error:
        base: BrexError = error
        assert_type(base.outcome, Outcome)
    await store.aclose()
    of_any_kind: ExportStore = store
    async with of_any_kind.lock():
        await of_any_kind.save([], forget=await of_any_kind.due(0.0, 1, latest=1.0))
