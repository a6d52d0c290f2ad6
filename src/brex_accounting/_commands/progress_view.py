"""How far a worker is: a live view on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table

from brex_accounting.worker import ExportEntry, ExportStatus, ExportStoreError, SQLiteExportStore

from .output import write, write_json

LIVE_EVERY = 0.5
LINE_EVERY = 10.0
MINUTE = 60.0
COUNTS = ("ready", "in_doubt", "booked", "refused", "held", "exported", "returned")


class Rate:
    """Counts what was exported or returned within the last minute."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._moments = deque[float]()

    def count(self, entry: ExportEntry) -> None:
        if entry.state in {"exported", "returned"} and entry.held is None:
            self._moments.append(time.monotonic())

    def a_minute(self) -> int:
        now = time.monotonic()
        while self._moments and self._moments[0] < now - MINUTE:
            self._moments.popleft()
        elapsed = min(MINUTE, now - self._began)
        return round(len(self._moments) * MINUTE / max(elapsed, 1.0))


def as_fields(status: ExportStatus) -> dict[str, Any]:
    """Return the status with its times as text."""
    return {name: value if not isinstance(value, datetime) else utc(value) for name, value in asdict(status).items()}


def utc(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def age(status: ExportStatus) -> float | None:
    """Return for how many seconds the longest open record has waited."""
    return None if status.oldest is None else max((datetime.now(UTC) - status.oldest).total_seconds(), 0.0)


def duration(seconds: float) -> str:
    """Write seconds for people."""
    for unit, size in (("days", 86_400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def line(status: ExportStatus, rate: int) -> str:
    counts = ", ".join(f"{getattr(status, name)} {name.replace('_', ' ')}" for name in COUNTS)
    waited = age(status)
    oldest = "" if waited is None else f"; the oldest has waited for {duration(waited)}"
    return f"{counts}{oldest}; {rate:,} records a minute"


def table(status: ExportStatus, rate: int) -> Table:
    shown = Table(box=None, pad_edge=False)
    for name in (*COUNTS, "oldest", "a minute"):
        shown.add_column(name.replace("_", " "), justify="right")
    waited = age(status)
    numbers = [f"{getattr(status, name):,}" for name in COUNTS]
    if status.held:
        numbers[COUNTS.index("held")] = f"[bold red]{status.held:,}[/bold red]"
    shown.add_row(*numbers, "" if waited is None else duration(waited), f"{rate:,}")
    return shown


@asynccontextmanager
async def showing(store: SQLiteExportStore, rate: Rate, *, json: bool) -> AsyncIterator[None]:
    """Show how far the work is while it lasts, and once at its end."""

    def tell(status: ExportStatus) -> None:
        if json:
            write_json(as_fields(status) | {"records_a_minute": rate.a_minute()})
        else:
            write(line(status, rate.a_minute()))
        sys.stdout.flush()

    live = None if json or not sys.stdout.isatty() else Live(console=Console(), auto_refresh=False, transient=True)

    async def show() -> None:
        while True:
            await asyncio.sleep(LINE_EVERY if live is None else LIVE_EVERY)
            with contextlib.suppress(ExportStoreError):  # the worker says so
                status = await store.status()
                if live is None:
                    tell(status)
                else:
                    live.update(table(status, rate.a_minute()), refresh=True)

    with live or contextlib.nullcontext():
        task = asyncio.ensure_future(show())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
    with contextlib.suppress(ExportStoreError):
        tell(await store.status())
