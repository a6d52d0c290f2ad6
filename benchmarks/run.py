"""What a call costs in CPU time, and what the import costs: `make bench` prints the tables of benchmarks/README.md."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import httpx
from rich.console import Console
from rich.progress import track
from rich.table import Table

from brex_accounting import BrexAccounting, RateLimit
from brex_accounting_api import AuthenticatedClient
from brex_accounting_api.api.accounting_integrations import create_integration
from brex_accounting_api.models import CreateIntegrationRequest

CALLS = 1000
ROUNDS = 7
CONCURRENCY = (1, 8, 32, 100)
IMPORTS = 15
TOKEN = "bxt_benchmark"

Call = Callable[[], Awaitable[object]]
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


@contextlib.asynccontextmanager
async def bare_httpx(url: str) -> AsyncIterator[Call]:
    async with httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}) as client:

        async def call() -> object:
            response = await client.post(
                "/v3/accounting/integration",
                json={"vendor": "ERP_A", "vendor_account_id": "acct-42"},
                headers={"Idempotency-Key": str(uuid.uuid4())},
            )
            return response.json()

        yield call


@contextlib.asynccontextmanager
async def bare_generated(url: str) -> AsyncIterator[Call]:
    async with AuthenticatedClient(url, token=TOKEN) as client:

        async def call() -> object:
            body = CreateIntegrationRequest(vendor="ERP_A", vendor_account_id="acct-42")
            return await create_integration.asyncio(client=client, body=body)

        yield call


@contextlib.asynccontextmanager
async def facade(url: str) -> AsyncIterator[Call]:
    limit = RateLimit(1_000_000, per=1.0)
    async with BrexAccounting(TOKEN, base_url=url, rate_limit=limit, max_connections=100) as brex:
        yield lambda: brex.integrations.create("ERP_A", "acct-42")


CONTENDERS: dict[str, Contender] = {
    "bare httpx": bare_httpx,
    "bare generated client": bare_generated,
    "brex_accounting": facade,
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


def cpu_of_import(module: str) -> float:
    """Without httpx's own command line, which it imports where click and rich happen to be installed."""
    script = f"""
import sys, time
sys.modules["click"] = None
began = time.process_time()
import {module}
print(time.process_time() - began)
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return float(done.stdout)


def measure_imports() -> dict[str, float]:
    modules = ("httpx", "brex_accounting")
    taken: dict[str, list[float]] = {module: [] for module in modules}
    for _ in track(range(IMPORTS), "imports", console=console, transient=True):
        for module in modules:
            taken[module].append(cpu_of_import(module))
    return {module: statistics.median(times) for module, times in taken.items()}


def main() -> None:
    with server() as url:
        calls = asyncio.run(measure_calls(url))
    table = Table(title=f"CPU time of a POST, µs (ratio to bare httpx); median of {ROUNDS} x {CALLS} calls")
    table.add_column("at once")
    for name in calls:
        table.add_column(name, justify="right")
    for concurrency in CONCURRENCY:
        base = calls["bare httpx"][concurrency]
        cells = [f"{by[concurrency] * 1e6:.0f} ({by[concurrency] / base:.2f})" for by in calls.values()]
        table.add_row(str(concurrency), *cells)
    console.print(table)

    imports = measure_imports()
    table = Table(title=f"CPU time of the import, ms (ratio to httpx); median of {IMPORTS}")
    table.add_column("module")
    table.add_column("ms", justify="right")
    for module, seconds in imports.items():
        table.add_row(f"import {module}", f"{seconds * 1e3:.1f} ({seconds / imports['httpx']:.2f})")
    console.print(table)


if __name__ == "__main__":
    main()
