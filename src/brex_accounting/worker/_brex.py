"""What the worker asks Brex: what is ready, how a record is now; through the SDK's public API alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import msgspec

from brex_accounting._arguments import is_id
from brex_accounting.client import BrexAccounting
from brex_accounting.models import AccountingRecord, InvalidRecord

from ._content import digest
from ._machine import Seen
from ._store import EARLIEST, ExportStore
from ._trouble import log

READY = "READY_FOR_EXPORT"
BATCH = 100
"""Records of one read and of one report; also of a page of a poll."""


@dataclass(frozen=True, slots=True)
class Look:
    """A record as Brex showed it, and when."""

    seen: Seen
    record: AccountingRecord | None
    at: float


async def look(
    brex: BrexAccounting, record_ids: Sequence[str], made_at: datetime, monotonic: Callable[[], float]
) -> dict[str, Look]:
    """Read these records afresh. Raises BrexError."""
    at = monotonic()
    found = dict[str, AccountingRecord]()
    invalid = dict[str | None, InvalidRecord]()

    def keep(record: InvalidRecord) -> None:
        invalid[record.record_id] = record

    stream = brex.records.iterate(ids=record_ids, updated_after=EARLIEST, page_size=BATCH, on_invalid=keep)
    async with aclosing(stream) as records:
        async for record in records:
            before = found.get(record.id)
            if before is None or before.version <= record.version:
                found[record.id] = record

    looks = dict[str, Look]()
    for number, record_id in enumerate(record_ids):
        if number % 10 == 0:
            await asyncio.sleep(0)  # a hundred digests at once would hold up the calls of the ERP
        if record_id in found:
            record = found[record_id]
            looks[record_id] = Look(_seen(record, made_at), record, at)
        else:
            unreadable = invalid.get(record_id, invalid.get(None))  # one without an id may be any that did not come
            seen = Seen("missing") if unreadable is None else _seen_unreadable(unreadable)
            looks[record_id] = Look(seen, None, at)
    return looks


def _seen(record: AccountingRecord, made_at: datetime) -> Seen:
    older = min(record.posted_at, record.updated_at) <= made_at
    return Seen(_stage(record.review_status), int(record.version), digest(record), older)


def _seen_unreadable(record: InvalidRecord) -> Seen:
    stage = _stage(_status_in(record.raw))
    return Seen("unreadable" if stage == "ready" else stage, reason=record.reason)


def _stage(status: str | None) -> Literal["ready", "exported", "elsewhere"]:
    if status is None or status == READY:
        return "ready"
    return "exported" if status == "EXPORTED" else "elsewhere"


def _status_in(raw: bytes) -> str | None:
    """How far a record is that cannot be read otherwise. None: not even that can be read."""
    try:
        fields = msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return None
    status = fields.get("review_status") if isinstance(fields, dict) else None
    return status if isinstance(status, str) else None


async def poll(brex: BrexAccounting, store: ExportStore, since: datetime | None, overlap: timedelta) -> None:
    """Note all that is ready for export: cards and reimbursements by status, bills by when they changed.

    Raises BrexError, with the mark of the bills where it was.
    """
    _, until = await store.marks()
    latest = until or EARLIEST
    waiting = list[str]()

    def keep(record: InvalidRecord) -> None:
        if record.record_id is None:
            log.error("A record whose id cannot be read is passed over: %s", record.reason)
        elif _stage(_status_in(record.raw)) == "ready" and _is_usable(record.record_id):
            waiting.append(record.record_id)

    for filters in (
        {"review_status": READY, "updated_after": EARLIEST},
        {"source_type": "BILL", "updated_after": _bills_from(until, since, overlap)},
    ):
        stream = brex.records.iterate(**filters, page_size=BATCH, on_invalid=keep)  # type: ignore[arg-type]
        async with aclosing(stream) as records:
            async for record in records:
                if record.source_type == "BILL":
                    latest = max(latest, record.updated_at)
                if record.review_status == READY and _is_usable(record.id):
                    waiting.append(record.id)
                if len(waiting) >= BATCH:
                    record_ids, waiting[:] = waiting[:], []
                    await store.note(record_ids)
    await store.note(waiting, bills_until=latest)


def _is_usable(record_id: str) -> bool:
    """Return whether a record can be asked for and reported; one that cannot must not stop the others."""
    usable = is_id(record_id)
    if not usable:
        log.error("A record whose id cannot be used is passed over: it has %d characters.", len(record_id))
    return usable


def _bills_from(until: datetime | None, since: datetime | None, overlap: timedelta) -> datetime:
    """Where the poll of the bills begins: behind the latest one seen, whose moment others may share."""
    earliest = since or EARLIEST
    if until is None or until - earliest <= overlap:
        return earliest
    return until - overlap - timedelta(microseconds=1)
