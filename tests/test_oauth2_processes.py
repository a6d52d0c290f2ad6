"""One grant among processes that race and die, over real sockets."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import pytest

from brex_accounting import ReauthorizationRequiredError, SQLiteTokenStore
from brex_accounting._auth.tokens import StoredToken, store_key
from brex_accounting.sandbox import AuthorizationOptions, Fault, Sandbox

WORKER = """
import asyncio, os, signal, sys
from brex_accounting import OAuth2, ReauthorizationRequiredError, SQLiteTokenStore, TokenRefreshError
from brex_accounting._sqlite import Connection
from brex_accounting._auth import refresh as _refresh, sqlite_store as _sqlite_store, token_endpoint as _token_client

url, client_id, client_secret, path, seed, die, number = sys.argv[1:]

def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

if die == "before the POST":
    _token_client.token_request = kill
elif die == "soon":
    _token_client.ANSWER_TIMEOUT = 1.0
elif die == "after the answer":
    _refresh._Unsaved = kill
elif die == "before the save":
    SQLiteTokenStore.save = kill
elif die == "during the save":
    # In mid-transaction: a row is written, and not committed.
    write = Connection.write
    def torn(self, work):
        def write_and_die(database):
            database.execute(_sqlite_store.INSERT, (1, b"x" * 10_000_000, "another key"))
            kill()
        return write(self, write_and_die)
    Connection.write = torn
elif die == "after the save":
    save = SQLiteTokenStore.save
    async def last(self, key, stored, *, expected_version):
        await save(self, key, stored, expected_version=expected_version)
        kill()
    SQLiteTokenStore.save = last

auth = OAuth2(client_id, client_secret, account="acme", store=SQLiteTokenStore(path), refresh_token=seed, token_url=url)

async def main():
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        tokens = set(await asyncio.gather(*(auth.token() for _ in range(int(number)))))
        print(*tokens, flush=True)
    except TokenRefreshError as error:
        print(type(error).__name__, flush=True)

asyncio.run(main())
"""


class World:
    def __init__(self, sandbox: Sandbox, url: str, path: Path) -> None:
        self.server = sandbox.authorization
        self.sandbox = sandbox
        self.url = f"{url}/oauth2/default/v1/token"
        self.path = path
        self.seed = self.server.new_grant()

    async def start(self, die: str = "never", tasks: int = 10) -> asyncio.subprocess.Process:
        arguments = (self.url, self.server.client_id, self.server.client_secret, self.path, self.seed, die, tasks)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            WORKER,
            *(str(argument) for argument in arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
        return process

    async def run(self, *processes: asyncio.subprocess.Process) -> list[str]:
        """Let them go at once; what each says, or its signal."""
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(b"\n")
        ends = await asyncio.gather(*(process.communicate() for process in processes))
        return [
            said.decode().strip() if process.returncode == 0 else str(process.returncode)
            for process, (said, _) in zip(processes, ends, strict=True)
        ]

    async def stored(self) -> StoredToken | None:
        if self.path.exists():
            with closing(sqlite3.connect(self.path)) as database:
                assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        store = SQLiteTokenStore(self.path)
        assert await store.load("another key") is None
        return await store.load(store_key(self.url, self.server.client_id, "acme"))


@asynccontextmanager
async def new_world(path: Path, **options: float) -> AsyncIterator[World]:
    sandbox = Sandbox(rate_limit=None, authorization=AuthorizationOptions(**options))  # type: ignore[arg-type]
    async with sandbox.serve() as url:
        yield World(sandbox, url, path / "tokens.db")


async def test_sixteen_processes_ask_once(tmp_path: Path) -> None:
    async with new_world(tmp_path) as world:
        processes = await asyncio.gather(*(world.start() for _ in range(16)))
        world.sandbox.fault(Fault("delay", operation="token", seconds=0.3))
        [token] = set(await world.run(*processes))
        assert world.server.is_live(token)
        assert (len(world.server.requests), world.server.reuse_events) == (1, 0)
        assert world.server.grants[0].in_flight_max == 1


@pytest.mark.parametrize("grace", [0.0, 60.0])
@pytest.mark.parametrize(
    "die", ["before the POST", "after the answer", "before the save", "during the save", "after the save"]
)
async def test_a_process_that_is_killed(tmp_path: Path, die: str, grace: float) -> None:
    async with new_world(tmp_path, grace=grace) as world:
        victim, heir, other = await asyncio.gather(world.start(die), world.start(), world.start())
        assert await world.run(victim) == [str(-signal.SIGKILL)]
        stored = await world.stored()
        assert (stored is not None) == (die == "after the save")
        began = asyncio.get_running_loop().time()
        said = await world.run(heir, other)
        assert asyncio.get_running_loop().time() - began < 5  # the lock of the dead is free at once
        lost = die in {"after the answer", "before the save", "during the save"}
        if lost and not grace:
            assert said == [ReauthorizationRequiredError.__name__] * 2
            assert (len(world.server.requests), world.server.reuse_events) == (2, 1)
        else:
            [token] = set(said)
            assert world.server.is_live(token)
            assert (len(world.server.requests), world.server.reuse_events) == (2 if lost else 1, 0)
        kept = await world.stored()
        assert kept is not None
        assert kept.dead == (lost and not grace)


async def test_a_process_that_is_killed_while_the_answer_is_on_its_way(tmp_path: Path) -> None:
    async with new_world(tmp_path, grace=60.0) as world:
        victim, heir = await asyncio.gather(world.start(), world.start())
        world.sandbox.fault(Fault("delay", operation="token", seconds=1.0, applied=True))
        running = asyncio.create_task(world.run(victim))
        while not world.server.requests:
            await asyncio.sleep(0.01)
        os.kill(victim.pid, signal.SIGKILL)
        assert await running == [str(-signal.SIGKILL)]
        [token] = await world.run(heir)
        assert world.server.is_live(token)
        assert world.server.reuse_events == 0


async def test_a_process_that_is_stopped_reads_what_came_meanwhile(tmp_path: Path) -> None:
    async with new_world(tmp_path) as world:
        process = await world.start("soon")
        world.sandbox.fault(Fault("delay", operation="token", seconds=0.2, applied=True))
        running = asyncio.create_task(world.run(process))
        while not world.server.requests:
            await asyncio.sleep(0.001)
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(1.5)
        process.send_signal(signal.SIGCONT)
        [token] = await running
        assert world.server.is_live(token)
        assert (len(world.server.requests), world.server.reuse_events) == (1, 0)
