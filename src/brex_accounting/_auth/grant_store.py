"""One grant in a store that users bring: it may raise anything, hang, lose races, or answer with what is old."""

from __future__ import annotations

import asyncio
import copy
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import ClassVar, TypeVar
from weakref import WeakKeyDictionary

import msgspec

from brex_accounting._clock import Clock, TimeLimit
from brex_accounting._retry import RetryPolicy
from brex_accounting.errors import ConfigurationError

from .locking import LOCK_TIMEOUT
from .tokens import StoredToken, StoreError, Token, TokenStore, is_known

STORE_TIMEOUT = 30.0
"""Seconds for a load, or for a save with all its attempts."""
RELEASE_TIMEOUT = 5.0

T = TypeVar("T")

logger = logging.getLogger("brex_accounting")


class StoreFailure(Exception):  # noqa: N818 - it never leaves this wing
    """The store did not do what it was asked. The text, a part of a sentence, holds no secret."""


class GrantStore:
    """What is stored under one key. Every method raises StoreFailure or ConfigurationError, without a secret."""

    _seen: ClassVar[WeakKeyDictionary[TokenStore, dict[str, StoredToken]]] = WeakKeyDictionary()
    """The newest that this process has seen in each store, without its token."""

    def __init__(
        self, store: TokenStore, key: str, clock: Clock, *, seed: str | None = None, shared: bool = False
    ) -> None:
        self.clock = clock
        self._store = store
        self._key = key
        self._seed = seed
        self._newest: dict[str, StoredToken] = {}
        if shared:  # with all that refresh this grant, for what is old to one is old to all
            with suppress(TypeError):  # a store that cannot be hashed or referred to weakly
                self._newest = self._seen.setdefault(store, self._newest)

    @asynccontextmanager
    async def locked(self, seconds: float = LOCK_TIMEOUT + 1.0) -> AsyncIterator[None]:
        """Hold the lock of this grant to the end of the block; wait so long for it."""
        held = AsyncExitStack()
        await self._do(
            lambda: held.enter_async_context(self._store.lock(self._key)),
            "the lock of the token store could not be acquired",
            seconds,
        )
        try:
            yield
        finally:
            await self._release(held)

    async def _release(self, held: AsyncExitStack) -> None:
        try:
            await self._do(held.aclose, "the lock of the token store could not be released", RELEASE_TIMEOUT)
        except (StoreFailure, ConfigurationError) as error:  # what was saved is saved
            logger.warning("%s", error)

    async def look(self, seconds: float) -> StoredToken | None:
        """Return what is stored. None: nothing, or something older than what this process has seen already."""
        stored = await self._load(seconds)
        return None if self._is_older(stored) else self._note(stored)

    async def load(self, seconds: float = STORE_TIMEOUT) -> StoredToken | None:
        """Return what is stored; wait until it is not older than what this process has seen."""
        end, attempt = self.clock.monotonic() + seconds, 0
        while self._is_older(stored := await self._load(end - self.clock.monotonic())):
            problem = (
                "the token store answers with an older version than it did before: "
                "read from the primary, and restart after bringing back a backup"
            )
            await self._pause(problem, attempt, end)
            attempt += 1
        return self._note(stored)

    async def update(
        self, change: Callable[[StoredToken | None], StoredToken | None], *, seconds: float = STORE_TIMEOUT
    ) -> StoredToken | None:
        """Load, and `swap`."""
        end = self.clock.monotonic() + seconds
        stored = await self.load(seconds)
        return await self.swap(stored, change, seconds=end - self.clock.monotonic())

    async def swap(
        self,
        stored: StoredToken | None,
        change: Callable[[StoredToken | None], StoredToken | None],
        *,
        seconds: float = STORE_TIMEOUT,
    ) -> StoredToken | None:
        """Compare and swap until it succeeds, and return what is stored then.

        `change` gets what is stored, and returns what to store in its place (its version does not matter), or None to
        leave it. It is called again when somebody else saved meanwhile, or when a save failed: that may have succeeded.
        """
        end, attempt, problem = self.clock.monotonic() + seconds, 0, ""
        while True:
            try:
                if problem:
                    stored = await self.load(end - self.clock.monotonic())
                wanted = change(stored)
                if wanted is None:
                    return stored
                if (saved := await self._save(wanted, stored, end)) is not None:
                    return saved
                problem = "others keep saving"
            except StoreFailure as failure:
                problem = str(failure)
            except ConfigurationError as error:
                problem = str(error).rstrip(".")
            await self._pause(problem, attempt, end)
            attempt += 1

    async def _save(self, wanted: StoredToken, stored: StoredToken | None, end: float) -> StoredToken | None:
        expected = None if stored is None else stored.version
        new = msgspec.structs.replace(wanted, version=(expected or 0) + 1)
        saved = await self._do(
            lambda: self._store.save(self._key, new, expected_version=expected),
            "the token store could not save",
            end - self.clock.monotonic(),
        )
        return self._note(new) if saved else None

    async def _load(self, seconds: float) -> StoredToken | None:
        return await self._do(lambda: self._store.load(self._key), "the token store could not be read", seconds)

    async def _do(self, work: Callable[[], Awaitable[T]], problem: str, seconds: float) -> T:
        """Have the store do something. What it raises could hold a secret."""
        failure: Exception
        seconds = max(seconds, 1.0)
        limit = TimeLimit(seconds)
        try:
            with limit:
                return await work()
        except ConfigurationError as error:
            failure = copy.copy(error)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            failure = StoreFailure(f"{problem} (CancelledError)")
        except Exception as error:  # noqa: BLE001
            reason = f"no answer within {seconds:.0f} s" if limit.expired else _describe(error)
            failure = StoreFailure(f"{problem} ({reason})")
        raise failure

    async def _pause(self, problem: str, attempt: int, end: float) -> None:
        wait = RetryPolicy().backoff(attempt, self.clock)
        if self.clock.monotonic() + wait >= end:
            raise StoreFailure(problem)
        await self.clock.sleep(wait)

    def _note(self, stored: StoredToken | None) -> StoredToken | None:
        if stored is not None and not self._is_older(stored):  # another thread may have seen something newer just now
            self._newest[self._key] = msgspec.structs.replace(stored, token=Token())
        return stored

    def _is_older(self, stored: StoredToken | None) -> bool:
        """Return whether this process has seen something newer, whose refresh token replaced this one: a replica lags.

        A new consent is not older, neither the caller's seed nor one under a lower version: somebody removed the row.
        """
        newest = self._newest.get(self._key)
        if newest is None:
            return False
        if stored is None:
            return self._seed is None or is_known(self._seed, newest)
        known = {newest.seed_fingerprint, *newest.former_seeds}
        return stored.version < newest.version and stored.seed_fingerprint in known


def _describe(error: Exception) -> str:
    if isinstance(error, StoreError):
        return str(error).rstrip(".")
    name = type(error).__name__
    return f"{name}: {os.strerror(error.errno)}" if isinstance(error, OSError) and error.errno else name
