"""Waiting for a lock and working in a thread, without losing what has begun."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
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
            raise StoreBusyError(f"Another refresh held the lock of a token for {LOCK_TIMEOUT:g} s.")
        await clock.sleep(clock.uniform(pause / 2, pause))
        pause = min(pause * 2, LONGEST_PAUSE)
    return held


async def in_a_thread(work: Callable[[], T]) -> T:
    """Do blocking work, to its end; then a cancellation goes on.

    The thread is a new one each time. Those of the loop's pool may all wait for this very token, and while the
    interpreter ends, when a refresh may still be under way, a pool takes no more work.
    """
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is awaited
            result.set_exception(error)

    try:
        threading.Thread(target=run, name="brex-accounting-tokens", daemon=False).start()
    except RuntimeError:  # no more threads: better the loop stands still for a moment than a token is lost
        run()
    done = asyncio.wrap_future(result)
    cancellation = None
    while not done.done():
        try:
            await asyncio.wait([done])
        except asyncio.CancelledError as error:
            cancellation = error
    if cancellation is not None:
        done.exception()  # or asyncio complains that nobody looked
        raise cancellation
    return done.result()
