"""The rate limit that Brex counts, kept on our side too."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from threading import RLock

from attrs import field, frozen

from brex_accounting._arguments import Checked, check_count, check_positive, checked
from brex_accounting._clock import Clock

from .waiting import LOOK_AGAIN, Line, Waiter


@frozen
class RateLimit(Checked):
    """At most `requests` in any window of `per` seconds. Raises ConfigurationError for values that make no sense."""

    __module__ = "brex_accounting"  # pickles name the public place

    requests: int = field(metadata=checked(check_count))
    per: float = field(kw_only=True, metadata=checked(check_positive))


class RateLimiter:
    """Lets attempts through in the order of their calls' arrival, never more than the limit in any window.

    The server counts a request somewhere between the start and the end of its attempt, so a place is free again one
    window after the end. Event loops in several threads may share it.
    """

    def __init__(self, limit: RateLimit | None, clock: Clock) -> None:
        self._limit = limit
        self._clock = clock
        self._lock = RLock()
        self._running = Counter[asyncio.AbstractEventLoop]()
        self._ended: deque[float] = deque()
        self._paused_until = 0.0
        self._line = Line()

    @property
    def running(self) -> int:
        """How many attempts are under way."""
        return self._running.total()

    def pause(self, seconds: float) -> None:
        """Let nothing through for so long: the server said so."""
        with self._lock:
            self._paused_until = max(self._paused_until, self._clock.monotonic() + seconds)

    async def acquire(self, *, again: bool = False) -> None:
        """Wait for a place. Each `acquire` that returned is followed by one `release`.

        A call that comes `again` arrived before all those that wait for their first attempt.
        """
        loop = asyncio.get_running_loop()
        with self._lock:
            if self._line.is_empty_before(again=again) and self._wait() == 0:
                self._running[loop] += 1
                return
            waiter = Waiter()
            self._line.join(waiter, again=again)
        try:
            while (seconds := self._turn(waiter)) != 0:
                await waiter.wait(seconds)
        except BaseException:
            with self._lock:
                self._line.leave(waiter)
                self._line.wake_head()
            raise

    def release(self, loop: asyncio.AbstractEventLoop | None = None, *, used: bool = True) -> None:
        """Give a place back; `loop` is the one that took it, `used` says whether a request may have been counted."""
        loop = loop or asyncio.get_running_loop()
        with self._lock:
            if loop not in self._running:  # it was closed, and its places with it
                return
            self._running[loop] -= 1
            if used and self._limit is not None:
                self._ended.append(self._clock.monotonic())
            self._line.wake_head()

    def _turn(self, waiter: Waiter) -> float | None:
        """Take a place if it is this waiter's turn (0), or return how long to wait (None: until it is woken)."""
        with self._lock:
            seconds = self._wait() if self._line.head() is waiter else None
            if seconds == 0:
                self._line.leave(waiter)
                self._running[waiter.loop] += 1
                self._line.wake_head()
            elif seconds is None and self._spans(waiter.loop):
                seconds = LOOK_AGAIN
            return seconds

    def _spans(self, loop: asyncio.AbstractEventLoop) -> bool:
        others = any(count and other is not loop for other, count in self._running.items())
        return others or self._line.spans(loop)

    def _wait(self) -> float | None:
        """Seconds until there may be a place, or None: when an attempt has ended."""
        now = self._clock.monotonic()
        if now < self._paused_until:
            return self._paused_until - now
        if self._limit is None:
            return 0
        for loop in [loop for loop in self._running if loop.is_closed()]:  # with attempts under way, which ended so
            self._ended.extend([now] * self._running.pop(loop))
        while self._ended and self._ended[0] + self._limit.per <= now:
            self._ended.popleft()
        if self.running + len(self._ended) < self._limit.requests:
            return 0
        return self._ended[0] + self._limit.per - now if self._ended else None
