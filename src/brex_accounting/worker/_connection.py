"""One thread with one SQLite connection: writes that come together are committed together."""

from __future__ import annotations

import asyncio
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from brex_accounting.errors import ConfigurationError, Outcome

from ._entries import ExportStoreError, StoreLostError

MOST_AT_ONCE = 256
"""Jobs in one transaction."""
_ADVICE = {
    sqlite3.SQLITE_FULL: ": the disk is full; make room",
    sqlite3.SQLITE_BUSY: ": another process holds it; it is tried again",
    sqlite3.SQLITE_READONLY: ": it is read-only; make it writable",
    sqlite3.SQLITE_CANTOPEN: ": the folder or the file cannot be opened",
}
_ROLLED_BACK = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY}
"""Why a commit fails and certainly changes nothing."""
_LASTING = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISUSE}

T = TypeVar("T")


@dataclass(slots=True)
class _Job(Generic[T]):
    work: Callable[[sqlite3.Connection], T]
    writes: bool
    result: Future[T] = field(default_factory=Future)


class Connection:
    """Does what it is given with the database, in a thread of its own that starts with the first job.

    `open` makes the connection, in that thread. Whoever awaits a job and is cancelled waits for its end all the same.
    """

    def __init__(self, path: Path, open_: Callable[[], sqlite3.Connection]) -> None:
        self._path = path
        self._open = open_
        self._jobs: queue.SimpleQueue[_Job[Any] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="brex-accounting-exports", daemon=True)
        self._guard = threading.Lock()
        self._ended = False

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do this in a transaction, together with others; on the disk when it returns. Raises ExportStoreError."""
        return await self._do(_Job(work, writes=True))

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do this. Raises ExportStoreError."""
        return await self._do(_Job(work, writes=False))

    async def aclose(self) -> None:
        """Close the connection after what was begun."""
        self.end()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join)

    def end(self) -> None:
        with self._guard:
            self._ended = True
            self._jobs.put(None)

    async def _do(self, job: _Job[T]) -> T:
        self._put(job)
        done = asyncio.wrap_future(job.result)
        cancellation = None
        while not done.done():
            try:
                await asyncio.wait([done])
            except asyncio.CancelledError as error:
                cancellation = error
        if cancellation is not None:
            done.exception()  # or asyncio complains that nobody looked
            raise cancellation
        return done.result()

    def _put(self, job: _Job[Any]) -> None:
        with self._guard:
            problem = "the store was closed" if self._ended else None
            if problem is None and self._thread.ident is None:
                try:
                    self._thread.start()
                except RuntimeError:
                    problem = "no thread can be started"
            if problem is None:
                self._jobs.put(job)
                return
        raise ExportStoreError(f"{self._path} cannot be used: {problem}.", outcome=Outcome.NOT_APPLIED)

    def _run(self) -> None:
        database: _Database | None = None
        try:
            while (jobs := self._next()) is not None:
                database = self._serve(jobs, database)
                del jobs  # they refer to the store, which ends this thread when nobody refers to it any more
        finally:
            if database is not None:
                database.close()

    def _next(self) -> list[_Job[Any]] | None:
        """Wait for a job, and take those that wait with it. None: it is over."""
        first = self._jobs.get()
        if first is None:
            return None
        jobs = [first]
        with suppress(queue.Empty):
            while len(jobs) < MOST_AT_ONCE:
                job = self._jobs.get_nowait()
                if job is None:
                    self._jobs.put(None)
                    break
                jobs.append(job)
        return jobs

    def _serve(self, jobs: Sequence[_Job[Any]], database: _Database | None) -> _Database | None:
        """Do these jobs; return the connection for the next ones, unless it failed."""
        problem: Exception
        try:
            database = database or _Database(self._path, self._open())
            database.serve(jobs)
        except sqlite3.Error as error:
            problem = explain(error, self._path)
        except OSError as error:
            words = error.strerror or type(error).__name__
            problem = ExportStoreError(f"{self._path} cannot be used: {words}.", outcome=Outcome.NOT_APPLIED)
        except (ExportStoreError, ConfigurationError) as error:
            problem = error
        else:
            return database
        if database is not None:
            database.close()
        for job in jobs:
            if not job.result.done():
                job.result.set_exception(problem)
        return None


class _Database:
    """A connection, and the file that it was made to."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._path = path
        try:
            self._file = path.stat()
        except OSError:
            connection.close()
            raise

    def serve(self, jobs: Sequence[_Job[Any]]) -> None:
        """Do these jobs, first those that write. Raises sqlite3.Error, ExportStoreError."""
        self._check()
        self._write([job for job in jobs if job.writes])
        for job in jobs:
            if not job.writes:
                _settle(job, self._connection)

    def _check(self) -> None:
        """Raise StoreLostError when the file was removed or replaced: SQLite would go on writing to what is gone."""
        try:
            there = os.path.samestat(self._file, self._path.stat())
        except FileNotFoundError:
            there = False
        if not there:
            message = f"{self._path} was removed or replaced: what it held is lost, unless there is a copy."
            raise StoreLostError(message, outcome=Outcome.NOT_APPLIED)

    def _write(self, jobs: Sequence[_Job[Any]]) -> None:
        """Do all of these in one transaction; one that fails leaves the others alone. Raises sqlite3.Error."""
        if not jobs:
            return
        try:
            results = self._transact(jobs)
        except sqlite3.Error:
            raise
        except ExportStoreError as error:
            if error.outcome is Outcome.UNKNOWN:
                raise
            problem: Exception = error
        except Exception as error:  # noqa: BLE001 - it is raised where the result is awaited
            problem = error
        else:
            for job, result in zip(jobs, results, strict=True):
                job.result.set_result(result)
            return
        if len(jobs) == 1:
            jobs[0].result.set_exception(problem)
        for job in jobs if len(jobs) > 1 else ():  # one of them failed, which is rare: each in a transaction of its own
            self._write([job])

    def _transact(self, jobs: Sequence[_Job[Any]]) -> list[Any]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            results = [job.work(self._connection) for job in jobs]
        except BaseException:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise
        problem = None
        try:
            self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            if _code(error) in _ROLLED_BACK:
                raise
            problem = explain(error, self._path, Outcome.UNKNOWN)  # such as an fsync that failed
        if problem is not None:
            raise problem
        return results

    def close(self) -> None:
        with suppress(sqlite3.Error), closing(self._connection):
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")


def _settle(job: _Job[Any], connection: sqlite3.Connection) -> None:
    """Do one read. Raises sqlite3.Error."""
    try:
        job.result.set_result(job.work(connection))
    except sqlite3.Error:
        raise
    except Exception as error:  # noqa: BLE001 - it is raised where the result is awaited
        job.result.set_exception(error)


def explain(error: sqlite3.Error, path: Path, outcome: Outcome = Outcome.NOT_APPLIED) -> ExportStoreError:
    """Say what happened without SQLite's own words, some of which repeat what is stored."""
    name = getattr(error, "sqlite_errorname", type(error).__name__)
    code = _code(error)
    if code in _LASTING:
        message = f"{path} is damaged, or not a store of exports ({name}): move it away, or bring back a copy."
        return StoreLostError(message, outcome=outcome)
    advice = _ADVICE.get(code, "")
    return ExportStoreError(f"{path} cannot be used: {name}{advice}.", outcome=outcome)


def _code(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_MISUSE)) & 0xFF
