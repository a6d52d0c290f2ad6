"""Time and chance, in one place, so that tests can hold both still."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from math import inf

from .errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class Clock:
    """What the engine knows of time: seconds, all of them."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = lambda: time.time()  # noqa: PLW0108 - looked up at each call: callers freeze it in tests
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    uniform: Callable[[float, float], float] = random.uniform


class Deadline:
    """The time that a call has, counted from the moment its first attempt is let through."""

    def __init__(self, seconds: float, clock: Clock) -> None:
        self._seconds = seconds
        self._clock = clock
        self._end: float | None = None

    def start(self) -> None:
        if self._end is None:
            self._end = self._clock.monotonic() + self._seconds

    @property
    def started(self) -> bool:
        return self._end is not None

    def remaining(self) -> float:
        """Seconds left; without end while the first attempt still waits to be let through."""
        return inf if self._end is None else self._end - self._clock.monotonic()


LAST_TURNS = 50
"""Turns of the event loop after the time is up. An answer of a few kilobytes takes about ten, over TLS as well."""


def check_asyncio() -> asyncio.AbstractEventLoop:
    """Return the running event loop of asyncio. Raises ConfigurationError if there is none."""
    loop = asyncio._get_running_loop()  # noqa: SLF001 - get_running_loop raises, and its error would stay attached
    if loop is None:
        raise ConfigurationError(
            "BrexAccounting needs asyncio: under trio, run it with trio-asyncio or anyio's asyncio."
        )
    return loop


class TimeLimit:
    """Ends what is awaited inside with a TimeoutError when its time is up.

    What arrived while other code blocked the event loop, or while the process was stopped, is read first: the loop gets
    some turns before anything is given up.

    asyncio.timeout gives none. And in the first releases of Python 3.11 its own cancellation gets out of it in a task
    that was cancelled before and is cleaning up. If what is awaited turns somebody else's cancellation into an ordinary
    error, the cancellation goes on here.
    """

    __slots__ = ("_before", "_expired", "_seconds", "_task", "_timer")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._expired = False
        self._timer: asyncio.Handle | None = None

    @property
    def expired(self) -> bool:
        return self._expired

    def __enter__(self) -> None:
        loop = check_asyncio()
        task = asyncio.current_task(loop)
        assert task is not None  # noqa: S101 - whatever awaits runs in one
        self._task = task
        self._before = task.cancelling()
        if self._seconds != inf:
            self._timer = loop.call_later(self._seconds, self._expire, LAST_TURNS)

    def _expire(self, turns: int) -> None:
        if turns:
            self._timer = asyncio.get_running_loop().call_soon(self._expire, turns - 1)
        else:
            self._expired = True
            self._task.cancel()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
        cancellations = self._task.uncancel() if self._expired else self._task.cancelling()
        if kind is None:
            return
        if cancellations > self._before:
            if issubclass(kind, Exception):
                raise asyncio.CancelledError from None
        elif self._expired and kind is asyncio.CancelledError:
            raise TimeoutError from None
