"""What comes in: polls, and what is due, read afresh as fast as it is booked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from brex_accounting.errors import BrexError

from . import _brex
from . import _machine as machine
from ._booking import Booker, Job
from ._brex import BATCH, Look
from ._entries import ExportEntry, ExportStoreError
from ._reporting import Reporter
from ._work import LONGEST_WAIT, Change, Work, end

READS_AT_ONCE = 4
WITHOUT_ERP = {"booked", "refused", "exported", "returned"}
"""States in which Brex is looked at first."""
ACTIVE_PAUSE = 0.02
"""Seconds between two looks into the store while records are worked on: each that is done asks for one."""


class Feeder:
    """Reads what is due, decides, and hands it on."""

    def __init__(self, work: Work, booker: Booker, reporter: Reporter, *, poll: bool) -> None:
        self.reading = 0
        """Records that are being read."""
        self._work = work
        self._booker = booker
        self._reporter = reporter
        self._polling = poll
        self._kicked = asyncio.Event()
        work.listeners.append(self._kicked.set)

    async def poll(self) -> None:
        """Poll now and then; with `once`, now."""
        options = self._work.options
        while await self._work.ready_for_brex("poll"):
            problem: BrexError | None = None
            self._polling = True
            try:
                await _brex.poll(self._work.brex, self._work.store, options.bills_since, options.bills_overlap)
            except BrexError as error:
                problem = error
            if isinstance(problem, ExportStoreError):
                await self._work.store_failed("note", problem)
                continue
            self._work.store_succeeded("note")
            if problem is not None:
                self._work.brex_failed("poll", problem)
                continue
            self._work.brex_succeeded("poll")
            self._polling = False
            self._work.kick()
            if self._work.once:
                return
            await self._work.clock.sleep(options.poll_every)

    async def run(self) -> None:
        """Take up what is due. With `once`, stop the run when nothing is."""
        while await self._work.ready_for_brex("read"):
            self._kicked.clear()
            entries = await self._take()
            if entries is None:
                await self._kicked.wait()
            elif entries:
                await self._receive(entries)
            elif self._work.once and not self._polling and not self._work.active:
                self._work.stopping.set()
                return
            else:
                await self._idle()

    async def _take(self) -> list[ExportEntry] | None:
        """Return what is due and not worked on. None: there is no room for more."""
        work = self._work
        ahead = self.reading + len(self._booker.jobs)
        room = max(2 * BATCH, 2 * work.options.concurrency) - ahead
        if room < BATCH or len(self._reporter.pending) > 10 * BATCH or len(work.readers) >= READS_AT_ONCE:
            return None
        now = work.clock.wall()
        limit = len(work.active) + BATCH
        due = await work.stored(lambda: work.store.due(now, limit, latest=work.rules.latest(now)))
        entries = [entry for entry in due if entry.record_id not in work.active][: work.reads.most]
        if self._booker.erp_is_away:  # enough for the next try, and what needs no ERP
            tries = [entry for entry in entries if entry.state not in WITHOUT_ERP][: 0 if ahead else 1]
            return tries + [entry for entry in entries if entry.state in WITHOUT_ERP]
        busy = ahead >= 2 * work.options.concurrency
        return [] if busy and self._polling and len(entries) < BATCH else entries  # more will come

    async def _receive(self, entries: Sequence[ExportEntry]) -> None:
        work = self._work
        now = work.clock.wall()
        changed, reports, looks = list[Change](), list[ExportEntry](), list[ExportEntry]()
        for entry in entries:
            step = machine.receive(entry, now, work.rules, self._booker.elapsed(entry.record_id))
            assert step.entry is not None  # noqa: S101 - nothing is forgotten before it was read
            if step.do == "nothing":
                changed += [(entry, step.entry)] if step.entry != entry else []
            else:
                (reports if step.do == "report" else looks).append(step.entry)
        work.active.update(entry.record_id for entry in (*reports, *looks))
        self.reading += len(looks)
        for part in work.reads.split(looks):
            work.spawn(self._read(part), work.readers)
        self._reporter.add(reports)
        await work.save(changed)

    async def _read(self, entries: Sequence[ExportEntry]) -> None:
        try:
            looks = await self._work.look(entries)
        finally:
            self.reading -= len(entries)
        if looks is not None:
            await self.decide(entries, looks)

    async def decide(self, entries: Sequence[ExportEntry], looks: dict[str, Look]) -> None:
        """Go on with each record as Brex shows it now."""
        now = self._work.clock.wall()
        changed, reports, done = list[Change](), list[ExportEntry](), list[ExportEntry]()
        for entry in entries:
            look = looks[entry.record_id]
            step = machine.decide(entry, look.seen, now, self._work.rules)
            if step.entry is not None and step.do in {"book", "find"}:
                self._booker.jobs.append(Job(step.entry, look, "book" if step.do == "book" else "find"))
                continue
            changed.append((entry, step.entry))
            if step.entry is not None and step.do == "report":
                reports.append(step.entry)
            else:
                done.append(entry)
        await self._work.save(changed)
        self._reporter.add(reports)
        self._work.done(*done)

    async def _idle(self) -> None:
        """Wait until something may be due: a time, a note from another process, or a part of this run that is done."""
        work = self._work
        timeout = 1.0
        if not work.active:
            now = work.clock.wall()
            due = await work.stored(lambda: work.store.next_due(now))
            timeout = LONGEST_WAIT if due is None else min(max(due - now, 0.0), LONGEST_WAIT)
        waits = {
            asyncio.ensure_future(work.stored(lambda: work.store.wait(timeout))),
            asyncio.ensure_future(self._kicked.wait()),
        }
        try:
            done, _ = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end(waits)
        for each in done:
            each.result()
        if work.active:
            await work.clock.sleep(ACTIVE_PAUSE)
