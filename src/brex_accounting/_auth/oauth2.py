"""OAuth 2.0 for partners: an access token that is refreshed once, for everybody who shares the grant.

The refresh is a task of the caller's event loop, since a store's connections and a transport may belong to that loop.
"""

from __future__ import annotations

import asyncio
import copy
import logging
import ssl
from functools import partial
from math import inf
from typing import Literal, NoReturn
from weakref import WeakKeyDictionary

from brex_accounting import errors
from brex_accounting._arguments import check_text
from brex_accounting._clock import Clock
from brex_accounting._http.addresses import check_base_url
from brex_accounting._http.connector import Transport
from brex_accounting._text import veil
from brex_accounting.errors import ConfigurationError, TokenRefreshError

from .refresh import LONGEST_REFRESH, NEEDED_BEFORE, Refresher, Renewed
from .secret import Given, check_client_secret, check_token
from .tasks import ShieldedTask
from .token_endpoint import Route, TokenEndpoint
from .token_messages import check_client_auth
from .tokens import StoredToken, TokenStore, check_store, store_key

PRODUCTION_TOKEN_URL = "https://accounts-api.brex.com/oauth2/default/v1/token"  # noqa: S105 - an address
STAGING_TOKEN_URL = "https://accounts-api.staging.brexapps.com/oauth2/default/v1/token"  # noqa: S105 - an address

EARLY_BEFORE = 300.0
"""Seconds before the end of its life from which on a new token is fetched in the background."""
PAUSE = 60.0
"""Seconds between early refreshes, and between those that a 401 asks for: a missing permission is a 401 to Brex too."""

logger = logging.getLogger("brex_accounting")


class OAuth2:
    """The authorization of a partner: one customer's grant, kept in a store and refreshed there.

    Brex may rotate the refresh token at each refresh, and a rotated-away token that is used again can end the grant. So
    there is one refresh at a time over all tasks and processes that share the store, it outlives the call that began
    it, and its result is used only after it was saved. What cannot be saved is kept, and saved by the next refresh or
    by `aclose`; a process that ends before loses it.

    Args:
        client_id: The partner's client id.
        client_secret: Its secret.
        account: Your name for the customer. A token belongs to one customer; the store keeps them apart by it.
        store: Where the tokens are kept. One that forgets them costs the customer's consent.
        refresh_token: The one that the customer's consent gave. One that the store has not seen yet means a new
            consent, and replaces what is stored; those before it are never used again.
        token_url: The token endpoint; https, or http on loopback.
        client_auth: Whether the client's credentials go as HTTP Basic or in the body (RFC 6749 2.3.1).
        ssl_context: As for the client, for the token endpoint.
        proxy: As for the client, for the token endpoint.
        transport: As for the client, for the token endpoint; a callable is called for each request.

    Raises:
        ConfigurationError: An argument cannot be right.
    """

    __module__ = "brex_accounting"  # reprs name the public place

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
        ssl_context: ssl.SSLContext | None = None,
        proxy: str | None = None,
        transport: Transport = None,
    ) -> None:
        secret = Given(client_secret)
        seed = None if refresh_token is None else Given(refresh_token)
        del client_secret, refresh_token  # or they would stand in tracebacks that show locals
        proxy = veil(proxy)
        route = Route(transport, ssl_context, proxy)
        self._client_id = check_text(client_id, "client_id")
        self._account = check_text(account, "account")
        check_store(store)
        check_client_auth(client_auth)
        self._store = store
        self._clock = Clock()
        url = check_base_url(token_url, "token_url")
        endpoint = TokenEndpoint(url, self._client_id, check_client_secret(secret), client_auth, route)
        key = store_key(token_url, self._client_id, self._account)
        valid_seed = None if seed is None else check_token(seed, "refresh_token")
        self._refresher = Refresher(self._account, key, store, endpoint, seed=valid_seed, clock=self._clock)
        self._known: StoredToken | None = None
        self._needed_at = self._early_at = self._ends_at = -inf
        self._early_pause = PAUSE
        self._renewed_at = self._replaced_at = -inf
        self._good = ""
        self._tasks: WeakKeyDictionary[asyncio.AbstractEventLoop, ShieldedTask] = WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"OAuth2({self._client_id!r}, account={self._account!r}, store={self._store!r})"

    def __reduce__(self) -> NoReturn:
        message = "an OAuth2 holds a client secret and tokens: make another one instead of copying or pickling it"
        raise TypeError(message)

    async def token(self) -> str:
        """Give an access token with some life left. Raises TokenRefreshError."""
        now = self._clock.monotonic()
        if self._known is None or now >= self._needed_at:
            error = await self._renewed(self._known)
            if error is not None and self._clock.monotonic() >= self._ends_at:
                raise error
        elif now >= self._early_at:
            self._early_at = now + self._early_pause
            self._early_pause *= 2
            self._start(self._known).add_done_callback(_log_failure)
        return self._access_token()

    async def rejected(self, token: str) -> bool:
        """Learn of a 401; return whether there is another token. Raises TokenRefreshError."""
        refused, was_good = self._known, token == self._good
        is_replaced = refused is None or refused.token.access_token != token
        del token  # or it would stand in tracebacks that show locals
        if is_replaced or refused is None:
            return True
        now = self._clock.monotonic()
        never_good = now < self._renewed_at + PAUSE and not was_good
        if never_good or now < self._replaced_at + PAUSE:
            return False
        error = await self._renewed(refused)
        if error is not None and self._known is refused:
            raise error
        self._replaced_at = self._clock.monotonic()
        return self._access_token() != refused.token.access_token

    def accepted(self, token: str) -> None:
        """Learn that the API took this token: a 401 to it means that it has ended, not that it lacks a permission."""
        self._good = token

    async def aclose(self) -> None:
        """Wait for a refresh that is under way, and try once more to save what could not be saved."""
        task = self._tasks.get(asyncio.get_running_loop())
        if task is not None and not task.done():
            await asyncio.wait([task], timeout=LONGEST_REFRESH)
        if self._refresher.unsaved is not None:
            task = self._start(self._known)
            task.add_done_callback(_log_failure)
            await asyncio.wait([task], timeout=LONGEST_REFRESH)

    def _access_token(self) -> str:
        return "" if self._known is None else self._known.token.access_token or ""

    async def _renewed(self, stale: StoredToken | None) -> errors.BrexError | None:
        """Wait until there is another token than this one, or return why there is none; each caller gets its own error.

        A refresh that was joined may have had another token in mind, and brought back this very one.
        """
        while self._known is stale:
            task = self._start(stale)
            # Not asyncio.wait, nor shield: they take time for each pair of waiters, or complain of unseen errors.
            waiter = task.get_loop().create_future()
            task.add_done_callback(partial(_wake, waiter))
            await waiter
            error = None if task.cancelled() else task.result()
            if error is None:
                continue
            if stale is not None and isinstance(error, ConfigurationError):
                return TokenRefreshError(str(error))  # it was right before: something happened to the store meanwhile
            return copy.copy(error)
        return None

    def _start(self, stale: StoredToken | None) -> ShieldedTask:
        """Begin a refresh, or join the one that is under way in this event loop."""
        loop = asyncio.get_running_loop()
        task = self._tasks.get(loop)
        if task is None or task.done():
            task = self._tasks[loop] = ShieldedTask(self._refresh(stale), loop=loop, name="brex-accounting-refresh")
        return task

    async def _refresh(self, stale: StoredToken | None) -> errors.BrexError | None:
        """Refresh, and use what came of it; return why if nothing did."""
        renewed = await self._refresher.refresh(stale)
        if isinstance(renewed, Renewed):
            if self._known is stale or self._known is None or renewed.stored.version >= self._known.version:
                self._publish(renewed)  # unless another thread was faster
            return None
        return renewed

    def _publish(self, renewed: Renewed) -> None:
        """Use a token. From here on its life is counted on the monotonic clock, which does not jump."""
        now = self._clock.monotonic()
        stored, expires_at = renewed.stored, renewed.stored.token.expires_at
        if renewed.expires is not None:
            lifetime = renewed.expires - now
            left, needed, early = lifetime, min(NEEDED_BEFORE, lifetime / 2), min(EARLY_BEFORE, lifetime / 2)
        else:
            left = inf if expires_at is None else expires_at.timestamp() - self._clock.wall()
            needed, early = NEEDED_BEFORE, EARLY_BEFORE
        if renewed.expires is not None or self._known is not None:
            self._renewed_at = now
        self._known = stored
        self._ends_at = now + left
        self._needed_at = self._ends_at - needed
        self._early_at = max(self._ends_at - early * self._clock.uniform(0.8, 1.0), self._renewed_at + PAUSE)
        self._early_pause = PAUSE


def _wake(waiter: asyncio.Future[None], _: object) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _log_failure(task: asyncio.Task[errors.BrexError | None]) -> None:
    if not task.cancelled() and (error := task.result()) is not None:
        logger.warning("token refresh in the background: %s", error)
