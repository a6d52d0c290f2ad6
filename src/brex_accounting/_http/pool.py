"""The connection pool of one event loop.

Each slot has an httpx transport of its own, which holds one connection and is thrown away if an exchange on it was
cancelled or failed. A single httpx pool would lose connections for good when tasks are cancelled under contention
(httpcore issue 1093), and it scans all its connections on every request.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import weakref
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any

import httpx

from brex_accounting.errors import ConfigurationError

from .connection import is_closed
from .connector import KEEP_ALIVE, Connect
from .exchange import DirectTransport
from .gate import Gate

CLOSED = "The client is closed: make a new one."

_pools = weakref.WeakSet["ConnectionPool"]()
_pools_lock = threading.Lock()


SWEEP_EVERY = 1.0
"""Seconds between two looks at the idle connections of a pool."""


@dataclass(slots=True, eq=False)
class Slot:
    """A place in the pool: its holder may have one request in flight."""

    transport: httpx.AsyncBaseTransport
    pool: ConnectionPool
    broken: bool = False
    stream: Any = None
    """The connection of the last exchange."""
    idle_since: float = 0.0

    def is_spent(self, now: float) -> bool:
        """Whether its idle connection is too old, or the peer has closed it."""
        return now - self.idle_since >= KEEP_ALIVE or (self.stream is not None and is_closed(self.stream))


class ConnectionPool:
    """The slots of one event loop: each with a transport of its own, or all with the one that the caller gave."""

    def __init__(self, size: int, connect: Connect, *, given: httpx.AsyncBaseTransport | None, owned: bool) -> None:
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self._gate = Gate(size)
        self._connect = connect
        self._given = given
        self._owned = owned
        self._idle: list[Slot] = []
        self.closing: set[asyncio.Task[None]] = set()
        """Tasks that close connections and transports."""
        self._in_use = 0
        self._closed = False
        self._sweeping: asyncio.TimerHandle | None = None
        self._shutdown = self._close_on_shutdown()
        with _pools_lock:
            _pools.add(self)

    async def open(self) -> None:
        """Register for the shutdown of the event loop, which closes the pool if nobody has closed it before."""
        await anext(self._shutdown)

    def check_open(self) -> None:
        if self._closed:
            raise ConfigurationError(CLOSED)

    async def acquire(self, *, again: bool) -> Slot:
        await self._gate.acquire(again=again)
        try:
            self.check_open()
            if self._given is not None:
                slot = Slot(self._given, self)
            elif self._idle:
                slot = self._idle.pop()
            else:
                slot = Slot(await self._connect(), self)
        except BaseException:
            self._gate.release()
            raise
        self._in_use += 1
        return slot

    def release(self, slot: Slot) -> None:
        self._in_use -= 1
        if self._given is not None:
            if slot.broken and slot.stream is not None and isinstance(self._given, DirectTransport):
                self._given.close_idle(slot.stream)
            self._gate.release()
            self._close_given()
        elif slot.broken or self._closed:
            self.close(slot.transport, self._gate.release)
        else:
            slot.idle_since = self.loop.time()
            self._idle.append(slot)
            self._gate.release()
            if self._sweeping is None:
                self._sweeping = self.loop.call_later(SWEEP_EVERY, self._sweep)

    def _sweep(self) -> None:
        """Close connections that are too old or that the peer has closed. Runs again while any connection is idle."""
        now = self.loop.time()
        idle, self._idle = self._idle, []
        for slot in idle:
            if slot.is_spent(now):
                self.close(slot.transport)
            else:
                self._idle.append(slot)
        self._sweeping = self.loop.call_later(SWEEP_EVERY, self._sweep) if self._idle else None

    def close(self, open_: Any, then: Callable[[], None] = lambda: None) -> None:
        """Close something in a task of its own: a cancelled call ends at once, and a cancelled close goes on."""
        if self.loop.is_closed():  # too late
            return

        def done(task: asyncio.Task[None]) -> None:
            self.closing.discard(task)
            if task.cancelled():  # asyncio.run cancels all tasks when it ends, even those that have not begun
                self.close(open_, then)
            else:
                then()

        task = self.loop.create_task(_close_quietly(open_))
        self.closing.add(task)
        task.add_done_callback(done)

    def close_idle(self) -> None:
        """Close the idle connections; the next calls make new ones."""
        if isinstance(self._given, DirectTransport):
            self._given.close_idle()
        for slot in self._idle:
            self.close(slot.transport)
        self._idle.clear()
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None

    def shut(self) -> None:
        """Refuse further calls and close what is idle; what is in use is closed when its exchange has ended."""
        self._closed = True
        if self._given is None:
            self.close_idle()
        self._close_given()

    def _close_given(self) -> None:
        if self._closed and self._owned and self._in_use == 0 and self._given is not None:
            self._owned = False
            self.close(self._given)

    async def aclose(self) -> None:
        await self._shutdown.aclose()

    async def _close_on_shutdown(self) -> AsyncGenerator[None, None]:
        """Close the connections.

        asyncio.run closes the loop's asynchronous generators while the loop still runs. That closes the connections of
        a client that was never closed, or that goes on in another loop, without a warning.
        """
        try:
            yield
        finally:
            self.shut()
            if self.closing:
                await asyncio.wait(self.closing)


async def free_descriptors() -> None:
    """Close the idle connections of all clients of the process, and wait for those of this event loop."""
    loop = asyncio.get_running_loop()
    with _pools_lock:
        pools = list(_pools)
    closing = set[asyncio.Task[None]]()
    for pool in pools:
        if pool.loop is loop:
            pool.close_idle()
            closing |= pool.closing
        else:
            with contextlib.suppress(RuntimeError):  # it has ended
                pool.loop.call_soon_threadsafe(pool.close_idle)
    await asyncio.sleep(0)  # in which asyncio closes the sockets of aiohttp
    if closing:
        await asyncio.wait(closing)


async def _close_quietly(open_: Any) -> None:
    with contextlib.suppress(Exception):  # what is thrown away may be broken already
        await open_.aclose()
