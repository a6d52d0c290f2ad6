"""One refresh of a grant: lock, reload, ask, save, and only then tell."""

from __future__ import annotations

import asyncio
import copy
import logging
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import NoReturn, TypeVar

import msgspec

from brex_accounting import errors
from brex_accounting._clock import Clock, Deadline, TimeLimit
from brex_accounting._retry import RetryPolicy

from .token_endpoint import LEAST_TIME, Reply, TokenEndpoint, TokenReply
from .tokens import StoredToken, Token, TokenStore, fingerprint

REFRESH_DEADLINE = 30.0
SAVE_TIME = 5.0
"""Seconds that saving what was granted has in any case, beyond the deadline too."""
NEEDED_BEFORE = 30.0
"""Seconds before the end of its life from which on a token is not used any more."""
COOLDOWN = 30.0
"""Seconds for which a refusal of the token endpoint is believed."""
LONGEST_COOLDOWN = 300.0
"""Seconds for which its Retry-After is."""
ROUNDS = 10
"""How often the store may change under a refresh. It cannot, while everybody who saves holds the lock."""
SEEDS = 50
"""How many of the seeds that there were are remembered, so that none of them is ever sent again."""

_LATER = "Repeat the call later; the grant may still be good."
_CHECK = "Check client_id, client_secret and token_url; the grant may still be good."

T = TypeVar("T")

logger = logging.getLogger("brex_accounting")


@dataclass(frozen=True, slots=True)
class Renewed:
    """A token to use from now on."""

    stored: StoredToken
    expires: float | None = None
    """On the monotonic clock, where the token endpoint was asked just now; None where the token was in the store."""


@dataclass(frozen=True, slots=True)
class _Unsaved:
    """What was granted and is not saved yet."""

    granted: StoredToken
    spent: str | None = field(repr=False)
    """The refresh token that it was bought with."""
    base: int | None
    """The version of what was stored then."""

    def is_stored(self, stored: StoredToken | None) -> bool:
        return stored is not None and not stored.dead and stored.token == self.granted.token

    def is_newer(self, stored: StoredToken | None) -> bool:
        """Whether it replaces this. It does not replace another consent, or what a later refresh gave."""
        if stored is None or stored.version == self.base:
            return True
        spent = stored.dead or stored.token.refresh_token == self.spent
        return spent and stored.seed_fingerprint == self.granted.seed_fingerprint


class Refresher:
    """Refreshes one grant in one store."""

    def __init__(
        self, account: str, key: str, store: TokenStore, endpoint: TokenEndpoint, *, seed: str | None, clock: Clock
    ) -> None:
        self.clock = clock
        self.unsaved: _Unsaved | None = None
        self._account = account
        self._key = key
        self._store = store
        self._endpoint = endpoint
        self._seed = seed
        self._refused_until, self._refusal = float("-inf"), ("", "")
        self._dead_token: str | None = None

    async def refresh(self, stale: StoredToken | None) -> Renewed | errors.BrexError:
        """Get another token than this one. An error is returned, as a copy without the frames that it came through."""
        deadline = Deadline(REFRESH_DEADLINE, self.clock)
        deadline.start()
        locked = AsyncExitStack()

        def lock() -> Awaitable[None]:
            return locked.enter_async_context(self._store.lock(self._key))

        try:
            await self._of_store(lock, deadline.remaining())
            return await self._refresh_locked(stale, deadline)
        except errors.BrexError as error:
            return copy.copy(error)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - whatever it is, callers wait for an end
            return self._failure(f"the refresh broke off ({type(error).__name__})")
        finally:
            try:
                with TimeLimit(SAVE_TIME):
                    await locked.aclose()
            except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - what was saved is saved
                logger.warning("the lock of the token store could not be let go: %s", type(error).__name__)

    async def _of_store(self, work: Callable[[], Awaitable[T]], seconds: float) -> T:
        """Have the store do something. It may raise anything, and its words could hold a secret."""
        problem: errors.BrexError
        try:
            with TimeLimit(seconds):
                return await work()
        except errors.ConfigurationError as error:
            problem = copy.copy(error)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001
            problem = self._failure(f"the token store cannot be had ({type(error).__name__})")
        raise problem

    async def _load(self, deadline: Deadline) -> StoredToken | None:
        return await self._of_store(lambda: self._store.load(self._key), max(deadline.remaining(), SAVE_TIME))

    async def _save(self, stored: StoredToken, expected: int | None, deadline: Deadline) -> bool:
        return await self._of_store(
            lambda: self._store.save(self._key, stored, expected_version=expected),
            max(deadline.remaining(), SAVE_TIME),
        )

    async def _refresh_locked(self, stale: StoredToken | None, deadline: Deadline) -> Renewed:
        stored = await self._save_pending(await self._load(deadline), deadline)
        for _ in range(ROUNDS):
            current = self._current(stored)
            if self._is_usable(current, stale):
                return Renewed(current)
            self._check_askable(current, deadline)
            if current.token.refresh_token != self._dead_token:
                reply = await self._endpoint.refresh(current.token, deadline, self.clock)
                if reply.reply is Reply.GRANTED and reply.token is not None:
                    self._seed = None  # spent, whatever becomes of the store
                    expires = self.clock.monotonic() + reply.lifetime
                    granted = msgspec.structs.replace(current, token=reply.token, dead=False)
                    self.unsaved = _Unsaved(granted, current.token.refresh_token, _version(stored))
                    stored = await self._save_pending(stored, deadline)
                    if stored is not None and stored.token == granted.token:
                        return Renewed(stored, expires)
                    continue
                if reply.reply is not Reply.INVALID_GRANT:
                    self._refuse(reply)
                self._dead_token = current.token.refresh_token
            again = await self._load(deadline)
            stored = await self._mark_dead(current, stored, deadline) if _version(again) == _version(stored) else again
        return self._fail("others keep changing the token store")

    def _check_askable(self, current: StoredToken, deadline: Deadline) -> None:
        """Raise where the token endpoint need not be asked, for its answer is known, or could not be waited for."""
        if current.dead:
            self._end("the grant is dead (invalid_grant)")
        if current.token.refresh_token is None:
            self._end("no refresh token is stored for this account")
        if self.clock.monotonic() < self._refused_until:
            self._fail(*self._refusal)
        if deadline.remaining() < LEAST_TIME:
            self._fail("the lock of the token store was not to be had in time")

    def _refuse(self, reply: TokenReply) -> NoReturn:
        """Fail, and do not ask again for a while."""
        later = reply.reply is Reply.RETRYABLE
        pause = min(reply.retry_after or 0.0, LONGEST_COOLDOWN) if later else COOLDOWN
        advice = _CHECK if reply.reply is Reply.REFUSED else _LATER
        self._refused_until, self._refusal = self.clock.monotonic() + pause, (reply.text, advice)
        self._fail(reply.text, advice)

    def _current(self, stored: StoredToken | None) -> StoredToken:
        """What is stored, or the caller's seed where that is a new consent: one that was never in the store.

        An older process, still with an older seed, must not bring that back over a newer consent.
        """
        seed = None if self._seed is None else fingerprint(self._seed)
        before = stored or StoredToken(Token(), 0)
        seeds = (*filter(None, [before.seed_fingerprint]), *before.former_seeds)
        if seed is None or seed in seeds:
            return before
        return StoredToken(Token(refresh_token=self._seed), 0, seed_fingerprint=seed, former_seeds=seeds[:SEEDS])

    def _is_usable(self, stored: StoredToken, stale: StoredToken | None) -> bool:
        token = stored.token
        if token.access_token is None or (stale is not None and token.access_token == stale.token.access_token):
            return False
        return token.expires_at is None or token.expires_at.timestamp() - self.clock.wall() > NEEDED_BEFORE

    async def _save_pending(self, stored: StoredToken | None, deadline: Deadline) -> StoredToken | None:
        """Save what was granted, if that is still to be done, and tell what is stored then.

        It is tried as long as there is time, for the lock is held: others would spend the old refresh token again.
        """
        end = self.clock.monotonic() + max(deadline.remaining(), SAVE_TIME)
        problem, attempt = "", 0
        while (unsaved := self.unsaved) is not None:
            if unsaved.is_stored(stored) or not unsaved.is_newer(stored):
                self.unsaved = None
                return stored
            expected = _version(stored)
            granted = msgspec.structs.replace(unsaved.granted, version=(expected or 0) + 1)
            try:
                if await self._save(granted, expected, deadline):
                    self.unsaved = None
                    return granted
                stored, problem = await self._load(deadline), "others keep saving"
            except errors.ConfigurationError as error:
                problem = str(error).rstrip(".")
            except errors.BrexError:
                problem = "the token store cannot be had"
            wait = RetryPolicy().backoff(attempt, self.clock)
            attempt += 1
            if self.clock.monotonic() + wait >= end:
                self._fail(f"the new token could not be saved ({problem}), and saving is tried again")
            await self.clock.sleep(wait)
        return stored

    async def _mark_dead(
        self, current: StoredToken, stored: StoredToken | None, deadline: Deadline
    ) -> StoredToken | None:
        """Mark a refresh token as dead, for all, and tell what is stored then: a dead seed leaves an older grant be."""
        left = None if stored is None or current is stored or stored.dead else stored.token
        spared = left is not None and left.refresh_token is not None and left.refresh_token != self._dead_token
        token = left if left is not None and spared else Token()
        mark = msgspec.structs.replace(current, token=token, version=(_version(stored) or 0) + 1, dead=not spared)
        try:
            saved = await self._save(mark, _version(stored), deadline)
            return mark if saved else await self._load(deadline)
        except errors.BrexError as error:
            problem = str(error)
        logger.warning("a dead grant could not be marked: %s", problem)
        return self._end("the grant is dead (invalid_grant)")

    def _failure(self, reason: str, advice: str = _LATER) -> errors.TokenRefreshError:
        return errors.TokenRefreshError(f"No access token for {self._account!r}: {reason}. {advice}")

    def _fail(self, reason: str, advice: str = _LATER) -> NoReturn:
        raise self._failure(reason, advice)

    def _end(self, reason: str) -> NoReturn:
        raise errors.ReauthorizationRequiredError(
            f"No access token for {self._account!r}: {reason}. Ask the customer to consent again."
        )


def _version(stored: StoredToken | None) -> int | None:
    return None if stored is None else stored.version
