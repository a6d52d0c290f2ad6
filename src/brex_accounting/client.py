"""The client."""

from __future__ import annotations

import inspect
import os
import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn, Self

import httpx

from ._arguments import check_count
from ._auth.oauth2 import OAuth2
from ._auth.secret import Given
from ._clock import Clock, check_asyncio
from ._engine.attempt import Attempt
from ._engine.authorizer import Authorizer
from ._engine.limits import RateLimit, RateLimiter
from ._http.addresses import check_base_url
from ._http.exchange import Timeout
from ._http.network import Network
from ._retry import RetryPolicy, RetryQuota
from ._text import veil
from .auth import UserToken, from_environment
from .errors import ConfigurationError

if TYPE_CHECKING:
    from ._engine.engine import Engine
    from .integrations import Integrations
    from .records import Records

PRODUCTION = "https://api.brex.com"
STAGING = "https://api-staging.brex.com"
"""Brex's own staging. It is not a sandbox: customers' tokens do not work there."""

_UNCHANGED: Any = ...


class BrexAccounting:
    """A client of the Brex Accounting API, for the one account that its token belongs to.

    ::

        async with BrexAccounting("bxt_…") as brex:
            integration = await brex.integrations.create("ERP_A", "acct-42")

    Use it as an async context manager, or `aclose` it when you are done. Make one and keep it: it holds no connection
    before the first call, reuses them after, and serves any number of tasks at a time. Several event loops may share
    it, one after another or each in a thread of its own. After a fork, make another one.

    Args:
        auth: A user token, or an OAuth2. Without one, ``BREX_TOKEN`` is read, or else ``BREX_CLIENT_ID``,
            ``BREX_CLIENT_SECRET``, ``BREX_ACCOUNT`` and ``BREX_TOKEN_STORE`` (a path for SQLite), with
            ``BREX_REFRESH_TOKEN`` as the seed; ``BREX_TOKEN_URL`` and ``BREX_CLIENT_AUTH`` if they are not Brex's.
        base_url: Where the API is. Without one, ``BREX_BASE_URL``, else `PRODUCTION`. Must be https; http only on
            loopback. A path is put before those of the API.
        timeout: Seconds for one attempt, its body included; an httpx.Timeout sets each phase instead. A call may take
            several attempts: `retry` bounds it as a whole.
        retry: How far a call goes before it gives up: attempts, deadline, waits.
        rate_limit: What the client keeps to by itself; None: nothing. It counts per process: share the account's 1,000
            requests in 60 seconds out among your workers.
        max_connections: How many requests are on the wire at a time; further calls queue.
        transport: An httpx transport, which stays yours to close and serves one event loop; or a callable that makes
            one, called once for each event loop, and what it made is closed by the client. None: connections of the
            client's own.
        ssl_context: For certificates of your own, such as a company's CA or a client certificate. None: one context for
            all clients of the process, with the certificates that ``SSL_CERT_FILE`` or ``SSL_CERT_DIR`` names, or else
            those of the package certifi.
        proxy: The address of a proxy, such as ``http://user:password@proxy.example:3128``. None: what the environment
            says (``HTTPS_PROXY``, ``ALL_PROXY``, ``NO_PROXY``).
        on_attempt: Called, not awaited, after each attempt, for metrics. What it raises is logged and ignored.

    Raises:
        ConfigurationError: An argument, or the environment, cannot be right.
    """

    integrations: Integrations
    """Connect an accounting system to the account, pause it, resume it."""
    records: Records
    """Read accounting records, and report what became of them in the accounting system."""

    def __init__(
        self,
        auth: str | UserToken | OAuth2 | None = None,
        *,
        base_url: str | None = None,
        timeout: float | httpx.Timeout = 30.0,
        retry: RetryPolicy = RetryPolicy(),  # noqa: B008 - immutable
        rate_limit: RateLimit | None = RateLimit(1000, per=60.0),  # noqa: B008 - immutable
        max_connections: int = 20,
        transport: httpx.AsyncBaseTransport | Callable[[], httpx.AsyncBaseTransport] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        proxy: str | None = None,
        on_attempt: Callable[[Attempt], None] | None = None,
    ) -> None:
        # Here and in _open, not above: with the rooms and their models, that is most of what an import would cost.
        from ._engine.call import Shared  # noqa: PLC0415
        from ._engine.engine import Engine  # noqa: PLC0415

        given = Given(auth)
        del auth  # or a token would stand in tracebacks that show locals
        proxy = veil(proxy)
        if rate_limit is not None and not isinstance(rate_limit, RateLimit):
            raise ConfigurationError("rate_limit must be a RateLimit or None.")
        if on_attempt is not None and (not callable(on_attempt) or inspect.iscoroutinefunction(on_attempt)):
            raise ConfigurationError("on_attempt must be an ordinary function, because it is not awaited.")
        clock = Clock()
        shared = Shared(
            network=Network(
                _address(base_url),
                transport,
                check_count(max_connections, "max_connections"),
                ssl_context=ssl_context,
                proxy=proxy,
            ),
            auth=_authorizer(given),
            limiter=RateLimiter(rate_limit, clock),
            quota=RetryQuota(),
            clock=clock,
            on_attempt=on_attempt,
        )
        self._open(Engine(shared, Timeout.of(timeout), _check_retry(retry)), owner=True)

    def _open(self, engine: Engine, *, owner: bool) -> None:
        self._engine = engine
        self._owner = owner
        from .integrations import Integrations  # noqa: PLC0415
        from .records import Records  # noqa: PLC0415

        self.integrations = Integrations(engine)
        self.records = Records(engine)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._engine.shared.network!r}>"

    def __reduce__(self) -> NoReturn:
        message = "a client holds a token and connections: make another one instead of copying or pickling it"
        raise TypeError(message)

    def with_options(self, *, timeout: float | httpx.Timeout = _UNCHANGED, retry: RetryPolicy = _UNCHANGED) -> Self:
        """Return a view of this client in which what is given here applies instead.

        ::

            patient = brex.with_options(retry=RetryPolicy(deadline=600.0))

        It shares the connections, tokens, limits and quota, changes nothing in this client, and closing it closes
        nothing.

        Args:
            timeout: Seconds for one attempt, as for the client.
            retry: How far a call goes, as for the client.

        Raises:
            ConfigurationError: An argument cannot be right.
        """
        engine = self._engine.with_options(
            None if timeout is _UNCHANGED else Timeout.of(timeout),
            None if retry is _UNCHANGED else _check_retry(retry),
        )
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__)
        view._open(engine, owner=False)
        return view

    async def aclose(self) -> None:
        """Wait for a token refresh that is under way, and close the connections.

        Calls after it raise ConfigurationError; closing once more does nothing.
        """
        check_asyncio()
        if self._owner:
            await self._engine.shared.auth.aclose()
            await self._engine.shared.network.aclose()

    async def __aenter__(self) -> Self:
        check_asyncio()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()


def _authorizer(given: Given) -> Authorizer:
    if given.value is None:
        return from_environment()
    if isinstance(given.value, str):
        return UserToken(given.value)
    if isinstance(given.value, (UserToken, OAuth2)):
        return given.value
    raise ConfigurationError("auth must be a token, a UserToken, an OAuth2, or None to read the environment.")


def _address(base_url: object) -> httpx.URL:
    named = os.environ.get("BREX_BASE_URL")
    if base_url is None and named:
        return check_base_url(named, "BREX_BASE_URL")
    return check_base_url(PRODUCTION if base_url is None else base_url)


def _check_retry(retry: object) -> RetryPolicy:
    if not isinstance(retry, RetryPolicy):
        raise ConfigurationError("retry must be a RetryPolicy.")
    return retry
