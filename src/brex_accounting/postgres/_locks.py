"""All locks of the process on one connection: session advisory locks, which end with it.

A connection in transaction pooling cannot hold them, so a pooler in that mode is refused where it can be seen.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass

import psycopg

from brex_accounting.errors import ConfigurationError

from ._database import POOLED, Connection, Database, to_its_end, translated

NUMBER = "hashtextextended(concat('brex-accounting ', current_schema(), ' ', %(lock)s::text), 0)"
"""The number of a lock, in SQL. Tables in another schema of the database have locks of their own."""


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock that was taken, until its connection breaks."""

    name: str
    connection: Connection


class Locks:
    """Takes and frees the locks of this process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()
        self._held = dict[str, Lock]()

    async def take(self, name: str) -> Lock | None:
        """Take a lock if it is free. A lock that this process holds already is not free."""
        taken: Lock | None = None

        async def take() -> Lock | None:
            nonlocal taken
            taken = await self._take(name)
            return taken

        try:
            return await to_its_end(take())
        except asyncio.CancelledError:
            if taken is not None:
                await self.free(taken)
            raise

    async def free(self, lock: Lock) -> None:
        """Free a lock. One whose connection broke was freed by that, and may be somebody else's now."""
        await to_its_end(self._free(lock))

    async def aclose(self) -> None:
        async with self._turn:
            connection, self._connection = self._connection, None
            self._held.clear()
            if connection is not None:
                await connection.close()

    async def _take(self, name: str) -> Lock | None:
        async with self._turn:
            connection = await self._connected()
            held = self._held.get(name)
            if held is not None and held.connection is connection and await _is_alive(connection):
                return None  # the server would let one session take it twice
            try:
                taken = await _try(connection, name)
            except psycopg.OperationalError:
                taken = None
            if taken is None:  # it broke while nobody used it
                with suppress(psycopg.Error):
                    await connection.close()
                connection = await self._connected()
                with translated():
                    taken = await _try(connection, name)
            if not taken:
                return None
            lock = self._held[name] = Lock(name, connection)
            return lock

    async def _free(self, lock: Lock) -> None:
        async with self._turn:
            if self._held.get(lock.name) is lock:
                del self._held[lock.name]
            if not lock.connection.closed:
                with suppress(psycopg.Error):  # broken: the server frees it
                    await lock.connection.execute(f"SELECT pg_advisory_unlock({NUMBER})", {"lock": lock.name})

    async def _connected(self) -> Connection:
        if self._connection is None or self._connection.closed or self._connection.broken:
            connection = await self._database.connect()
            try:
                await self._refuse_pooler(connection)
            except BaseException:
                await connection.close()
                raise
            self._connection = connection
        return self._connection

    async def _refuse_pooler(self, connection: Connection) -> None:
        """Behind a pooler, the server process is not the one that the start named. In transaction mode it changes."""
        with translated():
            if (process := await _process(connection)) == connection.info.backend_pid:
                return
            async with await self._database.connect() as other, other.transaction():
                # In transaction mode it takes the server connection that was used last, or at least one of others.
                if await _process(other) != process and [await _process(connection) for _ in range(3)] == [process] * 3:
                    return
        raise ConfigurationError(f"PostgreSQL cannot be used: {POOLED}.")


async def _try(connection: Connection, name: str) -> bool:
    cursor = await connection.execute(f"SELECT pg_try_advisory_lock({NUMBER})", {"lock": name})
    row = await cursor.fetchone()
    return row is not None and bool(row[0])


async def _process(connection: Connection) -> int:
    row = await (await connection.execute("SELECT pg_backend_pid()")).fetchone()
    return 0 if row is None else int(row[0])


async def _is_alive(connection: Connection) -> bool:
    try:
        await connection.execute("")
    except psycopg.Error:
        return False
    return True
