"""examples/worker.py, end to end: the sandbox, the ERP, the service and its webhooks, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest

from brex_accounting import BrexAccounting
from brex_accounting.sandbox import Fault, Sandbox, WebhookOptions
from tests.support.examples import EXAMPLES, load
from tests.test_webhook_service import serve, until


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load("worker", monkeypatch)


@pytest.fixture
async def sandbox(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sandbox]:
    sandbox = Sandbox(records=60, rate_limit=None, webhooks=WebhookOptions(pauses=(0.01,) * 5))
    monkeypatch.setenv("BREX_WEBHOOK_SECRETS", sandbox.webhooks.secret)
    async with sandbox:
        yield sandbox


@pytest.fixture
async def url(sandbox: Sandbox) -> AsyncIterator[str]:
    async with sandbox.serve() as url:
        yield url


@pytest.fixture
async def erp(example: ModuleType, tmp_path: Path) -> AsyncIterator[str]:
    async with serve(example.create_erp(str(tmp_path / "erp.db"))) as erp:
        yield erp


def service(example: ModuleType, sandbox: Sandbox, url: str, erp: str, folder: Path, **options: Any) -> Any:
    def connect() -> BrexAccounting:
        return BrexAccounting(sandbox.token, base_url=url)

    return example.create_app(connect, str(folder / "export.db"), erp, **options)


def check(sandbox: Sandbox, folder: Path) -> None:
    with contextlib.closing(sqlite3.connect(folder / "erp.db")) as ledger:
        numbers = dict(ledger.execute("SELECT id, number FROM entries").fetchall())
    exports = [each.result for each in sandbox.state.exports]
    assert len(exports) == len({each.record_id for each in exports}) == len(sandbox.state.records)
    successes = {each.record_id: each.reference_id for each in exports if each.error_message is None}
    assert successes == {record_id: f"JE-{number}" for record_id, number in numbers.items()}
    refused = {each.error_message for each in exports if each.error_message is not None}
    assert refused <= {"unknown GL account 6039"}


async def test_from_brex_into_the_erp(
    example: ModuleType, sandbox: Sandbox, url: str, erp: str, tmp_path: Path
) -> None:
    async with serve(service(example, sandbox, url, erp, tmp_path)) as webhooks:
        await until(lambda: len(sandbox.state.exports) == 60)  # the poll at the start
        sandbox.webhooks.register(webhooks)
        record_id = sandbox.add_record(memo="new")
        await until(lambda: sandbox.state.records[record_id].review_status == "EXPORTED")
        async with httpx.AsyncClient(trust_env=False) as client:
            health = await client.get(f"{webhooks}health")
        assert health.status_code == 200
    check(sandbox, tmp_path)
    link = next(e.result.deep_link_url for e in sandbox.state.exports if e.result.record_id == record_id)
    assert link == f"{example.ERP_URL}/entries/{record_id}"


@pytest.mark.parametrize("status", [503, 500])
async def test_the_erp_is_closed_for_a_moment(
    example: ModuleType, sandbox: Sandbox, url: str, tmp_path: Path, status: int
) -> None:
    """503 says that nothing was booked; after a 500 nobody knows, and the upsert finds out."""
    open_again = asyncio.Event()
    inner = example.create_erp(str(tmp_path / "erp.db"))

    async def closed(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and not open_again.is_set():
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body"})
        else:
            await inner(scope, receive, send)

    options = {"max_backoff": 0.2, "book_timeout": 0.2, "settle_after": 0.2, "max_attempts": 1000}
    async with serve(closed) as erp, serve(service(example, sandbox, url, erp, tmp_path, **options)):
        await asyncio.sleep(0.5)
        assert sandbox.state.exports == []
        open_again.set()
        await until(lambda: len(sandbox.state.exports) == 60)
    check(sandbox, tmp_path)


async def test_killed_in_the_middle(sandbox: Sandbox, url: str, erp: str, tmp_path: Path) -> None:
    sandbox.fault(Fault("delay", operation="reportAccountingExportResults", seconds=60.0, applied=True))
    listener = socket.create_server(("127.0.0.1", 0))
    with listener:
        with start(listener, sandbox, url, erp, tmp_path) as process:
            await until(lambda: bool(sandbox.state.exports))
            process.kill()
        with start(listener, sandbox, url, erp, tmp_path) as successor:
            await until(lambda: len(sandbox.state.exports) == 60)
            successor.terminate()
            assert await asyncio.to_thread(successor.wait) in {0, -signal.SIGTERM}
    check(sandbox, tmp_path)


async def test_a_service_whose_worker_ended_ends_too(sandbox: Sandbox, url: str, erp: str, tmp_path: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    with listener, start(listener, sandbox, url, erp, tmp_path) as first:
        await until(lambda: len(sandbox.state.exports) == 60)
        with start(listener, sandbox, url, erp, tmp_path) as second:  # WorkerRunningError
            assert await asyncio.to_thread(second.wait, 20) != 0
        first.terminate()
        await asyncio.to_thread(first.wait)


def start(listener: socket.socket, sandbox: Sandbox, url: str, erp: str, folder: Path) -> subprocess.Popen[bytes]:
    """Run the service as a process, at a socket that outlives it."""
    code = f"""
import socket, uvicorn, worker
server = uvicorn.Server(uvicorn.Config(worker.create_app(settle_after=1.0, book_timeout=1.0), log_config=None))
server.run(sockets=[socket.socket(fileno={listener.fileno()})])
"""
    variables = {
        "BREX_BASE_URL": url,
        "BREX_TOKEN": sandbox.token,
        "BREX_WEBHOOK_SECRETS": sandbox.webhooks.secret,
        "ERP_URL": erp,
        "PYTHONPATH": os.pathsep.join([str(EXAMPLES), *sys.path]),
    }
    return subprocess.Popen(
        [sys.executable, "-c", code],
        pass_fds=[listener.fileno()],
        cwd=folder,
        env=os.environ | variables,
        stderr=subprocess.DEVNULL,
    )
