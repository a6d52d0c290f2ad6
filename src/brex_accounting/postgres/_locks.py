"""All locks of the process on one connection: session advisory locks, which end with it.

A connection in transaction pooling cannot hold them, so a pooler in that mode is refused where it can be seen.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from hashlib import sha256

import psycopg

from brex_accounting.errors import ConfigurationError

from ._database import Connection, Database, to_its_end, translated

_POOLED = (
    "A pooler in transaction mode stands before PostgreSQL, and cannot hold locks: connect to PostgreSQL itself, "
    "or to a pool in session mode."
)


def number_of(name: str) -> int:
    """The number of a lock: 64 bits, signed, of a digest of its name."""
    return int.from_bytes(sha256(f"brex-accounting {name}".encode()).digest()[:8], signed=True)


async def _try(connection: Connection, name: str) -> bool:
    cursor = await connection.execute("SELECT pg_try_advisory_lock(%s::bigint)", [number_of(name)])
    row = await cursor.fetchone()
    return row is not None and bool(row[0])


class Locks:
    """Takes and frees the locks of this process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: Connection | None = None
        self._turn = asyncio.Lock()
        self._held = dict[str, Connection]()

    async def take(self, name: str) -> bool:
        """Take a lock if it is free. A lock that this process holds already is not free."""
        return await to_its_end(self._take(name))

    async def free(self, name: str) -> None:
        """Free a lock. One whose connection broke was freed by that."""
        await to_its_end(self._free(name))

    async def aclose(self) -> None:
        async with self._turn:
            connection, self._connection = self._connection, None
            self._held.clear()
            if connection is not None:
                await connection.close()

    async def _take(self, name: str) -> bool:
        async with self._turn:
            connection = await self._connected()
            # The server lets one session take a lock twice.
            if self._held.get(name) is connection:
                return False
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
            if taken:
                self._held[name] = connection
            return bool(taken)

    async def _free(self, name: str) -> None:
        async with self._turn:
            connection = self._held.pop(name, None)
            if connection is not None and not connection.closed:
                with suppress(psycopg.Error):  # broken: the server frees it
                    await connection.execute("SELECT pg_advisory_unlock(%s::bigint)", [number_of(name)])

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
        """Behind a pooler the process id of the startup is another one; in transaction mode it changes, too."""

        async def pid(of: Connection) -> int:
            row = await (await of.execute("SELECT pg_backend_pid()")).fetchone()
            return 0 if row is None else int(row[0])

        with translated():
            first = await pid(connection)
            if first == connection.info.backend_pid:
                return
            async with self._database.transaction() as other:
                await pid(other)  # takes the server connection that was used last, and keeps it
                if await pid(connection) != first:
                    raise ConfigurationError(_POOLED)
