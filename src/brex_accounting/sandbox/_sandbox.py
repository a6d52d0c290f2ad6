"""The Sandbox: its parts and their options."""

import asyncio
import secrets
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Final, Self

import httpx

from ._accounts import Account, Accounts
from ._app import App, ReceivedRequest
from ._authorization import AuthorizationServer
from ._controls import Controls
from ._delays import Delays, Sleep
from ._faults import Fault, FaultQueue
from ._gateway import Gateway
from ._grants import ACCOUNT, AuthorizationOptions
from ._oauth import ISSUER_PATH, TOKEN_PATH, OAuthEndpoints
from ._outage import OutageKind, OutageSwitch
from ._platform import SlidingWindow
from ._scopes import ALL_SCOPES
from ._server import serve
from ._state import IdKey, State
from ._transport import InProcessTransport
from ._webhooks import WebhookOptions, Webhooks
from ._wire import is_loopback

# The log of a long run keeps the latest.
_REQUESTS_LOGGED: Final = 100_000


class Sandbox:
    """The Accounting API to try things on, without Brex and without real books.

    ::

        async with Sandbox(records=500) as sandbox:
            brex = BrexAccounting(sandbox.token, base_url=sandbox.url, transport=sandbox.transport)

    Attributes:
        url: the base URL for use with `transport`; without it, the URL leads nowhere.
        token: an access token with all scopes, of the account that exists from the start.
        read_only_token: an access token with the scope accounting.record.read only.
        transport: runs the sandbox in-process; it serves one event loop.
        state: the account's integrations, records and export ledger.
        app: the sandbox as an ASGI application.
        authorization: the OAuth 2.0 authorization server with its clients, grants and log.
        issuer: the authorization server's issuer, for use with `transport`; when served, it is below the served URL.
        token_url: its token endpoint, likewise.
        webhooks: sends events about records that become ready, and logs the deliveries.
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
        records: int | Iterable[Mapping[str, Any]] = 0,
        id_key: IdKey = "integration_id",
        token: str | None = None,
        recent_days: float | None = None,
        rate_limit: tuple[int, float] | None = (1000, 60.0),
        send_retry_after: bool = True,
        honor_idempotency_keys: bool = True,
        authorization: AuthorizationOptions | None = None,
        webhooks: WebhookOptions | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        """Make an account without integrations; its sample records are READY_FOR_EXPORT.

        Args:
            records: the number of samples: of every 20, 7 are CARD, 7 REIMBURSEMENT and 6 BILL. Or the records
                themselves, as for add_record.
            id_key: the name of an integration's id, since Brex's description and examples disagree.
            token: the access token, which begins with ``bxt_``; None means a random one.
            recent_days: lists without a lower bound for updated_at silently leave out records that did not change in
                this many days, as Brex reportedly does; None means that they hold all records.
            rate_limit: the number of requests, and the seconds, that a token has; None means no limit.
            send_retry_after: whether a 429 has Retry-After, which Brex does not promise.
            honor_idempotency_keys: whether a repeated Idempotency-Key gets the first answer again.
            authorization: the behavior of the authorization server.
            webhooks: the behavior of the webhook sender.
            clock: returns the time in seconds since 1970.
            sleep: waits, for delays and between attempts to deliver a webhook.
        """
        if rate_limit is not None and (rate_limit[0] < 1 or rate_limit[1] <= 0):
            raise ValueError("rate_limit must be at least one request in more than 0 seconds")
        self.url = "https://sandbox.invalid"
        self.webhooks = Webhooks(
            webhooks or WebhookOptions(), clock=clock, sleep=sleep, new_secret=lambda: secrets.token_bytes(32)
        )
        self._accounts = Accounts(
            id_key=id_key,
            now=lambda: datetime.fromtimestamp(clock(), UTC),
            webhooks=self.webhooks,
            recent_days=recent_days,
        )
        first = self._accounts.add(ACCOUNT, records, token)
        self.token, self.read_only_token, self.state = first.token, first.read_only_token, first.state
        self.issuer = f"{self.url}{ISSUER_PATH}"
        self.token_url = f"{self.url}{TOKEN_PATH}"
        self.authorization = AuthorizationServer(
            authorization or AuthorizationOptions(),
            api_scopes=ALL_SCOPES,
            clock=clock,
            new_secret=lambda: secrets.token_urlsafe(32),
        )
        gateway = Gateway(
            self._accounts,
            issued=self.authorization.caller,
            window=None if rate_limit is None else SlidingWindow(*rate_limit, clock),
            send_retry_after=send_retry_after,
            honor_idempotency_keys=honor_idempotency_keys,
        )
        self._faults = FaultQueue()
        self._outages = OutageSwitch(clock)
        self._oauth = OAuthEndpoints(self.authorization)
        requests: deque[ReceivedRequest] = deque(maxlen=_REQUESTS_LOGGED)
        controls = Controls(
            gateway=gateway,
            accounts=self._accounts,
            faults=self._faults,
            webhooks=self.webhooks,
            authorization=self.authorization,
            outages=self._outages,
            log=requests,
        )
        self.app = App(
            gateway=gateway,
            oauth=self._oauth,
            faults=self._faults,
            controls=controls,
            outages=self._outages,
            requests=requests,
        )
        self._sleep = sleep
        self._transport = InProcessTransport(self.app, Delays(sleep), self._outages)
        self.transport = self._transport

    def __repr__(self) -> str:
        """Identify the sandbox without showing a token."""
        return f"<Sandbox of {len(self.state.records)} records at {id(self):#x}>"

    async def __aenter__(self) -> Self:
        """Return the sandbox itself."""
        return self

    async def __aexit__(self, *exc: object) -> None:
        """End delays and deliveries, so that no task is left behind."""
        await self._transport.stop()
        self.webhooks.forget()
        await self.webhooks.stop()

    @property
    def requests(self) -> Sequence[ReceivedRequest]:
        """The latest 100,000 requests, in order of arrival."""
        return self.app.requests

    @property
    def accounts(self) -> Mapping[str, Account]:
        """All accounts by name; the one that exists from the start is named `account`."""
        return MappingProxyType(self._accounts.by_name)

    @property
    def recent_days(self) -> float | None:
        """See the option with this name; it can be set at any time."""
        return self._accounts.recent_days

    @recent_days.setter
    def recent_days(self, days: float | None) -> None:
        self._accounts.recent_days = days

    def add_account(
        self, name: str, *, records: int | Iterable[Mapping[str, Any]] = 0, token: str | None = None
    ) -> Account:
        """Add another customer's account, with its own tokens and books.

        Grants for this name lead to its books, whether from `authorization.new_grant` or from a consent with this name
        as the `login_hint`. Grants for an unknown name lead to the account that exists from the start.
        """
        return self._accounts.add(name, records, token)

    def add_record(self, fields: Mapping[str, Any] | None = None, /, **more: Any) -> str:
        """Add a record with these fields to the account that exists from the start; see Account.add_record."""
        return self._accounts.first.add_record(fields, **more)

    def add_records(self, records: Iterable[Mapping[str, Any]], /) -> list[str]:
        """Add several records to it; see Account.add_records."""
        return self._accounts.first.add_records(records)

    def edit_record(self, record_id: str, fields: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """Replace fields of one of its records; see Account.edit_record."""
        self._accounts.first.edit_record(record_id, fields, **more)

    def fault(self, *faults: Fault) -> None:
        """Queue faults for future requests; each request takes the first one that matches."""
        for fault in faults:
            self._faults.add(fault)

    def clear_faults(self) -> None:
        """Empty the queue of faults."""
        self._faults.clear()

    def outage(self, seconds: float, kind: OutageKind = "refuse", *, status: int = 503) -> None:
        """Begin an outage of this many seconds, for the API and the authorization server.

        `refuse` refuses connections and closes those that are open; `status` answers every request with `status` and
        the gateway's error, except at the control endpoints.
        """
        self._outages.begin(seconds, kind, status)

    @asynccontextmanager
    async def serve(self, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
        """Serve on a real socket while the context lasts, and yield the URL; port 0 picks a free one.

        ::

            async with sandbox.serve() as url:
                brex = BrexAccounting(sandbox.token, base_url=url)

        Another host than 127.0.0.1 opens the sandbox to everyone who can reach it. Leaving the context ends webhook
        deliveries in progress.

        Raises:
            OSError: The address is in use, or does not belong to this machine.
            ValueError: The port is not a number from 0 to 65535.
        """
        self._oauth.any_host = self._oauth.any_host or not is_loopback(host)
        served_by = self.webhooks.served_by
        try:
            async with serve(self.app, Delays(self._sleep), self._outages, host=host, port=port) as url:
                self.webhooks.served_by = asyncio.get_running_loop()
                yield url
        finally:
            self.webhooks.served_by = served_by
            await self.webhooks.stop()
