"""What the worker remembers of a record, and what a store can tell about all of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias

from brex_accounting.errors import BrexError

ExportState: TypeAlias = Literal["ready", "booking", "in_doubt", "booked", "refused", "exported", "returned"]

OPEN: tuple[ExportState, ...] = ("ready", "booking", "in_doubt", "booked", "refused")
"""The states in which something is left to do."""
FINISHED: tuple[ExportState, ...] = ("exported", "returned")

HELD = {
    "in doubt": "The ERP may have it: look for it there, then settle it with its reference, or as not booked.",
    "changed": "It was edited at Brex after it was booked: bring the ERP's entry up to date, then settle it with its "
    "reference; or remove the entry, and settle it as not booked.",
    "taken back": "It left READY_FOR_EXPORT at Brex after it was booked. It goes on by itself when it is ready again; "
    "or remove the ERP's entry, and settle it as not booked.",
    "gone": "Brex no longer has it, and the ERP may: remove the ERP's entry, and settle it as not booked; or settle it "
    "with its reference to keep it.",
    "unreadable": "The SDK cannot read it: see its message. Correct it at Brex or upgrade the SDK, then retry it.",
    "attempts used up": "It failed too often: see its message. Mend the cause, then retry it.",
}
"""Why an entry is held, and what a person does about it."""


@dataclass(frozen=True, slots=True)
class ExportEntry:
    """How far a record is. It never holds an amount, a memo, a name or a token."""

    record_id: str
    """The `AccountingRecord.id`."""
    state: ExportState
    """``ready`` to be booked; ``booking``, a call of `book` is under way or was cut off; ``in_doubt``, the ERP may have
    it; ``booked``, the ERP has it, and Brex does not know yet; ``refused`` by the ERP, and Brex does not know yet;
    ``exported``, ``returned``: Brex knows."""
    version: int | None = None
    """The record's version as it was given to `book`."""
    content: str | None = None
    """A digest of what was given to `book`."""
    reference_id: str | None = None
    """What the ERP calls it."""
    deep_link_url: str | None = None
    """Where a person finds it in the ERP."""
    message: str | None = None
    """The ERP's refusal, or the last error: its kind and place, never its text, which may quote somebody's books."""
    held: str | None = None
    """Why a person must look: ``in doubt``, ``changed``, ``taken back``, ``gone``, ``unreadable``, or ``attempts used
    up``. None: the worker goes on by itself."""
    attempts: int = 0
    """Calls of `book`, or other steps, that failed since the last one that succeeded."""
    due: float = 0.0
    """When to go on, in seconds since 1970."""
    changed_at: float = 0.0
    """When it was saved last, in seconds since 1970."""
    handled: int = 0
    """How many notices of it were handled."""
    noticed: int = 0
    """How many notices of it came."""


@dataclass(frozen=True, slots=True)
class ExportStatus:
    """How many records are in which state, and what to alert on.

    Each record counts once: a held one under `held` alone. One whose call of `book` is under way counts as ready, and
    as in doubt when no worker runs.
    """

    ready: int
    in_doubt: int
    booked: int
    refused: int
    held: int
    exported: int
    returned: int
    oldest: datetime | None
    """Since when the longest open record waits, a held one too; alert when that is long ago. None: none is open."""
    bills_until: datetime | None
    """The latest `updated_at` of the bills seen. None: none was seen yet."""
    polled_at: datetime | None
    """When the last poll ended."""
    worker: str | None
    """"host:pid since". None: none runs."""


class NotBookedError(Exception):
    """Raise it from `book` when the ERP certainly has nothing of this record; `book` is called again later.

    Args:
        message: Why. It is kept in the store and shown to people: leave out what is in the record.
        retry_in: Seconds until the next attempt, at most the worker's `max_backoff`. None: the worker decides.
    """

    __module__ = "brex_accounting.worker"  # pickles name the public place

    message: str
    retry_in: float | None

    def __init__(self, message: str = "", *, retry_in: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.retry_in = retry_in

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message,), {"retry_in": self.retry_in}


class ExportStoreError(BrexError):
    """The store cannot be used now: disk full, locked, damaged, the database gone."""

    __module__ = "brex_accounting.worker"  # pickles name the public place


class WorkerRunningError(ExportStoreError):
    """Another worker is at this account, or has taken over from this one."""

    __module__ = "brex_accounting.worker"  # pickles name the public place


class StoreLostError(ExportStoreError):
    """The store cannot be used again without a person: damaged, gone, or of a newer version."""


class EntryChangedError(ExportStoreError):
    """A person settled or retried a record while the worker looked at it."""
