"""examples/fleet/app.py: from a customer's consent and a webhook to records that are booked and reported."""

from __future__ import annotations

import ast
import asyncio
import importlib.util
import io
import os
import re
import shlex
import socket
import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import psycopg
import pytest
import yaml
from psycopg.conninfo import conninfo_to_dict

from brex_accounting import OAuth2, save_grant
from brex_accounting.sandbox import AuthorizationOptions, Sandbox
from tests.support.examples import EXAMPLES
from tests.support.postgres import new_database
from tests.test_webhook_service import serve


def load(token_url: str) -> ModuleType:
    """Import it afresh, as each process does."""
    spec = importlib.util.spec_from_file_location("fleet_example", EXAMPLES / "fleet" / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.OAuth2 = partial(OAuth2, token_url=token_url)
    module.save_grant = partial(save_grant, token_url=token_url)
    return module  # type: ignore[no-any-return]


async def test_from_a_consent_and_a_webhook_to_the_books(monkeypatch: pytest.MonkeyPatch) -> None:
    options = AuthorizationOptions(client_id="client-id", client_secret="client-secret")
    async with Sandbox(authorization=options) as sandbox, sandbox.serve() as url:
        customer = sandbox.add_account("customer-7", records=3)
        token_url = sandbox.token_url.replace(sandbox.url, url)
        for name, value in {
            "DATABASE_URL": new_database(),
            "BREX_BASE_URL": url,
            "BREX_CLIENT_ID": "client-id",
            "BREX_CLIENT_SECRET": "client-secret",
            "BREX_WEBHOOK_SECRETS": sandbox.webhooks.secret,
        }.items():
            monkeypatch.setenv(name, value)
        for _ in range(2):  # a second time changes nothing
            await asyncio.to_thread(load(token_url).main, ["tables"])
        monkeypatch.setattr(sys, "stdin", io.StringIO(sandbox.authorization.new_grant("customer-7")))
        await asyncio.to_thread(load(token_url).main, ["onboard", "customer-7", "company_customer-7"])

        example: Any = load(token_url)
        booked = list[str]()

        async def book(record: Any) -> str:
            booked.append(record.id)
            return f"JE-{record.id}"

        async def find(record: Any) -> str | None:
            return f"JE-{record.id}" if record.id in booked else None

        example.book, example.find = book, find
        assert [account async for account in example.accounts()] == ["customer-7"]
        async with serve(example.web) as receiver:
            sandbox.webhooks.register(f"{receiver}webhooks/brex")
            sandbox.webhooks.announce(list(customer.state.records), company_id="company_customer-7")
            sandbox.webhooks.announce(["accr_1"], company_id="company_of_a_stranger")
            await sandbox.webhooks.settled()
            assert {delivery.outcome for delivery in sandbox.webhooks.deliveries} == {"delivered"}
            assert (await example.stores.exports("customer-7").status()).ready == 3
            await example.app.run_worker_async(wait=False, install_signal_handlers=False, listen_notify=False)
            assert (await example.stores.exports("customer-7").status()).exported == 3
        assert sorted(booked) == sorted(customer.state.records)
        assert len(customer.state.exports) == 3


def test_anything_else_shows_how_to_use_it() -> None:
    with pytest.raises(SystemExit, match=r"python app\.py work"):
        load("https://accounts.example").main(["walk"])


# -- compose.yaml --

COMPOSE: dict[str, Any] = yaml.safe_load((EXAMPLES / "fleet" / "compose.yaml").read_text("utf-8"))
APP = (EXAMPLES / "fleet" / "app.py").read_text("utf-8")
INSTALLED = {"brex-accounting[fleet]": {"brex_accounting", "procrastinate", "psycopg"}, "starlette": {"starlette"}}


def command_of(service: str) -> tuple[list[str], str]:
    """What a container installs, and what it then becomes."""
    shell, option, script = shlex.split(COMPOSE["services"][service]["command"])
    assert (shell, option) == ("sh", "-c")
    install, command = script.split("&& exec ")
    assert install.startswith("pip install --quiet ")
    return shlex.split(install)[3:], command


def test_the_containers_have_what_the_application_reads_and_imports() -> None:
    postgres = COMPOSE["services"]["postgres"]
    for name in ("tables", "worker", "receiver"):
        service = COMPOSE["services"][name]
        read = set(re.findall(r'os\.environ\.get\("(\w+)"', APP))
        assert read == set(service["environment"]) - {"PGPASSWORD"}
        target = conninfo_to_dict(service["environment"]["DATABASE_URL"])
        assert target == {"user": "postgres", "host": "postgres", "dbname": postgres["environment"]["POSTGRES_DB"]}
        assert service["environment"]["PGPASSWORD"] == postgres["environment"]["POSTGRES_PASSWORD"]
        installed = set().union(*(INSTALLED.get(package, set()) for package in command_of(name)[0]))
        imported = {
            module.split(".")[0]
            for node in ast.walk(ast.parse(APP))
            for module in ([node.module or ""] if isinstance(node, ast.ImportFrom) else
                           [each.name for each in node.names] if isinstance(node, ast.Import) else [])
        }  # fmt: skip
        assert imported - set(sys.stdlib_module_names) <= installed
        assert "psycopg[binary]" in command_of(name)[0]
    assert "uvicorn" in command_of("receiver")[0]
    assert (
        int(COMPOSE["services"]["worker"]["stop_grace_period"].removesuffix("s")) > 20 + 1
    )  # the worker's, and its queue's


@pytest.mark.timeout(120)
async def test_the_commands_of_the_containers_run_and_end_when_they_are_told_to() -> None:
    """Without containers: in this environment, and on a PostgreSQL that has nothing yet."""
    environment = os.environ | {
        "DATABASE_URL": new_database(),
        "PGPASSWORD": "not needed here",
        "BREX_CLIENT_ID": "client-id",
        "BREX_CLIENT_SECRET": "client-secret",
        "BREX_WEBHOOK_SECRETS": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }

    async def start(service: str) -> asyncio.subprocess.Process:
        command = command_of(service)[1].replace("--host 0.0.0.0 --port 8000", f"--port {port}")
        return await asyncio.create_subprocess_exec(
            "sh", "-c", f"exec {command}", cwd=EXAMPLES / "fleet", env=environment, stderr=subprocess.PIPE
        )

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for _ in range(2):  # again with each `docker compose up`
        tables = await start("tables")
        assert await tables.wait() == 0, (await tables.communicate())[1].decode()
    worker, receiver = await start("worker"), await start("receiver")
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            status = 0
            while not status:
                assert receiver.returncode is None, (await receiver.communicate())[1].decode()
                with suppress(httpx.TransportError):
                    status = (await client.post("/webhooks/brex", content=b"{}")).status_code
                await asyncio.sleep(0.05)
            assert status == 400  # nobody signed it
        with psycopg.connect(environment["DATABASE_URL"], autocommit=True) as connection:
            while connection.execute("SELECT count(*) FROM procrastinate_workers").fetchone() != (1,):
                assert worker.returncode is None, (await worker.communicate())[1].decode()
                await asyncio.sleep(0.05)
        for process in (worker, receiver):
            process.terminate()
        errors = [(await process.communicate())[1].decode() for process in (worker, receiver)]
        assert worker.returncode == 0, errors[0]
        assert "Application shutdown complete" in errors[1]
    finally:
        for process in (worker, receiver):
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
