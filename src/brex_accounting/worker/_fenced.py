"""What the stores on a database share: one worker at a time, its fence, and the words that their SQL has in common."""

from __future__ import annotations

import os
import socket
import uuid
from abc import abstractmethod
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import UTC, datetime

from brex_accounting._arguments import check_datetime
from brex_accounting.errors import ConfigurationError, Outcome

from ._entries import FINISHED, OPEN, EntryChangedError, ExportStoreError, WorkerRunningError
from ._store import COLUMNS, Desk

PRUNE_AT_ONCE = 5000
NAMES = ", ".join(COLUMNS)
OPEN_STATES = ", ".join(f"'{state}'" for state in OPEN)
FINISHED_STATES = ", ".join(f"'{state}'" for state in FINISHED)
IS_OPEN = f"held IS NULL AND state IN ({OPEN_STATES})"
REPLACED = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name not in {"record_id", "noticed"})
"""How a save changes a row that is there."""
TOUCHED = "noticed = noticed + 1, touched = noticed + 1"
"""How a person's change keeps a worker from saving what it read before."""


class FencedStore(Desk):
    """Lets one worker at a time save: it holds a lock, and each save finds its mark, the fence, in the database."""

    _fence: str | None = None

    @asynccontextmanager
    async def lock(self) -> AsyncIterator[None]:
        """Be the account's one worker to the end of the block. Raises WorkerRunningError at once if another one is."""
        async with self._locked():
            fence = uuid.uuid4().hex
            try:
                await self._enter(
                    fence, f"{socket.gethostname()}:{os.getpid()} since {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
                )
                self._fence = fence
                yield
            finally:
                self._fence = None
                with suppress(ExportStoreError, ConfigurationError):
                    await self._leave(fence)

    async def prune(self, before: datetime) -> int:
        """Forget what was exported or returned before this moment; return how many records that was."""
        moment, pruned = check_datetime(before, "before").timestamp(), 0
        while number := await self._prune(moment):
            pruned += number
        return pruned

    def _check_fence(self, ours: str | None, found: str | None) -> None:
        if ours is None:
            message = "Only whoever holds the store's lock() may save: nothing was saved."
            raise ExportStoreError(message, outcome=Outcome.NOT_APPLIED)
        if found != ours:
            message = f"Another worker has taken over {self._place}: nothing was saved."
            raise WorkerRunningError(message, outcome=Outcome.NOT_APPLIED)

    def _check_saved(self, number: int, wanted: int) -> None:
        if number != wanted:
            message = "A person changed a record meanwhile: nothing was saved."
            raise EntryChangedError(message, outcome=Outcome.NOT_APPLIED)

    def _running(self) -> WorkerRunningError:
        message = f"Another worker is at {self._place}: stop it first; `status` says which it is."
        return WorkerRunningError(message, outcome=Outcome.NOT_APPLIED)

    @property
    @abstractmethod
    def _place(self) -> str:
        """What a person calls the store."""

    @abstractmethod
    def _locked(self) -> AbstractAsyncContextManager[None]:
        """Hold the lock. Raises `_running()` at once if somebody else holds it."""

    @abstractmethod
    async def _enter(self, fence: str, worker: str) -> None:
        """Save the mark and the name of a worker that begins."""

    @abstractmethod
    async def _leave(self, fence: str) -> None:
        """Remove the worker's name, unless another one has entered."""

    @abstractmethod
    async def _prune(self, moment: float) -> int:
        """Forget at most PRUNE_AT_ONCE records, and what is older than the moment is no longer known."""
