"""The connection that commits together what comes together: failures, loops that end, forks, ends of processes."""

# ruff: noqa: ASYNC240 - looking at files is what these tests do

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from brex_accounting import SQLiteTokenStore, StoredToken, Token
from brex_accounting._sqlite import Connection, Layout, open_file, process

LAYOUT = Layout("tests", 7, 1, ("synchronous = FULL",), lambda database: database.execute("CREATE TABLE t (x UNIQUE)"))


def explain(error: BaseException, unknown: bool) -> BaseException:
    return OSError(f"{type(error).__name__}, {unknown}") if isinstance(error, sqlite3.Error) else error


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "test.db"


@pytest.fixture
async def file(path: Path) -> AsyncIterator[Connection]:
    file = Connection(path, partial(open_file, path, LAYOUT), explain, linger=60.0)
    yield file
    await file.aclose()


def insert(value: object) -> Callable[[sqlite3.Connection], int]:
    return lambda database: database.execute("INSERT INTO t VALUES (?)", (value,)).rowcount


def rows(database: sqlite3.Connection) -> list[Any]:
    return [value for (value,) in database.execute("SELECT x FROM t ORDER BY x")]


def pragma(text: str) -> Callable[[sqlite3.Connection], Any]:
    return lambda database: database.execute(f"PRAGMA {text}").fetchone()


class Gate:
    """Keeps the thread busy, so that what comes meanwhile comes together."""

    def __init__(self, file: Connection) -> None:
        self.reached, self.open = threading.Event(), threading.Event()
        self.task = asyncio.create_task(file.read(self.work))

    def work(self, _: sqlite3.Connection) -> None:
        self.reached.set()
        assert self.open.wait(20)

    async def let(self, *jobs: Any) -> list[Any]:
        while not self.reached.is_set():
            await asyncio.sleep(0.001)
        waiting = asyncio.gather(*jobs, return_exceptions=True)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        self.open.set()
        await self.task
        return await waiting


# -- saves that come together --


async def test_what_comes_together_is_committed_together(file: Connection) -> None:
    statements: list[str] = []
    await file.read(lambda database: database.set_trace_callback(statements.append))
    assert await Gate(file).let(*(file.write(insert(number)) for number in range(200))) == [1] * 200
    assert statements.count("COMMIT") == 1
    assert await file.read(rows) == list(range(200))


async def test_one_that_fails_fails_for_its_own_caller_alone(file: Connection) -> None:
    def bug(_: sqlite3.Connection) -> None:
        raise ZeroDivisionError

    jobs = [insert(1), bug, insert(2), insert(1), insert(3)]
    ends = await Gate(file).let(*(file.write(job) for job in jobs))
    assert [repr(end) for end in ends] == ["1", "ZeroDivisionError()", "1", "OSError('IntegrityError, False')", "1"]
    assert await file.read(rows) == [1, 2, 3]


async def test_what_fills_the_disk_fails_alone(path: Path) -> None:
    def open_small() -> sqlite3.Connection:
        database = open_file(path, LAYOUT)
        database.execute("PRAGMA max_page_count = 10")
        return database

    file = Connection(path, open_small, explain, linger=60.0)
    jobs = [insert("a"), insert("x" * 1_000_000), insert("b")]
    ends = await Gate(file).let(*(file.write(job) for job in jobs))
    assert [repr(end) for end in ends] == ["1", "OSError('OperationalError, False')", "1"]
    assert await file.read(rows) == ["a", "b"]
    await file.aclose()


async def test_others_that_keep_it_busy_are_waited_for_once(
    file: Connection, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("brex_accounting._sqlite.files.BUSY_TIMEOUT", 0.05)
    await file.write(insert(1))
    opened = file.opened
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        ends = await Gate(file).let(*(file.write(insert(number)) for number in range(2, 50)))
    assert {repr(end) for end in ends} == {"OSError('OperationalError, False')"}
    assert len({id(end) for end in ends}) == len(ends)
    assert file.opened == opened
    assert await file.read(rows) == [1]


async def test_a_commit_that_fails_may_have_been_one(file: Connection) -> None:
    class Odd(sqlite3.OperationalError):
        sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC

    class Database:
        in_transaction = False

        def execute(self, statement: str) -> None:
            if statement == "COMMIT":
                raise Odd

        def close(self) -> None:
            pass

    await file.write(insert(1))
    file._database.close()  # type: ignore[union-attr]
    file._database = Database()  # type: ignore[assignment]
    with pytest.raises(OSError, match="Odd, True"):
        await file.write(lambda _: 1)
    assert await file.read(rows) == [1]  # on another connection


async def test_a_cancellation_waits_for_what_has_begun(file: Connection) -> None:
    gate = Gate(file)
    while not gate.reached.is_set():
        await asyncio.sleep(0.001)
    saving = asyncio.create_task(file.write(insert(1)))
    for _ in range(3):
        await asyncio.sleep(0)
        saving.cancel()
    await asyncio.sleep(0)
    assert not saving.done()
    await gate.let()
    with pytest.raises(asyncio.CancelledError):
        await saving
    assert await file.read(rows) == [1]


async def test_without_a_thread_it_is_done_all_the_same(file: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_more(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", no_more)
        assert await file.write(insert(1)) == 1
        assert file._database is None
    assert await file.read(rows) == [1]


async def test_without_a_thread_an_interrupt_stops_nothing_else(
    file: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", lambda _: (_ for _ in ()).throw(RuntimeError))
        patch.setattr(file, "_serve", interrupt)
        with pytest.raises(KeyboardInterrupt):
            await file.write(insert(1))
    await asyncio.wait_for(file.write(insert(2)), 20)


def test_several_loops_and_one_that_is_closed_meanwhile(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = Connection(path, partial(open_file, path, LAYOUT), explain, linger=60.0)
    held = threading.Event()

    def hold(_: sqlite3.Connection) -> None:
        assert held.wait(20)

    loop = asyncio.new_event_loop()
    abandoned = [loop.create_task(file.write(work)) for work in (hold, insert(0))]
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    for task in abandoned:
        task._log_destroy_pending = False  # type: ignore[attr-defined]

    async def save(number: int) -> int:
        return await file.write(insert(number))

    threads = [threading.Thread(target=lambda number=number: asyncio.run(save(number))) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    held.set()
    for thread in threads:
        thread.join()
    assert asyncio.run(file.read(rows)) == list(range(9))
    asyncio.run(file.aclose())
    assert not caplog.records


# -- the file --


async def test_a_finalizer_in_the_middle_of_our_work_is_refused(file: Connection) -> None:
    """Garbage is collected in any thread, at any moment; whoever waited there would wait for himself."""

    def finalize(_: object) -> None:
        asyncio.run(asyncio.wait_for(file.write(insert(1)), 5))

    with pytest.raises(OSError, match="deadlock"):
        await file.read(finalize)
    with process.lock, pytest.raises(OSError, match="deadlock"):
        await file.write(insert(1))
    await file.write(insert(2))
    assert await file.read(rows) == [2]


async def test_a_file_that_was_replaced_is_not_written_to_any_more(file: Connection, path: Path) -> None:
    await file.write(insert(1))
    path.unlink()
    await file.write(insert(2))
    assert await file.read(rows) == [2]
    path.rename(path.with_name("other"))
    assert await file.read(rows) == []


async def test_an_idle_connection_is_closed(path: Path) -> None:
    file = Connection(path, partial(open_file, path, LAYOUT), explain, linger=0.01)
    await file.write(insert(1))
    async with asyncio.timeout(20):
        while file._thread is not None:
            await asyncio.sleep(0.001)
    assert file._database is None
    assert await file.read(rows) == [1]
    assert file.opened == 2
    await file.aclose()


# -- the token store upon it --

STORED = StoredToken(Token("access", "refresh"), 1)


async def test_saves_of_tokens_are_durable(path: Path) -> None:
    store = SQLiteTokenStore(path)
    for file in (store._file.saving, store._file.loading):
        assert await file.write(pragma("journal_mode")) == ("delete",)
        assert await file.write(pragma("synchronous")) == (3,)  # EXTRA
        assert await file.write(pragma("fullfsync")) == (1,)
        assert await file.write(pragma("secure_delete")) == (1,)


async def test_a_load_does_not_wait_for_saves(path: Path) -> None:
    store = SQLiteTokenStore(path)
    assert await store.save("a", STORED, expected_version=None)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        saving = asyncio.create_task(store.save("b", STORED, expected_version=None))
        async with asyncio.timeout(5):
            assert await store.load("a") == STORED
        assert not saving.done()
        other.execute("ROLLBACK")
        assert await saving


async def test_a_thousand_stores_share_the_connections_of_their_file(path: Path) -> None:
    stores = [SQLiteTokenStore(path) for _ in range(1000)]
    before = set(threading.enumerate())
    files: list[int] = []

    async def save(number: int, store: SQLiteTokenStore) -> None:
        assert await store.save(str(number), STORED, expected_version=None)
        assert await store.load(str(number)) == STORED
        if number % 100 == 0:
            files.append(sum("test.db" in os.path.realpath(file) for file in Path("/dev/fd").iterdir()))

    await asyncio.gather(*map(save, range(1000), stores))
    assert len(set(threading.enumerate()) - before) <= 2
    assert max(files) < 10


async def test_a_file_for_each_account_needs_few_descriptors(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.db" for number in range(300)]
    first = SQLiteTokenStore(paths[0])
    assert await first.save("a", STORED, expected_version=None)
    for path in paths[1:]:
        path.write_bytes(paths[0].read_bytes())
        path.chmod(0o600)
    files: list[int] = []

    async def load(path: Path) -> None:
        assert await SQLiteTokenStore(path).load("a") == STORED
        files.append(sum(str(tmp_path) in os.path.realpath(file) for file in Path("/dev/fd").iterdir()))

    await asyncio.gather(*map(load, paths))
    assert max(files) <= 3 * process.AT_A_TIME


# -- processes --

PROCESS = """
import asyncio, os, sys, threading, time
from brex_accounting import SQLiteTokenStore, StoredToken, Token

store = SQLiteTokenStore(sys.argv[1])

async def save(key):
    assert await store.save(key, StoredToken(Token("access", "refresh"), 1), expected_version=None)
    assert await store.load(key) is not None

def database_files():
    files = [os.readlink(f"/dev/fd/{file}") for file in os.listdir("/dev/fd") if os.path.exists(f"/dev/fd/{file}")]
    return [file for file in files if ".db" in file]
"""


def run(path: Path, script: str) -> None:
    arguments = [sys.executable, "-W", "error", "-c", PROCESS + script, str(path)]
    done = subprocess.run(arguments, timeout=50, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_fork_carries_no_connection_even_while_saves_run(path: Path) -> None:
    run(
        path,
        """
def work(name, number):
    async def many():
        await asyncio.gather(*(save(f"{name} {each}") for each in range(number)))
    asyncio.run(many())

threads = [threading.Thread(target=work, args=(f"thread {number}", 300)) for number in range(3)]
for thread in threads:
    thread.start()
pids = []
for number in range(10):
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            assert database_files() == [], database_files()
            work(f"child {number}", 10)
            status = 0
        finally:
            os._exit(status)
    pids.append(pid)
work("parent", 10)
for thread in threads:
    thread.join()
assert [os.waitpid(pid, 0)[1] for pid in pids] == [0] * 10
""",
    )
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert database.execute("SELECT count(*) FROM tokens").fetchone() == (900 + 100 + 10,)


def test_the_end_of_a_process_waits_for_saves_of_a_daemon_too(path: Path) -> None:
    run(
        path,
        """

from brex_accounting._auth import sqlite_store

begun = threading.Event()
encode = sqlite_store.encode

def slowly(stored):
    begun.set()
    time.sleep(0.01)
    return encode(stored)

sqlite_store.encode = slowly

async def many():
    await asyncio.gather(*(save(str(number)) for number in range(100)))

threading.Thread(target=lambda: asyncio.run(many()), daemon=True).start()
begun.wait(20)
""",
    )
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("SELECT count(*) FROM tokens").fetchone() == (100,)


def test_an_idle_connection_neither_delays_the_end_nor_leaves_files(path: Path) -> None:
    run(
        path,
        """
for connection in (store._file.saving, store._file.loading):
    connection._linger = 1000.0
asyncio.run(save("a"))
""",
    )
    assert [file.name for file in path.parent.iterdir()] == [path.name]
