"""aiohttp as the transport (extra: aiohttp)."""

from __future__ import annotations

from importlib.util import find_spec

import httpx

from brex_accounting._arguments import check_count
from brex_accounting.errors import ConfigurationError


def aiohttp_transport(*, max_connections: int = 20) -> httpx.AsyncBaseTransport:
    """Make a transport on aiohttp, which takes much less CPU for a call than httpx's own when many run at once.

    Pass ``transport=aiohttp_transport`` to the client, which then makes one for each event loop and closes it; or the
    result of this function, which stays yours to close and serves one event loop. Proxies of the environment are not
    used.

    Args:
        max_connections: Connections at a time; not fewer than the client's `max_connections`, or calls wait twice.

    Raises:
        ConfigurationError: The extra is not installed.
    """
    check_count(max_connections, "max_connections")
    if find_spec("httpx_aiohttp") is None:
        raise ConfigurationError('aiohttp_transport needs an extra: pip install "brex-accounting[aiohttp]".')
    import httpx_aiohttp  # noqa: PLC0415 - an extra

    limits = httpx.Limits(max_connections=max_connections, max_keepalive_connections=max_connections)
    return httpx_aiohttp.AiohttpTransport(limits=limits)


def by_cause(error: Exception) -> Exception:
    """Name what happened to aiohttp: httpx-aiohttp calls every broken connection a timeout of connecting.

    That class promises that nothing was sent, which of a reset is not true.
    """
    cause = error.__cause__
    if cause is None or not type(cause).__module__.startswith("aiohttp."):
        return error
    names = {kind.__name__ for kind in type(cause).__mro__}
    if "ConnectionTimeoutError" in names:
        return httpx.ConnectTimeout(str(cause))
    if "ServerTimeoutError" in names:
        return httpx.ReadTimeout(str(cause))
    if "ClientConnectorError" in names:
        return httpx.ConnectError(str(cause))
    return httpx.ReadError(str(cause))
