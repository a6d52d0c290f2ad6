"""Behind a real PgBouncer: refused in transaction mode, at work in session mode. Runs where pgbouncer is installed."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from brex_accounting import ConfigurationError, StoredToken, Token
from brex_accounting.postgres import PostgresStores
from brex_accounting.worker import ExportEntry, WorkerRunningError
from tests.support.postgres import new_database

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed")


def who_may_connect(host: str) -> pwd.struct_passwd:
    """A user who may use the server's socket, and is not root."""
    owner = Path(host).stat().st_uid if host.startswith("/") else 0
    return pwd.getpwuid(owner) if owner else pwd.getpwnam("nobody")


@asynccontextmanager
async def pooler(mode: str, size: int, *, round_robin: bool = False) -> AsyncIterator[str]:
    """Run a PgBouncer before an empty database; how to connect to it."""
    server = conninfo_to_dict(new_database())
    with tempfile.TemporaryDirectory(prefix="brex-bouncer-") as name:
        folder = Path(name)
        target = " ".join(
            f"{key}={server[key]}" for key in ("host", "port", "dbname", "user", "password") if key in server
        )
        (folder / "pgbouncer.ini").write_text(f"""
            [databases]
            pooled = {target}
            [pgbouncer]
            listen_port = 6432
            unix_socket_dir = {folder}
            auth_type = any
            pool_mode = {mode}
            default_pool_size = {size}
            server_round_robin = {int(round_robin)}
            query_wait_timeout = 5
        """)
        command = [str(PGBOUNCER), "--quiet"]
        if os.geteuid() == 0:  # it does not run as root
            user = who_may_connect(str(server["host"]))
            os.chown(folder, user.pw_uid, -1)
            command += ["--user", user.pw_name]
        process = await asyncio.create_subprocess_exec(*command, str(folder / "pgbouncer.ini"), stderr=subprocess.PIPE)
        dsn = make_conninfo(host=str(folder), port=6432, dbname="pooled", user="postgres")
        try:
            while not (folder / ".s.PGSQL.6432").exists():
                assert process.returncode is None, (await process.communicate())[1]
                await asyncio.sleep(0.01)
            yield dsn
        finally:
            if process.returncode is None:
                process.terminate()
            await process.communicate()


@pytest.mark.parametrize(("size", "round_robin"), [(1, False), (5, False), (5, True)])
async def test_transaction_mode_is_refused_in_one_sentence(size: int, round_robin: bool) -> None:
    async with pooler("transaction", size, round_robin=round_robin) as dsn, PostgresStores(dsn, pool_size=1) as stores:
        await stores.create_tables()
        for lock in (stores.exports("a").lock(), stores.tokens.lock("k")):
            with pytest.raises(ConfigurationError, match="pooler in transaction mode stands before it"):
                await lock.__aenter__()
        with psycopg.connect(dsn) as connection:  # and none is left behind
            query = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
            assert connection.execute(query).fetchone() == (0,)


async def test_session_mode_works() -> None:
    async with pooler("session", 10) as dsn, PostgresStores(dsn) as stores, PostgresStores(dsn) as others:
        await stores.create_tables()
        exports = stores.exports("a")
        async with exports.lock(), stores.tokens.lock("k"):
            assert await stores.tokens.save("k", StoredToken(Token("a", "r"), 1), expected_version=None)
            with pytest.raises(WorkerRunningError):
                await others.exports("a").lock().__aenter__()
            await exports.due(0.0, 10, latest=1e12)
            waiting = asyncio.create_task(exports.wait(1000))
            await others.exports("a").note(["accr_1"])
            async with asyncio.timeout(20):
                await waiting
            await exports.save([ExportEntry("accr_1", "booked", noticed=1, handled=1)])
        async with others.exports("a").lock():
            assert (await others.exports("a").status()).booked == 1
