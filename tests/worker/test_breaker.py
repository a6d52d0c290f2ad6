"""An ERP that is away is noticed, tried now and then, and used again."""

from __future__ import annotations

import pytest

from brex_accounting._clock import Clock
from brex_accounting.worker._breaker import FEWEST, LONGEST_PAUSE, Breaker


def test_an_outage() -> None:
    now = [0.0]
    breaker = Breaker(8, Clock(monotonic=lambda: now[0], uniform=lambda _, high: high))
    for number in range(FEWEST - 1):
        breaker.failed(f"accr_{number}")
    assert breaker.allows(7)
    breaker.failed("accr_0")  # the same one again: that may be its own fault
    assert not breaker.open
    breaker.failed("accr_last")
    assert breaker.open
    for number in range(7):  # calls that were under way
        breaker.failed(f"accr_{number}")
    pauses = []
    for _ in range(10):
        began = now[0]
        while not breaker.allows(0):
            now[0] += 0.5
        pauses.append(now[0] - began)
        assert not breaker.allows(1)  # one at a time
        breaker.failed("accr_0")
    assert pauses == [1, 2, 4, 8, 16, 32, *[LONGEST_PAUSE] * 4]
    breaker.succeeded()
    assert not breaker.open
    assert breaker.allows(7)


@pytest.mark.parametrize("concurrency", [1, 50])
def test_one_success_among_failures_is_no_outage(concurrency: int) -> None:
    breaker = Breaker(concurrency, Clock())
    for number in range(500):
        breaker.failed(f"accr_{number}")
        if number % 15 == 0:
            breaker.succeeded()
    assert not breaker.open
