"""The second part of the tour: the export worker, killed twice."""

from __future__ import annotations

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from brex_accounting.client import BrexAccounting
from brex_accounting.worker import SQLiteExportStore

from .tour import DemoError, expect, failed_records, ready_records, show, step
from .tour_erp import LEDGER, read_ledger

RECORDS = 500
REFUSED = 10
KILLS = (0.3, 0.6)
"""After which parts of the records the worker is killed."""
SETTLE_AFTER = "1.5"
WITHIN = 100.0
COMMAND = ("worker", "run", f"{__package__}.tour_erp:book", "--find", f"{__package__}.tour_erp:find")
OPTIONS = ("--concurrency", "16", "--book-timeout", "1", "--settle-after", SETTLE_AFTER)


async def worker(url: str, token: str, folder: Path) -> None:
    """Export 500 records with a worker that is killed twice."""
    ledger, database = folder / "erp.jsonl", folder / "export.db"
    ledger.touch()
    options = [*COMMAND, "--store", str(database), *OPTIONS]
    environment = os.environ | {"BREX_BASE_URL": url, "BREX_TOKEN": token, LEDGER: str(ledger)}
    title = "Leave it to the export worker, with another 500 records, and kill it twice"
    step(title, "brex-accounting worker run erp:book --find erp:find --store export.db")
    async with asyncio.timeout(WITHIN):
        for part in KILLS:
            await _kill(options, environment, ledger, round(part * RECORDS))
        await _finish([*options, "--once"], environment)

    step("Count", "brex-accounting worker status --store export.db")
    store = SQLiteExportStore(database)
    status = await store.status()
    returned = [entry for record in await _returned(url, token) if (entry := await store.get(record)) is not None]
    await store.aclose()
    entries = read_ledger(ledger)
    references = Counter(len(each) for each in entries.values())
    show(f"The ERP has {sum(map(len, entries.values()))} entries; the worker: {status.exported} exported, "
         f"{status.returned} returned, {status.held} held")  # fmt: skip
    expect("each record is in the ERP once, and none is missing", kept=references == {1: RECORDS - REFUSED})
    expect(
        "Brex was told of each: 490 are EXPORTED, and 10 went back with the reason",
        kept=(status.exported, status.returned, status.held) == (RECORDS - REFUSED, REFUSED, 0),
    )
    show(f"{returned[0].record_id} and {len(returned) - 1} more: {returned[0].message}")
    show("What a person does next: correct the account at Brex, and make them ready again. The worker books them then.")


async def _kill(options: Sequence[str], environment: dict[str, str], ledger: Path, entries: int) -> None:
    """Start a worker, and kill it with SIGKILL once the ledger is that long."""
    process = await _start(options, environment)
    try:
        while _length(ledger) < entries:  # noqa: ASYNC110 - it is another process that writes
            await asyncio.sleep(0.01)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
    store = SQLiteExportStore(Path(options[options.index("--store") + 1]))
    status = await store.status()
    await store.aclose()
    show(f"kill -9: {_length(ledger)} entries in the ERP, {status.in_doubt} bookings in doubt, {status.ready} to go")


async def _finish(options: Sequence[str], environment: dict[str, str]) -> None:
    """Let another worker do the rest; where it must wait to settle a doubt, once more."""
    show("started again: what is in doubt is looked up in the ERP, and booked only if it is not there")
    code = 1
    while code == 1:
        code = await (await _start(options, environment)).wait()
        await asyncio.sleep(float(SETTLE_AFTER) / 2 if code else 0.0)
    if code:
        raise DemoError("the worker does the rest")


def _length(ledger: Path) -> int:
    return len(ledger.read_text("utf-8").splitlines())


async def _start(options: Sequence[str], environment: dict[str, str]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        str(Path(sys.executable).with_name("brex-accounting")),
        *options,
        env=environment,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )


async def _returned(url: str, token: str) -> list[str]:
    async with BrexAccounting(token, base_url=url) as brex:
        if await ready_records(brex):
            raise DemoError("nothing is left to export")
        return [record.id for record in await failed_records(brex)]
