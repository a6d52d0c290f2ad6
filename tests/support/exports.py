"""A store of exports in memory, an ERP that misbehaves on request, and entries."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from brex_accounting import AccountingRecord, ConfigurationError, ExportFailed, ExportSucceeded
from brex_accounting._clock import Clock
from brex_accounting.worker import ExportEntry, ExportStoreError, NotBookedError, WorkerRunningError
from brex_accounting.worker._content import digest
from brex_accounting.worker._entries import FINISHED, OPEN, EntryChangedError
from brex_accounting.worker._store import Desk, Tally, unknown


class MemoryExportStore(Desk):
    """Passes the suite of the stores, but for what needs a second process. Time stands still while it works."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.clock = clock or Clock()
        self.entries = dict[str, ExportEntry]()
        self.opened = dict[str, float]()
        self.touched = dict[str, int]()
        self.made_at = self.clock.wall()
        self.until: datetime | None = None
        self.polled_at: float | None = None
        self.locked = False
        self.failing: ExportStoreError | None = None
        """What every save raises."""
        self.saves = 0
        self._notes = 0
        self._known: int | None = None
        self._woken = asyncio.Event()

    @asynccontextmanager
    async def lock(self) -> AsyncIterator[None]:
        if self.locked:
            raise WorkerRunningError("Another worker is here.")
        self.locked = True
        try:
            yield
        finally:
            self.locked = False

    async def due(self, now: float, limit: int, *, latest: float) -> Sequence[ExportEntry]:
        self._known = self._notes
        self._woken.clear()

        def is_due(entry: ExportEntry) -> bool:
            in_time = entry.due <= now or entry.due > latest
            return entry.noticed > entry.handled or (entry.held is None and entry.state in OPEN and in_time)

        return sorted(filter(is_due, self.entries.values()), key=lambda entry: entry.due)[:limit]

    async def next_due(self, now: float) -> float | None:
        if any(entry.noticed > entry.handled for entry in self.entries.values()):
            return now
        dues = [entry.due for entry in self.entries.values() if entry.held is None and entry.state in OPEN]
        return max(now, min(dues)) if dues else None

    async def save(self, entries: Sequence[ExportEntry], *, forget: Sequence[ExportEntry] = ()) -> None:
        await asyncio.sleep(0)
        if self.failing is not None:
            raise self.failing
        if not self.locked:
            raise ExportStoreError("The lock is not held.")
        if any(self.touched.get(entry.record_id, 0) > entry.noticed for entry in entries):
            raise EntryChangedError("A person changed it.")
        self.saves += 1
        for entry in entries:
            before = self.entries.get(entry.record_id)
            if before is None or before.state in FINISHED:
                self.opened[entry.record_id] = entry.changed_at
            noticed = entry.noticed if before is None else before.noticed
            self.entries[entry.record_id] = replace(entry, noticed=noticed)
        for entry in forget:
            if self.entries[entry.record_id].noticed == entry.noticed:
                del self.entries[entry.record_id]

    async def get(self, record_id: str) -> ExportEntry | None:
        return self.entries.get(record_id)

    async def marks(self) -> tuple[datetime, datetime | None]:
        return datetime.fromtimestamp(self.made_at, UTC), self.until

    async def wait(self, seconds: float) -> None:
        known, self._known = self._known, self._notes
        if known in {None, self._known}:
            self._woken.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), seconds)
            self._known = self._notes

    async def held(self) -> list[ExportEntry]:
        return sorted((each for each in self.entries.values() if each.held), key=lambda entry: entry.changed_at)

    async def prune(self, before: datetime) -> int:
        old = [
            entry.record_id
            for entry in self.entries.values()
            if entry.state in FINISHED and entry.changed_at < before.timestamp() and entry.noticed <= entry.handled
        ]
        for record_id in old:
            del self.entries[record_id]
        if old:
            self.made_at = max(self.made_at, min(before.timestamp(), self.clock.wall()))
        return len(old)

    async def aclose(self) -> None:
        pass

    async def _note(self, record_ids: Sequence[str], bills_until: datetime | None) -> None:
        now = self.clock.wall()
        for record_id in record_ids:
            entry = self.entries.get(record_id)
            if entry is None:
                entry = ExportEntry(record_id, "ready", due=now, changed_at=now)
                self.opened[record_id] = now
            self.entries[record_id] = replace(entry, noticed=entry.noticed + 1)
        if bills_until is not None:
            self.until = max(self.until or bills_until, bills_until)
            self.polled_at = now
        self._wake()

    async def _tally(self) -> Tally:
        numbers = Counter((entry.state, entry.held is not None) for entry in self.entries.values())
        opened = [self.opened[entry.record_id] for entry in self.entries.values() if entry.state in OPEN]
        return Tally(numbers, min(opened, default=None), self.until, self.polled_at, "test:1" if self.locked else None)

    async def _change(self, record_id: str, change: Callable[..., ExportEntry]) -> None:
        if record_id not in self.entries:
            raise ConfigurationError(unknown(record_id))
        entry = change(self.entries[record_id], now=self.clock.wall())
        self.entries[record_id] = replace(entry, noticed=entry.noticed + 1)
        self.touched[record_id] = entry.noticed + 1
        self._wake()

    def _wake(self) -> None:
        self._notes += 1
        self._woken.set()


@dataclass
class Booking:
    """An entry in the ERP."""

    record_id: str
    reference: str
    content: str
    shown_at: float
    """When `find` sees it."""


@dataclass
class ERP:
    """Books what it is given, unless told otherwise: once for each call or, as an upsert, once for each record."""

    upserts: bool = False
    slow: float = 0.0
    """Seconds that a booking takes."""
    shows_after: float = 0.0
    """Seconds until `find` sees a booking."""
    next: list[Any] = field(default_factory=list)
    """What befalls the next calls of book: see `_befall`."""
    always: dict[str, Any] = field(default_factory=dict)
    """What befalls each call for a record."""
    bookings: list[Booking] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    finds: list[str] = field(default_factory=list)
    find_fails: int = 0
    at_once: int = 0
    most_at_once: int = 0

    async def book(self, record: AccountingRecord) -> str | ExportSucceeded | ExportFailed:
        self.calls.append(record.id)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            what = self.always.get(record.id, self.next.pop(0) if self.next else None)
            await asyncio.sleep(self.slow)
            return await self._befall(what, record)
        finally:
            self.at_once -= 1

    async def _befall(self, what: Any, record: AccountingRecord) -> str | ExportSucceeded | ExportFailed:
        if what == "refuse":
            return ExportFailed(record.id, "no such account")
        if what == "not booked":
            raise NotBookedError("the period is closed")
        if what == "lose the request":
            raise ConnectionError(f"reset, with {record.memo}")
        reference = self._enter(record)
        if what == "lose the answer":
            raise ConnectionError(f"reset, with {record.memo}")
        if what == "hang":
            await asyncio.sleep(10_000)
        return reference

    def _enter(self, record: AccountingRecord) -> str:
        if self.upserts:
            for booking in self.of(record.id):
                booking.content = digest(record)
                return booking.reference
        reference = f"JE-{len(self.bookings) + 1}"
        now = asyncio.get_running_loop().time()
        self.bookings.append(Booking(record.id, reference, digest(record), now + self.shows_after))
        return reference

    async def find(self, record: AccountingRecord) -> str | None:
        self.finds.append(record.id)
        if self.find_fails:
            self.find_fails -= 1
            raise ConnectionError("reset")
        now = asyncio.get_running_loop().time()
        return next((each.reference for each in self.of(record.id) if each.shown_at <= now), None)

    def of(self, record_id: str) -> list[Booking]:
        return [each for each in self.bookings if each.record_id == record_id]
