"""Sends all requests."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Mapping
from typing import Any

import httpx

from brex_accounting._clock import TimeLimit
from brex_accounting._version import __version__
from brex_accounting.errors import ConfigurationError

from .connector import Connector, Transport, check_connecting
from .exchange import Exchange, Message, Timeout, parsed
from .failures import read_failure
from .pool import CLOSED, ConnectionPool, Slot, free_descriptors
from .response import Cause, Response, TransportFailure

HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "gzip",
    "User-Agent": f"brex-accounting/{__version__}",
}
"""Every request carries these."""


class Network:
    """Sends one request at a time for each slot, and returns the response or the failure as a value, never raises it.

    Args:
        base_url: Checked, and put before the address of each request.
        transport: As for the client.
        size: How many requests may be in flight at a time, in each event loop.
        ssl_context: As for the client.
        proxy: As for the client.
    """

    def __init__(
        self,
        base_url: httpx.URL,
        transport: Transport,
        size: int,
        *,
        ssl_context: ssl.SSLContext | None = None,
        proxy: str | None = None,
    ) -> None:
        check_connecting(transport, ssl_context, proxy)
        self._base_url = str(base_url).rstrip("/")
        self._transport = transport
        self._size = size
        self._connect = Connector(base_url, ssl_context, proxy)
        self._pools: dict[asyncio.AbstractEventLoop, ConnectionPool] = {}
        self._opening = threading.Lock()
        self._closed = False

    def __repr__(self) -> str:
        return self._base_url

    async def acquire(self, *, again: bool = False) -> Slot:
        """Wait for a slot, in the order of arrival (see Gate). Each slot is released once."""
        if self._closed:
            raise ConfigurationError(CLOSED)
        loop = asyncio.get_running_loop()
        pool = self._pools.get(loop)
        if pool is None:
            pool = self._new_pool()
            with self._opening:  # other threads have event loops of their own
                if self._closed:
                    raise ConfigurationError(CLOSED)
                for other in [other for other in self._pools if other.is_closed()]:
                    del self._pools[other]
                self._pools[loop] = pool
            await pool.open()
        return await pool.acquire(again=again)

    def _new_pool(self) -> ConnectionPool:
        given = self._transport
        if given is None or isinstance(given, httpx.AsyncBaseTransport):
            return ConnectionPool(self._size, self._connect, given=given, owned=False)
        return ConnectionPool(self._size, self._connect, given=self._connect.make_given(given), owned=True)

    async def aclose(self) -> None:
        """Close the connections, those of other threads' event loops too; calls under way go on to their end."""
        loop = asyncio.get_running_loop()
        with self._opening:
            self._closed = True
            pools = dict(self._pools)
        for other, pool in pools.items():
            if other is not loop:
                with contextlib.suppress(RuntimeError):  # it has ended
                    other.call_soon_threadsafe(pool.shut)
        if loop in pools:
            await pools[loop].aclose()

    async def exchange(
        self, slot: Slot, request: Mapping[str, Any], headers: Mapping[str, str], limit: Timeout
    ) -> Response | TransportFailure:
        """Send what the generated `get_kwargs` returns, and read the response: decompressed, up to 64 MiB.

        Args:
            slot: The caller's. Its connection is thrown away on release if it cannot carry another request.
            request: The method, the path below the base URL, parameters, headers and content.
            headers: Further headers. They take the place of those in HEADERS that have the same name.
            limit: How long it may take.
        """
        try:
            message = self._message(request, headers)
        except Exception as error:  # noqa: BLE001 - as for those of a transport
            return read_failure(error, sent=False)
        finally:
            del request, headers  # which hold secrets, and would stand in the locals of a traceback
        received = await self._send(slot, message, limit)
        cause = received.cause if isinstance(received, TransportFailure) else None
        if cause is Cause.KEPT_CONNECTION:
            slot.pool.close_idle()  # the others are as old, and the next attempt is to have a new one
        elif cause is Cause.DESCRIPTORS:
            await free_descriptors()
            received = await self._send(slot, message, limit)
        return received

    def _message(self, request: Mapping[str, Any], headers: Mapping[str, str]) -> Message:
        address = self._base_url + request["url"]
        url = parsed(address)
        if params := request.get("params"):
            url = httpx.URL(url, params=params)
        return Message(
            method=request["method"].upper(),
            url=str(url) if params else address,
            host=url.netloc.decode("ascii"),
            headers={**HEADERS, **headers, **request.get("headers", {})},
            content=request.get("content"),
        )

    async def _send(self, slot: Slot, message: Message, limit: Timeout) -> Response | TransportFailure:
        exchange = Exchange()
        slot.broken = True
        try:
            with TimeLimit(limit.whole):
                received = await exchange.run(slot.transport, message, limit)
        except Exception as error:  # noqa: BLE001 - whatever a transport raises, the call ends in a known outcome
            return exchange.ended_by(error)
        except BaseException as error:  # noqa: BLE001 - it is raised again
            # A cancellation leaves behind frames of httpcore with the request's bytes in their locals.
            error.__context__ = error.__cause__ = None
            raise error.with_traceback(None)  # noqa: B904 - it is the same exception
        finally:
            if exchange.half_open is not None:
                slot.pool.close(exchange.half_open)
            slot.stream = exchange.stream
        slot.broken = not exchange.reusable
        return received
