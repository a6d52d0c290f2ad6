"""A fair semaphore, which limits how many requests are in flight."""

from __future__ import annotations

import asyncio
from collections import OrderedDict


class Gate:
    """A semaphore that serves calls in their order of arrival.

    A call that comes `again` goes before those that wait for their first attempt: it arrived earlier, and its deadline
    is running while theirs are not. Behind 5,000 of them it would run out of time.
    """

    def __init__(self, size: int) -> None:
        self._free = size
        self._again: OrderedDict[asyncio.Future[None], None] = OrderedDict()
        self._first: OrderedDict[asyncio.Future[None], None] = OrderedDict()

    async def acquire(self, *, again: bool = False) -> None:
        """Wait for a turn. The caller releases it once."""
        if self._free:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        line = self._again if again else self._first
        line[turn] = None
        try:
            await turn
        except BaseException:
            line.pop(turn, None)
            if turn.done() and not turn.cancelled():  # let in and cancelled in the same moment
                self.release()
            raise

    def release(self) -> None:
        while line := self._again or self._first:
            turn, _ = line.popitem(last=False)
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
