"""Runs what a command does, until it ends or is to end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from types import FrameType
from typing import Any, TypeVar

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end. Ctrl-C and SIGTERM cancel it, and KeyboardInterrupt is raised once it has cleaned up.

    Whoever sends a second one does not wait for that.
    A signal that is ignored, as by a job in the background, is left so.
    """
    numbers = [each for each in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(each) is not signal.SIG_IGN]
    before = {number: signal.getsignal(number) for number in numbers}
    came = list[int]()

    async def supervised() -> T:
        loop, task = asyncio.get_running_loop(), asyncio.current_task()

        def end(number: int, _frame: FrameType | None) -> None:
            came.append(number)
            for each in numbers:
                signal.signal(each, signal.SIG_DFL)
            if task is not None:
                loop.call_soon_threadsafe(task.cancel)

        # Not loop.add_signal_handler, which Windows lacks.
        for number in numbers:
            signal.signal(number, end)
        return await work

    try:
        return asyncio.run(supervised())
    except asyncio.CancelledError:
        if not came:
            raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    raise KeyboardInterrupt
