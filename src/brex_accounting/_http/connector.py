"""Makes transports: the caller's kind, or our own, with one connection each."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable

import httpx

from brex_accounting.errors import BrexError, ConfigurationError

from .exchange import DirectTransport
from .proxies import check_proxy, environment_proxy
from .tls import shared_context

Transport = httpx.AsyncBaseTransport | Callable[[], httpx.AsyncBaseTransport] | None
Connect = Callable[[], Awaitable[httpx.AsyncBaseTransport]]

KEEP_ALIVE = 5.0
"""Seconds that an idle connection is kept."""


def check_connecting(transport: object, ssl_context: object = None, proxy: object = None) -> None:
    """Check how connections are to be made. Raises ConfigurationError."""
    given = isinstance(transport, httpx.AsyncBaseTransport)
    if transport is not None and not given and not callable(transport):
        raise ConfigurationError("transport must be an httpx.AsyncBaseTransport, or a callable that makes one.")
    if ssl_context is not None and not isinstance(ssl_context, ssl.SSLContext):
        raise ConfigurationError("ssl_context must be an ssl.SSLContext, such as ssl.create_default_context() gives.")
    if proxy is not None:
        check_proxy(proxy)
    if given and (ssl_context is not None or proxy is not None):
        raise ConfigurationError(_ITS_OWN)


_ITS_OWN = "A transport has its own certificates and proxy: leave out ssl_context and proxy."


class Connector:
    """Makes transports, with the certificates and the proxy that the caller or else the environment names."""

    def __init__(self, base_url: httpx.URL, ssl_context: ssl.SSLContext | None, proxy: str | None) -> None:
        self._base_url = base_url
        self._ssl_context = ssl_context
        self._given_proxy = proxy

    def _proxy(self) -> httpx.Proxy | None:
        given = self._given_proxy
        return environment_proxy(self._base_url) if given is None else check_proxy(given)

    async def __call__(self) -> httpx.AsyncBaseTransport:
        """Make the transport of a slot: one connection, HTTP/1.1."""
        proxy = self._proxy()
        encrypted = self._base_url.scheme == "https" or (proxy is not None and proxy.url.scheme == "https")
        context = self._ssl_context or await shared_context(verify=encrypted)
        if proxy is not None and proxy.url.scheme == "https":
            proxy = httpx.Proxy(proxy.url, ssl_context=context, auth=proxy.auth)
        limits = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEP_ALIVE)
        return httpx.AsyncHTTPTransport(verify=context, limits=limits, proxy=proxy)

    def make_given(self, make: Callable[[], httpx.AsyncBaseTransport]) -> httpx.AsyncBaseTransport:
        """Make a transport of the caller's kind."""
        made: object = None
        try:
            made = make()
        except BrexError:
            raise
        except Exception as error:  # noqa: BLE001 - the caller's code
            reason = f"raised {type(error).__name__}"
        else:
            reason = f"gave a {type(made).__name__}, which is not an httpx.AsyncBaseTransport"
        if not isinstance(made, httpx.AsyncBaseTransport):
            raise ConfigurationError(f"transport was called and {reason}.")
        if isinstance(made, DirectTransport):
            made.configure(self._ssl_context, self._proxy())
        elif self._ssl_context is not None or self._given_proxy is not None:
            raise ConfigurationError(_ITS_OWN)
        return made
