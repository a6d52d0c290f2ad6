"""Tokens in PostgreSQL, its locks, its tables, and what happens when the database goes away."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from brex_accounting import ConfigurationError, OAuth2, StoredToken, Token
from brex_accounting.postgres import PostgresStores
from brex_accounting.postgres._locks import number_of
from brex_accounting.worker import ExportEntry, ExportStoreError, SQLiteExportStore, WorkerRunningError
from tests.support.postgres import new_database, shared_database

TOKEN = Token(access_token="access-canary", refresh_token="refresh-canary", expires_at=datetime(2026, 1, 1, tzinfo=UTC))
STORED = StoredToken(TOKEN, 1, seed_fingerprint="f", former_seeds=("g",))


@pytest.fixture
async def stores() -> AsyncIterator[PostgresStores]:
    async with PostgresStores(shared_database()) as opened:
        await opened.create_tables()
        yield opened


@pytest.fixture
async def others() -> AsyncIterator[PostgresStores]:
    """Those of another process, as far as the database can tell."""
    async with PostgresStores(shared_database()) as opened:
        yield opened


@pytest.fixture
def key(request: pytest.FixtureRequest) -> str:
    return str(request.node.nodeid)


# -- tokens --


async def test_compare_and_swap(stores: PostgresStores, others: PostgresStores, key: str) -> None:
    assert await stores.tokens.load(key) is None
    assert await stores.tokens.save(key, STORED, expected_version=None)
    assert not await others.tokens.save(key, STORED, expected_version=None)
    assert await others.tokens.load(key) == STORED
    second = StoredToken(TOKEN, 2, dead=True)
    assert not await stores.tokens.save(key, second, expected_version=7)
    assert await others.tokens.save(key, second, expected_version=1)
    assert await stores.tokens.load(key) == second


async def test_of_many_saves_one_wins(stores: PostgresStores, others: PostgresStores, key: str) -> None:
    await stores.tokens.save(key, STORED, expected_version=None)
    new = StoredToken(TOKEN, 2)
    saved = await asyncio.gather(*(each.tokens.save(key, new, expected_version=1) for each in (stores, others) * 10))
    assert saved.count(True) == 1


async def test_one_holds_a_lock(stores: PostgresStores, others: PostgresStores, key: str) -> None:
    order = list[str]()

    async def hold(of: PostgresStores, name: str) -> None:
        async with of.tokens.lock(key):
            order.append(f"{name} in")
            await asyncio.sleep(0.05)
            order.append(f"{name} out")

    await asyncio.gather(hold(stores, "a"), hold(stores, "b"), hold(others, "c"))
    assert [word.split()[1] for word in order] == ["in", "out"] * 3
    async with stores.tokens.lock(key), stores.tokens.lock(f"{key} 2"), others.tokens.lock(f"{key} 3"):
        pass


async def test_a_cancelled_save_goes_on(stores: PostgresStores, key: str) -> None:
    task = asyncio.create_task(stores.tokens.save(key, STORED, expected_version=None))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert await stores.tokens.load(key) == STORED


async def test_documents_can_be_encrypted(key: str) -> None:
    def turn(document: bytes) -> bytes:
        return bytes(byte ^ 0x55 for byte in document)

    async with PostgresStores(shared_database(), encrypt=turn, decrypt=turn) as stores:
        await stores.create_tables()
        await stores.tokens.save(key, STORED, expected_version=None)
        assert await stores.tokens.load(key) == STORED
    with psycopg.connect(shared_database()) as connection:
        row = connection.execute("SELECT document FROM brex_tokens WHERE key = %s", [key]).fetchone()
    assert row is not None
    assert b"canary" not in bytes(row[0])
    async with PostgresStores(shared_database()) as plain:
        with pytest.raises(ConfigurationError, match="cannot be read"):
            await plain.tokens.load(key)


async def test_the_error_of_a_cipher_shows_no_secret(key: str) -> None:
    def fails(document: bytes) -> bytes:
        raise ValueError(document)

    async with PostgresStores(shared_database(), encrypt=fails, decrypt=fails) as stores:
        with pytest.raises(ConfigurationError) as caught:
            await stores.tokens.save(key, STORED, expected_version=None)
    assert "canary" not in str(caught.value)
    assert caught.value.__context__ is caught.value.__cause__ is None


async def test_it_is_a_store_for_oauth2(stores: PostgresStores) -> None:
    auth = OAuth2("id", "secret", account="a", store=stores.tokens, token_url="https://auth.test/token")
    assert "secret" not in repr(auth)


HOLDER = """
import asyncio, sys
from brex_accounting.postgres import PostgresStores

async def main():
    async with PostgresStores(sys.argv[1]) as stores:
        async with stores.tokens.lock(sys.argv[2]), stores.exports(sys.argv[2]).lock():
            print("held", flush=True)
            await asyncio.sleep(1000)

asyncio.run(main())
"""


async def test_the_locks_of_a_killed_process_are_free(stores: PostgresStores, key: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", HOLDER, shared_database(), key, stdout=subprocess.PIPE, env=dict(os.environ)
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"held\n"
    with pytest.raises(WorkerRunningError):
        await stores.exports(key).lock().__aenter__()
    assert (await stores.exports(key).status()).worker
    process.send_signal(signal.SIGKILL)
    await process.wait()
    async with asyncio.timeout(20), stores.tokens.lock(key):
        while True:
            try:
                async with stores.exports(key).lock():
                    break
            except WorkerRunningError:
                await asyncio.sleep(0.05)


# -- the connection of the locks --


def terminate() -> None:
    """Break all connections, as a restart of the database does."""
    with psycopg.connect(shared_database(), autocommit=True) as connection:
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'brex-accounting'"
        connection.execute(query)


async def test_whoever_lost_the_lock_is_fenced(stores: PostgresStores, others: PostgresStores, key: str) -> None:
    frozen = stores.exports(key)
    async with frozen.lock():
        await frozen.save([ExportEntry("a", "ready", noticed=1, handled=1)])
        terminate()
        async with others.exports(key).lock():
            with pytest.raises(WorkerRunningError):
                await frozen.save([ExportEntry("a", "booked", noticed=1, handled=1)])
    entry = await others.exports(key).get("a")
    assert entry is not None
    assert entry.state == "ready"


async def test_after_a_restart_of_the_connections_all_goes_on(stores: PostgresStores, key: str) -> None:
    async with stores.tokens.lock(key):
        pass
    terminate()
    async with stores.tokens.lock(key):
        assert await stores.tokens.load(key) is None


def test_locks_have_numbers_of_their_own() -> None:
    assert number_of("token a") != number_of("exports a")
    assert -(2**63) <= number_of("x") < 2**63


# -- tables --


async def test_many_make_the_tables_at_once() -> None:
    dsn = new_database()
    async with PostgresStores(dsn) as first, PostgresStores(dsn) as second:
        await asyncio.gather(*(each.create_tables() for each in (first, second) * 4))
        await first.exports("a").note(["accr_1"])
        assert (await second.exports("a").status()).ready == 1


async def test_tables_of_a_newer_version_are_refused() -> None:
    dsn = new_database()
    async with PostgresStores(dsn) as stores:
        await stores.create_tables()
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute("INSERT INTO brex_schema VALUES (99)")
        with pytest.raises(ConfigurationError, match="newer version"):
            await stores.create_tables()


# -- what is wrong --


async def test_without_tables_it_says_what_to_do() -> None:
    async with PostgresStores(new_database()) as stores:
        for call in (stores.tokens.load("a"), stores.exports("a").note(["accr_1"]), stores.exports("a").get("accr_1")):
            with pytest.raises(ConfigurationError, match="create_tables"):
                await call


async def test_a_database_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("brex_accounting.postgres._database.CONNECT_TIMEOUT", 0.5)
    dsn = make_conninfo(host="127.0.0.1", port=1, user="u", password="secret-canary", dbname="d")
    async with PostgresStores(dsn) as stores:
        with pytest.raises(OSError, match="PostgreSQL cannot be used now") as refused:
            await stores.tokens.load("a")
        with pytest.raises(ExportStoreError, match="try again later") as caught:
            await stores.exports("a").note(["accr_1"])
    for error in (refused.value, caught.value):
        assert "canary" not in "".join(traceback.format_exception(error))
    assert "canary" not in repr(stores)


async def test_a_closed_one_says_so() -> None:
    async with PostgresStores(shared_database()) as stores:
        pass
    with pytest.raises(ConfigurationError, match="closed"):
        await stores.tokens.load("a")


@pytest.mark.parametrize("arguments", [{"dsn": ""}, {"pool_size": 0}, {"encrypt": bytes}, {"decrypt": bytes}])
def test_arguments_that_cannot_be_right(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        PostgresStores(**{"dsn": "postgresql://localhost"} | arguments)


async def test_a_clock_that_is_wrong_does_not_matter(stores: PostgresStores, key: str, monkeypatch: Any) -> None:
    """Two machines whose clocks differ by an hour agree on what is due."""
    exports = stores.exports(key)
    await exports.note(["a"])
    real = (await exports.get("a")).due  # type: ignore[union-attr]
    async with PostgresStores(shared_database()) as skewed:
        monkeypatch.setattr(skewed._database, "offset", lambda: _later(3600.0))
        there = await skewed.exports(key).get("a")
        assert there is not None
        assert there.due == pytest.approx(real - 3600.0)
        assert await skewed.exports(key).due(real - 3600.0 + 1, 10, latest=1e12)
        assert await skewed.exports(key).due(real - 3600.0 - 1, 10, latest=1e12) == [there]  # it is noticed


async def _later(value: float) -> float:
    return value


async def test_concurrent_changes_of_the_same_records_never_deadlock(stores: PostgresStores, key: str) -> None:
    exports = stores.exports(key)
    ids = [f"accr_{number}" for number in range(20)]
    until = datetime(2026, 1, 1, tzinfo=UTC)
    await exports.note(ids)
    async with exports.lock():
        for _ in range(40):
            noticed = 1_000_000  # so that nothing is forgotten, and the rows are still locked
            entries = [ExportEntry(each, "exported", noticed=noticed, handled=noticed) for each in ids[10:]]
            forget = [ExportEntry(each, "ready", noticed=noticed) for each in reversed(ids[:10])]
            await asyncio.gather(
                exports.save(entries, forget=forget),
                exports.note(ids, bills_until=until),
                exports.note(reversed(ids)),
                exports.prune(until),
            )


async def test_exports_are_copied_from_sqlite_as_the_docs_say(stores: PostgresStores, key: str, tmp_path: Path) -> None:
    page = (Path(__file__).parent.parent / "docs" / "fleet.md").read_text("utf-8")
    [block] = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "copy_exports" in block]
    names: dict[str, Any] = {}
    exec(block, names)
    old = SQLiteExportStore(tmp_path / "export.db")
    entries = [
        ExportEntry("a", "in_doubt", due=5.0, content="c", noticed=1, handled=1),
        ExportEntry("b", "booked", held="changed", reference_id="JE-1", noticed=1, handled=1),
        ExportEntry("c", "exported", noticed=1, handled=1),
    ]
    async with old.lock():
        await old.save(entries)
    await old.note([], bills_until=datetime(2026, 1, 1, tzinfo=UTC))
    await names["copy_exports"](str(tmp_path / "export.db"), stores, key)
    new = stores.exports(key)
    assert [await new.get(entry.record_id) for entry in entries] == [*entries[:2], None]
    assert (await new.marks())[1] == datetime(2026, 1, 1, tzinfo=UTC)
    await old.aclose()
