"""How fast the export store saves: one by one, and many at a time. `python benchmarks/exports.py`."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from brex_accounting.worker import ExportEntry, SQLiteExportStore

SECONDS = 3.0


def entries() -> Iterator[ExportEntry]:
    """Entries as the worker saves them; each record comes several times."""
    number = 0
    while True:
        number += 1
        record_id = f"accr_{number % 5000:012d}"
        yield ExportEntry(record_id, "booked", 1, "c" * 64, f"JE-{number}", attempts=1, changed_at=float(number))


async def measure(store: SQLiteExportStore, at_once: int) -> float:
    """Save with so many tasks, and return how many saves a second were on the disk."""
    saved, source = 0, entries()
    end = time.monotonic() + SECONDS

    async def save() -> None:
        nonlocal saved
        while time.monotonic() < end:
            await store.save([next(source)])
            saved += 1

    async with store.lock():
        await asyncio.gather(*(save() for _ in range(at_once)))
    return saved / SECONDS


async def main() -> None:
    """Print a row for each."""
    with tempfile.TemporaryDirectory() as folder:
        store = SQLiteExportStore(Path(folder) / "export.db")
        for at_once in (1, 8, 64):
            print(f"| {at_once} at a time | {await measure(store, at_once):,.0f} |")
        await store.aclose()


if __name__ == "__main__":
    asyncio.run(main())
