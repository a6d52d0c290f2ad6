"""Hears what other processes noted, on a connection of its own that is made when somebody waits."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress

import psycopg

from brex_accounting.errors import ConfigurationError

from ._database import CHANNEL, Database, UnavailableError

TRY_AGAIN = 2.0
"""Seconds before another connection, when one broke."""


class Listener:
    """Counts what was noted for each account."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._heard = Counter[str]()
        self._everything = 0
        self._task: asyncio.Task[None] | None = None
        self._tried = asyncio.Event()
        self._changed = asyncio.Condition()

    def heard(self, account: str) -> int:
        """A number that changes with each note."""
        return self._heard[account] + self._everything

    async def start(self) -> None:
        """Begin to listen; return when that has succeeded once, or failed."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._listen(), name="brex-accounting-listener")
        with suppress(TimeoutError):
            async with asyncio.timeout(TRY_AGAIN):
                await self._tried.wait()

    async def note(self, account: str) -> None:
        """Count a note of this process."""
        self._heard[account] += 1
        async with self._changed:
            self._changed.notify_all()

    async def wait(self, account: str, heard: int, seconds: float) -> None:
        """Wait so long, or until the number is another one."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: self.heard(account) != heard)

    async def aclose(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _listen(self) -> None:
        while True:
            with suppress(psycopg.Error, UnavailableError, ConfigurationError, OSError, TimeoutError):
                async with await self._database.connect() as connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    self._everything += 1  # what was noted before was not heard: everybody looks
                    self._tried.set()
                    async with self._changed:
                        self._changed.notify_all()
                    async for notification in connection.notifies():
                        await self.note(notification.payload)
            self._tried.set()
            await asyncio.sleep(TRY_AGAIN)
