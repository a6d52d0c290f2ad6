"""A fleet's app, as a user would write it, for the processes that tests start and kill."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import procrastinate

from brex_accounting import AccountingRecord, BrexAccounting, OAuth2, RetryPolicy
from brex_accounting.fleet import QUEUE, export_blueprint
from brex_accounting.postgres import PostgresStores
from brex_accounting.worker import ExportWorker

CLIENT_ID, CLIENT_SECRET = "client-id", "client-secret"
SETTINGS = json.loads(os.environ["FLEET"])
LEDGER = Path(SETTINGS["ledger"])
stores = PostgresStores(SETTINGS["dsn"], pool_size=3)


async def book(record: AccountingRecord) -> str:
    """An ERP that appends a line, at once or not at all."""
    with LEDGER.open("a", encoding="utf-8") as file:  # noqa: ASYNC230 - a line takes no time
        file.write(f"{record.id}\n")
    await asyncio.sleep(SETTINGS["book_seconds"])
    return f"JE-{record.id}"


async def find(record: AccountingRecord) -> str | None:
    return f"JE-{record.id}" if record.id in LEDGER.read_text("utf-8").split() else None  # noqa: ASYNC240


@asynccontextmanager
async def open_worker(account: str) -> AsyncIterator[ExportWorker]:
    auth = OAuth2(CLIENT_ID, CLIENT_SECRET, account=account, store=stores.tokens, token_url=SETTINGS["token_url"])
    policy = RetryPolicy(initial_backoff=0.05, max_attempts=8)
    async with BrexAccounting(auth, base_url=SETTINGS["url"], retry=policy) as brex:
        exports = stores.exports(account)
        yield ExportWorker(
            brex, book, exports, find=find, concurrency=4, book_timeout=2.0, settle_after=2.0, initial_backoff=0.1
        )


async def accounts() -> AsyncIterator[str]:
    for account in ():  # the tests queue the polls
        yield account


async def main() -> None:
    connector = procrastinate.PsycopgConnector(conninfo=SETTINGS["dsn"], min_size=1, max_size=3)
    app = procrastinate.App(connector=connector)
    app.add_tasks_from(export_blueprint(open_worker, accounts, budget=10.0), namespace="brex")
    async with stores, app.open_async():
        print("ready", flush=True)  # noqa: T201 - for the test
        await app.run_worker_async(
            queues=[QUEUE], concurrency=4, fetch_job_polling_interval=0.2, update_heartbeat_interval=1.0
        )


if __name__ == "__main__":
    asyncio.run(main())
