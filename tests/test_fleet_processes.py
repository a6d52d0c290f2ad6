"""A fleet of real processes: killed at random in the middle of their work, and with thousands of accounts.

SOAK=1 makes both long (make soak).
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import procrastinate
import psycopg
import pytest

from brex_accounting import fleet as fleet_module
from brex_accounting import save_grant
from brex_accounting._auth.tokens import store_key
from brex_accounting.fleet import export_blueprint, give_back
from brex_accounting.postgres import PostgresStores
from brex_accounting.sandbox import AuthorizationOptions, Fault, Sandbox
from tests.support.postgres import new_database
from tests.support.project import ROOT

SOAK = "SOAK" in os.environ
CLIENT_ID, CLIENT_SECRET = "client-id", "client-secret"
FAULTS = [
    Fault("status", status=503),
    Fault("status", status=503, applied=True),
    Fault("reset_before"),
    Fault("reset_after"),
    Fault("cut_body"),
]


class Fleet:
    """Processes that work for the accounts of a sandbox."""

    def __init__(self, sandbox: Sandbox, url: str, folder: Path, *, book_seconds: float) -> None:
        self.sandbox = sandbox
        self.dsn = new_database()
        self._own_dsn = psycopg.conninfo.make_conninfo(self.dsn, application_name="test")
        self.token_url = sandbox.token_url.replace(sandbox.url, url)
        self.ledger = folder / "ledger"
        self.ledger.touch()
        connector = procrastinate.PsycopgConnector(conninfo=self._own_dsn, min_size=1, max_size=1)
        self.app = procrastinate.App(connector=connector)
        self.app.add_tasks_from(export_blueprint(self._unused, self._unused), namespace="brex")
        self.processes: list[asyncio.subprocess.Process] = []
        self.most_connections = 0
        self._settings = {
            "url": url,
            "dsn": self.dsn,
            "token_url": self.token_url,
            "ledger": str(self.ledger),
            "book_seconds": book_seconds,
        }

    def _unused(self, *_: Any) -> Any:
        raise NotImplementedError

    async def onboard(self, accounts: int, records: int) -> list[str]:
        """Add accounts to the sandbox, save their consents, and queue their polls."""
        names = [f"customer-{number}" for number in range(accounts)]
        async with PostgresStores(self.dsn) as stores:
            await stores.create_tables()
            await self.app.schema_manager.apply_schema_async()
            for name in names:
                self.sandbox.add_account(name, records=records)
                await self.consent(stores, name)
                await self.queue(name)
        # As autovacuum does within a minute: without statistics, the search for the next job reads all that wait.
        await self.app.connector.execute_query_async("ANALYZE procrastinate_jobs")
        return names

    async def consent(self, stores: PostgresStores, name: str) -> None:
        grant = self.sandbox.authorization.new_grant(name)
        await save_grant(
            stores.tokens, client_id=CLIENT_ID, account=name, refresh_token=grant, token_url=self.token_url
        )

    async def queue(self, name: str) -> None:
        await fleet_module._defer(self.app, "brex:export_account", name, "poll")

    async def start(self) -> asyncio.subprocess.Process:
        environment = os.environ | {"FLEET": json.dumps(self._settings), "PYTHONPATH": str(ROOT)}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.support.fleet_app", stdout=subprocess.PIPE, env=environment
        )
        assert process.stdout is not None
        self.processes.append(process)
        assert await process.stdout.readline() == b"ready\n"
        return process

    async def kill(self, process: asyncio.subprocess.Process) -> None:
        process.kill()
        await process.wait()
        self.processes.remove(process)

    async def rows(self, query: Any) -> list[Any]:
        async with await psycopg.AsyncConnection.connect(self._own_dsn, autocommit=True) as connection:
            return await (await connection.execute(query)).fetchall()

    async def exported(self) -> int:
        """The records that are exported; counts the processes' connections by the way."""
        [(exported,)] = await self.rows("SELECT count(*) FROM brex_exports WHERE state = 'exported'")
        query = """
            SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
            AND backend_type = 'client backend' AND application_name <> 'test'
        """  # autovacuum is not the processes'
        [(connections,)] = await self.rows(query)
        self.most_connections = max(self.most_connections, connections)
        return int(exported)

    async def lost_consents(self, stores: PostgresStores, names: list[str]) -> list[str]:
        """The accounts whose consent died."""
        lost = []
        for name in names:
            stored = await stores.tokens.load(store_key(self.token_url, CLIENT_ID, name))
            if stored is not None and stored.dead:
                lost.append(name)
        return lost

    def memory(self) -> float:
        """Megabytes of all processes."""
        pages = [int(Path(f"/proc/{each.pid}/statm").read_text("utf-8").split()[1]) for each in self.processes]
        return sum(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6


@asynccontextmanager
async def fleet(folder: Path, *, book_seconds: float) -> AsyncIterator[Fleet]:
    options = AuthorizationOptions(client_id=CLIENT_ID, client_secret=CLIENT_SECRET)
    async with Sandbox(authorization=options, rate_limit=None) as sandbox, sandbox.serve() as url:
        made = Fleet(sandbox, url, folder, book_seconds=book_seconds)
        async with made.app.open_async():
            try:
                yield made
            finally:
                for process in list(made.processes):
                    await made.kill(process)


def fail_one_in_five(sandbox: Sandbox, chance: random.Random) -> None:
    """Let a fifth of all answers go wrong, those of the token endpoint in ways that cost no consent."""

    def take(operation: str) -> Fault | None:
        if chance.random() >= 0.2:
            return None
        return FAULTS[0] if operation == "token" else chance.choice(FAULTS)

    sandbox._faults.take = take  # type: ignore[method-assign]


@pytest.mark.timeout(900 if SOAK else 120)
async def test_processes_killed_at_random_book_each_record_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accounts, records, processes, kills = (200, 40, 4, 30) if SOAK else (8, 6, 2, 3)
    monkeypatch.setattr(fleet_module, "STALLED_AFTER", 5.0)
    chance = random.Random(1)
    async with fleet(tmp_path, book_seconds=0.05 if SOAK else 0.3) as made:
        fail_one_in_five(made.sandbox, chance)
        names = await made.onboard(accounts, records)
        began, consents = time.monotonic(), 0
        for _ in range(processes):
            await made.start()
        async with asyncio.timeout(840 if SOAK else 100):
            for _ in range(kills):
                await asyncio.sleep(chance.uniform(0.1, 0.6))
                await made.exported()
                await made.kill(chance.choice(made.processes))
                await made.start()
                await give_back(made.app)
            killed = time.monotonic()
            async with PostgresStores(made.dsn) as stores:
                while await made.exported() < accounts * records:
                    await asyncio.sleep(0.5)
                    await give_back(made.app)
                    for name in await made.lost_consents(stores, names):  # as a person would, with the next poll
                        consents += 1
                        await made.consent(stores, name)
                        await made.queue(name)
        seconds = time.monotonic() - began
        everything = {id_ for account in made.sandbox.accounts.values() for id_ in account.state.records}
        booked = made.ledger.read_text("utf-8").split()
        [(struck,)] = await made.rows("SELECT count(*) FROM procrastinate_events WHERE type = 'deferred_for_retry'")
        print(  # noqa: T201 - what the soak measures
            f"{len(booked)} records in {seconds:.0f} s: {len(booked) / seconds:.0f}/s; {kills} kills in "
            f"{killed - began:.0f} s hit {struck} jobs; connections: {made.most_connections}; consents lost: {consents}"
        )
        assert struck, "no kill has hit a job"  # the test would show nothing
        assert len(booked) == accounts * records
        assert set(booked) == everything
        assert made.most_connections <= 9 * processes


@pytest.mark.timeout(1800 if SOAK else 120)
async def test_many_accounts_are_served_in_turn_with_flat_memory_and_connections(tmp_path: Path) -> None:
    accounts, processes = (5000, 4) if SOAK else (20, 1)
    async with fleet(tmp_path, book_seconds=0.0) as made:
        await made.onboard(accounts, 1)
        began, early = time.time(), 0.0
        for _ in range(processes):
            await made.start()
        async with asyncio.timeout(1700 if SOAK else 100):
            while (exported := await made.exported()) < accounts:
                if not early and exported >= accounts / 5:
                    early = made.memory()
                await asyncio.sleep(0.5)
        late = made.memory()
        waits = [moment - began for (moment,) in await made.rows("SELECT changed_at FROM brex_exports")]
        print(  # noqa: T201 - what the soak measures
            f"{accounts} accounts in {max(waits):.0f} s: {accounts / max(waits):.0f}/s; median wait "
            f"{statistics.median(waits):.1f} s, longest {max(waits):.1f} s; memory {early:.0f} MB, then {late:.0f} MB; "
            f"connections: {made.most_connections}"
        )
        assert len(set(made.ledger.read_text("utf-8").split())) == accounts
        assert made.most_connections <= 9 * processes
        if SOAK:
            assert max(waits) <= 3 * statistics.median(waits)
            assert late <= 1.2 * early
