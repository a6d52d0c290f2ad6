"""An ERP that is away: instead of failing one record after the other, it is tried now and then."""

from __future__ import annotations

from brex_accounting._clock import Clock

from ._trouble import log

FEWEST = 20
"""Records that must fail, one after the other, before the ERP counts as away."""
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0


class Breaker:
    """Counts the records whose calls failed since the last one that succeeded.

    When they are many, one call at a time goes out, after pauses that grow; the first that succeeds lets all go on. So
    an outage of the ERP costs few records an attempt, and does not end with all of them held.
    """

    def __init__(self, concurrency: int, clock: Clock) -> None:
        self._threshold = max(FEWEST, concurrency)
        self._clock = clock
        self._failed = set[str]()
        self._pause = FIRST_PAUSE
        self._resume_at: float | None = None
        """When the next call may go out. None: the ERP answers."""

    @property
    def open(self) -> bool:
        return self._resume_at is not None

    def allows(self, calls: int) -> bool:
        """Return whether another call may begin, while so many are under way."""
        return self._resume_at is None or (calls == 0 and self._clock.monotonic() >= self._resume_at)

    def succeeded(self) -> None:
        if self.open:
            log.warning("The ERP answers again.")
        self._failed.clear()
        self._resume_at, self._pause = None, FIRST_PAUSE

    def failed(self, record_id: str) -> None:
        self._failed.add(record_id)
        if len(self._failed) < self._threshold or not self.allows(0):  # the last calls from before say nothing new
            return
        if not self.open:
            log.warning("The ERP is away: it failed for %d records in a row.", len(self._failed))
        self._resume_at = self._clock.monotonic() + self._clock.uniform(self._pause / 2, self._pause)
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
