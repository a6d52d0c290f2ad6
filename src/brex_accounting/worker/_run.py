"""One run of a worker, from its start to its end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress

from brex_accounting._clock import Clock
from brex_accounting.client import BrexAccounting

from ._booking import Booker
from ._brex import Look
from ._entries import ExportEntry, ExportStoreError, StoreLostError, WorkerRunningError
from ._feeding import Feeder
from ._options import Options
from ._reporting import Reporter
from ._store import ExportStore
from ._work import INSTANT, Tasks, Work, end


class Run:
    """Works until it is to stop, or with `once` until nothing is due.

    A record goes from the feeder, which reads it, to the booker, which books it, to the reporter, which reads it once
    more and reports it; the store knows each step.
    """

    def __init__(
        self, brex: BrexAccounting, store: ExportStore, options: Options, clock: Clock, *, once: bool, poll: bool
    ) -> None:
        self._poll = poll
        self._work = Work(brex, store, options, clock, once=once)
        self._reporter = Reporter(self._work, self._decide, self._is_busy)
        self._booker = Booker(self._work, self._reporter.add)
        self._feeder = Feeder(self._work, self._booker, self._reporter, poll=poll)
        self._work.listeners.append(self._booker.start)

    @property
    def stopping(self) -> asyncio.Event:
        """Set it to end the run."""
        return self._work.stopping

    async def work(self, budget: float | None = None) -> None:
        """Work. Raises what ended it, unless that was `stopping` or the budget (seconds)."""
        work = self._work
        loops = Tasks()
        work.spawn(self._feeder.run(), loops)
        if self._poll:
            work.spawn(self._feeder.poll(), loops)
        work.spawn(self._reporter.run(), work.closers)
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), budget)
            self.stopping.set()
            await self._wind_down(loops)
        finally:
            self.stopping.set()
            await end({*loops, *work.readers, *work.calls, *work.closers})
            self._booker.close()
            await self._save_doubts()
        if work.fatal is not None:
            raise work.fatal

    async def _wind_down(self, loops: Iterable[asyncio.Task[None]]) -> None:
        """Let what is under way come to its end, as long as the grace lasts."""
        work = self._work
        await end({*loops, *work.readers})
        self._booker.jobs.clear()
        work.kick()
        lost = isinstance(work.fatal, (WorkerRunningError, StoreLostError))
        until = work.clock.monotonic() + (0.0 if lost else work.options.stop_grace)
        while (waiting := work.calls | work.closers) and (left := until - work.clock.monotonic()) > INSTANT:
            await asyncio.wait(waiting, timeout=left, return_when=asyncio.FIRST_COMPLETED)

    async def _save_doubts(self) -> None:
        """Save as in doubt what the end has cut off; the intent on the disk would mean the same."""
        if self._booker.cut:
            with suppress(ExportStoreError):
                await self._work.store.save(self._booker.cut)
                for entry in self._booker.cut:
                    self._work.tell(entry)

    async def _decide(self, entries: Sequence[ExportEntry], looks: dict[str, Look]) -> None:
        await self._feeder.decide(entries, looks)

    def _is_busy(self) -> bool:
        """Return whether something will soon be booked."""
        return bool(self._booker.jobs or self._feeder.reading)
