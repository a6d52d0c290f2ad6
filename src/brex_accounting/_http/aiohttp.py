"""aiohttp as the transport (extra: aiohttp)."""

from __future__ import annotations

import httpx

from brex_accounting._arguments import check_count, check_extra


def aiohttp_transport(*, max_connections: int = 20) -> httpx.AsyncBaseTransport:
    """Make a transport on aiohttp, which uses much less CPU time per call than httpx's own when many run at once.

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
