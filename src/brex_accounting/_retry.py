"""When to try again, how long to wait, and when an outage makes trying again useless."""

from __future__ import annotations

from contextlib import AbstractContextManager
from threading import Lock

from attrs import field, frozen

from ._arguments import Checked, check_count, check_not_negative, check_positive, checked
from ._clock import Clock

THROTTLED_DOUBLINGS = 2
"""A throttled client waits longer from the start: a rate limit's window is longer than a gateway's restart."""


@frozen(kw_only=True)
class RetryPolicy(Checked):
    """How far a call goes before it gives up. All times are seconds.

    Raises ConfigurationError for values that make no sense.
    """

    __module__ = "brex_accounting"  # pickles name the public place

    max_attempts: int = field(default=4, metadata=checked(check_count))
    """Requests for one call, the first included."""
    deadline: float = field(default=120.0, metadata=checked(check_positive))
    """The whole call, from the moment its first attempt is let through: tokens, attempts, waits."""
    initial_backoff: float = field(default=0.5, metadata=checked(check_not_negative))
    """The wait before retry n is drawn between 0 and min(max_backoff, initial_backoff * 2**n); after an attempt that
    did not get through, between half of that and the whole, so that the defaults outlast an outage of a second."""
    max_backoff: float = field(default=8.0, metadata=checked(check_not_negative))
    max_retry_after: float = field(default=60.0, metadata=checked(check_not_negative))
    """A Retry-After above this is not waited for: the call fails at once and carries it as `retry_after`."""

    @classmethod
    def none(cls) -> RetryPolicy:
        """One attempt, no retry."""
        return cls(max_attempts=1)

    def backoff(self, retries: int, clock: Clock) -> float:
        """Full jitter: with every client waiting at random, they do not come back all at once."""
        return clock.uniform(0.0, self._longest(retries))

    def pause(self, pauses: int, clock: Clock, *, throttled: bool = False) -> float:
        """The wait for a server that is away, or that throttles without saying for how long: never next to nothing."""
        longest = self._longest(pauses + THROTTLED_DOUBLINGS * throttled)
        return clock.uniform(longest / 2, longest)

    def _longest(self, retries: int) -> float:
        return min(self.max_backoff, self.initial_backoff * 2.0 ** min(retries, 64))


class RetryQuota:
    """A bucket that retries draw on and successes refill, so that an outage is not multiplied (as in botocore)."""

    CAPACITY = 500
    RETRY_COST = 14
    THROTTLED_COST = 5
    CLEAN_SUCCESS = 1

    def __init__(self) -> None:
        self.left: int = self.CAPACITY
        self._lock: AbstractContextManager[bool] = Lock()

    def draw(self, cost: int) -> bool:
        with self._lock:
            if cost > self.left:
                return False
            self.left -= cost
            return True

    def give_back(self, amount: int) -> None:
        with self._lock:
            self.left = min(self.CAPACITY, self.left + amount)
