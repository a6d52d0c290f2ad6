"""examples/webhook_service.py: no event is lost, and none does harm when it comes again."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.types import ASGIApp

import brex_accounting
from brex_accounting import BrexAccounting
from brex_accounting.sandbox import Sandbox, WebhookOptions
from brex_accounting.worker import ExportStoreError, ExportWorker, SQLiteExportStore
from tests.support.examples import EXAMPLES, load

IDS = [f"accr_{index:012d}" for index in range(12)]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


class Server(uvicorn.Server):
    """uvicorn, without a hand on the signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@contextlib.asynccontextmanager
async def serve(app: ASGIApp) -> AsyncIterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))
    server = Server(uvicorn.Config(app, lifespan="on", log_config=None))
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await until(lambda: server.started)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
    finally:
        server.should_exit = True
        await serving


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    return load("webhook_service", monkeypatch)


@pytest.fixture
async def sandbox(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Sandbox]:
    async with Sandbox(records=12, webhooks=WebhookOptions(pauses=(0.01,) * 5)) as sandbox:
        sandbox.state.set_review_status(IDS, "PREPARE")
        monkeypatch.setenv("BREX_WEBHOOK_SECRETS", sandbox.webhooks.secret)
        yield sandbox


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SQLiteExportStore]:
    store = SQLiteExportStore(tmp_path / "export.db")
    yield store
    await store.aclose()


@pytest.fixture
def app(service: ModuleType, sandbox: Sandbox, tmp_path: Path) -> ASGIApp:
    made: ASGIApp = service.create_app(str(tmp_path / "export.db"))
    return made


@pytest.mark.parametrize("spelling", ["snake", "camel"])
async def test_an_event_is_noted_before_it_is_answered(
    sandbox: Sandbox, app: ASGIApp, store: SQLiteExportStore, spelling: Any
) -> None:
    async with serve(app) as url:
        sandbox.webhooks.register(url, spelling=spelling)
        sandbox.state.set_review_status(IDS[:3], "READY_FOR_EXPORT")
        await sandbox.webhooks.settled()
        sandbox.webhooks.resend(sandbox.webhooks.deliveries[0].webhook_id)
        await sandbox.webhooks.settled()
    assert [delivery.outcome for delivery in sandbox.webhooks.deliveries] == ["delivered"] * 2
    assert (await store.status()).ready == 3
    entry = await store.get(IDS[0])
    assert entry is not None
    assert (entry.noticed, entry.handled) == (2, 0)


async def test_a_worker_takes_it_up_at_once(sandbox: Sandbox, app: ASGIApp, store: SQLiteExportStore) -> None:
    booked = list[str]()

    async def book(record: Any) -> str:
        booked.append(record.id)
        return f"JE-{len(booked)}"

    async with (
        serve(app) as url,
        BrexAccounting(sandbox.token, base_url=sandbox.url, transport=sandbox.transport) as brex,
    ):
        worker = ExportWorker(brex, book, store, upsert=True)
        running = asyncio.create_task(worker.run())
        await until(lambda: len(sandbox.requests) >= 2)  # the poll at the start
        sandbox.webhooks.register(url)
        sandbox.state.set_review_status(IDS[:3], "READY_FOR_EXPORT")
        await until(lambda: len(sandbox.state.exports) == 3)
        worker.stop()
        await running
    assert sorted(booked) == IDS[:3]


async def test_during_a_rotation(sandbox: Sandbox, app: ASGIApp, store: SQLiteExportStore) -> None:
    async with serve(app) as url:
        sandbox.webhooks.register(url)
        sandbox.webhooks.rotate()
        sandbox.state.set_review_status(IDS[0], "READY_FOR_EXPORT")
        await sandbox.webhooks.settled()
        assert (await store.status()).ready == 1
        sandbox.webhooks.end_rotation()  # the service does not know the new secret
        sandbox.webhooks.announce([IDS[1]])
        await sandbox.webhooks.settled()
    assert [attempt.status for attempt in sandbox.webhooks.deliveries[-1].attempts] == [400] * 6


async def test_a_wrong_signature_notes_nothing(sandbox: Sandbox, app: ASGIApp, store: SQLiteExportStore) -> None:
    async with serve(app) as url, httpx.AsyncClient(trust_env=False) as client:
        body = {"event_type": "ACCOUNTING_RECORD_READY_FOR_EXPORT", "accounting_record_ids": [IDS[0]]}
        headers = {"Webhook-Id": "msg_1", "Webhook-Timestamp": "1767323045", "Webhook-Signature": "v1,AAAA"}
        answer = await client.post(url, content=json.dumps(body), headers=headers)
    assert answer.status_code == 400
    assert (await store.status()).ready == 0


async def test_another_event_is_taken_and_ignored(
    sandbox: Sandbox, app: ASGIApp, store: SQLiteExportStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["brex_accounting.sandbox._webhooks"], "READY", "SOMETHING_ELSE")
    async with serve(app) as url:
        sandbox.webhooks.register(url)
        sandbox.webhooks.announce([IDS[0]])
        await sandbox.webhooks.settled()
    assert sandbox.webhooks.deliveries[0].attempts[0].status == 204
    assert (await store.status()).ready == 0


async def test_what_cannot_be_noted_is_sent_again(
    sandbox: Sandbox, app: ASGIApp, store: SQLiteExportStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    really, failures = SQLiteExportStore._note, [ExportStoreError("The disk is full.")] * 3

    async def note(self: SQLiteExportStore, *arguments: Any) -> None:
        if failures:
            raise failures.pop()
        await really(self, *arguments)

    monkeypatch.setattr(SQLiteExportStore, "_note", note)
    async with serve(app) as url:
        sandbox.webhooks.register(url)
        sandbox.webhooks.announce([IDS[0]])
        await sandbox.webhooks.settled()
    assert [attempt.status for attempt in sandbox.webhooks.deliveries[0].attempts] == [503, 503, 503, 204]
    assert (await store.status()).ready == 1


@pytest.mark.skipif(sys.platform == "win32", reason="a process cannot inherit the listening socket")
async def test_a_killed_process_loses_nothing(sandbox: Sandbox, tmp_path: Path, store: SQLiteExportStore) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    sandbox.webhooks.register(f"http://127.0.0.1:{listener.getsockname()[1]}/")
    with listener, start(listener, sandbox, tmp_path) as process:
        sandbox.state.set_review_status(IDS[:2], "READY_FOR_EXPORT")
        await until(lambda: bool(sandbox.webhooks.deliveries))
        await sandbox.webhooks.settled()
        process.kill()
        process.wait()
        delivered = [each for each in sandbox.webhooks.deliveries if each.outcome == "delivered"]
        assert (await store.status()).ready == 2 * len(delivered) == 2
        with start(listener, sandbox, tmp_path) as successor:
            sandbox.state.set_review_status(IDS[2], "READY_FOR_EXPORT")
            await sandbox.webhooks.settled()
            successor.terminate()
            assert await asyncio.to_thread(successor.wait) in {0, -signal.SIGTERM}
    assert (await store.status()).ready == 3


def start(listener: socket.socket, sandbox: Sandbox, folder: Path) -> subprocess.Popen[bytes]:
    """Run the service as a process, at a socket that outlives it."""
    code = f"""
import socket, uvicorn, webhook_service
server = uvicorn.Server(uvicorn.Config(webhook_service.create_app(), log_config=None))
server.run(sockets=[socket.socket(fileno={listener.fileno()})])
"""
    variables = {
        "BREX_WEBHOOK_SECRETS": sandbox.webhooks.secret,
        "PYTHONPATH": os.pathsep.join([str(EXAMPLES), *sys.path]),
    }
    return subprocess.Popen(
        [sys.executable, "-c", code], pass_fds=[listener.fileno()], cwd=folder, env=os.environ | variables
    )


def test_without_secrets_it_is_not_made(service: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BREX_WEBHOOK_SECRETS", raising=False)
    with pytest.raises(KeyError, match="BREX_WEBHOOK_SECRETS"):
        service.create_app("export.db")


@pytest.mark.parametrize("example", ["webhook_service", "worker"])
@pytest.mark.parametrize("secrets", [{}, {"BREX_WEBHOOK_SECRETS": " "}])
def test_without_a_secret_it_says_what_to_set(example: str, secrets: dict[str, str]) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BREX_")}
    kept["PYTHONPATH"] = str(Path(brex_accounting.__file__).parents[1])
    ended = subprocess.run(
        [sys.executable, str(EXAMPLES / f"{example}.py")],
        env=kept | secrets,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == f"{example}: set BREX_WEBHOOK_SECRETS to the webhook's secret.\n"
