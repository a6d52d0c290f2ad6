"""An event loop whose time passes at once: where nothing is left to do but to wait, the wait is over."""

import asyncio
import selectors

from brex_accounting._clock import Clock

EPOCH = 1_800_000_000.0


class _Selector(selectors.DefaultSelector):
    now = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        if not events:
            if timeout is None:
                raise RuntimeError("everything waits, and for nothing")
            self.now += max(timeout, 0.0)
        return events


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """For tests without sockets; a test that would hang fails at once."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now


def now() -> float:
    return asyncio.get_running_loop().time()


def highest(_low: float, high: float) -> float:
    return high


def virtual_clock() -> Clock:
    """The clock of the running loop; a backoff is as long as it can be."""
    return Clock(monotonic=now, wall=lambda: EPOCH + now(), sleep=asyncio.sleep, uniform=highest)
