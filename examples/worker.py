"""From Brex into an ERP: the worker, its webhooks, and an ERP behind an HTTP API. Copy it, and put your ERP's API in.

    python examples/worker.py erp                       # a stand-in for the ERP, on 127.0.0.1:8100
    export BREX_TOKEN=bxt_…  BREX_WEBHOOK_SECRETS=whsec_…
    python examples/worker.py                           # the worker, and its receiver on 127.0.0.1:8000

Kill it whenever you like: each record is in the ERP once, and Brex is told once.
"""

import asyncio
import logging
import os
import signal
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from webhook_service import webhook_route

from brex_accounting import AccountingRecord, BrexAccounting, ExportFailed, ExportSucceeded
from brex_accounting.worker import ExportEntry, ExportWorker, NotBookedError, SQLiteExportStore

ERP_URL = os.environ.get("ERP_URL", "http://127.0.0.1:8100")
REFUSED = 422
UNAVAILABLE = 503
LATE = 3600.0  # seconds that a record may wait
log = logging.getLogger("worker")


# -- what you write: how a record becomes an entry of your ERP --


class ERP:
    """A client of the ERP. Its API takes an entry under the record's id, which makes booking twice impossible."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def book(self, record: AccountingRecord) -> ExportSucceeded | ExportFailed:
        """Make the entry, or bring it up to date: the worker is told upsert=True."""
        lines = [
            {
                "account": next((v.remote_field_value_id for v in line.accounting_field_values), None),
                "side": str(line.type),
                "amount": f"{line.amount.amount:f}",  # a Decimal, to the last digit
                "currency": line.amount.currency,
            }
            for line in record.line_items
        ]
        entry = {"date": f"{record.erp_posting_date:%Y-%m-%d}", "lines": lines}
        try:
            answer = await self._client.put(f"/entries/{record.id}", json=entry)
        except httpx.ConnectError as error:
            raise NotBookedError("the ERP cannot be reached") from error  # nothing went out, so nothing is booked
        if answer.status_code == UNAVAILABLE:
            raise NotBookedError("the ERP is closed", retry_in=60.0)
        if answer.status_code == REFUSED:
            return ExportFailed(record.id, answer.json()["error"])
        answer.raise_for_status()  # whatever else it is: the worker finds out later, by booking once more
        number = answer.json()["number"]
        return ExportSucceeded(record.id, f"JE-{number}", f"{ERP_URL}/entries/{record.id}")


def tell(entry: ExportEntry) -> None:
    """Say what became of a record."""
    held = f", held: {entry.held}" if entry.held else ""
    log.info("%s is %s%s", entry.record_id, entry.state, held)


def create_app(
    connect: Callable[[], BrexAccounting] = BrexAccounting,
    database: str = "export.db",
    erp_url: str = ERP_URL,
    **options: Any,
) -> Starlette:
    """Make the service: the worker, and the endpoint that its webhooks come to. uvicorn's signals end both."""
    store = SQLiteExportStore(database)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        async with connect() as brex, httpx.AsyncClient(base_url=erp_url, trust_env=False) as client:
            worker = ExportWorker(brex, ERP(client).book, store, upsert=True, on_change=tell, **options)
            working = asyncio.create_task(worker.run())
            working.add_done_callback(_end_the_service)
            try:
                yield
            finally:
                working.remove_done_callback(_end_the_service)
                worker.stop()
                try:
                    await working
                finally:
                    await store.aclose()

    async def health(_: Request) -> Response:
        """For a monitor: 500 when a person must look, or a record waits for too long."""
        status = await store.status()
        waits = status.oldest is not None and time.time() - status.oldest.timestamp() > LATE
        return JSONResponse({"held": status.held, "ready": status.ready}, 500 if status.held or waits else 200)

    return Starlette(routes=[webhook_route(store), Route("/health", health)], lifespan=lifespan)


def _end_the_service(_: object) -> None:
    """The worker has ended by itself, such as for a consent that is over: a service without it must not live on."""
    signal.raise_signal(signal.SIGTERM)


# -- a stand-in for the ERP --


def create_erp(database: str = "erp.db") -> Starlette:
    """An ERP of a few lines: PUT /entries/{id} makes an entry, or brings the one with this id up to date."""
    ledger = sqlite3.connect(database)
    ledger.execute("CREATE TABLE IF NOT EXISTS entries (number INTEGER PRIMARY KEY, id TEXT UNIQUE, entry TEXT)")

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        with closing(ledger):
            yield

    async def put(request: Request) -> Response:
        entry = await request.json()
        if any(line["account"] == "6039" for line in entry["lines"]):
            return JSONResponse({"error": "unknown GL account 6039"}, 422)
        upsert = "INSERT INTO entries (id, entry) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET entry = excluded.entry"
        with ledger:
            ledger.execute(upsert, (request.path_params["id"], str(entry)))
        row = ledger.execute("SELECT number FROM entries WHERE id = ?", (request.path_params["id"],)).fetchone()
        return JSONResponse({"number": row[0]})

    return Starlette(routes=[Route("/entries/{id}", put, methods=["PUT"])], lifespan=lifespan)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    if sys.argv[1:] == ["erp"]:
        uvicorn.run(create_erp(), port=8100, access_log=False)
    elif not os.environ.get("BREX_WEBHOOK_SECRETS", "").split():
        sys.stderr.write("worker: set BREX_WEBHOOK_SECRETS to the webhook's secret.\n")
        sys.exit(2)
    else:
        uvicorn.run(create_app(), port=8000, access_log=False)
