"""What a call costs in CPU time, and what the import costs: `make bench` prints the tables of benchmarks/README.md."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import datetime
from pathlib import Path

import aiohttp
import httpx
import openai
from rich.console import Console
from rich.progress import track
from rich.table import Table

from brex_accounting import BrexAccounting, RateLimit, aiohttp_transport
from brex_accounting_api import AuthenticatedClient
from brex_accounting_api.api.accounting_integrations import create_integration
from brex_accounting_api.models import CreateIntegrationRequest

CALLS = 1000
ROUNDS = 7
CONCURRENCY = (1, 8, 32, 100)
IMPORTS = 15
TOKEN = "bxt_benchmark"

Call = Callable[[], Awaitable[object]]
Transport = Callable[[], httpx.AsyncBaseTransport] | None
Contender = Callable[[str], contextlib.AbstractAsyncContextManager[Call]]
console = Console()


@contextlib.contextmanager
def server() -> Iterator[str]:
    command = [sys.executable, str(Path(__file__).with_name("server.py"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip() if process.stdout else ''}"
        finally:
            process.kill()


def bare_httpx(transport: Transport = None) -> Contender:
    @contextlib.asynccontextmanager
    async def contender(url: str) -> AsyncIterator[Call]:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
        async with httpx.AsyncClient(
            base_url=url, headers=headers, limits=limits, transport=transport and transport()
        ) as client:

            async def call() -> object:
                response = await client.post(
                    "/v3/accounting/integration",
                    json={"vendor": "ERP_A", "vendor_account_id": "acct-42"},
                    headers={"Idempotency-Key": str(uuid.uuid4())},
                )
                return response.json()

            yield call

    return contender


@contextlib.asynccontextmanager
async def bare_aiohttp(url: str) -> AsyncIterator[Call]:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with aiohttp.ClientSession(url, headers=headers, connector=aiohttp.TCPConnector(limit=100)) as session:

        async def call() -> object:
            async with session.post(
                "/v3/accounting/integration",
                json={"vendor": "ERP_A", "vendor_account_id": "acct-42"},
                headers={"Idempotency-Key": str(uuid.uuid4())},
            ) as response:
                return await response.json()

        yield call


@contextlib.asynccontextmanager
async def bare_generated(url: str) -> AsyncIterator[Call]:
    limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
    async with AuthenticatedClient(url, token=TOKEN, httpx_args={"limits": limits}) as client:

        async def call() -> object:
            body = CreateIntegrationRequest(vendor="ERP_A", vendor_account_id="acct-42")
            return await create_integration.asyncio(client=client, body=body)

        yield call


def facade(transport: Transport = None) -> Contender:
    @contextlib.asynccontextmanager
    async def contender(url: str) -> AsyncIterator[Call]:
        limit = RateLimit(1_000_000, per=1.0)
        async with BrexAccounting(
            TOKEN, base_url=url, rate_limit=limit, max_connections=100, transport=transport
        ) as brex:
            yield lambda: brex.integrations.create("ERP_A", "acct-42")

    return contender


class Integration(openai.BaseModel):
    integration_id: str
    vendor: str
    vendor_account_id: str
    status: str
    created_at: datetime


def stainless(transport: Transport = None) -> Contender:
    """The client of the OpenAI SDK, which Stainless generates, doing the same POST."""

    @contextlib.asynccontextmanager
    async def contender(url: str) -> AsyncIterator[Call]:
        limits = httpx.Limits(max_connections=100, max_keepalive_connections=100)
        http = httpx.AsyncClient(limits=limits, transport=transport and transport())
        async with openai.AsyncOpenAI(api_key=TOKEN, base_url=url, http_client=http) as client:
            yield lambda: client.post(
                "/v3/accounting/integration",
                cast_to=Integration,
                body={"vendor": "ERP_A", "vendor_account_id": "acct-42"},
                options={"idempotency_key": str(uuid.uuid4())},
            )

    return contender


def on_aiohttp() -> httpx.AsyncBaseTransport:
    return aiohttp_transport(max_connections=100)


BARE, BARE_AIOHTTP = "bare httpx", "bare aiohttp"
CONTENDERS: dict[str, Contender] = {
    BARE: bare_httpx(),
    "generated client": bare_generated,
    "brex_accounting": facade(),
    "openai": stainless(),
    BARE_AIOHTTP: bare_aiohttp,
    "bare httpx on aiohttp": bare_httpx(on_aiohttp),
    "brex_accounting on aiohttp": facade(on_aiohttp),
    "openai on aiohttp": stainless(on_aiohttp),
}


async def cpu_of_calls(call: Call, concurrency: int) -> float:
    """CPU seconds of this process for one call."""
    share = CALLS // concurrency

    async def worker() -> None:
        for _ in range(share):
            await call()

    gc.collect()
    began = time.process_time()
    async with asyncio.TaskGroup() as group:
        for _ in range(concurrency):
            group.create_task(worker())
    return (time.process_time() - began) / (share * concurrency)


async def measure_calls(url: str) -> dict[str, dict[int, float]]:
    """The median of rounds in which the contenders take turns, so that a slow moment hits all of them alike."""
    taken: dict[str, dict[int, list[float]]] = {name: {c: [] for c in CONCURRENCY} for name in CONTENDERS}
    async with contextlib.AsyncExitStack() as stack:
        calls = {name: await stack.enter_async_context(make(url)) for name, make in CONTENDERS.items()}
        for call in calls.values():
            await cpu_of_calls(call, max(CONCURRENCY))
        for _ in track(range(ROUNDS), "calls", console=console, transient=True):
            for concurrency in CONCURRENCY:
                for name, call in calls.items():
                    taken[name][concurrency].append(await cpu_of_calls(call, concurrency))
    return {name: {c: statistics.median(t) for c, t in by.items()} for name, by in taken.items()}


STATEMENTS = (
    "import httpx",
    "import brex_accounting",
    "from brex_accounting import BrexAccounting",
    'from brex_accounting import BrexAccounting; BrexAccounting("bxt_benchmark")',
)


def cpu_of_import(statement: str) -> float:
    """From compiled modules, and without httpx's command line, which it imports if click happens to be there."""
    script = f"""
import sys, time
sys.modules["click"] = None
began = time.process_time()
{statement}
print(time.process_time() - began)
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True, env=environment)
    return float(done.stdout)


def measure_imports() -> dict[str, float]:
    taken: dict[str, list[float]] = {statement: [] for statement in STATEMENTS}
    for _ in track(range(IMPORTS), "imports", console=console, transient=True):
        for statement in STATEMENTS:
            taken[statement].append(cpu_of_import(statement))
    return {statement: statistics.median(times) for statement, times in taken.items()}


def main() -> None:
    with server() as url:
        calls = asyncio.run(measure_calls(url))
    table = Table(title=f"CPU time of a POST, µs (ratio to bare httpx or bare aiohttp); median of {ROUNDS} x {CALLS}")
    table.add_column("")
    for concurrency in CONCURRENCY:
        table.add_column(f"{concurrency} at once", justify="right")
    for name, taken in calls.items():
        base = calls[BARE_AIOHTTP if name.endswith("aiohttp") else BARE]
        table.add_row(name, *(f"{taken[c] * 1e6:.0f} ({taken[c] / base[c]:.2f})" for c in CONCURRENCY))
    console.print(table)

    imports = measure_imports()
    table = Table(title=f"CPU time of the import, ms (ratio to httpx); median of {IMPORTS}")
    table.add_column("statement")
    table.add_column("ms", justify="right")
    for statement, seconds in imports.items():
        table.add_row(statement, f"{seconds * 1e3:.1f} ({seconds / imports[STATEMENTS[0]]:.2f})")
    console.print(table)


if __name__ == "__main__":
    main()
