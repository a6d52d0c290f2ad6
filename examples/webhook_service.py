"""A receiver of Brex's webhooks, for the worker beside it: it notes what became ready, and answers. Copy it.

    export BREX_WEBHOOK_SECRETS=whsec_…       # during a rotation the new and the old one, with a space
    python examples/webhook_service.py        # listens on 127.0.0.1:8000, and writes into export.db

The worker of the same file on this machine, such as `brex-accounting worker run erp:book --store export.db`, takes the
records up at once. An event is on the disk before it is answered, so a crash loses none that Brex takes for delivered.
One that comes again does no harm: its records are looked at once more, and not booked again. What never came, since
the service was down for too long, the worker finds by polling.
"""

import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from brex_accounting import RecordsReadyForExport, WebhookVerificationError, verify_webhook
from brex_accounting.worker import ExportStoreError, SQLiteExportStore

log = logging.getLogger("webhook_service")


def webhook_route(store: SQLiteExportStore) -> Route:
    """Make the endpoint, for an application of your own."""
    secrets = os.environ["BREX_WEBHOOK_SECRETS"].split()

    async def receive(request: Request) -> Response:
        try:
            event = verify_webhook(await request.body(), request.headers, secrets)
        except WebhookVerificationError as error:
            log.warning("%s", error)
            return Response(status_code=400)
        if isinstance(event, RecordsReadyForExport):
            try:
                await store.note(event.record_ids)
            except ExportStoreError as error:
                log.error("%s", error)  # noqa: TRY400 - its sentence says it all
                return Response(status_code=503)  # Brex sends it again
        return Response(status_code=204)

    return Route("/", receive, methods=["POST"])


def create_app(database: str = "export.db") -> Starlette:
    """Make the service."""
    store = SQLiteExportStore(database)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await store.aclose()

    return Starlette(routes=[webhook_route(store)], lifespan=lifespan)


if __name__ == "__main__":
    if not os.environ.get("BREX_WEBHOOK_SECRETS", "").split():
        sys.stderr.write("webhook_service: set BREX_WEBHOOK_SECRETS to the webhook's secret.\n")
        sys.exit(2)
    logging.basicConfig(level=logging.INFO)
    uvicorn.run(create_app(), port=8000)
