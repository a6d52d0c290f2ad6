"""A token store in memory, for tests and short-lived grants."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from brex_accounting._clock import Clock

from .locking import acquire_with_backoff
from .tokens import StoredToken


class MemoryTokenStore:
    """Keeps tokens for this process alone, all its threads and event loops, until it ends.

    Brex may rotate the refresh token at any refresh, and then the last one is lost with the process: the customer must
    consent again. So this is for tests, and for grants that need not last.
    """

    __module__ = "brex_accounting"  # reprs name the public place

    _clock = Clock()

    def __init__(self) -> None:
        self._stored: dict[str, StoredToken] = {}
        self._saving = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}

    async def load(self, key: str) -> StoredToken | None:
        """Give what is stored under a key; None: nothing."""
        return self._stored.get(key)

    async def save(self, key: str, stored: StoredToken, *, expected_version: int | None) -> bool:
        """Store this if what is stored has the expected version (None: if there is nothing); return whether it did."""
        with self._saving:
            before = self._stored.get(key)
            if (None if before is None else before.version) != expected_version:
                return False
            self._stored[key] = stored
            return True

    @asynccontextmanager
    async def lock(self, key: str) -> AsyncIterator[None]:
        """Hold the lock of a key. Raises TimeoutError when it could not be acquired within 30 seconds."""
        lock = self._locks.setdefault(key, threading.Lock())
        await acquire_with_backoff(lambda: lock if lock.acquire(blocking=False) else None, self._clock)
        try:
            yield
        finally:
            lock.release()
