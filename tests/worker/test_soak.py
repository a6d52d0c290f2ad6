"""A worker over many records: flat in memory, four requests for each hundred, and hardly slower than the ERP alone.

RECORDS=100000 makes it long (make soak).
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from brex_accounting.worker import SQLiteExportStore
from brex_accounting.worker import _schema as sqlite
from tests.support.project import ROOT

RECORDS = int(os.environ.get("RECORDS", "400"))
SOAK = "RECORDS" in os.environ

WORKER = """
import asyncio, json, resource, sys, time
from brex_accounting import BrexAccounting
from brex_accounting.worker import ExportWorker, SQLiteExportStore

url, token, path, concurrency, seconds = sys.argv[1:]
requests, sizes, booked, began = 0, [], 0, time.monotonic()

def size():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

def count(_):
    global requests
    requests += 1

async def book(record):
    global booked
    await asyncio.sleep(float(seconds))
    booked += 1
    if booked % 1000 == 0:
        sizes.append(size())
    return f"JE-{booked}"

async def main():
    async with BrexAccounting(token, base_url=url, on_attempt=count, rate_limit=None) as brex:
        store = SQLiteExportStore(path)
        worker = ExportWorker(brex, book, store, upsert=True, concurrency=int(concurrency))
        left = await worker.drain(budget=3600)
        status = await store.status()
        await store.aclose()
    print(json.dumps({"left": left, "exported": status.exported, "requests": requests, "sizes": sizes,
                      "seconds": time.monotonic() - began}))

asyncio.run(main())
"""


async def work(folder: Path, *, concurrency: int, seconds: float) -> dict[str, float]:
    """Run a sandbox and a worker, each in a process of its own."""
    command = [sys.executable, "-c", "from brex_accounting._commands.app import main; main()"]
    sandbox = await asyncio.create_subprocess_exec(
        *command, "sandbox", "--port", "0", "--records", str(RECORDS), "--rate-limit", "0",
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        said = ""
        assert sandbox.stdout is not None
        while (found := re.search(r"BREX_BASE_URL=(\S+)\s.*BREX_TOKEN=(\S+)\n", said, re.DOTALL)) is None:
            line = await sandbox.stdout.readline()
            assert line, said
            said += line.decode()
        worker = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WORKER, found[1], found[2], str(folder / "export.db"), str(concurrency), str(seconds),
            stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, _ = await worker.communicate()
        assert worker.returncode == 0
    finally:
        sandbox.kill()
        await sandbox.wait()
    result: dict[str, float] = json.loads(out)
    return result


async def test_many_records(tmp_path: Path) -> None:
    result = await work(tmp_path, concurrency=16, seconds=0.05)
    assert (result["left"], result["exported"]) == (None, RECORDS)
    assert result["requests"] <= RECORDS / 100 * 4 + 10
    alone = RECORDS * 0.05 / 16
    sys.stdout.write(f"{RECORDS} records in {result['seconds']:.1f} s; the ERP alone takes {alone:.1f} s\n")
    sizes: list[float] = result["sizes"]  # type: ignore[assignment]
    if SOAK:
        tenth = len(sizes) // 10
        sys.stdout.write(f"MiB after a tenth: {sizes[tenth]:.0f}, at the end: {sizes[-1]:.0f}\n")
        assert sizes[-1] < sizes[tenth] + 15


@pytest.mark.skipif(not SOAK, reason="takes a minute; RECORDS=100000 runs it")
async def test_a_million_finished_rows(tmp_path: Path) -> None:
    path = tmp_path / "export.db"
    store = SQLiteExportStore(path)
    await store.note(["accr_open"])
    await store.aclose()
    with closing(sqlite3.connect(path)) as database, database:
        row = ("exported", 1, "c" * 64, "JE-1", None, None, None, 0, 0.0, 1e9, 1, 1, 1e9)
        database.executemany(sqlite.SAVE, ((f"accr_{number:012}", *row) for number in range(1_000_000)))
    now = time.time()
    for name, ask, most in (
        ("due", lambda: store.due(now, 100, latest=now + 3600), 0.005),
        ("next_due", lambda: store.next_due(now), 0.005),
        ("held", store.held, 0.005),
        ("status", store.status, 2.0),
    ):
        await ask()
        began = time.perf_counter()
        await ask()
        seconds = time.perf_counter() - began
        sys.stdout.write(f"{name}: {seconds * 1000:.2f} ms over a million finished rows\n")
        assert seconds < 10 * most
    await store.aclose()
