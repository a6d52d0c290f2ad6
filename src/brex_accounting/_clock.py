"""Time and chance, in one place, so that tests can hold both still."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from math import inf


@dataclass(frozen=True, slots=True)
class Clock:
    """What the engine knows of time: seconds, all of them."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
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

    def remaining(self) -> float:
        """Seconds left; without end while the first attempt still waits to be let through."""
        return inf if self._end is None else self._end - self._clock.monotonic()
