"""A service that takes Brex's webhooks and exports the records that became ready. Copy it, and put your ERP for `book`.

    export BREX_TOKEN=bxt_…  BREX_WEBHOOK_SECRETS=whsec_…    # during a rotation the new and the old one, with a space
    python examples/webhook_service.py                       # listens on 127.0.0.1:8000

An event is written to SQLite before it is answered, and is done once its records are booked and reported: a crash loses
no event that Brex takes for delivered, and one that comes again is known, after a restart too. What never came, since
the service was down for too long, is found by polling, at the start and each hour: cards and reimbursements however old
they are, bills as far as they changed in the last 30 days (BILLS_LOOK_BACK). One process, for one Brex account.
"""

import asyncio
import json
import logging
import os
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, closing, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from brex_accounting import (
    AccountingRecord,
    BrexAccounting,
    ExportFailed,
    ExportResult,
    ExportSucceeded,
    InvalidRecord,
    RecordsReadyForExport,
    WebhookVerificationError,
    verify_webhook,
)

POLL_EVERY = 3600.0  # seconds; what Brex suggests
TRY_AGAIN_AFTER = 60.0
BILLS_LOOK_BACK = timedelta(days=30)  # bills cannot be asked for by their review status, only by when they changed
REMEMBER = 30 * 86_400  # seconds in which an event that comes again is known
SCHEMA = """
CREATE TABLE IF NOT EXISTS events (webhook_id TEXT PRIMARY KEY, record_ids TEXT, done_at REAL);
CREATE TABLE IF NOT EXISTS ledger (entry INTEGER PRIMARY KEY, record_id TEXT UNIQUE, amount TEXT, currency TEXT);
"""
log = logging.getLogger("webhook_service")


def book(database: sqlite3.Connection, record: AccountingRecord) -> ExportResult:
    """Book a record in the ERP, here a table. Under the record's id: after a crash nothing is booked twice."""
    if not record.is_balanced:
        return ExportFailed(record.id, "debits and credits differ")
    with database:
        database.execute(
            "INSERT OR IGNORE INTO ledger (record_id, amount, currency) VALUES (?, ?, ?)",
            (record.id, f"{record.amount.amount:f}", record.amount.currency),
        )
    (entry,) = database.execute("SELECT entry FROM ledger WHERE record_id = ?", (record.id,)).fetchone()
    return ExportSucceeded(record.id, reference_id=f"JE-{entry}")


async def export(brex: BrexAccounting, database: sqlite3.Connection, **which: Any) -> bool:
    """Book and report these records, as far as they are ready; say whether the outcome of each is certain."""

    def skip(record: InvalidRecord) -> None:  # one bad record must not hold up the others
        log.error("%s cannot be read: %s", record.record_id, record.reason)

    async with aclosing(brex.records.iterate(**which, on_invalid=skip)) as records:
        # An event tells of a moment that has passed: some may have been exported since.
        results = [book(database, record) async for record in records if record.review_status == "READY_FOR_EXPORT"]
    outcomes = await brex.records.report_all(results) if results else []
    for outcome in outcomes:
        log.info("%s: %s", outcome.record_id, outcome.message or outcome.status)
    return not any(outcome.status in {"not_applied", "unknown"} for outcome in outcomes)


class Exporter:
    """The work behind the answers: the events one after the other, and the polling."""

    def __init__(self, brex: BrexAccounting, database: sqlite3.Connection) -> None:
        self._brex, self._database = brex, database
        self._wake, self._stopping = asyncio.Event(), False

    def take(self, event: RecordsReadyForExport) -> None:
        """Note an event, unless it is known. The commit takes a millisecond or so: it needs no thread."""
        with self._database:
            self._database.execute(
                "INSERT OR IGNORE INTO events (webhook_id, record_ids) VALUES (?, ?)",
                (event.webhook_id, json.dumps(event.record_ids)),
            )
        self._wake.set()

    def stop(self) -> None:
        """Let `run` end after the work in hand; the events that wait are found at the next start."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Work until `stop`."""
        next_poll = time.monotonic()
        while not self._stopping:
            self._wake.clear()
            await self._try(self._work_off_events())
            if time.monotonic() >= next_poll and not self._stopping:
                found_all = await self._try(self._poll())
                next_poll = time.monotonic() + (POLL_EVERY if found_all else TRY_AGAIN_AFTER)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), TRY_AGAIN_AFTER)

    async def _work_off_events(self) -> bool:
        waiting = "SELECT webhook_id, record_ids FROM events WHERE done_at IS NULL ORDER BY rowid"
        for webhook_id, record_ids in self._database.execute(waiting).fetchall():
            if not self._stopping and await self._try(export(self._brex, self._database, ids=json.loads(record_ids))):
                now = time.time()
                with self._database:
                    self._database.execute("UPDATE events SET done_at = ? WHERE webhook_id = ?", (now, webhook_id))
                    self._database.execute("DELETE FROM events WHERE done_at < ?", (now - REMEMBER,))
        return True

    async def _poll(self) -> bool:
        since = datetime.now(UTC) - BILLS_LOOK_BACK
        cards = await export(self._brex, self._database, review_status="READY_FOR_EXPORT")
        bills = await export(self._brex, self._database, source_type="BILL", updated_after=since)
        return cards and bills

    async def _try(self, work: Awaitable[bool]) -> bool:
        try:
            return await work
        except Exception:  # the service must not live on with its worker dead
            log.exception("Trying again in %.0f seconds", TRY_AGAIN_AFTER)
            return False


def create_app(connect: Callable[[], BrexAccounting] = BrexAccounting, database: str = "webhooks.db") -> Starlette:
    """Make the service; `connect` makes the client, by default from the environment."""
    secrets = os.environ["BREX_WEBHOOK_SECRETS"].split()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        with closing(sqlite3.connect(database)) as connection:
            connection.executescript(SCHEMA)
            async with connect() as brex:
                app.state.exporter = Exporter(brex, connection)
                work = asyncio.create_task(app.state.exporter.run())
                try:
                    yield
                finally:
                    app.state.exporter.stop()
                    await work

    async def receive(request: Request) -> Response:
        try:
            event = verify_webhook(await request.body(), request.headers, secrets)
        except WebhookVerificationError as error:
            log.warning("%s", error)
            return Response(status_code=400)
        if isinstance(event, RecordsReadyForExport):
            request.app.state.exporter.take(event)
        return Response(status_code=204)

    return Starlette(routes=[Route("/", receive, methods=["POST"])], lifespan=lifespan)


if __name__ == "__main__":
    if not os.environ.get("BREX_WEBHOOK_SECRETS", "").split():
        sys.stderr.write("webhook_service: set BREX_WEBHOOK_SECRETS to the webhook's secret.\n")
        sys.exit(2)
    logging.basicConfig(level=logging.INFO)
    uvicorn.run(create_app(), port=8000)
