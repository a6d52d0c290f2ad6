"""The Sandbox: the parts put together, with their options."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Self

import httpx

from ._app import App, ReceivedRequest
from ._authorization import AuthorizationServer
from ._controls import Controls
from ._delays import Delays, Sleep
from ._faults import Fault, FaultQueue
from ._gateway import ALL_SCOPES, RECORD_READ, Gateway
from ._grants import AuthorizationOptions
from ._oauth import ISSUER_PATH, TOKEN_PATH, OAuthEndpoints
from ._platform import SlidingWindow
from ._records import sample_records
from ._server import serve
from ._state import IdKey, State
from ._transport import InProcessTransport
from ._webhooks import WebhookOptions, Webhooks


class Sandbox:
    """A Brex account to try things on: the Accounting API's behaviour, without Brex and without real books.

        async with Sandbox(records=500) as sandbox:
            brex = BrexAccounting(sandbox.token, base_url=sandbox.url, transport=sandbox.transport)

    Attributes:
        url: the base URL for use with `transport`; it leads nowhere without it.
        token: an access token with all scopes.
        read_only_token: an access token with no scope but accounting.record.read.
        transport: runs the sandbox in-process; it serves one event loop.
        state: the integrations, the records and the ledger of exports.
        app: the sandbox as an ASGI application.
        authorization: the OAuth 2.0 authorization server, its clients, its grants and its log.
        issuer: the authorization server's issuer, for use with `transport`; served, it is under the served URL.
        token_url: its token endpoint, likewise.
        webhooks: sends events about records that become ready, and tells what became of them.
    """

    url: str
    token: str
    read_only_token: str
    transport: httpx.AsyncBaseTransport
    state: State
    app: App
    authorization: AuthorizationServer
    issuer: str
    token_url: str
    webhooks: Webhooks

    def __init__(  # all of them are keywords with defaults
        self,
        *,
        records: int = 0,
        id_key: IdKey = "integration_id",
        token: str | None = None,
        rate_limit: tuple[int, float] | None = (1000, 60.0),
        send_retry_after: bool = True,
        honor_idempotency_keys: bool = True,
        authorization: AuthorizationOptions | None = None,
        webhooks: WebhookOptions | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """Make an account with no integration and so many sample records, all READY_FOR_EXPORT.

        Args:
            records: how many; of every 20, 7 are CARD, 7 REIMBURSEMENT and 6 BILL.
            id_key: how the API names an integration's id, since Brex's description and its examples disagree.
            token: an access token to use in place of a random one; like Brex's it begins with bxt_.
            rate_limit: how many requests in how many seconds a token has, or None for no limit.
            send_retry_after: whether a 429 says when to come again; Brex does not promise it.
            honor_idempotency_keys: whether a repeated Idempotency-Key gets the first answer again.
            authorization: the ways of the authorization server.
            webhooks: the ways of the sender of webhooks.
            clock: the time in seconds since 1970.
            sleep: what a delay waits with, and the sender of webhooks before it tries again.
        """
        if records < 0:
            raise ValueError("records must not be negative")
        if rate_limit is not None and (rate_limit[0] < 1 or rate_limit[1] <= 0):
            raise ValueError("rate_limit must be at least one request, in more than 0 seconds")
        if token is not None and not token.startswith("bxt_"):
            raise ValueError("token must begin with bxt_")
        self.url = "https://sandbox.invalid"
        self.token = token or _new_token()
        self.read_only_token = _new_token()
        self.webhooks = Webhooks(
            webhooks or WebhookOptions(), clock=clock, sleep=sleep, new_secret=lambda: secrets.token_bytes(32)
        )
        self.state = State(
            records=sample_records(records),
            id_key=id_key,
            now=lambda: datetime.fromtimestamp(clock(), UTC),
            new_id=lambda: secrets.token_hex(8),
            on_ready=self.webhooks.announce,
        )
        self.issuer = f"{self.url}{ISSUER_PATH}"
        self.token_url = f"{self.url}{TOKEN_PATH}"
        self.authorization = AuthorizationServer(
            authorization or AuthorizationOptions(),
            api_scopes=ALL_SCOPES,
            clock=clock,
            new_secret=lambda: secrets.token_urlsafe(32),
        )
        gateway = Gateway(
            self.state,
            tokens={self.token: ALL_SCOPES, self.read_only_token: frozenset({RECORD_READ})},
            issued=self.authorization.caller,
            window=None if rate_limit is None else SlidingWindow(*rate_limit, clock),
            send_retry_after=send_retry_after,
            honor_idempotency_keys=honor_idempotency_keys,
        )
        self._faults = FaultQueue()
        controls = Controls(gateway, self.state, self._faults, self.webhooks)
        self.app = App(gateway, OAuthEndpoints(self.authorization), self._faults, controls)
        self._sleep = sleep
        self._transport = InProcessTransport(self.app, Delays(sleep))
        self.transport = self._transport

    def __repr__(self) -> str:
        """Tell sandboxes apart without showing a token."""
        return f"<Sandbox of {len(self.state.records)} records at {id(self):#x}>"

    async def __aenter__(self) -> Self:
        """Return the sandbox itself."""
        return self

    async def __aexit__(self, *exc: object) -> None:
        """End what is still delayed, so that no task is left behind."""
        await self._transport.stop()
        self.webhooks.forget()
        await self.webhooks.stop()

    @property
    def requests(self) -> Sequence[ReceivedRequest]:
        """The latest 100,000 requests, in the order of their arrival."""
        return self.app.requests

    def fault(self, *faults: Fault) -> None:
        """Let these befall the requests to come; each request takes the first that matches.

        Over HTTP, with the full token: POST /_sandbox/faults with a Fault's fields as JSON, DELETE
        /_sandbox/faults to forget them, GET /_sandbox/requests for the log.
        """
        for fault in faults:
            self._faults.add(fault)

    def clear_faults(self) -> None:
        """Forget the faults that are still to come."""
        self._faults.clear()

    @asynccontextmanager
    async def serve(self, *, port: int = 0) -> AsyncIterator[str]:
        """Serve over a real socket on 127.0.0.1 while the context lasts; port 0 is any free one.

            async with sandbox.serve() as url:
                brex = BrexAccounting(sandbox.token, base_url=url)

        Entering raises OSError when the port cannot be had, ValueError when there is no such port. Leaving ends the
        deliveries of webhooks that are under way.
        """
        try:
            async with serve(self.app, Delays(self._sleep), port=port) as url:
                yield url
        finally:
            await self.webhooks.stop()


def _new_token() -> str:
    return f"bxt_{secrets.token_urlsafe(32)}"
