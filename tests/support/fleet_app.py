"""A fleet's app, as a user would write it, for the processes that tests start and kill."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import procrastinate

from brex_accounting import AccountingRecord, BrexAccounting, RetryPolicy
from brex_accounting.fleet import export_blueprint
from brex_accounting.postgres import PostgresStores
from brex_accounting.worker import ExportWorker

URL, DSN = os.environ.get("FLEET_URL", ""), os.environ.get("FLEET_DSN", "")
TOKENS: dict[str, str] = json.loads(os.environ.get("FLEET_TOKENS", "{}"))
LEDGER = Path(os.environ.get("FLEET_LEDGER", os.devnull))
stores = PostgresStores(DSN or "postgresql://")


async def book(record: AccountingRecord) -> str:
    """An ERP that appends a line, at once or not at all."""
    with LEDGER.open("a", encoding="utf-8") as file:  # noqa: ASYNC230 - a line takes no time
        file.write(f"{record.id}\n")
    await asyncio.sleep(0.01)
    return f"JE-{record.id}"


async def find(record: AccountingRecord) -> str | None:
    return f"JE-{record.id}" if record.id in LEDGER.read_text("utf-8").split() else None  # noqa: ASYNC240


@asynccontextmanager
async def open_worker(account: str) -> AsyncIterator[ExportWorker]:
    policy = RetryPolicy(initial_backoff=0.05, max_attempts=8)
    async with BrexAccounting(TOKENS[account], base_url=URL, retry=policy) as brex:
        yield ExportWorker(
            brex, book, stores.exports(account), find=find, book_timeout=5.0, settle_after=5.0, initial_backoff=0.1
        )


async def accounts() -> AsyncIterator[str]:
    for account in TOKENS:
        yield account


def make_app(dsn: str) -> procrastinate.App:
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=dsn, max_size=4))
    app.add_tasks_from(export_blueprint(open_worker, accounts, poll_every=1.0, budget=10.0), namespace="brex")
    return app


async def main() -> None:
    app = make_app(DSN)
    async with stores, app.open_async():
        print("ready", flush=True)  # noqa: T201 - for the test
        await app.run_worker_async(
            concurrency=4, fetch_job_polling_interval=0.2, update_heartbeat_interval=1.0, stalled_worker_timeout=3.0
        )


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
