"""Reports of what is booked or refused: in batches, each read afresh just before."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

from brex_accounting.errors import BrexError
from brex_accounting.models import ExportFailed, ExportResult, ExportSucceeded, ReportOutcome

from . import _machine as machine
from ._brex import BATCH, Look
from ._entries import ExportEntry
from ._portion import Portion
from ._work import INSTANT, Change, Tasks, Work

LINGER = 1.0
"""Seconds that what is booked waits for more to be reported with it, as long as more is being booked."""
REPORTS_AT_ONCE = 4

Decide: TypeAlias = Callable[[Sequence[ExportEntry], dict[str, Look]], Coroutine[Any, Any, None]]


class Reporter:
    """Reports what it is given. `decide` takes what it cannot report; `is_busy` says whether more will come."""

    def __init__(self, work: Work, decide: Decide, is_busy: Callable[[], bool]) -> None:
        self.pending = dict[str, ExportEntry]()
        self._since = 0.0
        """When the longest pending came."""
        self._work = work
        self._decide = decide
        self._is_busy = is_busy
        self._portion = Portion(BATCH)
        self._reporters = Tasks()
        self._kicked = asyncio.Event()
        work.listeners.append(self._kicked.set)

    def add(self, entries: Sequence[ExportEntry]) -> None:
        if entries and not self.pending:
            self._since = self._work.clock.monotonic()
        self.pending.update((entry.record_id, entry) for entry in entries)
        self._kicked.set()

    async def run(self) -> None:
        """Report a whole batch, or what there is when no more comes. Ends when the run stops and all is reported."""
        itself = asyncio.current_task()
        while True:
            self._kicked.clear()
            others = self._work.calls or self._work.closers - self._reporters - {itself}
            quiet = not others and (self._work.stopping.is_set() or not self._is_busy())
            timeout = None
            if not self.pending:
                if self._work.stopping.is_set() and quiet and not self._reporters:
                    return
            elif len(self._reporters) < REPORTS_AT_ONCE:
                timeout = self._since + LINGER - self._work.clock.monotonic()
                if len(self.pending) >= BATCH or quiet or timeout < INSTANT or self._work.stopping.is_set():
                    self._start()
                    continue
            with suppress(TimeoutError):
                await asyncio.wait_for(self._kicked.wait(), timeout)

    def _start(self) -> None:
        batch = [self.pending.pop(each) for each in list(self.pending)[: self._portion.most]]
        self._since = self._work.clock.monotonic()
        for part in self._portion.split(batch):
            task = self._work.spawn(self._report(part), self._work.closers)
            self._reporters.add(task)
            task.add_done_callback(self._reporters.discard)

    async def _report(self, entries: Sequence[ExportEntry]) -> None:
        if not await self._work.ready_for_brex("report"):
            self._work.done(*entries)
            return
        looks = await self._work.look(entries)
        if looks is None:
            return
        ready = await self._sort_out(entries, looks)
        if ready:
            outcomes = await self._work.brex.records.report_all([_result(entry) for entry in ready.values()])
            await self._conclude(ready, outcomes)

    async def _sort_out(self, entries: Sequence[ExportEntry], looks: dict[str, Look]) -> dict[str, ExportEntry]:
        """Return what is to be reported as Brex shows it now; let the rest go its way."""
        now = self._work.clock.wall()
        ready, rest = dict[str, ExportEntry](), list[ExportEntry]()
        for entry in entries:
            step = machine.decide(entry, looks[entry.record_id].seen, now, self._work.rules)
            if step.do == "report" and step.entry is not None:
                ready[entry.record_id] = step.entry
            else:
                rest.append(entry)
        await self._decide(rest, looks)
        return ready

    async def _conclude(self, entries: dict[str, ExportEntry], outcomes: Sequence[ReportOutcome]) -> None:
        """Save what came of a report; let go of what got no definite answer."""
        now = self._work.clock.wall()
        changed, unanswered = list[Change](), list[ExportEntry]()
        problem: BrexError | None = None
        for outcome in outcomes:
            entry = entries[outcome.record_id]
            if outcome.status in {"not_applied", "unknown"}:
                unanswered.append(entry)
                problem = problem or outcome.error
            else:
                message = f"Brex: {outcome.status}"
                changed.append(
                    (entry, machine.after_report(entry, outcome.status, message, now, self._work.rules).entry)
                )
        await self._work.save(changed)
        self._work.done(*(entry for entry, _ in changed))
        if not unanswered:
            self._portion.succeeded(entries)
            self._work.brex_succeeded("report")
            return
        looks = await self._work.look(unanswered)  # one that left READY_FOR_EXPORT says what came of its report
        left = {} if looks is None else await self._sort_out(unanswered, looks)
        if left:
            problem = problem or BrexError("No answer said whether the report was taken.")
            await self._work.let_go("report", list(left.values()), self._portion, problem)


def _result(entry: ExportEntry) -> ExportResult:
    if entry.state == "refused":
        return ExportFailed(entry.record_id, entry.message or "")
    return ExportSucceeded(entry.record_id, entry.reference_id, entry.deep_link_url)
