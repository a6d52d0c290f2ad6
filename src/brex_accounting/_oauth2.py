"""OAuth 2.0 for partners: an access token that is refreshed once, for everybody who shares the grant."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AsyncExitStack
from math import inf
from typing import Any, Literal, NoReturn

from . import errors
from ._addresses import check_base_url
from ._arguments import check_text, check_token, refuse
from ._clock import Clock, Deadline, TimeLimit
from ._network import Network, Timeout, Transport
from ._retry import RetryPolicy
from ._token_endpoint import Reply, TokenReply, read_token_reply, token_request
from ._tokens import StoredToken, Token, TokenStore, fingerprint, store_key

PRODUCTION_TOKEN_URL = "https://accounts-api.brex.com/oauth2/default/v1/token"  # noqa: S105 - an address
STAGING_TOKEN_URL = "https://accounts-api.staging.brexapps.com/oauth2/default/v1/token"  # noqa: S105 - an address

REFRESH_DEADLINE = 30.0
ATTEMPT_TIMEOUT = 10.0
NEEDED_BEFORE = 30.0
"""Seconds before the end of its life from which on a token is not used any more."""
EARLY_BEFORE = 300.0
"""Seconds before it from which on a new one is fetched in the background."""
PAUSE = 60.0
"""Seconds between early refreshes, and between those that a 401 asks for: a missing permission is a 401 to Brex too."""
COOLDOWN = 30.0
"""Seconds for which a refusal of the token endpoint is believed."""
SAVES = 3

logger = logging.getLogger("brex_accounting")


class OAuth2:
    """The authorization of a partner: one customer's grant, kept in a store and refreshed there.

    Brex may rotate the refresh token at each refresh, and a rotated-away token that is used again can end the grant. So
    there is one refresh at a time over all tasks and processes that share the store, it outlives the call that began
    it, and its result is used only after it was saved.

    Args:
        client_id: The partner's client id.
        client_secret: Its secret.
        account: Your name for the customer. A token belongs to one customer; the store keeps them apart by it.
        store: Where the tokens are kept. One that forgets them costs the customer's consent.
        refresh_token: The one that the customer's consent gave; it is put into the store. Another one than the last
            time means a new consent, and replaces what is stored.
        token_url: The token endpoint; https, or http on loopback.
        client_auth: Whether the client's credentials go as HTTP Basic or in the body (RFC 6749 2.3.1).
        transport: As for the client, for the token endpoint; a callable is called for each refresh.

    Raises:
        ConfigurationError: An argument cannot be right.
    """

    def __init__(
        self,
        client_id: str,
        client_secret: str,
        *,
        account: str,
        store: TokenStore,
        refresh_token: str | None = None,
        token_url: str = PRODUCTION_TOKEN_URL,
        client_auth: Literal["basic", "body"] = "basic",
        transport: Transport = None,
    ) -> None:
        self._client_id = check_text(client_id, "client_id")
        if not isinstance(client_secret, str) or not client_secret:
            refuse("client_secret must be a string, and not empty.")
        self._client_secret = client_secret
        self._account = check_text(account, "account")
        if not all(callable(getattr(store, name, None)) for name in ("load", "save", "lock")):
            refuse("store must be a TokenStore, such as SQLiteTokenStore(path).")
        if client_auth not in {"basic", "body"}:
            refuse('client_auth must be "basic" or "body".')
        self._seed = None if refresh_token is None else check_token(refresh_token, "refresh_token")
        self._store = store
        self._url = check_base_url(token_url, "token_url")
        self._client_auth = client_auth
        self._transport = transport
        self._clock = Clock()
        self._key = store_key(token_url, client_id, account)
        self._known: StoredToken | None = None
        self._needed_at = self._early_at = -inf
        self._early_pause = PAUSE
        self._renewed_at = -inf
        self._refused: tuple[float, str] = (-inf, "")
        self._unsaved: tuple[StoredToken, float, str | None] | None = None
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"OAuth2({self._client_id!r}, account={self._account!r}, store={self._store!r})"

    def __reduce__(self) -> NoReturn:
        message = "an OAuth2 holds a client secret and tokens: make another one instead of copying or pickling it"
        raise TypeError(message)

    async def token(self) -> str:
        """Give an access token with some life left. Raises TokenRefreshError."""
        now = self._clock.monotonic()
        if self._known is None or now >= self._needed_at:
            await self._renewed(self._known)
        elif now >= self._early_at:
            self._early_at = now + self._early_pause
            self._early_pause *= 2
            self._start(self._known).add_done_callback(_log_early_failure)
        return self._access_token()

    async def rejected(self, token: str) -> bool:
        """Learn of a 401; say whether there is another token. Raises TokenRefreshError."""
        if self._access_token() == token and self._clock.monotonic() < self._renewed_at + PAUSE:
            return False
        if self._access_token() == token:
            await self._renewed(self._known)
        return self._access_token() != token

    async def aclose(self) -> None:
        """Wait for a refresh that is under way, within its own deadline."""
        if self._task is not None and not self._task.done() and self._task.get_loop() is asyncio.get_running_loop():
            await asyncio.wait([self._task], timeout=REFRESH_DEADLINE + ATTEMPT_TIMEOUT)

    def _access_token(self) -> str:
        return "" if self._known is None else self._known.token.access_token or ""

    async def _renewed(self, stale: StoredToken | None) -> None:
        """Wait for a refresh. It goes on when the waiting is cancelled."""
        task = self._start(stale)
        await asyncio.wait([asyncio.shield(task)])
        error = task.exception()
        if error is not None:
            raise error

    def _start(self, stale: StoredToken | None) -> asyncio.Task[None]:
        """Begin a refresh, or join the one that is under way."""
        task, loop = self._task, asyncio.get_running_loop()
        if task is None or task.done() or task.get_loop() is not loop:
            self._task = task = loop.create_task(self._refresh(stale), name="brex-accounting-refresh")
        return task

    async def _refresh(self, stale: StoredToken | None) -> None:
        """Lock, reload, ask, save, publish."""
        deadline = Deadline(REFRESH_DEADLINE, self._clock)
        deadline.start()
        async with AsyncExitStack() as locked:
            problem = ""
            stored = None
            try:
                with TimeLimit(deadline.remaining()):
                    await locked.enter_async_context(self._store.lock(self._key))
                    stored = await self._store.load(self._key)
            except errors.BrexError:
                raise
            except Exception as error:  # noqa: BLE001 - a store may be anything; its words could hold a secret
                problem = f"the token store cannot be had ({type(error).__name__})"
            if problem:
                self._fail(problem)
            await self._refresh_locked(stored, stale, deadline)

    async def _refresh_locked(self, stored: StoredToken | None, stale: StoredToken | None, deadline: Deadline) -> None:
        if self._unsaved is not None and await self._save_at_last(stored):
            return None
        while True:
            current = self._current(stored)
            if self._is_usable(current, stale):
                return self._publish(current, None)
            self._check_askable(current)
            reply = await self._ask(current.token, deadline)
            if reply.reply is Reply.GRANTED and reply.token is not None:
                granted = StoredToken(reply.token, 0, seed_fingerprint=current.seed_fingerprint)
                self._unsaved = (granted, self._clock.monotonic() + reply.lifetime, current.token.refresh_token)
                await self._save_at_last(stored)
                return None
            if reply.reply is not Reply.DEAD:
                if reply.reply is not Reply.LATER:
                    self._refused = (self._clock.monotonic(), reply.text)
                self._fail(reply.text)
            expected = None if stored is None else stored.version
            stored = await self._store.load(self._key)
            if (None if stored is None else stored.version) == expected:
                dead = StoredToken(Token(), (expected or 0) + 1, dead=True, seed_fingerprint=current.seed_fingerprint)
                await self._store.save(self._key, dead, expected_version=expected)
                self._end(reply.text)

    def _check_askable(self, current: StoredToken) -> None:
        """Raise where the token endpoint need not be asked: its answer is known."""
        refused_at, reason = self._refused
        if current.dead:
            self._end("the grant is dead")
        if current.token.refresh_token is None:
            self._end("no refresh token is stored for this account")
        if self._clock.monotonic() < refused_at + COOLDOWN:
            self._fail(reason)

    def _current(self, stored: StoredToken | None) -> StoredToken:
        """What is stored, or the caller's seed where that is a new consent."""
        seed = None if self._seed is None else fingerprint(self._seed)
        if seed is not None and (stored is None or stored.seed_fingerprint != seed):
            return StoredToken(Token(refresh_token=self._seed), 0, seed_fingerprint=seed)
        return stored or StoredToken(Token(), 0)

    def _is_usable(self, stored: StoredToken, stale: StoredToken | None) -> bool:
        token = stored.token
        if token.access_token is None or (stale is not None and token.access_token == stale.token.access_token):
            return False
        return token.expires_at is None or token.expires_at.timestamp() - self._clock.wall() > NEEDED_BEFORE

    async def _ask(self, token: Token, deadline: Deadline) -> TokenReply:
        """Ask until there is an answer. What was sent and not answered is sent once more: a server may have a grace."""
        form = {"grant_type": "refresh_token", "refresh_token": token.refresh_token or ""}
        request = token_request(self._client_id, self._client_secret, self._client_auth, form)
        policy, retries, resent = RetryPolicy(), 0, False
        network = Network(self._url, self._transport, 1)
        try:
            while True:
                limit = Timeout.of(min(ATTEMPT_TIMEOUT, max(deadline.remaining(), 0.001)))
                slot = await network.acquire()
                try:
                    came = await network.exchange(slot, request, {"Accept-Encoding": "gzip"}, limit)
                finally:
                    slot.home.release(slot)
                reply = read_token_reply(came, token, now=self._clock.wall())
                wait = max(policy.backoff(retries, self._clock), reply.retry_after or 0.0)
                again = reply.reply is Reply.LATER or (reply.reply is Reply.LOST and not resent)
                if not again or wait >= deadline.remaining():
                    return self._redacted(reply, token)
                resent = resent or reply.reply is Reply.LOST
                retries += 1
                logger.info("token refresh: %s, the next attempt is in %.3f s", reply.reply.name.lower(), wait)
                await self._clock.sleep(wait)
        finally:
            await network.aclose()

    def _redacted(self, reply: TokenReply, token: Token) -> TokenReply:
        text = reply.text
        for secret in (self._client_secret, token.refresh_token or self._client_secret):
            text = text.replace(secret, "[redacted]")
        return TokenReply(reply.reply, text, reply.token, reply.lifetime, reply.retry_after)

    async def _save_at_last(self, stored: StoredToken | None) -> bool:
        """Save what was granted, and use it. False: somebody put another grant into the store meanwhile."""
        if self._unsaved is None:
            return False
        granted, expires, spent = self._unsaved
        problem = ""
        for attempt in range(SAVES):
            expected = None if stored is None else stored.version
            try:
                granted = StoredToken(granted.token, (expected or 0) + 1, seed_fingerprint=granted.seed_fingerprint)
                if await self._store.save(self._key, granted, expected_version=expected):
                    self._unsaved = None
                    self._renewed_at = self._clock.monotonic()
                    self._publish(granted, expires - self._renewed_at)
                    return True
                stored = await self._store.load(self._key)
                if stored is not None and stored.token.refresh_token != spent:
                    self._unsaved = None
                    return False
            except Exception as error:  # noqa: BLE001 - as above
                problem = type(error).__name__
            await self._clock.sleep(RetryPolicy().backoff(attempt, self._clock))
        return self._fail(
            f"the new token could not be saved ({problem or 'others keep saving'}), and saving is tried again"
        )

    def _publish(self, stored: StoredToken, lifetime: float | None) -> None:
        """Use a token. From here on its life is counted on the monotonic clock, which does not jump."""
        now = self._clock.monotonic()
        expires_at = stored.token.expires_at
        if lifetime is not None:
            left, needed, early = lifetime, min(NEEDED_BEFORE, lifetime / 2), min(EARLY_BEFORE, lifetime / 2)
        else:
            left = inf if expires_at is None else expires_at.timestamp() - self._clock.wall()
            needed, early = NEEDED_BEFORE, EARLY_BEFORE
            if self._known is not None:
                self._renewed_at = now
        self._known = stored
        self._needed_at = now + left - needed
        self._early_at = max(now + left - early * self._clock.uniform(0.8, 1.0), self._renewed_at + PAUSE)
        self._early_pause = PAUSE

    def _fail(self, reason: str) -> NoReturn:
        raise errors.TokenRefreshError(
            f"No access token for {self._account!r}: {reason}. Repeat the call later; the grant may still be good."
        )

    def _end(self, reason: str) -> NoReturn:
        raise errors.ReauthorizationRequiredError(
            f"No access token for {self._account!r}: {reason}. Ask the customer to consent again."
        )


def _log_early_failure(task: asyncio.Task[Any]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.warning("early token refresh: %s", error)
