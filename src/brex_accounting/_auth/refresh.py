"""One refresh of a grant: lock, reload, ask, save, and only then use."""

from __future__ import annotations

import asyncio
import copy
from dataclasses import dataclass, field
from math import inf
from typing import NoReturn

import msgspec

from brex_accounting import errors
from brex_accounting._clock import Clock, Deadline
from brex_accounting._engine.failure import advise
from brex_accounting._engine.refusals import Advice
from brex_accounting._retry import RetryPolicy

from .grant_store import RELEASE_TIMEOUT, GrantStore, StoreFailure
from .line import PATIENCE, Line, LineStuckError
from .token_endpoint import Retries, TokenEndpoint
from .token_messages import Reply, TokenReply
from .tokens import StoredToken, Token, TokenStore, is_known, with_new_consent

REFRESH_TIME = 30.0
"""Seconds for a refresh: its lock, its attempts and the pauses between them; not its turn, nor saving."""
ANSWER_TIME = 15.0
"""Seconds that must be left to ask the token endpoint. A slow answer that is not waited for costs the consent."""
SAVE_TIME = 20.0
"""Seconds that saving what was granted has in any case, however long the answer took."""
LONGEST_REFRESH = PATIENCE + REFRESH_TIME + SAVE_TIME + RELEASE_TIMEOUT
NEEDED_BEFORE = 30.0
"""Seconds before the end of its life from which on a token is not used any more."""
COOLDOWN = 30.0
"""Seconds for which a refusal of the token endpoint is believed."""
LONGEST_COOLDOWN = 300.0
"""Seconds for which its Retry-After is."""
ROUNDS = 10
"""How often the store may change under a refresh. It cannot, while everybody who saves holds the lock."""

_ANSWERS = {Reply.GRANTED, Reply.INVALID_GRANT, Reply.REFUSED, Reply.UNUSABLE}


@dataclass(frozen=True, slots=True)
class Renewed:
    """A token to use from now on."""

    stored: StoredToken
    expires: float | None = None
    """On the monotonic clock, if the token endpoint was asked just now; None if the token was in the store."""


@dataclass(frozen=True, slots=True)
class _Unsaved:
    """What was granted and is not saved yet."""

    granted: StoredToken
    spent: str | None = field(repr=False)
    """The refresh token that it was bought with."""
    base: int | None
    """The version of what was stored then."""

    def to_store(self, stored: StoredToken | None) -> StoredToken | None:
        """Return what to save over this; None: it is saved already, or something newer is."""
        is_saved = stored is not None and not stored.dead and stored.token == self.granted.token
        return self.granted if not is_saved and self._is_newer(stored) else None

    def _is_newer(self, stored: StoredToken | None) -> bool:
        """It does not replace another consent, or what a later refresh gave."""
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
        self.grant = GrantStore(store, key, clock, seed=seed, shared=True)
        self.unsaved: _Unsaved | None = None
        self._account = account
        self._endpoint = endpoint
        self._seed = seed
        self._refused_until, self._refusal = -inf, ("", Advice.REFRESH_LATER)
        self._failures, self._next_attempt = 0, -inf
        self._dead: tuple[str | None, int | None] | None = None
        self._granted: Renewed | None = None
        self._granted_until = -inf

    async def refresh(self, stale: StoredToken | None) -> Renewed | errors.BrexError:
        """Get another token than this one. An error is returned, as a copy without the frames that it came through."""
        try:
            return await self._refresh(stale)
        except StoreFailure as failure:
            return self._failure(str(failure))
        except LineStuckError:
            return self._failure("the refreshes before it, of other accounts, got no answer from the token endpoint")
        except errors.BrexError as error:
            return copy.copy(error)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - whatever it is, callers wait for an end
            return self._failure(f"the refresh broke off ({type(error).__name__})")

    async def _refresh(self, stale: StoredToken | None) -> Renewed:
        retries, line = Retries(self.clock), Line.of_this_loop()
        deadline = Deadline(REFRESH_TIME, self.clock)
        deadline.start()
        if (wait := self._next_attempt - self.clock.monotonic()) > 0:
            await self.clock.sleep(wait)
        while True:
            if (found := await self._find(stale, deadline)) is not None:
                return found
            left = deadline.remaining()
            async with line.turn():
                deadline = Deadline(left, self.clock)  # the time before its turn was that of other accounts
                deadline.start()
                async with self.grant.locked(left):
                    retries.begin()
                    came = await self._refresh_locked(stale, deadline)
            if isinstance(came, Renewed):
                return came
            wait_before_retry = retries.wait_after(came)
            if wait_before_retry is None or deadline.remaining() < wait_before_retry + ANSWER_TIME:
                self._refuse(came)
            await self.clock.sleep(wait_before_retry)

    async def _find(self, stale: StoredToken | None, deadline: Deadline) -> Renewed | None:
        """Find a token that somebody else stored; that takes no lock."""
        if self.unsaved is not None or (stored := await self.grant.look(deadline.remaining())) is None:
            return None
        current = self._current(stored)
        if (usable := self._usable(current, stale)) is None:
            self._check_askable(current)
        return usable

    async def _refresh_locked(self, stale: StoredToken | None, deadline: Deadline) -> Renewed | TokenReply:
        """Ask once, unless somebody else did. An answer that is neither a grant nor its end is returned."""
        stored = await self._save_pending(await self.grant.load(deadline.remaining()))
        for _ in range(ROUNDS):
            current = self._current(stored)
            if (usable := self._usable(current, stale)) is not None:
                return usable
            self._check_askable(current)
            if (current.token.refresh_token, _version(stored)) != self._dead:
                if (left := deadline.remaining()) < ANSWER_TIME:
                    self._fail(f"waiting for its lock and its store left {max(left, 0.0):.0f} s to ask for one")
                reply = await self._endpoint.refresh(current.token, self.clock, left)
                if reply.reply in _ANSWERS:
                    Line.of_this_loop().note_answer()
                if reply.token is not None:
                    self._seed = None  # spent, whatever becomes of the store
                    expires = self.clock.monotonic() + reply.lifetime
                    granted = msgspec.structs.replace(current, token=reply.token, dead=False)
                    self.unsaved = _Unsaved(granted, current.token.refresh_token, _version(stored))
                    stored = await self._save_pending(stored)
                    if reply.reply is Reply.GRANTED:
                        self._failures = 0
                        if stored is not None and stored.token == granted.token:
                            self._granted = Renewed(stored, expires)
                            self._granted_until = expires - min(NEEDED_BEFORE, reply.lifetime / 2)
                            return self._granted
                        continue
                if reply.reply is not Reply.INVALID_GRANT:
                    return reply
                self._dead = (current.token.refresh_token, _version(stored))
            stored = await self._mark_dead(current, stored)
        return self._fail("others keep changing the token store")

    def _check_askable(self, current: StoredToken) -> None:
        """Raise if the token endpoint need not be asked, because its answer is known."""
        if current.token.refresh_token is None:  # after a logout, too
            self._end(f"no refresh token is stored for this account at {self._endpoint.url.host}")
        if current.dead:
            self._end("the grant is dead (invalid_grant)")
        if self.clock.monotonic() < self._refused_until:
            self._fail(*self._refusal)

    def _refuse(self, reply: TokenReply) -> NoReturn:
        """Fail. Only what was understood is believed for a while; after anything else the next call asks again."""
        now, advice = self.clock.monotonic(), Advice.REFRESH_LATER
        if reply.reply is Reply.REFUSED:
            self._refused_until, advice = now + COOLDOWN, Advice.CHECK_THE_CLIENT
        elif reply.retry_after:
            self._refused_until = now + min(reply.retry_after, LONGEST_COOLDOWN)
        else:
            self._next_attempt = now + RetryPolicy().backoff(self._failures, self.clock)
            self._failures += 1
        self._refusal = (reply.text, advice)
        self._fail(reply.text, advice)

    def _current(self, stored: StoredToken | None) -> StoredToken:
        """Return what is stored, or the caller's seed if that is a new consent: one that was never in the store.

        An older process, still with an older seed, must not bring that back over a newer consent.
        """
        if self._seed is None or is_known(self._seed, stored):
            return stored or StoredToken(Token(), 0)
        return with_new_consent(stored, Token(refresh_token=self._seed))

    def _usable(self, stored: StoredToken, stale: StoredToken | None) -> Renewed | None:
        """Return what is stored if it has some life left and is not what is to be replaced."""
        token, granted = stored.token, self._granted
        if token.access_token is None or (stale is not None and token.access_token == stale.token.access_token):
            return None
        if granted is not None and granted.stored.token == token:  # another thread got it; its whole life may be short
            return granted if self.clock.monotonic() < self._granted_until else None
        left = inf if token.expires_at is None else token.expires_at.timestamp() - self.clock.wall()
        return Renewed(stored) if left > NEEDED_BEFORE else None

    async def _save_pending(self, stored: StoredToken | None) -> StoredToken | None:
        """Save what was granted, if that is still to be done, and return what is stored then.

        The lock is held as long as that takes, or others would spend the old refresh token again.
        """
        if (unsaved := self.unsaved) is None:
            return stored
        problem = ""
        try:
            stored = await self.grant.swap(stored, unsaved.to_store, seconds=SAVE_TIME)
        except StoreFailure as failure:
            problem = str(failure)
        if problem:
            self._fail(f"the new token could not be saved, which is tried again later ({problem})")
        self.unsaved = None
        return stored

    async def _mark_dead(self, current: StoredToken, stored: StoredToken | None) -> StoredToken | None:
        """Mark a refused refresh token as dead, for all, and return what is stored then.

        It is kept: a refusal can be a mistake, which a person can undo. A refused seed leaves an older grant alone.
        """
        refused, base = current.token.refresh_token, _version(stored)
        left = None if stored is None or current is stored or stored.dead else stored.token
        spared = left is not None and left.refresh_token not in {None, refused}
        token = left if left is not None and spared else Token(refresh_token=refused, scope=current.token.scope)
        mark = msgspec.structs.replace(current, token=token, dead=not spared)

        def change(now: StoredToken | None) -> StoredToken | None:
            return mark if _version(now) == base else None

        try:
            marked = await self.grant.update(change, seconds=SAVE_TIME)
        except StoreFailure as failure:
            problem = str(failure)
        else:
            self._dead = None
            return marked
        return self._end(f"the grant is dead (invalid_grant), which could not be stored ({problem})")

    def _failure(self, reason: str, advice: Advice = Advice.REFRESH_LATER) -> errors.TokenRefreshError:
        return advise(errors.TokenRefreshError(), f"No access token for {self._account!r}: {reason}", advice)

    def _fail(self, reason: str, advice: Advice = Advice.REFRESH_LATER) -> NoReturn:
        raise self._failure(reason, advice)

    def _end(self, reason: str) -> NoReturn:
        facts = f"No access token for {self._account!r}: {reason}"
        raise advise(errors.ReauthorizationRequiredError(), facts, Advice.CONSENT_AGAIN)


def _version(stored: StoredToken | None) -> int | None:
    return None if stored is None else stored.version
