"""A pool for the work, one connection for all locks of the process, and one that listens."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeAlias, TypeVar

import psycopg
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout

from brex_accounting._text import printable
from brex_accounting.errors import ConfigurationError

Connection: TypeAlias = psycopg.AsyncConnection[TupleRow]
T = TypeVar("T")

CONNECT_TIMEOUT = 10.0
STATEMENT_TIMEOUT = 15.0
SKEW = 1.0
"""Seconds by which the clocks of this machine and the database may differ without being told apart."""
MEASURE_EVERY = 60.0
CHANNEL = "brex_accounting_exports"
_SETTINGS = f"""
    SELECT set_config('synchronous_commit', 'on', false), set_config('TimeZone', 'UTC', false),
           set_config('statement_timeout', '{STATEMENT_TIMEOUT:g}s', false)
"""
_KEEP_ALIVE: dict[str, Any] = {
    "connect_timeout": int(CONNECT_TIMEOUT),
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
    "application_name": "brex-accounting",
}
POOLED = (
    "a pooler in transaction mode stands before it, and cannot hold locks: connect to PostgreSQL itself, or to a pool "
    "in session mode"
)
_REPAIR = {
    "42P01": "its tables are missing: call create_tables() once",
    "42501": "this user lacks a permission",
    # Statements that were prepared on a connection, which then has become another one.
    "26000": POOLED,
    "42P05": POOLED,
}
"""What somebody must repair, by SQLSTATE."""


class UnavailableError(Exception):
    """The database cannot be used now. Its text holds no secret."""


def _reason_of(error: Exception) -> str:
    """Say in a few words what is wrong; the database's own words could quote what it was given."""
    state = getattr(error, "sqlstate", None)
    if state == "25006":  # a failover, or a disk that is full
        return "it is read-only now; name the primary server if it stays so"
    if state is None and isinstance(error, psycopg.OperationalError) and " failed: " in str(error):
        # No connection was made: these are libpq's words, with names, never with a password.
        return printable(str(error).rpartition(" failed: ")[2].partition("\n")[0])
    return f"{type(error).__name__}, SQLSTATE {state}" if state else type(error).__name__


@contextlib.contextmanager
def translated() -> Any:
    """Raise UnavailableError, or ConfigurationError, for what psycopg raises."""
    problem: Exception
    try:
        yield
    except PoolClosed:
        problem = ConfigurationError("PostgresStores is closed: use it inside its async with block.")
    except (psycopg.Error, OSError) as error:
        state = getattr(error, "sqlstate", None)
        if state in _REPAIR:
            problem = ConfigurationError(f"PostgreSQL cannot be used: {_REPAIR[state]}.")
        else:
            problem = UnavailableError(f"PostgreSQL cannot be used now ({_reason_of(error)})")
    else:
        return
    raise problem


async def to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Do work that a cancellation must not cut in half; the cancellation goes on afterwards."""
    task = asyncio.get_running_loop().create_task(work)
    cancelled = False
    while not task.done():
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        task.exception()  # or asyncio complains that nobody looked
        raise asyncio.CancelledError
    return task.result()


class Database:
    """The connections of one process to one database."""

    def __init__(self, dsn: str, pool_size: int) -> None:
        self._dsn = dsn
        self._pool: AsyncConnectionPool[Connection] = AsyncConnectionPool(
            dsn,
            kwargs={**_KEEP_ALIVE, "autocommit": True},
            min_size=0,
            max_size=pool_size,
            timeout=CONNECT_TIMEOUT,
            max_idle=60.0,
            reconnect_timeout=CONNECT_TIMEOUT,
            configure=_configure,
            check=AsyncConnectionPool.check_connection,
            open=False,
        )
        self._offset = 0.0
        self._measured = -MEASURE_EVERY
        self._drift = 0.0
        """Between the wall clock and the monotonic one, which a clock that is set changes."""

    async def open(self) -> None:
        with translated():
            await self._pool.open()

    async def aclose(self) -> None:
        await self._pool.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection for a moment, each statement a transaction of its own."""
        with translated():
            try:
                async with self._pool.connection() as connection:
                    yield connection
            except PoolTimeout:
                pass
            else:
                return
        await (await self.connect()).close()  # says why, if none can be made
        raise UnavailableError(f"PostgreSQL cannot be used now (no connection was free for {CONNECT_TIMEOUT:g} s)")

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        async with self.connection() as connection:
            with translated():
                async with connection.transaction():
                    yield connection

    async def connect(self) -> Connection:
        """A connection of its own, outside of the pool."""
        with translated():
            async with asyncio.timeout(CONNECT_TIMEOUT):
                connection = await psycopg.AsyncConnection.connect(self._dsn, **_KEEP_ALIVE, autocommit=True)
            await _configure(connection)
            return connection

    async def offset(self) -> float:
        """Seconds by which the database's clock is ahead of this machine's, which decides what is due."""
        drift = time.time() - time.monotonic()
        if time.monotonic() - self._measured >= MEASURE_EVERY or abs(drift - self._drift) >= SKEW:
            async with self.connection() as connection:
                before = time.time()
                cursor = await connection.execute("SELECT extract(epoch FROM clock_timestamp())::float8")
                row = await cursor.fetchone()
                after = time.time()
            ahead = 0.0 if row is None else float(row[0]) - (before + after) / 2
            self._offset = ahead if abs(ahead) >= SKEW else 0.0
            self._measured, self._drift = time.monotonic(), drift
        return self._offset


async def _configure(connection: Connection) -> None:
    await connection.execute(_SETTINGS)
