"""Many accounts on one store, and many threads on one client."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from brex_accounting import BrexAccounting, OAuth2, RateLimit, SQLiteTokenStore
from brex_accounting._clock import Clock
from brex_accounting.sandbox import AuthorizationOptions, Sandbox
from tests.support.marks import many

ACCOUNTS = int(os.environ.get("ACCOUNTS", "100"))

REFRESH = """
import asyncio, json, os, resource, sqlite3, sys, time
from brex_accounting import OAuth2, SQLiteTokenStore
from brex_accounting._auth.tokens import decode

url, client_id, client_secret, path, seeds = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
auths = [
    OAuth2(client_id, client_secret, account=str(n), store=SQLiteTokenStore(path), refresh_token=seed, token_url=url)
    for n, seed in enumerate(json.loads(seeds))
]

def stored():
    with sqlite3.connect(path) as database:
        rows = database.execute("SELECT stored FROM tokens").fetchall()
    database.close()
    return {decode(row).token.access_token for (row,) in rows}

async def main():
    stall, busy, descriptors, over = 0.0, 0.0, 0, False

    async def watch():
        nonlocal stall, busy, descriptors
        while not over:
            before, work = time.monotonic(), time.thread_time()
            await asyncio.sleep(0.001)
            stall, busy = max(stall, time.monotonic() - before), max(busy, time.thread_time() - work)
            descriptors = max(descriptors, len(os.listdir("/dev/fd")))

    watching = asyncio.create_task(watch())
    on_disk = []

    async def use(n, auth):
        token = await auth.token()
        if n % 50 == 0:
            on_disk.append(token in stored())
        return token

    began = time.monotonic()
    tokens = await asyncio.gather(*(use(n, auth) for n, auth in enumerate(auths)))
    seconds = time.monotonic() - began
    over = True
    await watching
    print(json.dumps({
        "seconds": seconds, "cpu": time.process_time(), "stall": stall, "busy": busy, "descriptors": descriptors,
        "on_disk": all(on_disk),
        "all": stored() == set(tokens), "tokens": len(set(tokens)),
    }))

asyncio.run(main())
"""


@contextmanager
def served(sandbox: Sandbox) -> Iterator[str]:
    """Serve in a thread with a loop of its own."""
    url: Future[str] = Future()

    async def serve() -> None:
        nonlocal loop, over
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        async with sandbox.serve() as address:
            url.set_result(address)
            await over.wait()

    loop: asyncio.AbstractEventLoop
    over: asyncio.Event
    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        yield url.result(30)
    finally:
        loop.call_soon_threadsafe(over.set)
        thread.join()


@many
def test_all_accounts_of_one_store_refresh_at_once(tmp_path: Path) -> None:
    sandbox = Sandbox(rate_limit=None)
    server = sandbox.authorization
    seeds = [server.new_grant(str(number)) for number in range(ACCOUNTS)]
    with served(sandbox) as url:
        arguments = (f"{url}/oauth2/default/v1/token", server.client_id, server.client_secret, tmp_path / "tokens.db")
        run = subprocess.run(
            [sys.executable, "-W", "error", "-c", REFRESH, *map(str, arguments), json.dumps(seeds)],
            capture_output=True,
            text=True,
            check=False,
            timeout=55,
        )
    assert (run.returncode, run.stderr) == (0, "")
    found: dict[str, Any] = json.loads(run.stdout)
    print(found)  # noqa: T201 - for those who measure: ACCOUNTS=1000 python -m pytest -s
    assert found["on_disk"]
    assert found["all"]
    assert found["tokens"] == ACCOUNTS
    assert found["descriptors"] < 100
    assert (len(server.requests), server.reuse_events) == (ACCOUNTS, 0)


THREADS = 8
CALLS = 8
EXPIRIES = 4
LIFE = 3


@many
def test_threads_with_loops_of_their_own_share_a_client(tmp_path: Path) -> None:
    """A full limiter, strict rotation, tokens that expire: no call fails, and each expiry costs one refresh.

    The tokens' time passes between the rounds, so it does not matter how fast this machine is.
    """
    ahead = 0.0

    def wall() -> float:
        return 1_800_000_000.0 + ahead

    sandbox = Sandbox(rate_limit=None, clock=wall, authorization=AuthorizationOptions(expires_in=LIFE))
    server = sandbox.authorization
    between = threading.Barrier(THREADS + 1)
    failures: list[BaseException] = []
    posts: list[int] = []

    async def work(client: BrexAccounting) -> None:
        for _ in range(EXPIRIES):
            await asyncio.to_thread(between.wait, 30)
            ends = await asyncio.gather(
                *(client.integrations.create("ERP_A", "acct-42") for _ in range(CALLS)), return_exceptions=True
            )
            failures.extend(end for end in ends if isinstance(end, BaseException))
            await asyncio.to_thread(between.wait, 30)

    with served(sandbox) as url:
        auth = OAuth2(
            server.client_id,
            server.client_secret,
            account="acme",
            store=SQLiteTokenStore(tmp_path / "tokens.db"),
            refresh_token=server.new_grant(),
            token_url=f"{url}/oauth2/default/v1/token",
        )
        clock = Clock(monotonic=lambda: ahead, wall=wall)
        auth._refresher.clock = auth._refresher.grant.clock = auth._clock = clock
        client = BrexAccounting(auth, base_url=url, rate_limit=RateLimit(THREADS * CALLS // 2, per=0.1))
        threads = [threading.Thread(target=asyncio.run, args=(work(client),)) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for _ in range(EXPIRIES):
            between.wait(30)  # they begin
            between.wait(30)  # they have ended
            posts.append(len(server.requests))
            ahead += LIFE
        for thread in threads:
            thread.join(30)
        asyncio.run(client.aclose())
    assert failures == []
    assert posts == [1, 2, 3, 4]
    assert server.reuse_events == 0
