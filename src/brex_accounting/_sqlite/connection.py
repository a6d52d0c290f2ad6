"""One connection to a SQLite file, in a thread of its own: what comes together is committed together."""

from __future__ import annotations

import asyncio
import copy
import errno
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

from brex_accounting.errors import BrexError

from . import process
from .files import BUSY, code_of

MOST_AT_ONCE = 256
"""Jobs in one transaction."""
_ROLLED_BACK = {*BUSY, sqlite3.SQLITE_FULL}
"""Why a commit fails and certainly changes nothing."""

T = TypeVar("T")


@dataclass(slots=True)
class _Job(Generic[T]):
    work: Callable[[sqlite3.Connection], T] | None
    """None: close the connection."""
    writes: bool = False
    result: Future[T] = field(default_factory=Future)


class Connection:
    """Does what it is given with one file, in a thread of its own.

    The thread starts with the first job. It and the connection end when nothing came for a while, and start again with
    the next job. What was begun is done to its end: whoever awaits a job and is cancelled waits for it, and so does the
    interpreter when it ends. A fork waits for the job under way and closes the connection, since SQLite's must not be
    carried into another process.

    Args:
        path: The file.
        open_: Opens it.
        explain: Makes an error for callers of what went wrong, given also whether it may have been committed.
        linger: Seconds until an idle connection ends.
        lost: Makes the error to raise, once, when the file was removed or replaced. None: what is there now is opened.
    """

    def __init__(
        self,
        path: Path,
        open_: Callable[[], sqlite3.Connection],
        explain: Callable[[BaseException, bool], BaseException],
        *,
        linger: float,
        lost: Callable[[], Exception] | None = None,
    ) -> None:
        self._path = path
        self._open = open_
        self._explain = explain
        self._linger = linger
        self._lost = lost
        self._database: sqlite3.Connection | None = None
        self._file: os.stat_result | None = None
        self.opened = 0
        """How often it was opened."""
        self._jobs: deque[_Job[Any]] = deque()
        self._thread: threading.Thread | None = None
        self._arrival = threading.Condition(process.lock)
        self._serving = threading.Lock()

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do this in a transaction, together with others; it is on the disk when this returns."""
        return await self._do(_Job(work, writes=True))

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do this."""
        return await self._do(_Job(work))

    async def aclose(self) -> None:
        """Close the connection after what was begun. The next job opens it again."""
        await self._do(_Job[None](None))

    async def _do(self, job: _Job[T]) -> T:
        if process.is_inside():
            problem, unknown = OSError(errno.EDEADLK, os.strerror(errno.EDEADLK)), False
            raise self._explain(problem, unknown)
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        job.result.add_done_callback(lambda _: _wake(loop, done))
        self._put(job)
        cancellation = None
        while not done.done():
            try:
                await asyncio.wait([done])
            except asyncio.CancelledError as error:
                cancellation = error
        if cancellation is not None:
            raise cancellation
        return job.result.result()

    def _put(self, job: _Job[Any]) -> None:
        with process.lock:
            self._jobs.append(job)
            self._arrival.notify()
            if self._thread is not None:
                return
            process.running.add(self)
            thread: threading.Thread = process.Thread(target=self._run, name="brex-accounting-sqlite", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no more threads: better the loop stands still for a moment than a token is lost
                thread = threading.current_thread()
            self._thread = thread
        if thread is threading.current_thread():
            try:
                self._run(linger=0.0)
            except BaseException:  # a signal's handler raised: the next job starts anew
                with process.lock:
                    self._close()
                    self._thread = None
                    process.running.discard(self)
                raise

    def _run(self, *, linger: float | None = None) -> None:
        while True:
            jobs = self._next(self._linger if linger is None else linger)
            with process.places, self._serving:
                if jobs:
                    self._serve(jobs)
                else:
                    self._close()
            if not jobs and self._leave():
                return
            del jobs  # they may hold tokens

    def _next(self, linger: float) -> list[_Job[Any]]:
        """Take the jobs that have come together; none: nothing came for a while."""
        with process.lock:
            if not self._jobs and self._database is not None:
                self._arrival.wait(linger)
            return [self._jobs.popleft() for _ in range(min(len(self._jobs), MOST_AT_ONCE))]

    def _leave(self) -> bool:
        with process.lock:
            if self._jobs:
                return False
            self._thread = None
            process.running.discard(self)
            return True

    def _serve(self, jobs: Sequence[_Job[Any]]) -> None:
        """Do these jobs, first those that write."""
        if writing := [job for job in jobs if job.writes]:
            self._transact(writing)
        reading: Sequence[_Job[Any]] = [job for job in jobs if job.work is not None and not job.writes]
        while reading:
            reading = self._read(reading)
        for job in jobs:
            if job.work is None:
                self._close()
                self._file = None
                job.result.set_result(None)

    def _transact(self, jobs: Sequence[_Job[Any]]) -> None:
        """Do all of these in one transaction; if one of them fails, each in a transaction of its own."""
        step = "open"
        try:
            database = self._opened()
            database.execute("BEGIN IMMEDIATE")
            step = "work"
            results = [job.work(database) for job in jobs if job.work is not None]
            step = "commit"
            database.execute("COMMIT")
        except BaseException as error:  # noqa: BLE001 - whatever it is, callers wait for an end
            problem = error
        else:
            for job, result in zip(jobs, results, strict=True):
                job.result.set_result(result)
            return
        code = code_of(problem) if isinstance(problem, sqlite3.Error) else None
        self._roll_back(problem)
        if len(jobs) > 1 and (code == sqlite3.SQLITE_FULL or (step == "work" and code not in BUSY)):
            for job in jobs:
                self._transact([job])
        else:
            self._fail(jobs, problem, unknown=step == "commit" and code not in _ROLLED_BACK)
        del problem  # or its traceback would keep these jobs alive, which may hold tokens

    def _read(self, jobs: Sequence[_Job[Any]]) -> Sequence[_Job[Any]]:
        """Do the first of these, and return what is left to do."""
        job, *rest = jobs
        assert job.work is not None  # noqa: S101 - for the type checker
        try:
            result = job.work(self._opened())
        except BaseException as error:  # noqa: BLE001 - whatever it is, callers wait for an end
            problem = error
        else:
            job.result.set_result(result)
            return rest
        self._roll_back(problem)
        if isinstance(problem, sqlite3.Error):  # it took long, and would fail again
            self._fail(jobs, problem)
            return ()
        self._fail([job], problem)
        return rest

    def _fail(self, jobs: Sequence[_Job[Any]], problem: BaseException, *, unknown: bool = False) -> None:
        problem = self._explain(problem, unknown)
        for job in jobs:
            ours = isinstance(problem, (BrexError, OSError))
            job.result.set_exception(copy.copy(problem) if ours else problem)  # each its own, without our frames

    def _opened(self) -> sqlite3.Connection:
        """Return the connection. SQLite would go on writing to a file that was removed or replaced."""
        if self._file is not None and not self._is_same_file(self._file):
            self._close()
            self._file = None
            if self._lost is not None:
                raise self._lost()
        if self._database is None:
            process.close_idle(self)
            self._database = self._open()
            self.opened += 1
            self._file = self._path.stat()
        return self._database

    def _is_same_file(self, file: os.stat_result) -> bool:
        try:
            return os.path.samestat(file, self._path.stat())
        except FileNotFoundError:
            return False

    def _roll_back(self, problem: BaseException) -> None:
        if isinstance(problem, (sqlite3.Error, OSError)):
            self._close()
        elif self._database is not None and self._database.in_transaction:
            with suppress(sqlite3.Error):
                self._database.execute("ROLLBACK")

    def _close(self) -> None:
        database, self._database = self._database, None
        if database is not None:
            with suppress(sqlite3.Error), closing(database):
                if database.in_transaction:
                    database.execute("ROLLBACK")

    def finish(self) -> None:
        """Wait until what was begun is done."""
        job = _Job[None](None)
        self._put(job)
        job.result.result()

    @property
    def is_open(self) -> bool:
        return self._database is not None

    def hold(self, *, blocking: bool = True) -> bool:
        """Close the connection when no job is under way, and begin none until `go_on`; return whether that was so."""
        held = self._serving.acquire(blocking=blocking)
        if held:
            self._close()
        return held

    def go_on(self) -> None:
        self._serving.release()

    def reset(self) -> None:
        """In a new process: the thread and its jobs are those of the process that forked."""
        self._jobs, self._thread = deque(), None
        self._arrival, self._serving = threading.Condition(process.lock), threading.Lock()


def _wake(loop: asyncio.AbstractEventLoop, done: asyncio.Future[None]) -> None:
    with suppress(RuntimeError):  # the loop was closed: nobody waits any more
        loop.call_soon_threadsafe(done.set_result, None)
