"""Waiting in line, for tasks of several event loops in several threads.

A future belongs to its loop, so each waiter has one of its own, and whoever wakes it does that through its loop. A lock
guards the state around it: threading's, held for a moment and never across an await. It is reentrant, since a garbage
collection inside it may end a coroutine that waits.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator
from threading import get_ident

LOOK_AGAIN = 1.0
"""Seconds after which a waiter looks again when other loops are involved: one that dies wakes nobody."""


class Waiter:
    """One task that waits."""

    __slots__ = ("_future", "_thread", "loop")

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._thread = get_ident()
        self._future: asyncio.Future[None] = self.loop.create_future()

    def wake(self) -> None:
        """Let it look again. From any thread; a loop that is closed has nobody to wake."""
        if get_ident() == self._thread:
            self._set()
            return
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._set)

    def _set(self) -> None:
        if not self._future.done() and not self.loop.is_closed():
            self._future.set_result(None)

    async def wait(self, seconds: float | None) -> None:
        """Wait until it is woken, or for so long."""
        timer = None if seconds is None else self.loop.call_later(seconds, self._set)
        try:
            await self._future
        finally:
            if timer is not None:
                timer.cancel()
        self._future = self.loop.create_future()


class Line:
    """Waiters in the order of their arrival. Those who come again, who arrived earlier, go before the others."""

    def __init__(self) -> None:
        self._again: dict[Waiter, None] = {}
        self._first: dict[Waiter, None] = {}
        self._loops = Counter[asyncio.AbstractEventLoop]()

    def __iter__(self) -> Iterator[Waiter]:
        return iter([*self._again, *self._first])

    def is_empty_before(self, *, again: bool) -> bool:
        """Whether nobody would be ahead of somebody who joins now."""
        return not (self._again if again else self._loops)

    def join(self, waiter: Waiter, *, again: bool = False) -> None:
        (self._again if again else self._first)[waiter] = None
        self._loops[waiter.loop] += 1

    def leave(self, waiter: Waiter) -> None:
        for waiters in (self._again, self._first):
            if waiter in waiters:
                del waiters[waiter]
                self._loops -= Counter([waiter.loop])

    def head(self) -> Waiter | None:
        """The first whose loop is still open."""
        while waiters := self._again or self._first:
            first = next(iter(waiters))
            if not first.loop.is_closed():
                return first
            self.leave(first)
        return None

    def wake_head(self) -> None:
        if (head := self.head()) is not None:
            head.wake()

    def spans(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether tasks of another loop wait here too."""
        return any(other is not loop for other in self._loops)
