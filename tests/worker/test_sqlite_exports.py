"""The store on SQLite: its file, its lock, its saves, and all that can happen to them."""

# ruff: noqa: ASYNC240 - looking at files is what these tests do

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import sqlite3
import stat
import subprocess
import sys
import threading
import weakref
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from brex_accounting import ConfigurationError, Outcome
from brex_accounting._sqlite import files
from brex_accounting.worker import ExportEntry, ExportStoreError, SQLiteExportStore, WorkerRunningError
from brex_accounting.worker import _schema as module
from brex_accounting.worker import _sqlite as stores
from brex_accounting.worker._entries import StoreLostError

ENTRY = ExportEntry("accr_1", "booked", content="c", changed_at=5.0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "books" / "export.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[SQLiteExportStore]:
    store = SQLiteExportStore(path)
    yield store
    await store.aclose()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def ask(path: Path, query: str, *values: Any) -> list[Any]:
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        return database.execute(query, values).fetchall()


async def pragma(store: SQLiteExportStore, text: str) -> Any:
    return await store._connection.read(lambda database: database.execute(f"PRAGMA {text}").fetchone())


# -- the file --


async def test_making_one_touches_no_file_and_the_first_call_makes_it_for_its_owner_alone(path: Path) -> None:
    before = os.umask(0)
    try:
        store = SQLiteExportStore(path)
        assert not path.parent.exists()
        async with store.lock():
            await store.save([ENTRY])
            files = {file.name: mode(file) for file in path.parent.iterdir()}
            assert files == dict.fromkeys(("export.db", "export.db-wal", "export.db-shm", "export.db.lock"), 0o600)
        assert mode(path.parent) == 0o700
    finally:
        os.umask(before)
    await store.aclose()
    assert {file.name for file in path.parent.iterdir()} == {"export.db", "export.db.lock"}


async def test_it_is_durable(store: SQLiteExportStore) -> None:
    assert await pragma(store, "journal_mode") == ("wal",)
    assert await pragma(store, "synchronous") == (2,)  # FULL
    assert await pragma(store, "fullfsync") == (1,)


async def test_it_is_one_file_for_all_threads_loops_and_copies(path: Path, store: SQLiteExportStore) -> None:
    await store.note(["a"])
    assert repr(store) == f"SQLiteExportStore({str(path)!r})"
    copy = pickle.loads(pickle.dumps(store))
    assert (await copy.get("a")).record_id == "a"
    await copy.aclose()
    thread = threading.Thread(target=lambda: asyncio.run(store.note(["b"])))
    thread.start()
    await asyncio.to_thread(thread.join)
    assert (await store.status()).ready == 2


@pytest.mark.parametrize("wrong", ["", ":memory:", "file:export.db", "a\0b", None, 5])
def test_what_names_no_file(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"^The path of an export store must "):
        SQLiteExportStore(wrong)


async def test_a_file_that_others_can_read_is_refused(path: Path, store: SQLiteExportStore) -> None:
    await store.note(["a"])
    await store.aclose()
    path.chmod(0o640)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        await store.note(["b"])
    path.chmod(0o600)
    await store.note(["b"])


async def test_a_folder_that_everybody_can_write_to_is_refused(path: Path, store: SQLiteExportStore) -> None:
    path.parent.mkdir()
    path.parent.chmod(0o777)
    for call in (store.note(["a"]), store.lock().__aenter__()):
        with pytest.raises(ConfigurationError, match="Everybody can write"):
            await call


async def test_a_file_of_another_application_is_refused(path: Path, store: SQLiteExportStore) -> None:
    path.parent.mkdir()
    path.touch(0o600)
    ask(path, "CREATE TABLE theirs (x)")
    with pytest.raises(ConfigurationError, match="another application"):
        await store.note(["a"])
    assert ask(path, "SELECT name FROM sqlite_master") == [("theirs",)]


async def test_a_newer_version_is_refused(path: Path, store: SQLiteExportStore) -> None:
    await store.note(["a"])
    await store.aclose()
    ask(path, "PRAGMA user_version = 99")
    for call in (store.note(["b"]), store.status(), store.lock().__aenter__()):
        with pytest.raises(ExportStoreError, match=r"newer version of brex-accounting \(schema 99\): upgrade"):
            await call
    ask(path, "PRAGMA user_version = 1")
    async with store.lock():  # the lock was let go
        pass


# -- trouble: nothing is booked without its intent on the disk, so every save must tell --


async def fails(store: SQLiteExportStore, match: str, kind: type[ExportStoreError] = ExportStoreError) -> None:
    async with store.lock():
        await store.save([ENTRY])
    calls = [store.note(["b"]), store.due(1.0, 1, latest=2.0), store.get("a"), store.status(), store.wait(1.0)]
    for call in calls:
        with pytest.raises(kind, match=match) as caught:
            await call
        assert caught.value.__context__ is None
        assert caught.value.outcome is Outcome.NOT_APPLIED


async def test_a_full_disk(store: SQLiteExportStore) -> None:
    async with store.lock():
        await store.save([ENTRY])
        (pages,) = await pragma(store, "page_count")
        await pragma(store, f"max_page_count = {pages}")
        many = [replace(ENTRY, record_id=f"accr_{number:090}") for number in range(100)]
        for call in (store.save([replace(ENTRY, state="exported"), *many]), store.note(e.record_id for e in many)):
            with pytest.raises(ExportStoreError, match="SQLITE_FULL: the disk is full") as caught:
                await call
            assert not isinstance(caught.value, StoreLostError)
            assert caught.value.outcome is Outcome.NOT_APPLIED
            await pragma(store, f"max_page_count = {pages}")  # it was opened anew
        assert await store.get("accr_1") == ENTRY
        await pragma(store, "max_page_count = 1000000")
        await store.save(many)
    assert (await store.status()).booked == 101


@pytest.mark.parametrize("how", ["removed", "replaced"])
async def test_the_file_is_gone(path: Path, store: SQLiteExportStore, how: str) -> None:
    async with store.lock():
        await store.save([ENTRY])
        other = path.with_name("other.db")
        path.rename(other)
        if how == "replaced":
            for suffix in ("-wal", "-shm"):
                path.with_name(f"export.db{suffix}").unlink()
            replacement = SQLiteExportStore(path)
            await replacement.note(["x"])
            await replacement.aclose()
        with pytest.raises(StoreLostError, match="removed or replaced"):
            await store.save([replace(ENTRY, state="exported")])
        with pytest.raises(WorkerRunningError, match="taken over"):  # a new file is another store: the lock is not its
            await store.save([replace(ENTRY, state="exported")])
    assert await store.get("accr_1") is None


async def test_a_damaged_file(path: Path, store: SQLiteExportStore) -> None:
    await store.note([f"accr_{number}" for number in range(1000)])
    await store.aclose()
    with path.open("r+b") as file:
        file.seek(2000)
        file.write(os.urandom(path.stat().st_size - 2000))
    for call in (store.note(["b"]), store.due(1e12, 1000, latest=1e13)):
        with pytest.raises(StoreLostError, match="damaged"):
            await call
    path.write_bytes(b"not a database at all" * 100)
    with pytest.raises(StoreLostError, match="damaged"):
        await store.status()


async def test_a_file_that_cannot_be_written(store: SQLiteExportStore) -> None:
    async with store.lock():
        await store.save([ENTRY])
        await pragma(store, "query_only = ON")
        with pytest.raises(ExportStoreError, match="SQLITE_READONLY: it is read-only"):
            await store.save([replace(ENTRY, state="exported")])
    assert (await store.get("accr_1")) == ENTRY


async def test_another_process_that_holds_it_too_long(
    path: Path, store: SQLiteExportStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "BUSY_TIMEOUT", 0.05)
    await store.note(["a"])
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ExportStoreError, match="SQLITE_BUSY"):
            await store.note(["b"])
        assert (await store.status()).ready == 1  # reading does not wait
    await store.note(["b"])


async def test_a_folder_that_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = SQLiteExportStore(tmp_path / "file" / "export.db")
    for call in (store.note(["a"]), store.lock().__aenter__()):
        with pytest.raises(ExportStoreError, match="cannot be"):
            await call


# -- saves --


async def test_saves_that_come_together_are_committed_together(path: Path, store: SQLiteExportStore) -> None:
    await store.note(["warm-up"])
    statements = list[str]()
    async with store.lock():
        await store._connection.read(lambda database: database.set_trace_callback(statements.append))
        entries = [replace(ENTRY, record_id=f"accr_{number}") for number in range(500)]
        await asyncio.gather(*(store.save([entry]) for entry in entries))
    assert (await store.status()).booked == 500
    assert statements.count("COMMIT") < 100


async def test_one_that_fails_leaves_those_beside_it_alone(store: SQLiteExportStore) -> None:
    async with store.lock():
        await store.save([replace(ENTRY, held="gone")])
        read = await store.get("accr_1")
        assert read is not None
        await store.settle("accr_1", "JE-1")
        others = [replace(ENTRY, record_id=f"other_{number}") for number in range(20)]
        outcomes = await asyncio.gather(
            *(store.save([entry]) for entry in others[:10]),
            store.save([replace(ENTRY, record_id="with it"), read]),
            *(store.save([entry]) for entry in others[10:]),
            return_exceptions=True,
        )
        assert [type(each).__name__ for each in outcomes if each is not None] == ["EntryChangedError"]
        assert await store.get("with it") is None
        assert all([await store.get(entry.record_id) for entry in others])


async def test_a_cancellation_loses_no_save_that_has_begun(store: SQLiteExportStore) -> None:
    async with store.lock():
        held = threading.Event()
        blocking = asyncio.create_task(store._connection.read(lambda _: held.wait(20)))
        await asyncio.sleep(0.05)
        saving = asyncio.create_task(store.save([ENTRY]))
        await asyncio.sleep(0.05)
        saving.cancel()
        await asyncio.sleep(0.05)
        assert not saving.done()
        saving.cancel()
        held.set()
        with pytest.raises(asyncio.CancelledError):
            await saving
        await blocking
        assert await store.get("accr_1") == ENTRY


async def test_a_million_finished_rows_cost_nothing(path: Path, store: SQLiteExportStore) -> None:
    """The plans say so; the time is in the benchmark."""
    await store.note(["a"])
    for query, index in (
        *((query, "exports_due") for query in module.DUE),
        (module.NOTICED, "exports_noticed"),
        (module.NEXT_NOTICED, "exports_noticed"),
        (module.NEXT_DUE, "exports_due"),
        (module.OLDEST, "exports_open"),
        (module.HELD, "exports_held"),
        (module.COUNT, "exports_state"),
    ):
        [*plan] = ask(path, f"EXPLAIN QUERY PLAN {query}", *[5] * query.count("?"))
        assert len(plan) == 1, plan  # no sorting
        assert index in plan[0][3], plan


# -- the lock --


async def test_whoever_lost_the_lock_is_fenced(path: Path, store: SQLiteExportStore) -> None:
    other = SQLiteExportStore(path)
    async with store.lock():
        await store.save([ENTRY])
        path.with_name("export.db.lock").unlink()  # as somebody who tidies up would
        async with other.lock():
            with pytest.raises(WorkerRunningError, match="taken over"):
                await store.save([replace(ENTRY, state="exported")])
            await other.save([replace(ENTRY, attempts=7)])
        with pytest.raises(WorkerRunningError):
            await store.save([replace(ENTRY, state="exported")])
    read = await store.get("accr_1")
    assert read is not None
    assert (read.state, read.attempts) == ("booked", 7)
    await other.aclose()


HOLD = """
import asyncio, sys
from brex_accounting.worker import SQLiteExportStore
async def main():
    store = SQLiteExportStore(sys.argv[1])
    async with store.lock():
        print("locked", flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""


async def test_the_lock_dies_with_its_holder(path: Path, store: SQLiteExportStore) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLD, str(path), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"locked\n"
    worker = (await store.status()).worker
    assert worker is not None
    assert f":{process.pid} since 20" in worker
    with pytest.raises(WorkerRunningError, match="Another worker is at"):
        await store.lock().__aenter__()
    process.kill()
    await process.wait()
    assert (await store.status()).worker is None
    async with store.lock():
        await store.save([ENTRY])


async def test_asking_for_the_status_disturbs_no_worker_that_starts(path: Path, store: SQLiteExportStore) -> None:
    asker = SQLiteExportStore(path)

    async def ask_on() -> None:
        while True:
            await asker.status()

    asking = [asyncio.create_task(ask_on()) for _ in range(3)]
    for _ in range(30):
        async with store.lock():
            await asyncio.sleep(0.001)
    for task in asking:
        task.cancel()
    await asyncio.wait(asking)
    await asker.aclose()


# -- processes and threads --

MANY = """
import asyncio, os, sys
from brex_accounting.worker import SQLiteExportStore

async def note(number):
    store = SQLiteExportStore(sys.argv[1])
    for each in range(20):
        await store.note([f"accr_{number}_{each}", "shared"])

pids = []
for number in range(8):
    pid = os.fork()
    if not pid:
        status = 1
        try:
            asyncio.run(note(number))
            status = 0
        finally:
            os._exit(status)
    pids.append(pid)
assert not any(os.waitpid(pid, 0)[1] for pid in pids)
"""


async def test_many_processes_make_and_note_at_once(path: Path, store: SQLiteExportStore) -> None:
    run = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", MANY, str(path)], timeout=50, check=False)
    assert run.returncode == 0
    assert (await store.status()).ready == 161
    shared = await store.get("shared")
    assert shared is not None
    assert shared.noticed == 160


FORK = """
import asyncio, os, sys
from brex_accounting.worker import SQLiteExportStore, WorkerRunningError

store = SQLiteExportStore(sys.argv[1])

async def child():
    await store.note(["of the child"])
    try:
        async with store.lock():
            return 3
    except WorkerRunningError:
        return 0

async def main():
    async with store.lock():
        await store.note(["of the parent"])
        pid = os.fork()
        if not pid:
            status = 1
            try:
                asyncio.set_event_loop(None)
                asyncio.events._set_running_loop(None)
                status = asyncio.run(child())
            finally:
                os._exit(status)
        assert os.waitpid(pid, 0)[1] == 0
        await store.note(["of the parent too"])
    assert (await store.status()).ready == 3
    await store.aclose()

asyncio.run(main())
"""


def test_in_a_forked_process(path: Path) -> None:
    subprocess.run([sys.executable, "-W", "error", "-c", FORK, str(path)], timeout=30, check=True)


async def test_what_nobody_refers_to_ends_its_thread(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "LINGER", 0.05)
    store = SQLiteExportStore(path)
    await store.note(["a"])
    thread = store._connection._thread
    assert thread is not None
    reference = weakref.ref(store)
    del store
    gc.collect()
    assert reference() is None
    await asyncio.to_thread(thread.join, 10)
    assert not thread.is_alive()
    assert not path.with_name("export.db-wal").exists()


async def test_a_note_between_two_openings_is_noticed(path: Path, store: SQLiteExportStore) -> None:
    other = SQLiteExportStore(path)
    await other.note(["a"])
    await store.due(0.0, 1, latest=1.0)
    await store._connection.aclose()  # as after an idle time
    await other.note(["b"])
    async with asyncio.timeout(10):
        await store.wait(1000.0)
    await other.aclose()


async def test_after_closing_it_opens_again(path: Path, store: SQLiteExportStore) -> None:
    await store.aclose()  # never opened
    await store.note(["a"])
    await asyncio.gather(store.aclose(), store.aclose())
    assert not path.with_name("export.db-wal").exists()
    assert (await store.status()).ready == 1
