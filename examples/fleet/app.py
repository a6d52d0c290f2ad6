"""Exports of many customers on many machines: PostgreSQL for tokens and exports, procrastinate for the work.

    export DATABASE_URL=postgresql://…  BREX_CLIENT_ID=…  BREX_CLIENT_SECRET=…  BREX_WEBHOOK_SECRETS=whsec_…
    python app.py tables                                              # once, and after each upgrade
    python app.py onboard customer-7 company_abc < refresh-token      # for each customer
    python app.py work                                                # on any number of machines
    uvicorn app:web --port 8000                                       # the receiver of webhooks

Copy it, and replace `book` and `find` by your ERP's API.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import procrastinate
import psycopg
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from brex_accounting import (
    AccountingRecord,
    BrexAccounting,
    OAuth2,
    RecordsReadyForExport,
    WebhookVerificationError,
    save_grant,
    verify_webhook,
)
from brex_accounting.fleet import QUEUE, export_blueprint, notice
from brex_accounting.postgres import PostgresStores
from brex_accounting.worker import ExportWorker

DSN = os.environ.get("DATABASE_URL", "postgresql://localhost/exports")
CLIENT_ID = os.environ.get("BREX_CLIENT_ID", "client-id")
CLIENT_SECRET = os.environ.get("BREX_CLIENT_SECRET", "client-secret")
WEBHOOK_SECRETS = os.environ.get("BREX_WEBHOOK_SECRETS", "").split()
CUSTOMERS = "CREATE TABLE IF NOT EXISTS customers (account text PRIMARY KEY, company_id text UNIQUE)"


async def book(record: AccountingRecord) -> str:
    """Book a record in your ERP; return the ERP's reference."""
    raise NotImplementedError


async def find(record: AccountingRecord) -> str | None:
    """Return the reference under which your ERP has record.id; None: it has no such entry."""
    raise NotImplementedError


stores = PostgresStores(DSN)  # entered once in each process


@asynccontextmanager
async def open_worker(account: str) -> AsyncIterator[ExportWorker]:
    auth = OAuth2(CLIENT_ID, CLIENT_SECRET, account=account, store=stores.tokens)
    async with BrexAccounting(auth) as brex:
        yield ExportWorker(brex, book, stores.exports(account), find=find)


async def accounts() -> AsyncIterator[str]:
    async with await psycopg.AsyncConnection.connect(DSN) as connection:
        async for (account,) in connection.cursor().stream("SELECT account FROM customers ORDER BY account"):
            yield account


app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=DSN))
app.add_tasks_from(export_blueprint(open_worker, accounts), namespace="brex")


async def work() -> None:
    """Work until SIGTERM; then bookings under way have the export worker's stop_grace, 20 seconds."""
    async with stores, app.open_async():
        await app.run_worker_async(
            queues=[QUEUE], concurrency=4, shutdown_graceful_timeout=1.0, delete_jobs="successful"
        )


# -- webhooks --


async def webhook(request: Request) -> Response:
    try:
        event = verify_webhook(await request.body(), request.headers, WEBHOOK_SECRETS)
    except WebhookVerificationError:
        return Response(status_code=400)
    if isinstance(event, RecordsReadyForExport):
        async with await psycopg.AsyncConnection.connect(DSN) as connection:
            query = "SELECT account FROM customers WHERE company_id = %s"
            row = await (await connection.execute(query, [event.company_id])).fetchone()
        if row is not None:  # noted before it is answered: what fails here is sent again
            await notice(app, stores, row[0], event.record_ids)
    return Response(status_code=204)


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    async with stores, app.open_async():
        yield


web = Starlette(routes=[Route("/webhooks/brex", webhook, methods=["POST"])], lifespan=lifespan)


# -- set-up --


async def make_tables() -> None:
    async with stores, app.open_async():
        await stores.create_tables()
        if not await app.check_connection_async():  # procrastinate's own tables are not there yet
            await app.schema_manager.apply_schema_async()
    async with await psycopg.AsyncConnection.connect(DSN, autocommit=True) as connection:
        await connection.execute(CUSTOMERS)


async def onboard(account: str, company_id: str, refresh_token: str) -> None:
    """Save a customer's consent, and which company its webhooks name."""
    async with stores:
        await save_grant(stores.tokens, client_id=CLIENT_ID, account=account, refresh_token=refresh_token)
    async with await psycopg.AsyncConnection.connect(DSN, autocommit=True) as connection:
        await connection.execute(
            "INSERT INTO customers VALUES (%s, %s) "
            "ON CONFLICT (account) DO UPDATE SET company_id = excluded.company_id",
            [account, company_id],
        )


def main(arguments: list[str]) -> None:
    match arguments:
        case ["tables"]:
            asyncio.run(make_tables())
        case ["onboard", account, company_id]:
            asyncio.run(onboard(account, company_id, sys.stdin.readline().strip()))
        case ["work"]:
            asyncio.run(work())
        case _:
            sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
