"""Tokens in PostgreSQL, its locks, its tables, and what happens when the database goes away."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import time
import traceback
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from cryptography.fernet import Fernet
from psycopg.conninfo import make_conninfo

from brex_accounting import ConfigurationError, StoredToken, Token
from brex_accounting.postgres import PostgresStores, _listener, _schema
from brex_accounting.postgres._locks import Locks
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


async def test_a_lock_that_is_taken_while_its_taker_is_cancelled_is_free(stores: PostgresStores, key: str) -> None:
    async def hold() -> None:
        async with stores.tokens.lock(key):
            raise AssertionError("it was cancelled before")

    for pauses in range(12):
        task = asyncio.create_task(hold())
        for _ in range(pauses):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() or isinstance(task.exception(), AssertionError)
        async with asyncio.timeout(5), stores.tokens.lock(key):
            pass


async def test_whoever_lost_a_lock_does_not_free_it_for_its_next_holder(stores: PostgresStores, others: Any) -> None:
    """Both holders are in one process, as two jobs of a fleet are."""
    first, second = (stores.exports("a").lock() for _ in range(2))
    await first.__aenter__()
    terminate()
    await second.__aenter__()
    await first.__aexit__(None, None, None)
    with pytest.raises(WorkerRunningError):
        await others.exports("a").lock().__aenter__()
    await second.__aexit__(None, None, None)
    async with others.exports("a").lock():
        pass


class Pooled:
    """A connection that shows these server processes, one after the other."""

    def __init__(self, *processes: int) -> None:
        self.info = SimpleNamespace(backend_pid=1)
        self.closed = self.broken = False
        self._processes = list(processes)

    async def execute(self, query: str) -> Any:
        assert query == "SELECT pg_backend_pid()"
        process = self._processes.pop(0)

        async def fetchone() -> tuple[int]:
            return (process,)

        return SimpleNamespace(fetchone=fetchone)

    async def __aenter__(self) -> Any:
        return self

    async def __aexit__(self, *exc: object) -> None:
        pass

    close = __aexit__

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        yield


@pytest.mark.parametrize(
    ("ours", "another", "refused"),
    [
        ([1], [], False),  # no pooler
        ([5, 5, 5, 5], [6], False),  # a process for each connection: session mode
        ([5], [5], True),  # the other one was given ours, while we were connected
        ([5, 7, 7, 7], [6], True),
        ([5, 5, 7, 5], [6], True),
    ],
)
async def test_a_pooler_in_transaction_mode_shows(ours: list[int], another: list[int], refused: bool) -> None:
    connections = [Pooled(*ours), Pooled(*another)]

    async def connect() -> Any:
        return connections.pop(0)

    locks = Locks(SimpleNamespace(connect=connect))  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="transaction mode") if refused else nullcontext():
        await locks._connected()


async def test_what_is_noted_while_nobody_listens_is_seen(
    stores: PostgresStores, others: PostgresStores, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    exports, connect, away = stores.exports(key), stores._database.connect, list[bool]()

    async def refuse() -> Any:
        away.append(True)
        raise ConfigurationError("no more connections")

    monkeypatch.setattr(_listener, "TRY_AGAIN", 0.1)
    await exports.due(0.0, 10, latest=1e12)
    monkeypatch.setattr(stores._database, "connect", refuse)
    terminate()
    async with asyncio.timeout(20):
        while not away:
            await asyncio.sleep(0.01)
        await exports.due(0.0, 10, latest=1e12)
        await others.exports(key).note(["accr_1"])
        monkeypatch.setattr(stores._database, "connect", connect)
        await exports.wait(1000)


async def test_a_listener_that_cannot_connect_holds_up_nobody(stores: PostgresStores, monkeypatch: Any) -> None:
    async def refuse() -> Any:
        raise ConfigurationError("no more connections")

    monkeypatch.setattr(_listener, "TRY_AGAIN", 100.0)
    monkeypatch.setattr(stores._database, "connect", refuse)
    async with asyncio.timeout(10):
        for _ in range(3):
            assert await stores.exports("nobody").due(0.0, 10, latest=1e12) == []


async def test_tables_in_two_schemas_are_two_worlds() -> None:
    """Two fleets in one database may have accounts of the same name."""
    dsn = new_database()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA one")
        connection.execute("CREATE SCHEMA two")
    one, two = (PostgresStores(make_conninfo(dsn, options=f"-c search_path={name}")) for name in ("one", "two"))
    async with one, two:
        await asyncio.gather(one.create_tables(), two.create_tables())
        await one.exports("a").note(["accr_1"])
        async with one.exports("a").lock(), two.exports("a").lock(), one.tokens.lock("k"), two.tokens.lock("k"):
            assert (await one.exports("a").status()).worker
            assert (await two.exports("a").status()).worker
        assert (await two.exports("a").status()).ready == 0


# -- tables --


async def test_many_make_the_tables_at_once() -> None:
    dsn = new_database()
    async with PostgresStores(dsn) as first, PostgresStores(dsn) as second:
        await asyncio.gather(*(each.create_tables() for each in (first, second) * 4))
        await first.exports("a").note(["accr_1"])
        assert (await second.exports("a").status()).ready == 1


async def test_twenty_bring_tables_of_an_older_version_up_to_date_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    dsn = new_database()
    async with PostgresStores(dsn) as old:
        await old.create_tables()
        await old.exports("a").note(["accr_1"])
    newer = (*_schema.VERSIONS, ("CREATE TABLE brex_new (id integer)", "INSERT INTO brex_new VALUES (1)"))
    monkeypatch.setattr(_schema, "VERSIONS", newer)
    many = [PostgresStores(dsn, pool_size=1) for _ in range(20)]
    async with AsyncExitStack() as stack:
        for each in many:
            await stack.enter_async_context(each)
        await asyncio.gather(*(each.create_tables() for each in many))
        assert (await many[0].exports("a").status()).ready == 1
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT count(*) FROM brex_new").fetchone() == (1,)
        assert connection.execute("SELECT version FROM brex_schema ORDER BY 1").fetchall() == [(1,), (2,)]


async def test_tables_that_are_up_to_date_need_no_permission_to_make_any() -> None:
    dsn, role = new_database(), f"reader_{uuid.uuid4().hex}"
    async with PostgresStores(dsn) as owner:
        await owner.create_tables()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'x'")
        connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}")
    async with PostgresStores(make_conninfo(dsn, user=role, password="x")) as reader:
        await reader.create_tables()
        with pytest.raises(ConfigurationError, match="lacks a permission"):
            await reader.exports("a").note(["accr_1"])
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(f"DROP OWNED BY {role}")
        connection.execute(f"DROP ROLE {role}")


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
        assert "refused" in str(error)
        assert "canary" not in "".join(traceback.format_exception(error))
    assert "canary" not in repr(stores)


async def test_the_server_says_why_it_lets_nobody_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("brex_accounting.postgres._database.CONNECT_TIMEOUT", 0.5)
    async with PostgresStores(make_conninfo(shared_database(), dbname="no_such")) as stores:
        with pytest.raises(OSError, match='database "no_such" does not exist'):
            await stores.tokens.load("a")


async def test_a_pool_without_a_free_connection_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("brex_accounting.postgres._database.CONNECT_TIMEOUT", 0.5)
    async with PostgresStores(shared_database(), pool_size=1) as stores, stores._database.connection():
        with pytest.raises(OSError, match=r"no connection was free for 0.5 s"):
            await stores.tokens.load("a")


async def test_a_server_that_is_read_only_is_waited_for(stores: PostgresStores, key: str) -> None:
    """As after a failover, or on a full disk: it may pass by itself."""
    async with PostgresStores(
        make_conninfo(shared_database(), options="-c default_transaction_read_only=on")
    ) as standby:
        with pytest.raises(ExportStoreError, match="read-only now"):
            await standby.exports(key).note(["accr_1"])


async def test_a_closed_one_says_so() -> None:
    async with PostgresStores(shared_database()) as stores:
        pass
    with pytest.raises(ConfigurationError, match="closed"):
        await stores.tokens.load("a")


@pytest.mark.parametrize(
    "arguments",
    [
        {"dsn": ""},
        {"dsn": "postgresql://u:canary@h/d?canary=1"},
        {"dsn": "canary"},
        {"pool_size": 0},
        {"encrypt": bytes},
        {"decrypt": bytes},
    ],
)
def test_arguments_that_cannot_be_right(arguments: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=r"^((?!canary).)*$"):
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


async def test_a_clock_that_is_set_is_measured_again(stores: PostgresStores, monkeypatch: pytest.MonkeyPatch) -> None:
    assert abs(await stores._database.offset()) < 1.5
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3 * 3600)
    assert await stores._database.offset() == pytest.approx(-3 * 3600, abs=1.5)


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


def from_the_docs(name: str) -> Any:
    """A function of a block of docs/fleet.md."""
    page = (Path(__file__).parent.parent / "docs" / "fleet.md").read_text("utf-8")
    [block] = [block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if f"def {name}(" in block]
    names: dict[str, Any] = {}
    exec(block, names)
    return names[name]


async def test_tokens_are_encrypted_and_keys_changed_as_the_docs_say(key: str) -> None:
    dsn, open_stores = shared_database(), from_the_docs("open_stores")
    old, new = Fernet.generate_key(), Fernet.generate_key()
    async with open_stores(dsn, [old]) as stores:
        await stores.create_tables()
        await stores.tokens.save(key, STORED, expected_version=None)
    async with open_stores(dsn, [new, old]) as stores:
        assert await stores.tokens.load(key) == STORED
        await stores.tokens.save(key, StoredToken(TOKEN, 2), expected_version=1)
    async with open_stores(dsn, [new]) as stores:
        assert await stores.tokens.load(key) == StoredToken(TOKEN, 2)
    async with open_stores(dsn, [old]) as stores:
        with pytest.raises(ConfigurationError, match=r"decrypt failed for a stored token \(InvalidToken\)"):
            await stores.tokens.load(key)
    with psycopg.connect(dsn) as connection:
        row = connection.execute("SELECT document FROM brex_tokens WHERE key = %s", [key]).fetchone()
    assert row is not None
    assert b"canary" not in bytes(row[0])


async def test_a_note_is_one_statement(stores: PostgresStores, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a storm of webhooks costs little; the account's own row is made when it is needed."""
    statements, execute = list[str](), psycopg.AsyncConnection.execute

    async def count(connection: Any, query: Any, *arguments: Any, **options: Any) -> Any:
        statements.append(query)
        return await execute(connection, query, *arguments, **options)

    exports = stores.exports(key)
    await exports.note(["accr_1"])
    monkeypatch.setattr(psycopg.AsyncConnection, "execute", count)
    await exports.note(["accr_1", "accr_2"])
    assert len([query for query in statements if query]) == 1
    monkeypatch.undo()
    assert (await exports.status()).ready == 2


async def test_exports_are_copied_from_sqlite_as_the_docs_say(stores: PostgresStores, key: str, tmp_path: Path) -> None:
    copy_exports = from_the_docs("copy_exports")
    old = SQLiteExportStore(tmp_path / "export.db")
    entries = [
        ExportEntry("a", "in_doubt", due=5.0, content="c", noticed=1, handled=1),
        ExportEntry("b", "booked", held="changed", reference_id="JE-1", noticed=1, handled=1),
        ExportEntry("c", "exported", noticed=1, handled=1),
    ]
    async with old.lock():
        await old.save(entries)
    await old.note([], bills_until=datetime(2026, 1, 1, tzinfo=UTC))
    await copy_exports(str(tmp_path / "export.db"), stores, key)
    new = stores.exports(key)
    assert [await new.get(entry.record_id) for entry in entries] == [*entries[:2], None]
    assert (await new.marks())[1] == datetime(2026, 1, 1, tzinfo=UTC)
    await old.aclose()
