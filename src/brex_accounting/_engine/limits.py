"""Who may send, and when: the gate before the network, and the rate limit that Brex counts, kept on our side too."""

from __future__ import annotations

import asyncio
from collections import deque

from attrs import field, frozen

from brex_accounting._arguments import Checked, check_count, check_positive, checked
from brex_accounting._clock import Clock
from brex_accounting._http.gate import Gate


@frozen
class RateLimit(Checked):
    """At most `requests` in any window of `per` seconds. Raises ConfigurationError for values that make no sense."""

    requests: int = field(metadata=checked(check_count))
    per: float = field(kw_only=True, metadata=checked(check_positive))


class RateLimiter:
    """Lets attempts through in the order of their calls' arrival, never more than the limit in any window.

    The server counts a request somewhere between the start and the end of its attempt, so a place is free again one
    window after the end.
    """

    def __init__(self, limit: RateLimit | None, clock: Clock) -> None:
        self._limit = limit
        self._clock = clock
        self._running = 0
        self._ended: deque[float] = deque()
        self._paused_until = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None

    def pause(self, seconds: float) -> None:
        """Let nothing through for so long: the server said so."""
        self._paused_until = max(self._paused_until, self._clock.monotonic() + seconds)

    async def acquire(self, *, again: bool = False) -> None:
        """Wait for a place. Each `acquire` that returned is followed by one `release`."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop = loop
            self._turn = Gate(1)
            self._freed = asyncio.Event()
        turn = self._turn
        await turn.acquire(again=again)
        try:
            while (seconds := self._wait()) != 0:
                if seconds is None:
                    self._freed.clear()
                    await self._freed.wait()
                else:
                    await self._clock.sleep(seconds)
            self._running += 1
        finally:
            turn.release()

    def release(self) -> None:
        self._running -= 1
        if self._limit is not None:
            self._ended.append(self._clock.monotonic())
            self._freed.set()

    def _wait(self) -> float | None:
        """Seconds until there may be a place, or None: when an attempt has ended."""
        now = self._clock.monotonic()
        if now < self._paused_until:
            return self._paused_until - now
        if self._limit is None:
            return 0
        while self._ended and self._ended[0] + self._limit.per <= now:
            self._ended.popleft()
        if self._running + len(self._ended) < self._limit.requests:
            return 0
        return self._ended[0] + self._limit.per - now if self._ended else None
