"""examples/webhook_service.py: no event is lost, none is worked on twice, whatever happens in between."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.types import ASGIApp

import brex_accounting
from brex_accounting import BrexAccounting, RetryPolicy
from brex_accounting.sandbox import Fault, Sandbox, WebhookOptions

EXAMPLE = Path(__file__).parents[1] / "examples" / "webhook_service.py"
URL = "http://localhost/"
IDS = [f"accr_{index:012d}" for index in range(12)]
BILL = IDS[2]


@pytest.fixture
def service() -> ModuleType:
    spec = importlib.util.spec_from_file_location("webhook_service", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def database(tmp_path: Path) -> str:
    return str(tmp_path / "webhooks.db")


def rows(database: str, query: str) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return connection.execute(query).fetchall()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


@dataclass
class Books:
    """What the fakes of brex.records know: each record's review status, and what was asked and reported."""

    statuses: dict[str, str] = field(default_factory=lambda: dict.fromkeys(IDS, "PREPARE"))
    asked: list[dict[str, Any]] = field(default_factory=list)
    reported: list[Any] = field(default_factory=list)
    unbalanced: set[str] = field(default_factory=set)
    before_asking: Callable[[], Awaitable[object]] = field(default=lambda: asyncio.sleep(0))
    outcome: str = "reported"

    async def __aenter__(self) -> SimpleNamespace:
        return SimpleNamespace(records=self)

    async def __aexit__(self, *exc: object) -> None:
        pass

    async def iterate(self, *, on_invalid: Callable[[Any], None], **which: Any) -> AsyncGenerator[Any, None]:
        self.asked.append(which)
        await self.before_asking()
        for record_id, status in self.statuses.items():
            if "updated_after" in which:
                wanted = record_id == BILL
            elif "review_status" in which:
                wanted = record_id != BILL and status == which["review_status"]
            else:
                wanted = record_id in which["ids"]
            if wanted and status == "UNREADABLE":
                on_invalid(SimpleNamespace(record_id=record_id, reason="no amount"))
            elif wanted:
                amount = SimpleNamespace(amount=Decimal("1.005e2"), currency="USD")
                balanced = record_id not in self.unbalanced
                yield SimpleNamespace(id=record_id, review_status=status, amount=amount, is_balanced=balanced)

    async def report_all(self, results: list[Any]) -> list[Any]:
        self.reported += results
        if self.outcome == "reported":
            self.statuses |= {result.record_id: "EXPORTED" for result in results}
        return [SimpleNamespace(record_id=each.record_id, status=self.outcome, message=None) for each in results]

    def events_asked(self) -> list[list[str]]:
        return [which["ids"] for which in self.asked if "ids" in which]

    def polls(self) -> list[dict[str, Any]]:
        return [which for which in self.asked if "ids" not in which]

    def reported_ids(self) -> list[str]:
        return [result.record_id for result in self.reported]


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(records=12, webhooks=WebhookOptions(pauses=(0.01,) * 5)) as sandbox:
        sandbox.state.set_review_status(IDS, "PREPARE")
        yield sandbox


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, sandbox: Sandbox) -> None:
    monkeypatch.setenv("BREX_WEBHOOK_SECRETS", sandbox.webhooks.secret)


@contextlib.asynccontextmanager
async def running(service: ModuleType, sandbox: Sandbox, books: Books, database: str) -> AsyncIterator[ASGIApp]:
    """The service in this process, without sockets, and with the polls of its start behind it."""
    app = service.create_app(lambda: books, database)
    before = len(books.polls())
    async with app.router.lifespan_context(app):
        await until(lambda: len(books.polls()) >= before + 2)
        sandbox.webhooks.register(URL, transport=lambda: httpx.ASGITransport(app))
        yield app
    sandbox.webhooks.forget()


class TestWithFakes:
    async def test_an_event_is_exported_once(self, service: ModuleType, sandbox: Sandbox, database: str) -> None:
        books = Books()
        books.unbalanced = {IDS[1]}
        async with running(service, sandbox, books, database):
            books.statuses |= {IDS[0]: "READY_FOR_EXPORT", IDS[1]: "READY_FOR_EXPORT"}
            sandbox.webhooks.announce([IDS[0], IDS[1], IDS[3]])
            await until(lambda: bool(rows(database, "SELECT 1 FROM events WHERE done_at IS NOT NULL")))
            sandbox.webhooks.resend(sandbox.webhooks.deliveries[0].webhook_id)
            await sandbox.webhooks.settled()
            sandbox.webhooks.announce([IDS[0]])  # another event, about a record that was exported
            await until(lambda: rows(database, "SELECT count(done_at) FROM events") == [(2,)])
        assert [delivery.outcome for delivery in sandbox.webhooks.deliveries] == ["delivered"] * 3
        assert books.events_asked() == [[IDS[0], IDS[1], IDS[3]], [IDS[0]]]
        assert books.reported_ids() == [IDS[0], IDS[1]]
        assert [result.error_message for result in books.reported if result.record_id == IDS[1]] == [
            "debits and credits differ"
        ]
        assert rows(database, "SELECT record_id, amount, currency FROM ledger") == [(IDS[0], "100.5", "USD")]

    async def test_what_is_not_brexs_does_nothing(
        self, service: ModuleType, sandbox: Sandbox, database: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        books = Books()
        async with (
            running(service, sandbox, books, database) as app,
            httpx.AsyncClient(transport=httpx.ASGITransport(app)) as client,
        ):
            headers = {"Webhook-Id": "msg_1", "Webhook-Timestamp": "1", "Webhook-Signature": "v1,AAAA"}
            assert (await client.post(URL, headers=headers, content=b"{}")).status_code == 400
            assert (await client.post(URL)).status_code == 400
            assert (await client.get(URL)).status_code == 405
        assert (books.events_asked(), rows(database, "SELECT * FROM events")) == ([], [])
        assert "The webhook is refused" in caplog.text

    async def test_other_events_are_taken_and_left_alone(
        self, service: ModuleType, sandbox: Sandbox, database: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sys.modules["brex_accounting.sandbox._webhooks"], "READY", "SOMETHING_ELSE")
        books = Books()
        async with running(service, sandbox, books, database):
            sandbox.webhooks.announce([IDS[0]])
            await sandbox.webhooks.settled()
        assert sandbox.webhooks.deliveries[0].attempts[0].status == 204
        assert rows(database, "SELECT * FROM events") == []

    async def test_the_answer_does_not_wait_for_the_work_and_shutdown_does(
        self, service: ModuleType, sandbox: Sandbox, database: str
    ) -> None:
        books, go_on = Books(), asyncio.Event()
        async with running(service, sandbox, books, database):
            books.statuses |= dict.fromkeys(IDS[:2], "READY_FOR_EXPORT")
            books.before_asking = go_on.wait
            sandbox.webhooks.announce([IDS[0]])
            await until(lambda: books.events_asked() == [[IDS[0]]])
            sandbox.webhooks.announce([IDS[1]])
            await sandbox.webhooks.settled()
            assert [delivery.outcome for delivery in sandbox.webhooks.deliveries] == ["delivered"] * 2
            assert books.reported == []
            asyncio.get_running_loop().call_later(0.05, go_on.set)
        # The one in hand was brought to its end; the next one waits for the next start.
        assert books.reported_ids() == [IDS[0]]
        async with running(service, sandbox, books, database):
            await until(lambda: rows(database, "SELECT count(done_at) FROM events") == [(2,)])
        assert books.reported_ids() == IDS[:2]

    async def test_a_crash_between_answer_and_work_loses_nothing(
        self, service: ModuleType, sandbox: Sandbox, database: str
    ) -> None:
        books = Books()

        # A worker that dies with its process: the answer was given, the work was not done.
        with contextlib.closing(sqlite3.connect(database)) as connection:
            connection.executescript(service.SCHEMA)
            exporter = service.Exporter(None, connection)
            event = brex_accounting.RecordsReadyForExport(webhook_id="msg_1", record_ids=(BILL,))
            exporter.take(event)
        books.statuses |= {BILL: "READY_FOR_EXPORT"}
        async with running(service, sandbox, books, database):
            await until(lambda: rows(database, "SELECT count(done_at) FROM events") == [(1,)])
        assert books.reported_ids() == [BILL]

    @pytest.mark.parametrize("trouble", ["raises", "not_applied", "unknown"])
    async def test_what_is_uncertain_is_tried_again(
        self,
        service: ModuleType,
        sandbox: Sandbox,
        database: str,
        trouble: str,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        service.TRY_AGAIN_AFTER = 0.01  # type: ignore[attr-defined]
        books = Books()

        async def fail() -> None:
            raise ZeroDivisionError

        async with running(service, sandbox, books, database):
            books.statuses |= dict.fromkeys(IDS[:2], "READY_FOR_EXPORT")
            if trouble == "raises":
                books.before_asking = fail
            else:
                books.outcome = trouble
            sandbox.webhooks.announce([IDS[0]])
            await until(lambda: len(books.events_asked()) >= 3)
            # One that cannot be done does not hold up the next.
            sandbox.webhooks.announce([IDS[1]])
            await until(lambda: [IDS[1]] in books.events_asked())
            assert rows(database, "SELECT count(done_at) FROM events") == [(0,)]
            books.before_asking, books.outcome = Books().before_asking, "reported"
            await until(lambda: rows(database, "SELECT count(done_at) FROM events") == [(2,)])
        assert {books.statuses[each] for each in IDS[:2]} == {"EXPORTED"}
        # However often it was tried, it was booked once, under one reference.
        assert rows(database, "SELECT count(*), count(DISTINCT record_id) FROM ledger") == [(2, 2)]
        assert len({result.reference_id for result in books.reported if result.record_id == IDS[0]}) == 1
        assert ("Trying again" in caplog.text) == (trouble == "raises")

    async def test_a_bad_record_does_not_hold_up_the_others(
        self, service: ModuleType, sandbox: Sandbox, database: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        books = Books()
        books.statuses |= {IDS[0]: "UNREADABLE", IDS[1]: "READY_FOR_EXPORT"}
        async with running(service, sandbox, books, database):
            sandbox.webhooks.announce(IDS[:2])
            await until(lambda: rows(database, "SELECT count(done_at) FROM events") == [(1,)])
        assert books.reported_ids() == [IDS[1]]
        assert f"{IDS[0]} cannot be read: no amount" in caplog.text

    async def test_what_never_came_is_found(self, service: ModuleType, sandbox: Sandbox, database: str) -> None:
        service.POLL_EVERY = 0.02  # type: ignore[attr-defined]
        service.TRY_AGAIN_AFTER = 0.01  # type: ignore[attr-defined]
        books = Books()
        books.statuses |= dict.fromkeys(IDS[:3], "READY_FOR_EXPORT")
        async with running(service, sandbox, books, database):
            await until(lambda: len(books.reported) == 3)
            books.statuses[IDS[4]] = "READY_FOR_EXPORT"
            await until(lambda: len(books.reported) == 4)
        assert sorted(books.reported_ids()) == sorted([*IDS[:3], IDS[4]])
        assert books.events_asked() == []

    async def test_old_events_are_forgotten(self, service: ModuleType, sandbox: Sandbox, database: str) -> None:
        books = Books()
        async with running(service, sandbox, books, database):
            sandbox.webhooks.announce([IDS[0]])
            await until(lambda: rows(database, "SELECT count(done_at) FROM events") == [(1,)])
            service.REMEMBER = -1  # type: ignore[attr-defined]
            sandbox.webhooks.announce([IDS[0]])
            await until(lambda: len(books.events_asked()) == 2 and rows(database, "SELECT * FROM events") == [])

    def test_without_secrets_it_does_not_start(
        self, service: ModuleType, database: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("BREX_WEBHOOK_SECRETS")
        with pytest.raises(KeyError, match="BREX_WEBHOOK_SECRETS"):
            service.create_app(database=database)


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


class TestOverSockets:
    """The sandbox, the service and all that is between them, as users run them."""

    @pytest.fixture
    async def api(self, sandbox: Sandbox) -> AsyncIterator[str]:
        async with sandbox.serve() as url:
            yield url

    @pytest.fixture
    def make(self, service: ModuleType, sandbox: Sandbox, api: str, database: str) -> Callable[[], ASGIApp]:
        def connect() -> BrexAccounting:
            return BrexAccounting(sandbox.token, base_url=api, retry=RetryPolicy.none())

        return lambda: service.create_app(connect, database)

    @pytest.fixture
    def app(self, make: Callable[[], ASGIApp]) -> ASGIApp:
        return make()

    @pytest.mark.parametrize("spelling", ["snake", "camel"])
    async def test_from_the_event_to_the_ledger(
        self, sandbox: Sandbox, app: ASGIApp, database: str, spelling: Any
    ) -> None:
        async with serve(app) as url:
            sandbox.webhooks.register(url, spelling=spelling)
            sandbox.state.set_review_status(IDS[:3], "READY_FOR_EXPORT")
            await until(lambda: len(sandbox.state.exports) == 3)
            await until(lambda: rows(database, "SELECT count(done_at) FROM events") == [(1,)])
            sandbox.webhooks.resend(sandbox.webhooks.deliveries[0].webhook_id)
            await sandbox.webhooks.settled()
            sandbox.state.set_review_status(IDS[3], "READY_FOR_EXPORT")
            await until(lambda: rows(database, "SELECT count(done_at) FROM events") == [(2,)])
        assert [delivery.outcome for delivery in sandbox.webhooks.deliveries] == ["delivered"] * 3
        # Events are worked on in their order: one more for the repeated one would have come before the last.
        assert len([request for request in sandbox.requests if "ids=" in request.query]) == 2
        assert {sandbox.state.records[each].review_status for each in IDS[:4]} == {"EXPORTED"}
        entries = {f"JE-{entry}" for (entry,) in rows(database, "SELECT entry FROM ledger")}
        assert {line.result.reference_id for line in sandbox.state.exports} == entries
        assert sorted(line.result.record_id for line in sandbox.state.exports) == IDS[:4]

    async def test_during_a_rotation(self, sandbox: Sandbox, app: ASGIApp) -> None:
        async with serve(app) as url:
            sandbox.webhooks.register(url)
            sandbox.webhooks.rotate()
            sandbox.state.set_review_status(IDS[0], "READY_FOR_EXPORT")
            await until(lambda: len(sandbox.state.exports) == 1)
            sandbox.webhooks.end_rotation()  # the service was not told of the new secret
            sandbox.webhooks.announce([IDS[1]])
            await sandbox.webhooks.settled()
        assert [attempt.status for attempt in sandbox.webhooks.deliveries[-1].attempts] == [400] * 6

    async def test_a_wrong_signature_exports_nothing(self, sandbox: Sandbox, app: ASGIApp, database: str) -> None:
        async with serve(app) as url, httpx.AsyncClient(trust_env=False) as client:
            await until(lambda: len(sandbox.requests) >= 2)  # the polls at the start
            sandbox.state.set_review_status(IDS[0], "READY_FOR_EXPORT")
            body = {"event_type": "ACCOUNTING_RECORD_READY_FOR_EXPORT", "accounting_record_ids": [IDS[0]]}
            headers = {"Webhook-Id": "msg_1", "Webhook-Timestamp": "1767323045", "Webhook-Signature": "v1,AAAA"}
            answer = await client.post(url, content=json.dumps(body), headers=headers)
        assert answer.status_code == 400
        assert (sandbox.state.exports, rows(database, "SELECT * FROM events")) == ([], [])

    async def test_what_was_missed_is_found_at_the_start(self, sandbox: Sandbox, app: ASGIApp) -> None:
        sandbox.state.set_review_status(IDS[:3], "READY_FOR_EXPORT")  # a bill among them
        async with serve(app):
            await until(lambda: len(sandbox.state.exports) == 3)
        assert {sandbox.state.records[each].review_status for each in IDS[:3]} == {"EXPORTED"}

    async def test_an_outage_and_a_restart_lose_nothing(
        self, sandbox: Sandbox, make: Callable[[], ASGIApp], database: str
    ) -> None:
        async with serve(make()) as url:
            await until(lambda: len(sandbox.requests) >= 2)
            sandbox.fault(Fault("status", operation="queryAccountingRecords", times=100))
            sandbox.webhooks.register(url)
            sandbox.state.set_review_status(IDS[:3], "READY_FOR_EXPORT")
            await sandbox.webhooks.settled()
            await until(lambda: any(request.status == 503 for request in sandbox.requests))
        assert sandbox.webhooks.deliveries[0].outcome == "delivered"
        assert sandbox.state.exports == []
        sandbox.clear_faults()
        async with serve(make()):
            await until(lambda: len(sandbox.state.exports) == 3)
            await until(lambda: rows(database, "SELECT count(done_at) FROM events") == [(1,)])

    @pytest.mark.skipif(sys.platform == "win32", reason="a process cannot inherit the listening socket")
    async def test_a_killed_process_loses_nothing(self, sandbox: Sandbox, api: str, tmp_path: Path) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        with listener, start(listener, api, sandbox, tmp_path) as process:
            await until(lambda: len([each for each in sandbox.requests if each.status == 200]) >= 2)
            sandbox.fault(Fault("delay", operation="reportAccountingExportResults", seconds=3600))
            sandbox.webhooks.register(f"http://127.0.0.1:{listener.getsockname()[1]}/")
            sandbox.state.set_review_status(IDS[:2], "READY_FOR_EXPORT")
            await sandbox.webhooks.settled()
            await until(lambda: any(request.path.endswith("export-results") for request in sandbox.requests))
            process.kill()  # its records are booked, and not reported
            process.wait()
            assert sandbox.webhooks.deliveries[0].outcome == "delivered"
            assert sandbox.state.exports == []
            sandbox.state.set_review_status(IDS[2], "READY_FOR_EXPORT")  # nobody answers: the sender tries again
            with start(listener, api, sandbox, tmp_path) as successor:
                await until(lambda: len(sandbox.state.exports) == 3)
                successor.terminate()
                assert await asyncio.to_thread(successor.wait) in {0, -signal.SIGTERM}
        database = str(tmp_path / "webhooks.db")
        assert rows(database, "SELECT count(*), count(DISTINCT record_id) FROM ledger") == [(3, 3)]


def start(listener: socket.socket, api: str, sandbox: Sandbox, folder: Path) -> subprocess.Popen[bytes]:
    """Run the service as a process, at a socket that outlives it."""
    code = f"""
import socket, uvicorn, webhook_service
server = uvicorn.Server(uvicorn.Config(webhook_service.create_app(), log_config=None))
server.run(sockets=[socket.socket(fileno={listener.fileno()})])
"""
    environment = {
        "BREX_BASE_URL": api,
        "BREX_TOKEN": sandbox.token,
        "BREX_WEBHOOK_SECRETS": sandbox.webhooks.secret,
        "PYTHONPATH": os.pathsep.join([str(EXAMPLE.parent), *sys.path]),
    }
    return subprocess.Popen(
        [sys.executable, "-c", code], pass_fds=[listener.fileno()], cwd=folder, env=os.environ | environment
    )


@pytest.mark.parametrize("secrets", [{}, {"BREX_WEBHOOK_SECRETS": " "}])
def test_without_a_secret_it_says_what_to_set(secrets: dict[str, str]) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("BREX_")}
    kept["PYTHONPATH"] = str(Path(brex_accounting.__file__).parents[1])
    ended = subprocess.run(
        [sys.executable, str(EXAMPLE)], env=kept | secrets, capture_output=True, text=True, timeout=30, check=False
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == "webhook_service: set BREX_WEBHOOK_SECRETS to the webhook's secret.\n"
