"""The store of one account's exports in one SQLite file."""

from __future__ import annotations

import asyncio
import os
import socket
import sqlite3
import time
import uuid
import weakref
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from brex_accounting._arguments import check_datetime
from brex_accounting._clock import Clock
from brex_accounting._files import LockFile, check_path, create_database, is_locked, is_there, make_folder, take_lock
from brex_accounting.errors import ConfigurationError, Outcome

from ._connection import Connection
from ._entries import (
    FINISHED,
    OPEN,
    EntryChangedError,
    ExportEntry,
    ExportStoreError,
    StoreLostError,
    WorkerRunningError,
)
from ._store import COLUMNS, Desk, Tally, to_row, unknown

BUSY_TIMEOUT = 10.0
"""Seconds that a call waits for other processes' writes."""
LOOK_EVERY = 0.05
"""Seconds between two looks for what other processes noted; a look takes some 20 microseconds."""
LOCK_ATTEMPTS = 3
"""Whoever asks whether a worker runs holds the lock for an instant."""
PRUNE_AT_ONCE = 5000
APPLICATION_ID = int.from_bytes(b"BrxE")
SCHEMA = 1
_OPEN = ", ".join(f"'{state}'" for state in OPEN)
_FINISHED = ", ".join(f"'{state}'" for state in FINISHED)
_IS_OPEN = f"held IS NULL AND state IN ({_OPEN})"
TABLES = (
    "CREATE TABLE store (made_at REAL NOT NULL, bills_until TEXT, polled_at REAL, fence TEXT, worker TEXT)",
    """
    CREATE TABLE exports (
        record_id TEXT PRIMARY KEY, state TEXT NOT NULL, version INTEGER, content TEXT, reference_id TEXT,
        deep_link_url TEXT, message TEXT, held TEXT, attempts INTEGER NOT NULL, due REAL NOT NULL,
        changed_at REAL NOT NULL, handled INTEGER NOT NULL, noticed INTEGER NOT NULL,
        opened_at REAL NOT NULL,            -- since when it is open
        touched INTEGER NOT NULL DEFAULT 0  -- its notices when a person changed it last
    )
    """,
    # What is finished is in none of these but the last.
    f"CREATE INDEX exports_due ON exports (due) WHERE {_IS_OPEN}",
    "CREATE INDEX exports_noticed ON exports (due) WHERE noticed > handled",
    f"CREATE INDEX exports_open ON exports (opened_at) WHERE state IN ({_OPEN})",
    "CREATE INDEX exports_held ON exports (changed_at) WHERE held IS NOT NULL",
    "CREATE INDEX exports_state ON exports (state, changed_at)",
)
_NAMES = ", ".join(COLUMNS)
_SELECT = f"SELECT {_NAMES} FROM exports"  # noqa: S608 - our own names
# INDEXED BY: left alone, SQLite takes the index of the states and sorts.
_DUE = f"{_SELECT} INDEXED BY exports_due WHERE {_IS_OPEN}"
_NOTICED = f"{_SELECT} INDEXED BY exports_noticed WHERE noticed > handled"
DUE = (f"{_DUE} AND due <= ? ORDER BY due LIMIT ?", f"{_DUE} AND due > ? ORDER BY due LIMIT ?")
NOTICED = f"{_NOTICED} ORDER BY due LIMIT ?"
NEXT_NOTICED = "SELECT 1 FROM exports INDEXED BY exports_noticed WHERE noticed > handled LIMIT 1"
NEXT_DUE = f"SELECT min(due) FROM exports INDEXED BY exports_due WHERE {_IS_OPEN}"  # noqa: S608 - our own names
OLDEST = f"SELECT min(opened_at) FROM exports INDEXED BY exports_open WHERE state IN ({_OPEN})"  # noqa: S608
HELD = f"{_SELECT} INDEXED BY exports_held WHERE held IS NOT NULL ORDER BY changed_at"
COUNT = "SELECT state, count(*) FROM exports GROUP BY state"
COUNT_HELD = "SELECT state, count(*) FROM exports INDEXED BY exports_held WHERE held IS NOT NULL GROUP BY state"
NOTE = """
    INSERT INTO exports (record_id, state, attempts, due, changed_at, handled, noticed, opened_at)
    VALUES (?1, 'ready', 0, ?2, ?2, 0, 1, ?2) ON CONFLICT (record_id) DO UPDATE SET noticed = noticed + 1
"""
SAVE = f"""
    INSERT INTO exports ({_NAMES}, opened_at) VALUES ({", ".join("?" * len(COLUMNS))}, ?)
    ON CONFLICT (record_id) DO UPDATE SET
        {", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name not in {"record_id", "noticed"})},
        opened_at = CASE WHEN state IN ({_FINISHED}) THEN excluded.opened_at ELSE opened_at END
    WHERE touched <= excluded.noticed
"""  # noqa: S608 - our own names
FORGET = "DELETE FROM exports WHERE record_id = ? AND noticed = ?"
TOUCH = "UPDATE exports SET noticed = noticed + 1, touched = noticed + 1 WHERE record_id = ?"
PRUNE = f"""
    DELETE FROM exports WHERE record_id IN (
        SELECT record_id FROM exports
        WHERE state IN ({_FINISHED}) AND changed_at < ? AND noticed <= handled LIMIT {PRUNE_AT_ONCE}
    )
"""  # noqa: S608 - our own names


class SQLiteExportStore(Desk):
    """Keeps one account's exports in a file, for all processes on one machine; never on a network drive.

    ::

        store = SQLiteExportStore("export.db")

    Making one touches no file: the first call makes the file, for its owner alone (0600; in WAL mode, with ``-wal`` and
    ``-shm`` beside it). A worker's lock is a file beside it, ``….lock``, which the kernel frees when the worker dies;
    never remove it. Whoever lost it all the same is fenced: the next save finds another worker's mark, and fails.

    Saves that come together are committed together (``synchronous=FULL``). A save that has begun goes on to its end;
    cancelling the task that awaits it takes effect afterwards.

    Every method raises ExportStoreError when the file cannot be used (disk full, read-only, damaged, removed, written
    by a newer version), and ConfigurationError for a file that others can read or write. An object of this class can
    be pickled, and works in any thread, event loop or forked process.

    Args:
        path: The file. "~" is your home folder. Raises ConfigurationError for what does not name a file, and on
            Windows.
    """

    _clock = Clock()

    def __init__(self, path: str | PathLike[str]) -> None:
        self._path = check_path(path, "an export store", "a store of your own")
        self._lock_path = self._path.with_name(f"{self._path.name}.lock")
        self._connection: Connection | None = None
        self._owner = 0
        self._fence: str | None = None
        self._notes = 0
        self._known: tuple[int, int] | None = None

    def __repr__(self) -> str:
        return f"SQLiteExportStore({str(self._path)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._path,)

    # -- the worker's side --

    @asynccontextmanager
    async def lock(self) -> AsyncIterator[None]:
        """Be the account's one worker to the end of the block. Raises WorkerRunningError at once if another one is."""
        lock = await self._take_lock()
        fence = uuid.uuid4().hex
        name = f"{socket.gethostname()}:{os.getpid()} since {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"

        def enter(database: sqlite3.Connection) -> None:
            database.execute("UPDATE store SET fence = ?, worker = ?", (fence, name))

        def leave(database: sqlite3.Connection) -> None:
            database.execute("UPDATE store SET worker = NULL WHERE fence = ?", (fence,))

        try:
            await self._database().write(enter)
            self._fence = fence
            yield
        finally:
            self._fence = None
            try:
                with suppress(ExportStoreError, ConfigurationError):
                    await self._database().write(leave)
            finally:
                lock.release()

    async def due(self, now: float, limit: int, *, latest: float) -> Sequence[ExportEntry]:
        """Return what is to be looked at, the longest due first."""

        def select(database: sqlite3.Connection) -> list[ExportEntry]:
            self._known = self._version(database)
            rows = dict[str, ExportEntry]()
            for query, values in ((DUE[0], (now, limit)), (DUE[1], (latest, limit)), (NOTICED, (limit,))):
                rows |= {row[0]: ExportEntry(*row) for row in database.execute(query, values)}
            return sorted(rows.values(), key=lambda entry: entry.due)[:limit]

        return await self._database().read(select)

    async def next_due(self, now: float) -> float | None:
        """Return when the next entry is due, in seconds since 1970."""

        def select(database: sqlite3.Connection) -> float | None:
            if database.execute(NEXT_NOTICED).fetchone():
                return now
            (due,) = database.execute(NEXT_DUE).fetchone()
            return None if due is None else max(now, due)

        return await self._database().read(select)

    async def save(self, entries: Sequence[ExportEntry], *, forget: Sequence[ExportEntry] = ()) -> None:
        """Save all of these or none, and forget those."""
        rows = [(*to_row(entry), entry.changed_at) for entry in entries]
        forgotten = [(entry.record_id, entry.noticed) for entry in forget]

        def save(database: sqlite3.Connection) -> None:
            self._check_fence(database)
            if rows and database.executemany(SAVE, rows).rowcount != len(rows):
                raise EntryChangedError(
                    "A person changed a record meanwhile: nothing was saved.", outcome=Outcome.NOT_APPLIED
                )
            database.executemany(FORGET, forgotten)

        await self._database().write(save)

    async def get(self, record_id: str) -> ExportEntry | None:
        """Return one entry. None: the record is not known."""

        def select(database: sqlite3.Connection) -> ExportEntry | None:
            row = database.execute(f"{_SELECT} WHERE record_id = ?", (record_id,)).fetchone()
            return None if row is None else ExportEntry(*row)

        return await self._database().read(select)

    async def marks(self) -> tuple[datetime, datetime | None]:
        """Return since when the store remembers everything, and how far the bills were seen."""

        def select(database: sqlite3.Connection) -> tuple[datetime, datetime | None]:
            made_at, until = database.execute("SELECT made_at, bills_until FROM store").fetchone()
            return datetime.fromtimestamp(made_at, UTC), until and datetime.fromisoformat(until)

        return await self._database().read(select)

    async def wait(self, seconds: float) -> None:
        """Wait so long, or until somebody has noted something since the last call of `due` or `wait`."""
        end = self._clock.monotonic() + seconds
        while (left := end - self._clock.monotonic()) > 0:
            known, self._known = self._known, await self._database().read(self._version)
            if known not in {None, self._known}:
                return
            await asyncio.sleep(min(LOOK_EVERY, left))

    # -- people's side --

    async def held(self) -> list[ExportEntry]:
        """Return what a person must look at, the longest held first."""

        def select(database: sqlite3.Connection) -> list[ExportEntry]:
            return [ExportEntry(*row) for row in database.execute(HELD)]

        return await self._database().read(select)

    async def prune(self, before: datetime) -> int:
        """Forget what was exported or returned before this moment; return how many records that was."""
        moment = check_datetime(before, "before").timestamp()

        def delete(database: sqlite3.Connection) -> int:
            number = database.execute(PRUNE, (moment,)).rowcount
            if number:  # what is older than this is no longer known
                database.execute("UPDATE store SET made_at = max(made_at, min(?, ?))", (moment, self._clock.wall()))
            return number

        pruned = 0
        while number := await self._database().write(delete):
            pruned += number
        return pruned

    async def aclose(self) -> None:
        """Close the connection. The next call opens another one."""
        connection, self._connection = self._connection, None
        if connection is not None and self._owner == os.getpid():
            await connection.aclose()

    async def _note(self, record_ids: Sequence[str], bills_until: datetime | None) -> None:
        until = None if bills_until is None else bills_until.isoformat(timespec="microseconds")

        def note(database: sqlite3.Connection) -> None:
            now = self._clock.wall()
            database.executemany(NOTE, ((record_id, now) for record_id in record_ids))
            if until is not None:
                mark = "bills_until = max(coalesce(bills_until, ''), ?), polled_at = ?"
                database.execute(f"UPDATE store SET {mark}", (until, now))  # noqa: S608 - our own words
            self._notes += 1

        await self._database().write(note)

    async def _tally(self) -> Tally:
        def count(database: sqlite3.Connection) -> Tally:
            numbers = dict[Any, int]()
            for state, number in database.execute(COUNT).fetchall():
                numbers[state, False] = number
            for state, number in database.execute(COUNT_HELD).fetchall():
                numbers[state, True] = number
                numbers[state, False] -= number
            (oldest,) = database.execute(OLDEST).fetchone()
            until, polled_at, worker = database.execute("SELECT bills_until, polled_at, worker FROM store").fetchone()
            return Tally(numbers, oldest, until and datetime.fromisoformat(until), polled_at, worker)

        tally = await self._database().read(count)
        return tally if is_locked(self._lock_path) else tally.without_worker()

    async def _change(self, record_id: str, change: Callable[..., ExportEntry]) -> None:
        def replace(database: sqlite3.Connection) -> None:
            row = database.execute(f"{_SELECT} WHERE record_id = ?", (record_id,)).fetchone()
            if row is None:
                raise ConfigurationError(unknown(record_id))
            now = self._clock.wall()
            database.execute(SAVE, (*to_row(change(ExportEntry(*row), now=now)), now))
            database.execute(TOUCH, (record_id,))
            self._notes += 1

        await self._database().write(replace)

    # -- the database --

    def _database(self) -> Connection:
        if self._connection is None or self._owner != os.getpid():
            self._connection, self._owner = Connection(self._path, partial(_open, self._path, self._clock)), os.getpid()
            weakref.finalize(self, self._connection.end)
        return self._connection

    def _version(self, database: sqlite3.Connection) -> tuple[int, int]:
        """Changes when another connection has committed, or this one has noted something."""
        return database.execute("PRAGMA data_version").fetchone()[0], self._notes

    def _check_fence(self, database: sqlite3.Connection) -> None:
        if self._fence is None:
            message = "Only whoever holds the store's lock() may save: nothing was saved."
            raise ExportStoreError(message, outcome=Outcome.NOT_APPLIED)
        if database.execute("SELECT fence FROM store").fetchone() != (self._fence,):
            message = f"Another worker has taken over {self._path}: nothing was saved."
            raise WorkerRunningError(message, outcome=Outcome.NOT_APPLIED)

    async def _take_lock(self) -> LockFile:
        for attempt in range(LOCK_ATTEMPTS):
            if attempt:
                await asyncio.sleep(0.02)
            lock = _take(self._lock_path)
            if lock is not None:
                return lock
        message = f"Another worker is at {self._path}: stop it first; `status` says which it is."
        raise WorkerRunningError(message, outcome=Outcome.NOT_APPLIED)


def _open(path: Path, clock: Clock) -> sqlite3.Connection:
    make_folder(path.parent)
    if not is_there(path):
        create_database(path)
    for suffix in ("-wal", "-shm"):
        is_there(path.with_name(path.name + suffix))
    uri = f"{path.as_uri()}?mode=rw"  # never make the file: SQLite would make it for everybody
    database = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT, isolation_level=None)
    try:
        _prepare(database, path, clock)
    except BaseException:
        database.close()
        raise
    return database


def _prepare(database: sqlite3.Connection, path: Path, clock: Clock) -> None:
    """Make the tables in an empty file; refuse a file of another application or a newer version."""

    def number(query: str) -> int:
        return int(database.execute(query).fetchone()[0])

    database.execute("PRAGMA synchronous = FULL")
    database.execute("PRAGMA fullfsync = ON")  # macOS: an fsync that deserves the name
    if number("PRAGMA application_id") != APPLICATION_ID:
        _use_wal(database)
        database.execute("BEGIN IMMEDIATE")
        if number("PRAGMA application_id") == number("SELECT count(*) FROM sqlite_master") == 0:
            for statement in TABLES:
                database.execute(statement)
            database.execute("INSERT INTO store (made_at) VALUES (?)", (clock.wall(),))
            database.execute(f"PRAGMA user_version = {SCHEMA}")
            database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        database.execute("COMMIT")
        if number("PRAGMA application_id") != APPLICATION_ID:
            raise ConfigurationError(f"{path} belongs to another application: pass a path of its own for the exports.")
    if (found := number("PRAGMA user_version")) != SCHEMA:
        message = f"{path} was written by a newer version of brex-accounting (schema {found}): upgrade."
        raise StoreLostError(message, outcome=Outcome.NOT_APPLIED)


def _use_wal(database: sqlite3.Connection) -> None:
    """Switch to WAL, for which SQLite does not wait while another process makes the same file."""
    end = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
        else:
            return
        time.sleep(0.005)


def _take(path: Any) -> LockFile | None:
    problem: OSError
    try:
        return take_lock(path)
    except OSError as error:
        problem = error
    message = f"{path} cannot be locked: {problem.strerror or type(problem).__name__}."
    raise ExportStoreError(message, outcome=Outcome.NOT_APPLIED)
