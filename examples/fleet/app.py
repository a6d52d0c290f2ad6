"""Exports of many customers on many machines: PostgreSQL for tokens and exports, procrastinate for the work.

    export DATABASE_URL=postgresql://…  BREX_CLIENT_ID=…  BREX_CLIENT_SECRET=…  BREX_WEBHOOK_SECRETS=whsec_…
    python app.py tables                                                    # once, and after each upgrade
    python app.py onboard customer-7 company_abc < refresh-token            # for each customer
    procrastinate --app=app.app worker --queues=brex_exports --concurrency=4 --shutdown-graceful-timeout=30
    uvicorn app:web --port 8000                                             # the receiver of webhooks

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
from brex_accounting.fleet import export_blueprint, notice
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


# One for each process, opened by whoever runs first in it.
_stores: PostgresStores | None = None


async def stores() -> PostgresStores:
    global _stores  # noqa: PLW0603 - the process's own
    if _stores is None:
        opened = PostgresStores(DSN)
        await opened.__aenter__()
        _stores = opened
    return _stores


@asynccontextmanager
async def open_worker(account: str) -> AsyncIterator[ExportWorker]:
    database = await stores()
    auth = OAuth2(CLIENT_ID, CLIENT_SECRET, account=account, store=database.tokens)
    async with BrexAccounting(auth) as brex:
        yield ExportWorker(brex, book, database.exports(account), find=find)


async def accounts() -> AsyncIterator[str]:
    async with await psycopg.AsyncConnection.connect(DSN) as connection:
        async for (account,) in connection.cursor().stream("SELECT account FROM customers ORDER BY account"):
            yield account


app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=DSN))
app.add_tasks_from(export_blueprint(open_worker, accounts), namespace="brex")


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
            await notice(app, await stores(), row[0], event.record_ids)
    return Response(status_code=204)


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    async with app.open_async():
        yield


web = Starlette(routes=[Route("/webhooks/brex", webhook, methods=["POST"])], lifespan=lifespan)


# -- set-up --


async def make_tables() -> None:
    await (await stores()).create_tables()
    async with app.open_async():
        if not await app.check_connection_async():  # procrastinate's own tables are not there yet
            await app.schema_manager.apply_schema_async()
    async with await psycopg.AsyncConnection.connect(DSN, autocommit=True) as connection:
        await connection.execute(CUSTOMERS)


async def onboard(account: str, company_id: str, refresh_token: str) -> None:
    """Save a customer's consent, and which company its webhooks name."""
    await save_grant((await stores()).tokens, client_id=CLIENT_ID, account=account, refresh_token=refresh_token)
    async with await psycopg.AsyncConnection.connect(DSN, autocommit=True) as connection:
        await connection.execute(
            "INSERT INTO customers VALUES (%s, %s) "
            "ON CONFLICT (account) DO UPDATE SET company_id = excluded.company_id",
            [account, company_id],
        )


async def main(arguments: list[str]) -> None:
    match arguments:
        case ["tables"]:
            await make_tables()
        case ["onboard", account, company_id]:
            await onboard(account, company_id, sys.stdin.readline().strip())
        case _:
            sys.exit(__doc__)
    if _stores is not None:
        await _stores.__aexit__(None, None, None)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
