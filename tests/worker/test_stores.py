"""What every store of exports must do, whatever it is on. A store joins with a factory in STORES."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from brex_accounting import BrexError, ConfigurationError
from brex_accounting.postgres import PostgresExportStore, PostgresStores
from brex_accounting.worker import ExportEntry, ExportStoreError, SQLiteExportStore, WorkerRunningError
from brex_accounting.worker._entries import EntryChangedError
from tests.support.exports import MemoryExportStore
from tests.support.postgres import shared_database

Open: TypeAlias = Callable[[], Awaitable[Any]]
"""Opens the one store of a test, once more each time, as another process would."""

FULL = ExportEntry(
    record_id="accr_1",
    state="booked",
    version=7,
    content="c",
    reference_id="JE-1",
    deep_link_url="https://erp.example/JE-1",
    message="m",
    held="changed",
    attempts=3,
    due=1234.5,
    changed_at=1200.25,
    handled=1,
    noticed=2,
)


@asynccontextmanager
async def in_memory(_folder: Path) -> AsyncIterator[Open]:
    store = MemoryExportStore()

    async def open_it() -> MemoryExportStore:
        return store

    yield open_it


@asynccontextmanager
async def in_sqlite(folder: Path) -> AsyncIterator[Open]:
    opened = list[SQLiteExportStore]()

    async def open_it() -> SQLiteExportStore:
        opened.append(SQLiteExportStore(folder / "export.db"))
        return opened[-1]

    yield open_it
    for store in opened:
        await store.aclose()


@asynccontextmanager
async def in_postgres(folder: Path) -> AsyncIterator[Open]:
    """Each one that is opened has connections of its own, as that of another process."""
    async with AsyncExitStack() as stack:

        async def open_it() -> PostgresExportStore:
            stores = await stack.enter_async_context(PostgresStores(shared_database()))
            await stores.create_tables()
            return stores.exports(str(folder))

        yield open_it


STORES = {"memory": in_memory, "sqlite": in_sqlite, "postgres": in_postgres}


@pytest.fixture(params=STORES)
async def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Open]:
    async with STORES[request.param](tmp_path) as open_it:
        yield open_it


@pytest.fixture
async def store(open_store: Open) -> Any:
    return await open_store()


async def put(store: Any, *entries: ExportEntry, forget: tuple[ExportEntry, ...] = ()) -> None:
    async with store.lock():
        await store.save(entries, forget=forget)


async def due(store: Any, now: float = 1e12, limit: int = 100, latest: float = 1e13) -> list[str]:
    return [entry.record_id for entry in await store.due(now, limit, latest=latest)]


# -- notes --


async def test_a_note_makes_a_ready_entry_and_then_counts(store: Any) -> None:
    before = datetime.now(UTC).timestamp()
    await store.note(["a", "b", "a"])
    await store.note(("b",))
    a, b = await store.get("a"), await store.get("b")
    assert (a.state, a.noticed, a.handled, a.attempts, a.held, a.content) == ("ready", 1, 0, 0, None, None)
    assert before - 1 <= a.due == a.changed_at <= before + 60
    assert b.noticed == 2
    assert await store.get("c") is None
    assert sorted(await due(store, now=before + 60)) == ["a", "b"]


async def test_a_note_changes_nothing_else(store: Any) -> None:
    await put(store, FULL)
    await store.note(["accr_1"])
    assert await store.get("accr_1") == replace(FULL, noticed=3)


async def test_a_note_of_ten_thousand(store: Any) -> None:
    ids = [f"accr_{number}" for number in range(10_000)]
    await store.note(iter(ids))
    assert (await store.status()).ready == 10_000


@pytest.mark.parametrize("wrong", ["accr_1", b"accr_1", 5, [""], ["a", 5], ["a", "\ud800"], ["x" * 3000]])
async def test_what_cannot_be_noted(store: Any, wrong: Any) -> None:
    with pytest.raises(ConfigurationError):
        await store.note(wrong)
    assert await due(store) == []


async def test_the_mark_of_the_bills_only_rises_and_ends_a_poll(store: Any) -> None:
    made_at, until = await store.marks()
    assert abs((made_at - datetime.now(UTC)).total_seconds()) < 60
    assert until is None
    status = await store.status()
    assert (status.bills_until, status.polled_at) == (None, None)
    late = datetime(2025, 11, 1, 12, 0, 0, 5, UTC)
    await store.note([], bills_until=late)
    await store.note(["a"], bills_until=late - timedelta(days=1))
    assert (await store.marks())[1] == late
    status = await store.status()
    assert status.bills_until == late
    assert abs((status.polled_at - datetime.now(UTC)).total_seconds()) < 60
    assert (await store.get("a")).noticed == 1
    with pytest.raises(ConfigurationError):
        await store.note([], bills_until=datetime(2025, 1, 1))  # noqa: DTZ001


# -- what is due --


def entry(record_id: str, state: Any = "ready", **changes: Any) -> ExportEntry:
    return ExportEntry(record_id, state, **{"handled": 1, "noticed": 1, "due": 100.0} | changes)


async def test_what_is_due(store: Any) -> None:
    await put(
        store,
        *(entry(state, state) for state in ("ready", "booking", "in_doubt", "booked", "refused")),
        entry("exported", "exported"),
        entry("returned", "returned"),
        entry("later", due=101.0),
        entry("absurd", due=1000.5),
        entry("held", held="in doubt"),
    )
    found = await due(store, now=100.0, latest=1000.0)
    assert found[-1] == "absurd"
    assert sorted(found) == ["absurd", "booked", "booking", "in_doubt", "ready", "refused"]
    assert await due(store, now=99.0, latest=1000.0) == ["absurd"]


async def test_what_was_noticed_is_due_in_any_state(store: Any) -> None:
    noticed = [entry(f"{state} {held}", state, held=held, due=1e9) for state in ("ready", "exported", "returned")
               for held in (None, "gone")]  # fmt: skip
    await put(store, *noticed, entry("other", "exported"))
    assert await due(store, now=1.0) == []
    await store.note([each.record_id for each in noticed])
    assert sorted(await due(store, now=1.0)) == sorted(each.record_id for each in noticed)


async def test_the_longest_due_comes_first_and_there_is_a_limit(store: Any) -> None:
    await put(store, *(entry(str(number), due=float(number)) for number in (5, 3, 9, 1, 7)))
    await put(store, entry("6", "exported", due=6.0, noticed=2))
    assert await due(store, now=8.0) == ["1", "3", "5", "6", "7"]
    assert await due(store, now=8.0, limit=2) == ["1", "3"]


async def test_when_the_next_is_due(store: Any) -> None:
    assert await store.next_due(50.0) is None
    await put(store, entry("a", "exported", due=1.0), entry("b", held="gone", due=1.0))
    assert await store.next_due(50.0) is None
    await put(store, entry("c", due=70.0), entry("d", due=60.0))
    assert await store.next_due(50.0) == 60.0
    assert await store.next_due(65.0) == 65.0
    await store.note(["a"])
    assert await store.next_due(50.0) == 50.0


# -- saves --


async def test_all_fields_come_back(open_store: Open) -> None:
    await put(await open_store(), FULL)
    assert await (await open_store()).get("accr_1") == FULL


async def test_a_save_never_changes_the_notices(store: Any) -> None:
    await put(store, FULL)
    await store.note(["accr_1"])
    await put(store, replace(FULL, state="exported", handled=2))
    assert await store.get("accr_1") == replace(FULL, state="exported", handled=2, noticed=3)
    assert await due(store) == ["accr_1"]


async def test_forgetting(store: Any) -> None:
    await put(store, entry("a"), entry("b"), entry("c"))
    a, b = await store.get("a"), await store.get("b")
    await store.note(["b"])
    await put(store, entry("c", attempts=1), forget=(a, b))
    assert await store.get("a") is None
    assert (await store.get("b")).noticed == 2  # a notice came meanwhile: it must be looked at
    assert (await store.get("c")).attempts == 1


async def test_without_the_lock_nothing_is_saved(open_store: Open) -> None:
    store, other = await open_store(), await open_store()
    with pytest.raises(ExportStoreError):
        await store.save([FULL])
    if other is not store:
        async with store.lock():
            with pytest.raises(ExportStoreError):
                await other.save([FULL])
    assert await store.get("accr_1") is None


async def test_one_holds_the_lock(open_store: Open) -> None:
    store, other = await open_store(), await open_store()
    async with store.lock():
        for each in (store, other):
            with pytest.raises(WorkerRunningError):
                await each.lock().__aenter__()
        await store.save([FULL])
    async with other.lock():
        await other.save([entry("b")])
    assert issubclass(WorkerRunningError, ExportStoreError)
    assert issubclass(ExportStoreError, BrexError)


# -- people --


async def test_the_status_counts_each_record_once(store: Any) -> None:
    status = await store.status()
    assert (status.oldest, status.worker) == (None, None)
    states = ("ready", "booking", "in_doubt", "booked", "refused", "exported", "returned")
    await put(store, *(entry(state, state, changed_at=5.0) for state in states), entry("b", "ready", changed_at=4.0))
    await put(store, entry("h1", "booked", held="changed", changed_at=3.0), entry("h2", "ready", held="unreadable"))
    status = await store.status()
    assert (status.ready, status.in_doubt, status.booked, status.refused) == (2, 2, 1, 1)
    assert (status.held, status.exported, status.returned, status.worker) == (2, 1, 1, None)
    assert status.oldest == datetime.fromtimestamp(0, UTC)  # h2
    async with store.lock():
        status = await store.status()
        assert status.worker
        assert (status.ready, status.in_doubt) == (3, 1)  # its call is under way
    assert (await store.status()).worker is None


async def test_since_when_the_oldest_is_open(store: Any) -> None:
    await put(store, entry("a", changed_at=100.0))
    await put(store, entry("a", "booking", changed_at=200.0))
    assert (await store.status()).oldest == datetime.fromtimestamp(100, UTC)
    await put(store, entry("a", "exported", changed_at=300.0))
    assert (await store.status()).oldest is None
    await put(store, entry("a", "booked", changed_at=400.0))
    assert (await store.status()).oldest == datetime.fromtimestamp(400, UTC)


async def test_held_the_longest_first(store: Any) -> None:
    held = [entry("b", held="gone", changed_at=2.0), entry("a", "booked", held="changed", changed_at=1.0)]
    await put(store, *held, entry("c"))
    assert await store.held() == held[::-1]


async def test_settling(store: Any) -> None:
    await put(store, *(entry(each, "in_doubt", held="in doubt", attempts=2, content="c") for each in "ab"), entry("c"))
    await store.settle("a", "JE-5")
    await store.settle("b", None)
    a, b = await store.get("a"), await store.get("b")
    assert (a.state, a.reference_id, a.held, a.attempts, a.content) == ("booked", "JE-5", None, 0, "c")
    assert (b.state, b.reference_id, b.held, b.attempts) == ("ready", None, None, 0)
    assert sorted(await due(store, now=1.0)) == ["a", "b"]
    for record_id in ("a", "c", "unknown"):
        with pytest.raises(ConfigurationError):
            await store.settle(record_id, "JE-6")
    with pytest.raises(ConfigurationError):
        await store.settle("a", "")


async def test_retrying(store: Any) -> None:
    await put(store, entry("a", held="attempts used up", attempts=10, due=1e9), entry("c"))
    await store.retry("a")
    a = await store.get("a")
    assert (a.state, a.held, a.attempts, a.due) == ("ready", None, 0, 0.0)
    for record_id in ("a", "c", "unknown"):
        with pytest.raises(ConfigurationError):
            await store.retry(record_id)


async def test_a_worker_does_not_overwrite_what_a_person_said(store: Any) -> None:
    await put(store, entry("a", "in_doubt", held="in doubt"), entry("b"))
    read = await store.get("a")
    await store.settle("a", "JE-1")
    with pytest.raises(EntryChangedError):
        await put(store, replace(read, handled=read.noticed), entry("b", attempts=5))
    assert (await store.get("a")).reference_id == "JE-1"
    assert (await store.get("b")).attempts == 0  # all or none
    await put(store, forget=(read,))
    read = await store.get("a")
    await put(store, replace(read, state="exported", handled=read.noticed))
    assert (await store.get("a")).state == "exported"
    assert await due(store, now=1.0) == []


async def test_pruning(store: Any) -> None:
    made_at, _ = await store.marks()
    before = datetime(2025, 1, 1, tzinfo=UTC)
    assert await store.prune(before) == 0
    old, new = before.timestamp() - 1, before.timestamp() + 1
    await put(
        store,
        *(entry(f"old {state}", state, changed_at=old) for state in ("ready", "booked", "exported", "returned")),
        entry("new exported", "exported", changed_at=new),
        entry("noticed", "exported", changed_at=old, noticed=2),
    )
    assert await store.prune(before) == 2
    assert await store.get("old exported") is await store.get("old returned") is None
    for kept in ("old ready", "old booked", "new exported", "noticed"):
        assert await store.get(kept)
    assert (await store.marks())[0] == made_at  # the store is younger than what was pruned
    future = datetime.now(UTC) + timedelta(days=1)
    assert await store.prune(future) == 1
    # What it no longer knows may have been booked: that is what `made_at` is for.
    assert made_at <= (await store.marks())[0] <= datetime.now(UTC)


# -- waiting --


async def test_a_note_ends_the_wait(open_store: Open) -> None:
    store, other = await open_store(), await open_store()
    await due(store)
    waiting = asyncio.create_task(store.wait(30))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    await other.note(["a"])
    async with asyncio.timeout(5):
        await waiting
    assert await due(store) == ["a"]
    async with asyncio.timeout(5):
        await store.wait(0.05)  # nothing came since


async def test_without_a_note_the_wait_lasts(open_store: Open) -> None:
    store, other = await open_store(), await open_store()
    await other.note(["a"])
    for _ in range(2):
        began = asyncio.get_running_loop().time()
        await store.wait(0.15)
        assert asyncio.get_running_loop().time() - began > 0.1


async def test_a_note_between_the_look_and_the_wait_is_not_missed(open_store: Open) -> None:
    store, other = await open_store(), await open_store()
    for writer in (store, other):
        await due(store)
        await writer.note(["a"])
        async with asyncio.timeout(5):
            await store.wait(30)


async def test_what_a_person_does_ends_the_wait(open_store: Open) -> None:
    store, other = await open_store(), await open_store()
    await put(store, entry("a", held="in doubt"))
    await due(store)
    await other.settle("a", None)
    async with asyncio.timeout(5):
        await store.wait(30)
