"""The line in which the refreshes of an event loop wait: a thousand at once would use up the process's files."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar
from weakref import WeakKeyDictionary

AT_A_TIME = 24
"""Refreshes that hold a lock and a connection."""
PATIENCE = 30.0
"""Seconds after which nobody waits any longer in a line whose head gets no answers."""


class LineStuckError(Exception):
    """Nobody in the line gets an answer."""


class Line:
    """Lets some refreshes through at a time, in the order of their arrival.

    It may be long. But if those at its head get no answer, those behind them need not find out one after the other.
    """

    _lines: ClassVar[WeakKeyDictionary[asyncio.AbstractEventLoop, Line]] = WeakKeyDictionary()
    _guard = threading.Lock()

    def __init__(self) -> None:
        self._gate = asyncio.Semaphore(AT_A_TIME)
        self._answers = 0

    @classmethod
    def of_this_loop(cls) -> Line:
        with cls._guard:
            return cls._lines.setdefault(asyncio.get_running_loop(), cls())

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, and have it to the end of the block. Raises LineStuckError."""
        await self._wait()
        try:
            yield
        finally:
            self._gate.release()

    def note_answer(self) -> None:
        """The authorization server answers: it is worth waiting."""
        self._answers += 1

    async def _wait(self) -> None:
        turn = asyncio.ensure_future(self._gate.acquire())
        before = -1
        try:
            while not turn.done() and self._answers != before:
                before = self._answers
                await asyncio.wait([turn], timeout=PATIENCE)
        except BaseException:
            if not turn.cancel():  # it is our turn, in the very moment that we go
                self._gate.release()
            raise
        if turn.cancel():
            raise LineStuckError
