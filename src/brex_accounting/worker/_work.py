"""What the parts of a run share: the records that are worked on, how they are saved and read, and trouble."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, TypeAlias, TypeVar

from brex_accounting._clock import Clock
from brex_accounting.client import BrexAccounting
from brex_accounting.errors import BrexError, ConfigurationError, ReauthorizationRequiredError

from . import _brex
from . import _machine as machine
from ._brex import BATCH, Look
from ._entries import (
    FINISHED,
    EntryChangedError,
    ExportEntry,
    ExportStoreError,
    StoreLostError,
    WorkerRunningError,
)
from ._options import Options
from ._portion import Portion, Suspicion
from ._store import ExportStore
from ._trouble import Trouble, describe, log

INSTANT = 0.001
"""Seconds: what is nearer than this is now. A timer may come that much early."""
LONGEST_WAIT = 60.0
"""Seconds after which the store is asked again what is due, however the clock was set meanwhile."""

Change: TypeAlias = tuple[ExportEntry, ExportEntry | None]
"""An entry before and after; None: it is forgotten."""
Tasks: TypeAlias = set[asyncio.Task[None]]
T = TypeVar("T")


class Work:
    """A record that is worked on is in `active`: one part of the run has it, and no other touches it.

    With `once`, trouble ends the run; otherwise it is waited out.
    """

    def __init__(self, brex: BrexAccounting, store: ExportStore, options: Options, clock: Clock, *, once: bool) -> None:
        self.brex = brex
        self.store = store
        self.options = options
        self.rules = replace(options.rules, spread=clock.uniform)
        self.clock = clock
        self.once = once
        self.stopping = asyncio.Event()
        self.fatal: BaseException | None = None
        self.active = set[str]()
        self.readers, self.calls, self.closers = Tasks(), Tasks(), Tasks()
        """Tasks that read and decide, those that are in a call of the ERP, and those that save results and report. A
        stop waits for the last two."""
        self.listeners = list[Callable[[], None]]()
        """Called whenever a task has ended or a record is done."""
        self.reads = Portion(BATCH)
        self._brex_trouble = Trouble("Brex", clock)
        self._store_trouble = Trouble("The store", clock)
        self._resume_at = dict[str, float]()
        """When each part may ask Brex again: what fails for one may work for another."""

    # -- tasks --

    def fail(self, error: BaseException) -> None:
        """End the run, and raise this."""
        if self.fatal is None:
            self.fatal = error
        self.stopping.set()

    def spawn(self, work: Coroutine[Any, Any, None], group: Tasks) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        group.add(task)

        def done(task: asyncio.Task[None]) -> None:
            group.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                self.fail(error)
            self.kick()

        task.add_done_callback(done)
        return task

    def kick(self) -> None:
        """Tell all parts that something has changed."""
        for listen in self.listeners:
            listen()

    def done(self, *entries: ExportEntry) -> None:
        """Let go of these records."""
        self.active.difference_update(entry.record_id for entry in entries)
        self.kick()

    # -- the store --

    async def save(self, changes: Sequence[Change]) -> None:
        """Save, however long that takes. What a person changed meanwhile is left to them."""
        if not changes:
            return
        entries = [after for _, after in changes if after is not None]
        forget = [before for before, after in changes if after is None]
        try:
            await self.stored(lambda: self.store.save(entries, forget=forget), "save")
        except EntryChangedError:
            saved = False
        else:
            saved = True
        if saved:
            for before, after in changes:
                if after is not None and replace(after, due=before.due, handled=before.handled) != before:
                    self.tell(after)
        elif len(changes) > 1:
            for change in changes:
                await self.save([change])

    async def save_now(self, entry: ExportEntry) -> bool:
        """Save once; False: that cannot be done now, and nothing may follow from it."""
        problem: ExportStoreError
        try:
            await self.store.save([entry])
        except EntryChangedError:
            return False
        except ExportStoreError as error:
            problem = error
        else:
            self.store_succeeded("save")
            self.tell(entry)
            return True
        await self.store_failed("save", problem)
        return False

    async def stored(self, ask: Callable[[], Coroutine[Any, Any, T]], part: str = "read") -> T:
        """Ask the store until it answers. Raises EntryChangedError alone."""
        while True:
            problem: ExportStoreError
            try:
                answer = await ask()
            except EntryChangedError:
                raise
            except ExportStoreError as error:
                problem = error
            else:
                self.store_succeeded(part)
                return answer
            await self.store_failed(part, problem)

    def tell(self, entry: ExportEntry) -> None:
        """Tell the author what is on the disk."""
        if self.options.on_change is None:
            return
        try:
            self.options.on_change(entry)
        except Exception as error:  # noqa: BLE001 - somebody's metrics must not stop the books
            log.error("on_change raised %s.", describe(error))

    def store_succeeded(self, part: str) -> None:
        self._store_trouble.over(part)

    async def store_failed(self, part: str, error: ExportStoreError) -> None:
        lost = isinstance(error, (WorkerRunningError, StoreLostError))
        if self.once or lost:
            self.fail(error)
        await self.clock.sleep(LONGEST_WAIT if lost else self._store_trouble.begin(part, error))  # or until the end

    # -- Brex --

    async def look(self, entries: Sequence[ExportEntry]) -> dict[str, Look] | None:
        """Read records afresh. None: Brex gave no answer, and these are let go."""
        problem: BrexError
        ids = [entry.record_id for entry in entries]
        made_at, _ = await self.stored(self.store.marks)
        try:
            looks = await _brex.look(self.brex, ids, made_at, self.clock.monotonic)
        except BrexError as error:
            problem = error
        else:
            self.reads.succeeded(ids)
            self.brex_succeeded("read")
            return looks
        await self.let_go("read", entries, self.reads, problem)
        return None

    async def let_go(self, part: str, entries: Sequence[ExportEntry], portion: Portion, problem: BrexError) -> None:
        """Drop what Brex gave no answer about. It is due again, in a smaller portion: one of it may be the cause."""
        if len(entries) > 1:
            portion.failed()
            self.brex_failed(part, problem)
        else:
            await self._let_go_alone(part, entries[0], portion.failed_alone(entries[0].record_id), problem)
        self.done(*entries)

    async def _let_go_alone(self, part: str, entry: ExportEntry, suspicion: Suspicion, problem: BrexError) -> None:
        now = self.clock.wall()
        if suspicion.its_own:
            log.warning("%s: Brex fails for this record alone (%s).", entry.record_id, describe(problem))
            await self.save([(entry, machine.failed(entry, describe(problem), now, self.rules))])
            return
        if suspicion.failures == 1 or self.once:
            self.brex_failed(part, problem)
        if entry.state not in FINISHED:  # others go first: they show whether it is Brex or this record
            pause = min(self.rules.backoff(suspicion.failures), LONGEST_WAIT)
            await self.save([(entry, replace(entry, due=now + pause))])

    def brex_succeeded(self, part: str) -> None:
        self._brex_trouble.over(part)

    def brex_failed(self, part: str, error: BrexError) -> None:
        lasting = isinstance(error, (ReauthorizationRequiredError, ConfigurationError))
        if self.once or lasting:
            self.fail(error)
        pause = LONGEST_WAIT if lasting else self._brex_trouble.begin(part, error)  # or until the end
        self._resume_at[part] = max(self._resume_at.get(part, 0.0), self.clock.monotonic() + pause)

    async def ready_for_brex(self, part: str) -> bool:
        """Wait while Brex is in trouble. False: the run ends meanwhile."""
        while (left := self._resume_at.get(part, 0.0) - self.clock.monotonic()) > INSTANT:
            if self.stopping.is_set():
                return False
            with suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), left)
        return True


async def end(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancel these, and wait until they have ended."""
    tasks = set(tasks)
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
