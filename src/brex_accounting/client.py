"""The client."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Self

import httpx

from ._arguments import check_count, refuse
from ._call import Attempt, Engine, Shared
from ._clock import Clock
from ._limits import RateLimit, RateLimiter
from ._network import Network, Timeout, check_base_url
from ._retry import RetryPolicy, RetryQuota
from .auth import UserToken, from_environment
from .integrations import Integrations

PRODUCTION = "https://api.brex.com"
STAGING = "https://api-staging.brex.com"
"""Brex's own staging. It is no sandbox: customers' tokens do not work there."""


class BrexAccounting:
    """A client of the Brex Accounting API, for one account.

    Use it as an async context manager, or `aclose` it. It holds no connection before the first call, and goes on in a
    second event loop after the first. After a fork, and in another thread, make another one.

    Args:
        auth: A user token. Without one, it is read from ``BREX_TOKEN``.
        base_url: Without one, ``BREX_BASE_URL``, else `PRODUCTION`. Must be https; http only on loopback.
        timeout: Seconds for one attempt, its body included; an httpx.Timeout sets each phase instead.
        retry: How far a call goes before it gives up.
        rate_limit: What the client keeps to by itself; None: nothing. It counts per process: share the account's 1,000
            requests in 60 seconds out among your workers.
        max_connections: How many requests are on the wire at a time; further calls queue.
        transport: An httpx transport, which stays yours to close and serves one event loop; or a callable that makes
            one, called once for each event loop, and what it made is closed by the client.
        on_attempt: Called after each attempt, for metrics. What it raises is logged and ignored.

    Raises:
        ConfigurationError: An argument, or the environment, cannot be right.
    """

    integrations: Integrations

    def __init__(
        self,
        auth: str | UserToken | None = None,
        *,
        base_url: str | None = None,
        timeout: float | httpx.Timeout = 30.0,
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - immutable
        rate_limit: RateLimit | None = RateLimit(1000, per=60.0),  # noqa: B008 - immutable
        max_connections: int = 20,
        transport: httpx.AsyncBaseTransport | Callable[[], httpx.AsyncBaseTransport] | None = None,
        on_attempt: Callable[[Attempt], None] | None = None,
    ) -> None:
        url = check_base_url(base_url if base_url is not None else os.environ.get("BREX_BASE_URL") or PRODUCTION)
        if rate_limit is not None and not isinstance(rate_limit, RateLimit):
            refuse("rate_limit must be a RateLimit or None.")
        if transport is not None and not isinstance(transport, httpx.AsyncBaseTransport) and not callable(transport):
            refuse("transport must be an httpx.AsyncBaseTransport, or a callable that makes one.")
        clock = Clock()
        shared = Shared(
            network=Network(url, transport, check_count(max_connections, "max_connections")),
            auth=_authorizer(auth),
            limiter=RateLimiter(rate_limit, clock),
            quota=RetryQuota(),
            clock=clock,
            on_attempt=on_attempt,
        )
        self._open(Engine(shared, Timeout.of(timeout), _check_retry(retry)), owner=True)

    def _open(self, engine: Engine, *, owner: bool) -> None:
        self._engine = engine
        self._owner = owner
        self.integrations = Integrations(engine)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._engine.shared.network!r}>"

    def with_options(
        self, *, timeout: float | httpx.Timeout | None = None, retry: RetryPolicy | None = None
    ) -> BrexAccounting:
        """Return a view of this client with other options.

        It shares the connections, tokens, limits and quota, changes nothing in this client, and closing it closes
        nothing.
        """
        engine = self._engine.with_options(
            None if timeout is None else Timeout.of(timeout),
            None if retry is None else _check_retry(retry),
        )
        view = object.__new__(type(self))
        view._open(engine, owner=False)
        return view

    async def aclose(self) -> None:
        """Close the connections. Calls after it raise ConfigurationError."""
        if self._owner:
            await self._engine.shared.network.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()


def _authorizer(auth: object) -> UserToken:
    if auth is None:
        return from_environment()
    if isinstance(auth, str):
        return UserToken(auth)
    if isinstance(auth, UserToken):
        return auth
    return refuse("auth must be a token, a UserToken, or None to read the environment.")


def _check_retry(retry: object) -> RetryPolicy:
    if not isinstance(retry, RetryPolicy):
        refuse("retry must be a RetryPolicy.")
    return retry
