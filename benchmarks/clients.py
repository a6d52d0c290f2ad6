"""What a further client of a process costs, over TLS and with one call made: CPU time and memory."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

from brex_accounting import BrexAccounting, aiohttp_transport

CERTIFICATE = Path(__file__).parents[1] / "tests" / "data" / "localhost.pem"
CLIENTS = 50
console = Console()


@contextlib.contextmanager
def server() -> Iterator[str]:
    command = [sys.executable, str(Path(__file__).with_name("server.py")), str(CERTIFICATE)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield f"https://127.0.0.1:{process.stdout.readline().strip() if process.stdout else ''}"
        finally:
            process.kill()


def resident() -> float:
    """Mebibytes of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


async def measure(url: str, transport: object) -> tuple[float, float]:
    """CPU seconds and mebibytes of a client that has made its first call. The first of the process is left out."""
    seconds = []
    async with contextlib.AsyncExitStack() as stack:

        async def add() -> None:
            brex = await stack.enter_async_context(BrexAccounting("bxt_benchmark", base_url=url, transport=transport))  # type: ignore[arg-type]
            await brex.integrations.create("ERP_A", "acct-42")

        await add()
        gc.collect()
        before = resident()
        for _ in range(CLIENTS):
            began = time.process_time()
            await add()
            seconds.append(time.process_time() - began)
        return statistics.median(seconds), (resident() - before) / CLIENTS


def main() -> None:
    os.environ["SSL_CERT_FILE"] = str(CERTIFICATE)
    table = Table(title=f"A further client of the process, over TLS, one call made; {CLIENTS} clients")
    table.add_column("")
    table.add_column("ms of CPU", justify="right")
    table.add_column("MiB", justify="right")
    with server() as url:
        for name, transport in (("brex_accounting", None), ("brex_accounting on aiohttp", aiohttp_transport)):
            seconds, mebibytes = asyncio.run(measure(url, transport))
            table.add_row(name, f"{seconds * 1e3:.1f}", f"{mebibytes:.2f}")
    console.print(table)


if __name__ == "__main__":
    main()
