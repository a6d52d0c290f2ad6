"""How many records go into one request: fewer after a failure, so that one bad record is found and goes alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ._entries import ExportEntry


@dataclass(frozen=True, slots=True)
class Suspicion:
    """What is known of a record that failed alone."""

    failures: int
    """How often it did."""
    successes: int
    """How many requests had succeeded when it did last."""
    its_own: bool
    """Others have succeeded between its failures, so the cause is this record."""


class Portion:
    """Halves with each failure and doubles with each success.

    A record that failed alone is a suspect, and goes alone from then on, until it succeeds.
    """

    def __init__(self, most: int) -> None:
        self._highest = most
        self.most = most
        self._successes = 0
        self._suspects = dict[str, Suspicion]()

    def split(self, entries: Sequence[ExportEntry]) -> Iterator[Sequence[ExportEntry]]:
        """Lay out what goes together."""
        together = [entry for entry in entries if entry.record_id not in self._suspects]
        for start in range(0, len(together), self.most):
            yield together[start : start + self.most]
        for entry in entries:
            if entry.record_id in self._suspects:
                yield [entry]

    def succeeded(self, record_ids: Iterable[str]) -> None:
        self._successes += 1
        self.most = min(self.most * 2, self._highest)
        for record_id in record_ids:
            self._suspects.pop(record_id, None)

    def failed(self) -> None:
        self.most = max(self.most // 2, 1)

    def failed_alone(self, record_id: str) -> Suspicion:
        before = self._suspects.get(record_id)
        failures = 1 if before is None else before.failures + 1
        its_own = before is not None and before.successes < self._successes
        self._suspects[record_id] = Suspicion(failures, self._successes, its_own)
        return self._suspects[record_id]
