"""Delays that end when their server stops."""

import asyncio
from collections.abc import Awaitable, Callable

Sleep = Callable[[float], Awaitable[object]]


class Delays:
    """Pauses that end early when their server stops."""

    def __init__(self, sleep: Sleep) -> None:
        self._sleep = sleep
        self._pauses: set[asyncio.Future[object]] = set()
        self._ended = False

    async def pause(self, seconds: float) -> None:
        """Wait this many seconds, or until `end`."""
        if self._ended:
            return
        pause = asyncio.ensure_future(self._sleep(seconds))
        self._pauses.add(pause)
        try:
            await asyncio.wait([pause])
        finally:
            self._pauses.discard(pause)
            pause.cancel()

    def end(self) -> None:
        """End all pauses, future ones included."""
        self._ended = True
        for pause in self._pauses:
            pause.cancel()
