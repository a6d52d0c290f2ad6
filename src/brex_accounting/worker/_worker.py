"""The worker, as its author holds it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from types import FrameType

from brex_accounting._arguments import check_flag, check_positive
from brex_accounting._clock import Clock
from brex_accounting.client import BrexAccounting
from brex_accounting.errors import ConfigurationError
from brex_accounting.models import AccountingRecord, ExportFailed, ExportSucceeded

from ._entries import ExportEntry
from ._options import Options
from ._run import Run
from ._store import ExportStore


class ExportWorker:
    """Books each record once and reports it once, for the account of `brex`, whatever dies in between.

    ::

        async def book(record: AccountingRecord) -> str:            # the ERP's reference
            ...

        async def find(record: AccountingRecord) -> str | None:     # under which the ERP has record.id, or None
            ...

        async with BrexAccounting() as brex:
            await ExportWorker(brex, book, SQLiteExportStore("export.db"), find=find).run(signals=True)

    `book` ends in one of four ways:

    - It returns a reference (a string) or an ExportSucceeded: the ERP has the record.
    - It returns an ExportFailed: the ERP refused it. Its people at Brex are told, and it comes again once it is ready
      again.
    - It raises NotBookedError: the ERP certainly has nothing. It is tried again later.
    - It raises anything else, or `book_timeout` passes: the ERP may have it. The record is in doubt.

    A doubt is settled `settle_after` later, by what you can offer:

    - `find`: the ERP is asked. It is asked, too, before a record is booked that is older than the store, whose
      predecessor may have booked it.
    - `upsert=True`: `book` is called again; under `record.id` it makes one entry, or brings it up to date. Then edits
      at Brex after the booking are followed as well.
    - Neither: the record is held until a person settles it (`store.settle`).

    Nothing is promised against an ERP that shows a booking later than `settle_after`, nor against a process that was
    frozen in a call of `book` for longer than that: a unique key on `record.id` in the ERP closes both.

    Args:
        brex: The client of the account.
        book: Books a record. It is cancelled when `book_timeout` passes.
        store: Where to keep how far each record is: one store for each account.
        find: Returns the reference under which the ERP has the record, or None.
        upsert: Whether `book` may be called again for the same record.
        concurrency: Calls of `book` and `find` at a time.
        book_timeout: Seconds for one call of `book` or `find`.
        settle_after: Seconds; the longest that the ERP may take to show what a request that was cut off has booked. It
            counts from when the request went out, over restarts. At least `book_timeout`.
        max_attempts: How often a record is tried; then it is held.
        initial_backoff: Seconds before a record is tried again; doubled with each attempt.
        max_backoff: The longest of these, in seconds.
        poll_every: Seconds between polls, beside the one at the start.
        bills_since: How far back the first poll looks for bills. None: all of them.
        bills_overlap: How far behind the latest `updated_at` seen each poll of the bills begins.
        stop_grace: Seconds that calls under way have to end when the worker stops.
        on_change: Called, not awaited, with each state of a record once it is on the disk, for metrics and logs. What
            it raises is logged and ignored.

    Raises:
        ConfigurationError: An argument cannot be right.
    """

    _clock = Clock()

    def __init__(
        self,
        brex: BrexAccounting,
        book: Callable[[AccountingRecord], Awaitable[str | ExportSucceeded | ExportFailed]],
        store: ExportStore,
        *,
        find: Callable[[AccountingRecord], Awaitable[str | ExportSucceeded | None]] | None = None,
        upsert: bool = False,
        concurrency: int = 8,
        book_timeout: float = 60.0,
        settle_after: float = 120.0,
        max_attempts: int = 10,
        initial_backoff: float = 5.0,
        max_backoff: float = 3600.0,
        poll_every: float = 3600.0,
        bills_since: datetime | None = None,
        bills_overlap: timedelta = timedelta(days=1),
        stop_grace: float = 20.0,
        on_change: Callable[[ExportEntry], None] | None = None,
    ) -> None:
        if not hasattr(brex, "records"):
            raise ConfigurationError("brex must be a BrexAccounting.")
        if not hasattr(store, "next_due"):
            raise ConfigurationError("store must be an ExportStore, such as SQLiteExportStore(path).")
        self._brex = brex
        self._store = store
        self._options = Options.of(
            book=book,
            find=find,
            upsert=upsert,
            concurrency=concurrency,
            book_timeout=book_timeout,
            settle_after=settle_after,
            max_attempts=max_attempts,
            initial_backoff=initial_backoff,
            max_backoff=max_backoff,
            poll_every=poll_every,
            bills_since=bills_since,
            bills_overlap=bills_overlap,
            stop_grace=stop_grace,
            on_change=on_change,
        )
        self._running: tuple[asyncio.AbstractEventLoop, Run] | None = None
        self._stop_asked = False

    async def run(self, *, signals: bool = False) -> None:
        """Work until `stop`. What Brex, the network or a full disk do is waited out.

        Args:
            signals: Whether SIGTERM and SIGINT stop it; a second one ends the process as usual. Works in the main
                thread.

        Raises:
            WorkerRunningError: Another worker is at this account, or has taken over.
            ReauthorizationRequiredError: The customer must consent again.
            ConfigurationError: The client was closed, or the store's file cannot be right.
            ExportStoreError: The store cannot be opened, or is lost for good.
        """
        with self._signals() if check_flag(signals, "signals") else _no_signals():
            await self._work(once=False, poll=True, budget=None)

    async def drain(self, *, budget: float, poll: bool = True) -> float | None:
        """Poll, and work off what is due: for cron jobs and job queues.

        Args:
            budget: Seconds after which no more is begun. Calls under way have `stop_grace` then.
            poll: Whether to poll first; without it, only what was noted is worked on.

        Returns:
            The seconds until something is due again; None: nothing is left to do, or only a person can do it.

        Raises:
            BrexError: What stands in the way. The store knows how far the work got.
        """
        seconds = check_positive(budget, "budget")
        await self._work(once=True, poll=check_flag(poll, "poll"), budget=seconds)
        now = self._clock.wall()
        due = await self._store.next_due(now)
        return None if due is None else max(due - now, 0.0)

    def stop(self) -> None:
        """End soon: no new bookings; those under way have `stop_grace`, and what is booked is reported.

        It returns at once, and may be called from any thread or signal handler. Called before `run`, it ends the next
        run at its start.
        """
        self._stop_asked = True
        running = self._running
        if running is not None:
            loop, run = running
            with suppress(RuntimeError):  # the loop has ended just now
                loop.call_soon_threadsafe(run.stopping.set)

    async def _work(self, *, once: bool, poll: bool, budget: float | None) -> None:
        async with self._store.lock():
            run = Run(self._brex, self._store, self._options, self._clock, once=once, poll=poll)
            self._running = (asyncio.get_running_loop(), run)
            try:
                if self._stop_asked:
                    run.stopping.set()
                await run.work(budget)
            finally:
                self._running = None
                self._stop_asked = False

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Stop at the first signal; leave the second to whoever handled them before."""
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.getsignal(number) for number in numbers}

        def restore() -> None:
            for number, handler in before.items():
                signal.signal(number, handler)

        def handle(_number: int, _frame: FrameType | None) -> None:
            restore()
            self.stop()

        problem: ValueError | None = None
        try:
            for number in numbers:
                if before[number] is not signal.SIG_IGN:
                    signal.signal(number, handle)
        except ValueError as error:
            problem = error
        if problem is not None:
            raise ConfigurationError("signals=True works in the main thread only: call stop() instead.")
        try:
            yield
        finally:
            restore()


@contextmanager
def _no_signals() -> Iterator[None]:
    yield
