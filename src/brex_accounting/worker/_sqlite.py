"""The store of one account's exports in one SQLite file."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from os import PathLike
from typing import Any

from brex_accounting._clock import Clock
from brex_accounting._files import LockFile, check_path, is_locked, take_lock
from brex_accounting._sqlite import Connection, open_file
from brex_accounting.errors import ConfigurationError, Outcome

from . import _schema as schema
from ._entries import ExportEntry, ExportStoreError
from ._fenced import FencedStore
from ._store import Tally, to_row, unknown

LOOK_EVERY = 0.05
"""Seconds between two looks for what other processes noted; a look takes some 20 microseconds."""
LINGER = 10.0
"""Seconds until an idle connection is closed; the next call opens another one."""
LOCK_ATTEMPTS = 3
"""Whoever asks whether a worker runs holds the lock for an instant."""


class SQLiteExportStore(FencedStore):
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
        self._connection = Connection(
            self._path,
            partial(open_file, self._path, schema.layout(self._clock)),
            partial(schema.explain, self._path),
            linger=LINGER,
            lost=partial(schema.lost, self._path),
        )
        self._notes = 0
        self._known: tuple[int, int, int] | None = None

    def __repr__(self) -> str:
        return f"SQLiteExportStore({str(self._path)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._path,)

    # -- the worker's side --

    async def due(self, now: float, limit: int, *, latest: float) -> Sequence[ExportEntry]:
        """Return what is to be looked at, the longest due first."""

        def select(database: sqlite3.Connection) -> list[ExportEntry]:
            self._known = self._version(database)
            rows = dict[str, ExportEntry]()
            for query, values in (
                (schema.DUE[0], (now, limit)),
                (schema.DUE[1], (latest, limit)),
                (schema.NOTICED, (limit,)),
            ):
                rows |= {row[0]: ExportEntry(*row) for row in database.execute(query, values)}
            return sorted(rows.values(), key=lambda entry: entry.due)[:limit]

        return await self._connection.read(select)

    async def next_due(self, now: float) -> float | None:
        """Return when the next entry is due, in seconds since 1970."""

        def select(database: sqlite3.Connection) -> float | None:
            if database.execute(schema.NEXT_NOTICED).fetchone():
                return now
            (due,) = database.execute(schema.NEXT_DUE).fetchone()
            return None if due is None else max(now, due)

        return await self._connection.read(select)

    async def save(self, entries: Sequence[ExportEntry], *, forget: Sequence[ExportEntry] = ()) -> None:
        """Save all of these or none, and forget those."""
        rows = [(*to_row(entry), entry.changed_at) for entry in entries]
        fence = self._fence
        forgotten = [(entry.record_id, entry.noticed) for entry in forget]

        def save(database: sqlite3.Connection) -> None:
            self._check_fence(fence, database.execute("SELECT fence FROM store").fetchone()[0])
            if rows:
                self._check_saved(database.executemany(schema.SAVE, rows).rowcount, len(rows))
            database.executemany(schema.FORGET, forgotten)

        await self._connection.write(save)

    async def get(self, record_id: str) -> ExportEntry | None:
        """Return one entry. None: the record is not known."""

        def select(database: sqlite3.Connection) -> ExportEntry | None:
            row = database.execute(f"{schema.SELECT} WHERE record_id = ?", (record_id,)).fetchone()
            return None if row is None else ExportEntry(*row)

        return await self._connection.read(select)

    async def marks(self) -> tuple[datetime, datetime | None]:
        """Return since when the store remembers everything, and how far the bills were seen."""

        def select(database: sqlite3.Connection) -> tuple[datetime, datetime | None]:
            made_at, until = database.execute("SELECT made_at, bills_until FROM store").fetchone()
            return datetime.fromtimestamp(made_at, UTC), until and datetime.fromisoformat(until)

        return await self._connection.read(select)

    async def wait(self, seconds: float) -> None:
        """Wait so long, or until somebody has noted something since the last call of `due` or `wait`."""
        end = self._clock.monotonic() + seconds
        while (left := end - self._clock.monotonic()) > 0:
            known, self._known = self._known, await self._connection.read(self._version)
            if known not in {None, self._known}:
                return
            await asyncio.sleep(min(LOOK_EVERY, left))

    # -- people's side --

    async def held(self) -> list[ExportEntry]:
        """Return what a person must look at, the longest held first."""

        def select(database: sqlite3.Connection) -> list[ExportEntry]:
            return [ExportEntry(*row) for row in database.execute(schema.HELD)]

        return await self._connection.read(select)

    async def aclose(self) -> None:
        """Close the connection. The next call opens another one."""
        await self._connection.aclose()

    async def _note(self, record_ids: Sequence[str], bills_until: datetime | None) -> None:
        until = None if bills_until is None else bills_until.isoformat(timespec="microseconds")

        def note(database: sqlite3.Connection) -> None:
            now = self._clock.wall()
            database.executemany(schema.NOTE, ((record_id, now, now, now) for record_id in record_ids))
            if until is not None:
                mark = "bills_until = max(coalesce(bills_until, ''), ?), polled_at = ?"
                database.execute(f"UPDATE store SET {mark}", (until, now))  # noqa: S608 - our own words
            self._notes += 1

        await self._connection.write(note)

    async def _tally(self) -> Tally:
        def count(database: sqlite3.Connection) -> Tally:
            numbers = dict[Any, int]()
            for state, number in database.execute(schema.COUNT).fetchall():
                numbers[state, False] = number
            for state, number in database.execute(schema.COUNT_HELD).fetchall():
                numbers[state, True] = number
                numbers[state, False] -= number
            (oldest,) = database.execute(schema.OLDEST).fetchone()
            until, polled_at, worker = database.execute("SELECT bills_until, polled_at, worker FROM store").fetchone()
            return Tally(numbers, oldest, until and datetime.fromisoformat(until), polled_at, worker)

        tally = await self._connection.read(count)
        return tally if is_locked(self._lock_path) else tally.without_worker()

    async def _change(self, record_id: str, change: Callable[..., ExportEntry]) -> None:
        def replace(database: sqlite3.Connection) -> None:
            row = database.execute(f"{schema.SELECT} WHERE record_id = ?", (record_id,)).fetchone()
            if row is None:
                raise ConfigurationError(unknown(record_id))
            now = self._clock.wall()
            database.execute(schema.SAVE, (*to_row(change(ExportEntry(*row), now=now)), now))
            database.execute(schema.TOUCH, (record_id,))
            self._notes += 1

        await self._connection.write(replace)

    # -- one worker --

    @property
    def _place(self) -> str:
        return str(self._path)

    @asynccontextmanager
    async def _locked(self) -> AsyncIterator[None]:
        lock = await self._take_lock()
        try:
            yield
        finally:
            lock.release()

    async def _enter(self, fence: str, worker: str) -> None:
        await self._execute("UPDATE store SET fence = ?, worker = ?", fence, worker)

    async def _leave(self, fence: str) -> None:
        await self._execute("UPDATE store SET worker = NULL WHERE fence = ?", fence)

    async def _prune(self, moment: float) -> int:
        def delete(database: sqlite3.Connection) -> int:
            number = database.execute(schema.PRUNE, (moment,)).rowcount
            if number:
                database.execute("UPDATE store SET made_at = max(made_at, min(?, ?))", (moment, self._clock.wall()))
            return number

        return await self._connection.write(delete)

    async def _execute(self, statement: str, *values: str) -> None:
        def execute(database: sqlite3.Connection) -> None:
            database.execute(statement, values)

        await self._connection.write(execute)

    def _version(self, database: sqlite3.Connection) -> tuple[int, int, int]:
        """Changes when another connection has committed, or this one has noted something or was opened again."""
        return self._connection.opened, database.execute("PRAGMA data_version").fetchone()[0], self._notes

    async def _take_lock(self) -> LockFile:
        for attempt in range(LOCK_ATTEMPTS):
            if attempt:
                await asyncio.sleep(0.02)
            lock = _take(self._lock_path)
            if lock is not None:
                return lock
        raise self._running()


def _take(path: Any) -> LockFile | None:
    problem: OSError
    try:
        return take_lock(path)
    except OSError as error:
        problem = error
    message = f"{path} cannot be locked: {problem.strerror or type(problem).__name__}."
    raise ExportStoreError(message, outcome=Outcome.NOT_APPLIED)
