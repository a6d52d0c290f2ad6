"""What a store is to a worker, and what it is to people and receivers of webhooks, whatever database it is on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

from brex_accounting._arguments import check_datetime, check_id, check_text
from brex_accounting.errors import ConfigurationError

from . import _machine as machine
from ._entries import OPEN, ExportEntry, ExportState, ExportStatus

COLUMNS = tuple(field.name for field in fields(ExportEntry))
"""The columns of an entry, by the names and in the order of its fields."""
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
"""Before all that Brex has. Without a lower bound, a list may hold only what changed recently."""


class ExportStore(Protocol):
    """Where a worker keeps how far each record of one account is. All of it is durable when a method returns.

    Every method raises ExportStoreError when the store cannot be used now.
    """

    def lock(self) -> AbstractAsyncContextManager[None]:
        """Be the account's one worker until the block ends. The lock is free as soon as its holder dies.

        Raises WorkerRunningError at once when somebody else holds it.
        """
        ...

    async def note(self, record_ids: Iterable[str], *, bills_until: datetime | None = None) -> None:
        """Note, in one transaction, that these records may be ready: new ones are ``ready``, known ones count up.

        `bills_until`, with which a poll ends, is kept unless a later one is known. Any process may call it.
        """
        ...

    async def due(self, now: float, limit: int, *, latest: float) -> Sequence[ExportEntry]:
        """Return what is to be looked at, at most `limit` of it, the longest due first.

        That is what is open, not held, and due by `now` or absurdly late (after `latest`); and whatever has more
        notices than were handled.
        """
        ...

    async def next_due(self, now: float) -> float | None:
        """Return when the next entry is due, `now` if one is noticed or overdue. None: nothing is open but held."""
        ...

    async def save(self, entries: Sequence[ExportEntry], *, forget: Sequence[ExportEntry] = ()) -> None:
        """Save all of these, or none; and forget those, unless they were noticed since they were read.

        It never changes `noticed`. Raises WorkerRunningError, and saves nothing, unless this store holds the lock;
        EntryChangedError when a person changed one of them since it was read.
        """
        ...

    async def get(self, record_id: str) -> ExportEntry | None:
        """Return one entry. None: the record is not known."""
        ...

    async def marks(self) -> tuple[datetime, datetime | None]:
        """Return since when the store remembers everything, and `bills_until`."""
        ...

    async def wait(self, seconds: float) -> None:
        """Wait so long, or until another task or process has noted something."""
        ...


@dataclass(frozen=True, slots=True)
class Tally:
    """What a database counts for a status."""

    open: Mapping[tuple[ExportState, bool], int]
    """How many entries there are in each state, by whether they are held."""
    oldest: float | None
    bills_until: datetime | None
    polled_at: float | None
    worker: str | None

    def without_worker(self) -> Tally:
        return replace(self, worker=None)


class Desk(ABC):
    """What every store offers to people and to receivers of webhooks, without the worker's lock."""

    async def note(self, record_ids: Iterable[str], *, bills_until: datetime | None = None) -> None:
        """Note that these records may be ready for export. A worker that runs anywhere takes them up at once.

        ::

            await store.note(event.record_ids)      # then answer the webhook

        When it returns, they are on the disk. An id that is noted more often is looked at once more, not booked again.

        Args:
            record_ids: Such as `RecordsReadyForExport.record_ids`.
            bills_until: For the worker's poll: the latest `updated_at` of the bills seen.

        Raises:
            ConfigurationError: An id cannot be one.
            ExportStoreError: Nothing was noted: let the webhook be sent again.
        """
        if isinstance(record_ids, (str, bytes)) or not isinstance(record_ids, Iterable):
            raise ConfigurationError("record_ids must be several ids, such as a list of strings.")
        checked = list(dict.fromkeys(check_id(each, "An id of record_ids") for each in record_ids))
        until = None if bills_until is None else check_datetime(bills_until, "bills_until")
        if checked or until:
            await self._note(checked, until)

    async def status(self) -> ExportStatus:
        """Count the records by their state. See `ExportStatus` for what to alert on."""
        tally = await self._tally()
        counts = {state: tally.open.get((state, False), 0) for state in (*OPEN, "exported", "returned")}
        counts["in_doubt" if tally.worker is None else "ready"] += counts.pop("booking")
        until = tally.bills_until
        return ExportStatus(
            **counts,
            held=sum(number for (_, held), number in tally.open.items() if held),
            oldest=_moment(tally.oldest),
            bills_until=until if until is not None and until > EARLIEST else None,
            polled_at=_moment(tally.polled_at),
            worker=tally.worker,
        )

    async def settle(self, record_id: str, reference_id: str | None) -> None:
        """Tell what a person found in the ERP about a held record.

        Args:
            record_id: The record.
            reference_id: The reference under which the ERP has it. None: the ERP does not have it.

        Raises:
            ConfigurationError: The record is not held.
        """
        if reference_id is not None:
            check_text(reference_id, "reference_id")
        await self._change(check_id(record_id, "record_id"), partial(machine.settle, reference_id=reference_id))

    async def retry(self, record_id: str) -> None:
        """Let a held record go on, with all its attempts.

        Raises:
            ConfigurationError: The record is not held.
        """
        await self._change(check_id(record_id, "record_id"), machine.retry)

    @abstractmethod
    async def held(self) -> list[ExportEntry]:
        """Return what a person must look at, the longest held first; `ExportEntry.held` says why."""

    @abstractmethod
    async def prune(self, before: datetime) -> int:
        """Forget what was exported or returned before this moment; return how many records that was.

        One that is ready for export once more later is new to the store; with `find`, the ERP is asked before it is
        booked.
        """

    @abstractmethod
    async def aclose(self) -> None:
        """Close the connection. The next call opens another one."""

    @abstractmethod
    async def _note(self, record_ids: Sequence[str], bills_until: datetime | None) -> None:
        """Do what `note` says. With `bills_until`, a poll has ended now."""

    @abstractmethod
    async def _tally(self) -> Tally: ...

    @abstractmethod
    async def _change(self, record_id: str, change: Callable[..., ExportEntry]) -> None:
        """Replace an entry by `change(entry, now=…)` in one transaction, and count a notice.

        A worker that read the entry before cannot save it any more. Raises ConfigurationError for an unknown record,
        and what `change` raises.
        """


def to_row(entry: ExportEntry) -> tuple[Any, ...]:
    return tuple(getattr(entry, name) for name in COLUMNS)


def unknown(record_id: str) -> str:
    return f"The store has no record {record_id}: see held() for those that can be settled or retried."


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
