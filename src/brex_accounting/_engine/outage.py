"""An outage, as a state of the client: calls wait while one probe at a time finds out whether it is over.

It begins after several attempts in a row that were refused, broken off, or answered 502, 503 or 504; a 429 without
Retry-After begins one at once. A failed probe counts as an attempt for every call that waits, so the attempts and the
deadline of a call bound it as usual, and a full outage of a thousand calls sends a few requests.
"""

from __future__ import annotations

import asyncio
from enum import Enum, auto
from threading import RLock
from typing import Any

from brex_accounting._clock import Clock
from brex_accounting._retry import RetryPolicy

from .classify import AttemptOutcome, Reach, Retry
from .waiting import LOOK_AGAIN, Line, Waiter

FAILURES = 5
"""Failed attempts in a row, over all calls of the client, that make an outage."""
FORGETTING = 20
"""Answers after an outage until the next one begins with a short pause again: a throttle that lets a few through at a
time is one outage, not many."""
LONGEST_SPREAD = 1.0
"""Seconds over which the calls go on that waited for the end of an outage."""


class Turn(Enum):
    """What a call that waited is to do."""

    GO = auto()
    """The outage is over."""
    PROBE = auto()
    """Find out whether it is."""


class Outage:
    """Whether the API is within reach, judging by all calls of a client. Threads may share it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = RLock()
        self._line = Line()
        self._failures = 0
        self._successes = 0
        self._began: float | None = None
        self._pauses = 0
        self._pause = 0.0
        self._probe_at = 0.0
        self._prober: asyncio.AbstractEventLoop | None = None
        self._failed_probes = 0
        self._last_failure: AttemptOutcome[Any] | None = None

    @property
    def active(self) -> bool:
        return self._began is not None

    def remaining(self) -> float:
        """Seconds until the next probe."""
        return max(self._probe_at - self._clock.monotonic(), 0.0) if self.active else 0.0

    async def turn(self) -> Turn | AttemptOutcome[Any]:
        """Wait for what comes first: the end of the outage, a turn to probe, or what a probe of another call met."""
        waiter, failed_before = Waiter(), self._failed_probes
        with self._lock:
            self._line.join(waiter)
        try:
            while (turn := self._look(waiter, failed_before)) is None or isinstance(turn, float):
                await waiter.wait(turn)
        finally:
            with self._lock:
                self._line.leave(waiter)
                self._line.wake_head()
        if turn is Turn.GO:  # not all in the same moment
            await self._clock.sleep(self._clock.uniform(0.0, min(self._pause, LONGEST_SPREAD)))
        return turn

    def _look(self, waiter: Waiter, failed_before: int) -> Turn | AttemptOutcome[Any] | float | None:
        """Return the turn of this waiter, or for how long to wait (None: until it is woken)."""
        with self._lock:
            if self._began is None:
                return Turn.GO
            if self._failed_probes != failed_before and self._last_failure is not None:
                return self._last_failure
            if self._prober is not None and self._prober.is_closed():
                self._prober = None
            if self._prober is None and self._line.head() is waiter:
                if (seconds := self.remaining()) > 0:
                    return seconds
                self._prober = waiter.loop
                return Turn.PROBE
            spans = self._line.spans(waiter.loop) or self._prober not in {None, waiter.loop}
            return LOOK_AGAIN if spans else None

    def abandon(self) -> None:
        """The probe was not sent: the next call in line sends one."""
        with self._lock:
            self._prober = None
            self._line.wake_head()

    def observe(
        self, result: AttemptOutcome[Any], sent_at: float, *, probe: bool, retries: int, policy: RetryPolicy
    ) -> None:
        """Learn what an attempt came to, of a call that was retried so often already."""
        with self._lock:
            if probe:
                self._prober = None
            if result.retry is Retry.AT_ONCE:  # another attempt goes out in its place
                self._line.wake_head()
            elif result.reach is Reach.ANSWERED:
                self._failures = 0
                self._successes += 1
                if self._began is None and self._successes >= FORGETTING:
                    self._pauses = self._successes = 0
                # What was sent before the outage began says nothing about its end.
                if self._began is not None and (probe or sent_at > self._began):
                    self._end()
            elif self._began is None:
                self._failures += result.reach is Reach.AWAY
                if self._failures >= FAILURES or (result.reach is Reach.THROTTLED and result.retry_after is None):
                    self._began = self._clock.monotonic()
                    self._pauses = max(retries, self._pauses)
                    self._wait_again(result, policy)
            elif probe:
                self._pauses += 1
                self._failed_probes += 1
                self._last_failure = result
                self._wait_again(result, policy)
                self._wake_all()

    def _wait_again(self, result: AttemptOutcome[Any], policy: RetryPolicy) -> None:
        self._pause = policy.pause(self._pauses, self._clock, throttled=result.reach is Reach.THROTTLED)
        asked = min(result.retry_after or 0.0, policy.max_retry_after)
        self._probe_at = self._clock.monotonic() + max(self._pause, asked)

    def _end(self) -> None:
        self._began = self._last_failure = None
        self._failures = self._successes = 0
        self._wake_all()

    def _wake_all(self) -> None:
        for waiter in self._line:
            waiter.wake()
