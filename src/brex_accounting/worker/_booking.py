"""Calls of the ERP: so many at a time, each with its intent on the disk before and its result after."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from . import _erp
from . import _machine as machine
from ._answers import Answer, Doubt, Nothing
from ._breaker import Breaker
from ._brex import Look
from ._entries import ExportEntry
from ._machine import Next
from ._trouble import log
from ._work import Work

LOOK_EVERY = 1.0
"""Seconds between two looks at the jobs while the ERP is away."""
FRESH = 5.0
"""Seconds for which a record that was read may wait for its booking; then it is read again."""


@dataclass(frozen=True, slots=True)
class Job:
    """A record that is to be booked, or asked for."""

    entry: ExportEntry
    look: Look
    do: Literal["book", "find"]


class Booker:
    """Works off jobs; hands what is booked or refused to `report`."""

    def __init__(self, work: Work, report: Callable[[Sequence[ExportEntry]], None]) -> None:
        self.jobs = deque[Job]()
        self.sent = dict[str, float]()
        """By record, when its request that is in doubt went out, on the monotonic clock."""
        self.cut = list[ExportEntry]()
        """The doubts of calls that were cut off by the end of the run."""
        self._work = work
        self._options = work.options
        self._clock = work.clock
        self._report = report
        self._breaker = Breaker(work.options.concurrency, work.clock)
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start calls for which there is room now."""
        work = self._work
        while self.jobs and not work.stopping.is_set():
            stale = self._is_stale(self.jobs[0].look)
            calls = len(work.calls)
            if not stale and (calls >= self._options.concurrency or not self._breaker.allows(calls)):
                break
            job = self.jobs.popleft()
            if stale:
                work.active.discard(job.entry.record_id)
            else:
                work.spawn(self._perform(job), work.calls)
        if self.jobs and self._breaker.open and not work.calls and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK_EVERY, self._look_again)

    def _look_again(self) -> None:
        self._timer = None
        self._work.kick()

    def close(self) -> None:
        """Leave nothing behind in the event loop."""
        if self._timer is not None:
            self._timer.cancel()

    @property
    def erp_is_away(self) -> bool:
        return self._breaker.open

    def elapsed(self, record_id: str) -> float | None:
        """Return the seconds since the request in doubt went out, if this process sent it."""
        sent = self.sent.get(record_id)
        return None if sent is None else self._clock.monotonic() - sent

    def _is_stale(self, look: Look) -> bool:
        return self._clock.monotonic() - look.at > FRESH

    async def _perform(self, job: Job) -> None:
        entry = job.entry
        assert job.look.record is not None  # noqa: S101 - only what can be read is booked
        if job.do == "find":
            assert self._options.find is not None  # noqa: S101 - the machine asks for it only then
            answer = await _erp.find(self._options.find, job.look.record, self._options.book_timeout)
            self._judge(entry, answer, failed=isinstance(answer, Doubt))
            step = machine.after_find(entry, answer, job.look.seen, self._clock.wall(), self._work.rules)
            if step.do != "book" or self._is_stale(job.look) or self._work.stopping.is_set():
                self._work.spawn(self._close(entry, step), self._work.closers)
                return
            assert step.entry is not None  # noqa: S101 - what is booked is not forgotten
            entry = step.entry
        await self._book(entry, job.look)

    async def _book(self, entry: ExportEntry, look: Look) -> None:
        intent = machine.intend(entry, look.seen, self._clock.wall(), self._work.rules)
        if not await self._work.save_now(intent):
            self._work.done(entry)
            return
        if self._work.stopping.is_set():  # nothing went out
            self._work.spawn(self._close(intent, Next(entry)), self._work.closers)
            return
        sent = self._clock.monotonic()

        def conclude(answer: Answer) -> ExportEntry:
            self.sent[entry.record_id] = sent
            elapsed = self._clock.monotonic() - sent
            return machine.after_book(intent, answer, self._clock.wall(), self._work.rules, elapsed)

        assert look.record is not None  # noqa: S101 - see _perform
        try:
            answer = await _erp.book(self._options.book, look.record, self._options.book_timeout)
        except asyncio.CancelledError:
            self.cut.append(conclude(Doubt("the worker was stopped during the call")))
            raise
        self._judge(entry, answer, failed=isinstance(answer, (Doubt, Nothing)))
        result = conclude(answer)
        step = Next(result, "report" if result.state in {"booked", "refused"} else "nothing")
        self._work.spawn(self._close(intent, step), self._work.closers)

    async def _close(self, entry: ExportEntry, step: Next) -> None:
        """Save what came of a call, however long that takes, and go on with it. The next call need not wait for it."""
        await self._work.save([(entry, step.entry)])
        if step.entry is None or step.entry.state != "in_doubt":
            self.sent.pop(entry.record_id, None)
        if step.do == "report" and step.entry is not None:
            self._report([step.entry])
        else:
            self._work.done(entry)

    def _judge(self, entry: ExportEntry, answer: Answer, *, failed: bool) -> None:
        """Say what is in doubt, and notice when the ERP as a whole fails."""
        if isinstance(answer, Doubt):
            log.warning("%s: %s.", entry.record_id, answer.message)
        if failed:
            self._breaker.failed(entry.record_id)
        else:
            self._breaker.succeeded()
