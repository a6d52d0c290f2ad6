"""Waiting for a lock without blocking the event loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from brex_accounting._clock import Clock

from .tokens import StoreBusyError

T = TypeVar("T")

LOCK_TIMEOUT = 30.0
"""Seconds that our stores wait for a lock: as long as a refresh may take."""

FIRST_PAUSE = 0.005

LONGEST_PAUSE = 0.1


async def acquire_with_backoff(take: Callable[[], T | None], clock: Clock) -> T:
    """Try until `take` gives a lock, without blocking the event loop. In a pause nothing is held, and nothing leaks."""

    async def ask() -> T | None:
        return take()

    return await wait_for_lock(ask, clock)


async def wait_for_lock(ask: Callable[[], Awaitable[T | None]], clock: Clock) -> T:
    """Ask for a lock until there is one."""
    end = clock.monotonic() + LOCK_TIMEOUT
    pause = FIRST_PAUSE
    while (held := await ask()) is None:
        if clock.monotonic() >= end:
            raise StoreBusyError(
                f"Could not acquire the lock of a token within {LOCK_TIMEOUT:g} s: another refresh holds it."
            )
        await clock.sleep(clock.uniform(pause / 2, pause))
        pause = min(pause * 2, LONGEST_PAUSE)
    return held
