"""The connection pool of one event loop.

A gate of slots stands before the network, each slot with a transport of its own that holds one connection and is thrown
away when its exchange was cancelled or broke. One httpx pool for all would lose connections for ever when tasks are
cancelled under contention (httpcore issue 1093), and scans itself on every request.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import Any

import httpx

from brex_accounting.errors import ConfigurationError

from .connector import Connect
from .gate import Gate

CLOSED = "The client is closed: make a new one."


@dataclass(slots=True, eq=False)
class Slot:
    """A place in the pool: leave to have one request on the wire."""

    transport: httpx.AsyncBaseTransport
    pool: ConnectionPool
    broken: bool = False


class ConnectionPool:
    """The slots of one event loop: with a transport each, or all around the one that the caller brought."""

    def __init__(self, size: int, connect: Connect, *, given: httpx.AsyncBaseTransport | None, owned: bool) -> None:
        self.loop = asyncio.get_running_loop()
        self._gate = Gate(size)
        self._connect = connect
        self._given = given
        self._owned = owned
        self._idle: list[Slot] = []
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False
        self._shutdown = self._close_on_shutdown()

    async def open(self) -> None:
        """Have `aclose` called when the event loop ends, if nobody calls it before."""
        await anext(self._shutdown)

    def check_open(self) -> None:
        if self._closed:
            raise ConfigurationError(CLOSED)

    async def acquire(self, *, again: bool) -> Slot:
        await self._gate.acquire(again=again)
        try:
            self.check_open()
            if self._idle:
                return self._idle.pop()
            return Slot(await self._connect() if self._given is None else self._given, self)
        except BaseException:
            self._gate.release()
            raise

    def release(self, slot: Slot) -> None:
        if self._given is not None:
            self._gate.release()
        elif slot.broken or self._closed:
            self.close(slot.transport, self._gate.release)
        else:
            self._idle.append(slot)
            self._gate.release()

    def close(self, open_: Any, then: Callable[[], None] = lambda: None) -> None:
        """Close in a task of its own, so that a cancelled call ends at once, and a cancelled close goes on."""
        if self.loop.is_closed():  # there is nothing to close with
            return

        def done(task: asyncio.Task[None]) -> None:
            self._closing.discard(task)
            if task.cancelled():  # as asyncio.run does with all tasks when it ends, even before they have begun
                self.close(open_, then)
            else:
                then()

        task = self.loop.create_task(_close_quietly(open_))
        self._closing.add(task)
        task.add_done_callback(done)

    async def aclose(self) -> None:
        await self._shutdown.aclose()

    async def _close_on_shutdown(self) -> AsyncGenerator[None, None]:
        """Close the connections.

        asyncio.run ends the loop's asynchronous generators while the loop still works: that closes the connections of a
        client that was not closed, or that goes on in another loop, without a warning.
        """
        try:
            yield
        finally:
            self._closed = True
            for slot in self._idle:
                self.close(slot.transport)
            self._idle.clear()
            if self._given is not None and self._owned:
                self.close(self._given)
            if self._closing:
                await asyncio.wait(self._closing)


async def _close_quietly(open_: Any) -> None:
    with contextlib.suppress(Exception):  # what is thrown away may be broken already
        await open_.aclose()
