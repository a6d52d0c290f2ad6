"""aiohttp as the transport (extra: aiohttp)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx

from brex_accounting._arguments import check_count, check_extra


def aiohttp_transport(*, max_connections: int = 20) -> httpx.AsyncBaseTransport:
    """Make a transport on aiohttp, which takes much less CPU for a call than httpx's own when many run at once.

    Pass ``transport=aiohttp_transport`` to the client, which then makes one for each event loop, gives it the client's
    `ssl_context` and `proxy` (or the environment's proxy; SOCKS is not supported) and closes it. Or pass the result of
    this function, which stays yours to close, serves one event loop and uses no proxy.

    Args:
        max_connections: Connections at a time; not fewer than the client's `max_connections`, or calls wait twice.

    Raises:
        ConfigurationError: The extra is not installed, or the certificates cannot be read.
    """
    check_count(max_connections, "max_connections")
    check_extra("aiohttp", "httpx_aiohttp")
    from .aiohttp_transport import AiohttpTransport  # noqa: PLC0415 - an extra

    return AiohttpTransport(max_connections)


def by_cause(error: Exception) -> Exception:
    """Translate what aiohttp raises, for httpx-aiohttp calls every broken connection a timeout of connecting.

    That class promises that nothing was sent, which is not true of a reset. And aiohttp quotes what it could not read:
    the body of an answer, which no error may show.
    """
    cause: Any = error if _is_of_aiohttp(error) else error.__cause__
    if not _is_of_aiohttp(cause):
        return error
    names = {kind.__name__ for kind in type(cause).__mro__}
    translated = next(translate(cause) for name, translate in _TRANSLATIONS.items() if name in names)
    translated.__cause__ = cause
    return translated


_TRANSLATIONS: dict[str, Callable[[Any], Exception]] = {
    "ConnectionTimeoutError": lambda cause: httpx.ConnectTimeout(str(cause)),
    "ServerTimeoutError": lambda cause: httpx.ReadTimeout(str(cause)),
    "ClientHttpProxyError": lambda cause: httpx.ProxyError(str(cause.status)),
    "ClientConnectorError": lambda cause: httpx.ConnectError(str(cause.os_error)),
    "ClientResponseError": lambda _: httpx.RemoteProtocolError("the answer is not HTTP"),
    "ServerDisconnectedError": lambda _: httpx.ReadError("Server disconnected without sending a response."),
    "Exception": lambda cause: httpx.ReadError(str(cause)),
}
"""By the name of a class, the first that fits."""


def _is_of_aiohttp(error: object) -> bool:
    return type(error).__module__.startswith("aiohttp.")
