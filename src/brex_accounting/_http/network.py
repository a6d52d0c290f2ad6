"""The rim: the only place that sends, and the only one that knows httpx.

A gate of slots stands before the network, each slot with a transport of its own that holds one connection and is thrown
away when its exchange was cancelled or broke. One shared pool would lose connections for ever when tasks are cancelled
under contention (httpcore issue 1093), and scans itself on every request.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import urllib.request
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import httpx

from brex_accounting._clock import TimeLimit
from brex_accounting.errors import ConfigurationError

from .addresses import is_loopback
from .exchange import Timeout, _Exchange
from .gate import Gate
from .response import Response, TransportFailure

CLOSED = "The client is closed: make a new one."
Transport = httpx.AsyncBaseTransport | Callable[[], httpx.AsyncBaseTransport] | None


@dataclass(slots=True, eq=False)
class Slot:
    """One place on the wire."""

    transport: httpx.AsyncBaseTransport
    pool: _SlotPool
    broken: bool = False


class _SlotPool:
    """The slots of one event loop: with a transport each, or all around the one that the user brought."""

    def __init__(self, size: int, make: Callable[[], httpx.AsyncBaseTransport], *, shared: bool, owned: bool) -> None:
        self.loop = asyncio.get_running_loop()
        self._gate = Gate(size)
        self._make = make
        self._shared = shared
        self._owned = owned
        self._idle: list[Slot] = []
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False
        # asyncio.run ends the loop's async generators while the loop still works: there the connections of a client
        # that was not closed, or that goes on in another loop, are closed without a warning.
        self.janitor = self._janitor()

    def check_open(self) -> None:
        if self._closed:
            raise ConfigurationError(CLOSED)

    async def acquire(self, *, again: bool) -> Slot:
        await self._gate.acquire(again=again)
        try:
            self.check_open()
            return self._idle.pop() if self._idle else Slot(_made(self._make), self)
        except BaseException:
            self._gate.release()
            raise

    def release(self, slot: Slot) -> None:
        if self._shared or not (slot.broken or self._closed):
            self._idle.append(slot)
            self._gate.release()
        else:
            self.close(slot.transport, lambda _: self._gate.release())

    def close(self, open_: Any, then: Callable[[object], None] = lambda _: None) -> None:
        """Close in a task of its own, so that a cancelled call ends at once, and a cancelled close goes on."""
        if not self.loop.is_closed():  # after which there is nothing to close with
            task = self.loop.create_task(_close_quietly(open_))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
            task.add_done_callback(then)

    async def _janitor(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            self._closed = True
            for transport in [self._make()] if self._shared else [slot.transport for slot in self._idle]:
                if self._owned:
                    self.close(transport)
            if self._closing:
                await asyncio.wait(self._closing)


async def _close_quietly(open_: Any) -> None:
    with contextlib.suppress(Exception):  # what is thrown away may be broken already
        await open_.aclose()


def _made(make: Callable[[], httpx.AsyncBaseTransport]) -> httpx.AsyncBaseTransport:
    try:
        return make()
    except ConfigurationError:
        raise
    except Exception as error:  # noqa: BLE001 - the user's callable, SSL_CERT_FILE, a proxy: all configuration
        reason = type(error).__name__
    raise ConfigurationError(f"No connection can be made ready ({reason}): check transport, or proxy and certificates.")


class Network:
    """Sends one request at a time for each slot, and tells what came back as a value, never as an exception."""

    def __init__(self, base_url: httpx.URL, transport: Transport, max_connections: int) -> None:
        self._base_url = str(base_url).rstrip("/")
        self._transport = transport
        self._size = max_connections
        self._slots: dict[asyncio.AbstractEventLoop, _SlotPool] = {}
        self._closed = False
        self._connect = _Connector(base_url)

    def __repr__(self) -> str:
        return self._base_url

    async def acquire(self, *, again: bool = False) -> Slot:
        """Wait for a slot, in the order of arrival (see Gate). Each slot is released once."""
        if self._closed:
            raise ConfigurationError(CLOSED)
        loop = asyncio.get_running_loop()
        slots = self._slots.get(loop)
        if slots is None:
            # Another loop's stay while it lives: what nobody holds is collected, its sockets still open.
            self._slots = {other: its for other, its in self._slots.items() if not other.is_closed()}
            slots = self._slots[loop] = self._new_slots()
            await anext(slots.janitor)
        return await slots.acquire(again=again)

    def _new_slots(self) -> _SlotPool:
        given = self._transport
        if given is None:
            return _SlotPool(self._size, self._connect, shared=False, owned=True)
        transport = given if isinstance(given, httpx.AsyncBaseTransport) else _made(given)
        return _SlotPool(self._size, lambda: transport, shared=True, owned=transport is not given)

    async def aclose(self) -> None:
        self._closed = True
        slots = self._slots.get(asyncio.get_running_loop())
        if slots is not None:
            await slots.janitor.aclose()

    async def exchange(
        self, slot: Slot, request: Mapping[str, Any], headers: Mapping[str, str], limit: Timeout
    ) -> Response | TransportFailure:
        """Send what the generated `get_kwargs` gives, and read the answer, decompressed and up to 64 MiB."""
        exchange = _Exchange()
        slot.broken = True
        try:
            message = httpx.Request(
                request["method"],
                _parsed(self._base_url + request["url"]),
                params=request.get("params"),
                headers={**headers, **request.get("headers", {})},
                content=request.get("content"),
                extensions={"timeout": limit.phases, "trace": exchange.trace},
            )
            with TimeLimit(limit.whole):
                answer = await exchange.run(slot.transport, message)
        except Exception as error:  # noqa: BLE001 - whatever a transport raises, the call ends in a known outcome
            return exchange.ended_by(error)
        finally:
            if exchange.half_open is not None:
                slot.pool.close(exchange.half_open)
            exchange.forget()
        slot.broken = answer.too_large or answer.defect is not None
        return answer


@lru_cache(maxsize=64)
def _parsed(url: str) -> httpx.URL:
    """Parsing takes a tenth of the CPU time of a call, and most calls go to one of a few addresses."""
    return httpx.URL(url)


class _Connector:
    """Makes the transport of a slot: one connection, HTTP/1.1, the environment's proxy, one SSL context for all."""

    def __init__(self, base_url: httpx.URL) -> None:
        self._secure = base_url.scheme == "https"
        direct = is_loopback(base_url.host) or urllib.request.proxy_bypass(base_url.host)
        proxies = {} if direct else urllib.request.getproxies()
        proxy = proxies.get(base_url.scheme) or proxies.get("all")
        self._proxy = proxy if proxy is None or "://" in proxy else f"http://{proxy}"
        self._context: ssl.SSLContext | None = None

    def __call__(self) -> httpx.AsyncBaseTransport:
        if self._context is None:
            self._context = httpx.create_ssl_context(verify=self._secure)
        return httpx.AsyncHTTPTransport(
            verify=self._context,
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1),
            proxy=self._proxy,
        )
