"""Webhooks: events signed by the Standard Webhooks scheme, and retried until they are accepted."""

import asyncio
import hmac
import re
from base64 import b64decode, b64encode
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final, Literal, get_args

import httpx

from ._delays import Sleep
from ._wire import JSON, is_loopback, to_json

READY: Final = "ACCOUNTING_RECORD_READY_FOR_EXPORT"
# The company of the account that exists from the start.
COMPANY: Final = "company_sandbox"
Spelling = Literal["snake", "camel"]
Outcome = Literal["pending", "delivered", "failed", "stopped"]
_NAMES: Final = {
    "snake": ("accounting_record_ids", "company_id"),
    "camel": ("accountingRecordIds", "companyId"),
}
_PREFIX: Final = "whsec_"
_SECRET: Final = re.compile(rf"{_PREFIX}(?:[A-Za-z0-9+/]{{4}})+(?:[A-Za-z0-9+/]{{2}}==|[A-Za-z0-9+/]{{3}}=)?")
# The log of a long run keeps the latest.
_DELIVERIES_LOGGED: Final = 100_000
_AT_ONCE: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookOptions:
    """The behavior of the sender; ValueError when an option is invalid.

    Attributes:
        secret: the first signing secret, ``whsec_`` and base64; None means a random one.
        pauses: the seconds before the second attempt, the third and so on; after the last the sender gives up.
        timeout: how many seconds an attempt waits for its answer.
    """

    secret: str | None = field(default=None, repr=False)
    pauses: tuple[float, ...] = (1.0, 5.0, 25.0, 125.0, 625.0)
    timeout: float = 15.0

    def __post_init__(self) -> None:
        """Check the options."""
        if self.secret is not None and not _SECRET.fullmatch(self.secret):
            raise ValueError("secret must be whsec_ and base64")
        if not all(0 <= pause < float("inf") for pause in self.pauses):
            raise ValueError("pauses must be numbers of seconds, 0 or more")
        if not 0 < self.timeout < float("inf"):
            raise ValueError("timeout must be more than 0 seconds")


@dataclass(frozen=True, slots=True)
class DeliveryAttempt:
    """One attempt to deliver an event, and its HTTP status or the name of the error."""

    at: float
    status: int | None = None
    error: str | None = None


@dataclass(slots=True, eq=False)
class Delivery:
    """An event for one URL. Its id and body are the same in each attempt.

    Attributes:
        outcome: `pending`; `delivered` after a 2xx; `failed` after the last attempt; `stopped` if the sandbox ended
            before.
        attempts: the attempts so far.
    """

    webhook_id: str
    url: str
    record_ids: tuple[str, ...]
    body: bytes = field(repr=False)
    company_id: str = COMPANY
    outcome: Outcome = "pending"
    attempts: list[DeliveryAttempt] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where events go, and which spelling they use."""

    url: str
    spelling: Spelling
    transport: Callable[[], httpx.AsyncBaseTransport] | None = field(repr=False)


class Webhooks:
    """Sends an event to each registered URL when records become READY_FOR_EXPORT, until it is accepted.

    Any 2xx accepts it; a redirect does not. Each attempt has its own timestamp and signatures.

    Attributes:
        deliveries: the latest 100,000 deliveries, in the order of their events.
        served_by: the event loop that serves the sandbox; it delivers events that are announced outside any loop.
    """

    def __init__(
        self, options: WebhookOptions, *, clock: Callable[[], float], sleep: Sleep, new_secret: Callable[[], bytes]
    ) -> None:
        self.deliveries: deque[Delivery] = deque(maxlen=_DELIVERIES_LOGGED)
        self._options = options
        self._clock = clock
        self._sleep = sleep
        self._new_secret = new_secret
        self._secrets: tuple[str, ...] = (options.secret or self._make_secret(),)
        self._endpoints: dict[str, Endpoint] = {}
        self._tasks: dict[asyncio.Task[None], Delivery] = {}
        self.served_by: asyncio.AbstractEventLoop | None = None
        self._slots = asyncio.Semaphore(_AT_ONCE)

    @property
    def secret(self) -> str:
        """The signing secret; during a rotation, the new one."""
        return self._secrets[0]

    @property
    def secrets(self) -> tuple[str, ...]:
        """All signing secrets, the newest first: two during a rotation."""
        return self._secrets

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where events go."""
        return tuple(self._endpoints.values())

    def register(
        self,
        url: str,
        *,
        spelling: Spelling = "snake",
        transport: Callable[[], httpx.AsyncBaseTransport] | None = None,
    ) -> None:
        """Send events there from now on; ValueError unless it is http or https on this machine.

        Args:
            url: the receiver; registering it again replaces its spelling and transport.
            spelling: Brex publishes two: accounting_record_ids (snake) and accountingRecordIds (camel).
            transport: makes a transport for each attempt in place of a socket: lambda: httpx.ASGITransport(app).
        """
        if not _is_on_this_machine(url):
            raise ValueError("url must be http or https, on localhost, 127.0.0.1 or [::1]")
        if spelling not in get_args(Spelling):
            raise ValueError(f"spelling must be one of {', '.join(get_args(Spelling))}")
        self._endpoints[url] = Endpoint(url, spelling, transport)

    def forget(self) -> None:
        """Unregister all URLs; deliveries in progress go on."""
        self._endpoints.clear()

    def rotate(self) -> str:
        """Begin a rotation: from now on a new secret signs as well as the previous one; return the new one."""
        self._secrets = (self._make_secret(), self._secrets[0])
        return self._secrets[0]

    def end_rotation(self) -> None:
        """Sign with the newest secret only."""
        self._secrets = self._secrets[:1]

    def announce(self, record_ids: Iterable[str], *, company_id: str = COMPANY) -> None:
        """Send one event about these records, as the sandbox does when they become ready.

        If a URL is registered, this needs a running event loop, or a sandbox that is served by another thread.
        """
        self._send(f"msg_{self._new_secret()[:12].hex()}", tuple(record_ids), company_id)

    def resend(self, webhook_id: str) -> None:
        """Send an event again, as a sender does that missed the answer; LookupError if the id is unknown."""
        for delivery in self.deliveries:
            if delivery.webhook_id == webhook_id:
                self._send(webhook_id, delivery.record_ids, delivery.company_id)
                return
        raise LookupError("no event with this id was sent")

    async def settled(self) -> None:
        """Wait until each delivery is accepted or given up."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def stop(self) -> None:
        """Stop the deliveries in progress."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _make_secret(self) -> str:
        return f"{_PREFIX}{b64encode(self._new_secret()).decode()}"

    def _send(self, webhook_id: str, record_ids: tuple[str, ...], company_id: str) -> None:
        for endpoint in self._endpoints.values():
            body = _payload(record_ids, company_id, endpoint.spelling)
            delivery = Delivery(webhook_id, endpoint.url, record_ids, body, company_id)
            server = None if _runs_a_loop() else self.served_by
            if server is None:
                self._start(delivery, endpoint)
            else:
                server.call_soon_threadsafe(self._start, delivery, endpoint)
            self.deliveries.append(delivery)

    def _start(self, delivery: Delivery, endpoint: Endpoint) -> None:
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._deliver(delivery, endpoint))
        self._tasks[task] = delivery
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        delivery = self._tasks.pop(task)
        if delivery.outcome == "pending":
            delivery.outcome = "stopped"

    async def _deliver(self, delivery: Delivery, endpoint: Endpoint) -> None:
        for pause in (None, *self._options.pauses):
            if pause is not None:
                await self._sleep(pause)
            async with self._slots:
                attempt = await self._attempt(delivery, endpoint)
            delivery.attempts.append(attempt)
            if attempt.status is not None and HTTPStatus.OK <= attempt.status < HTTPStatus.MULTIPLE_CHOICES:
                delivery.outcome = "delivered"
                return
        delivery.outcome = "failed"

    async def _attempt(self, delivery: Delivery, endpoint: Endpoint) -> DeliveryAttempt:
        now = self._clock()
        timestamp = str(int(now))
        signatures = [sign(secret, delivery.webhook_id, timestamp, delivery.body) for secret in self._secrets]
        headers = {
            "Content-Type": "application/json",
            "Webhook-Id": delivery.webhook_id,
            "Webhook-Timestamp": timestamp,
            "Webhook-Signature": " ".join(signatures),
        }
        try:
            async with (
                asyncio.timeout(self._options.timeout),
                httpx.AsyncClient(
                    transport=endpoint.transport() if endpoint.transport else None,
                    verify=endpoint.url.startswith("https"),  # loading certificates takes time
                    timeout=None,  # noqa: S113  # the one around it bounds the whole attempt
                    trust_env=False,
                ) as client,
                client.stream("POST", endpoint.url, content=delivery.body, headers=headers) as response,
            ):
                return DeliveryAttempt(now, status=response.status_code)
        except Exception as problem:  # noqa: BLE001  # whatever a receiver or transport does, the sender goes on
            return DeliveryAttempt(now, error=type(problem).__name__)


def _runs_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def sign(secret: str, webhook_id: str, timestamp: str, body: bytes) -> str:
    """Return one signature for the header."""
    key = b64decode(secret.removeprefix(_PREFIX))
    digest = hmac.digest(key, f"{webhook_id}.{timestamp}.".encode() + body, "sha256")
    return f"v1,{b64encode(digest).decode()}"


def _payload(record_ids: tuple[str, ...], company_id: str, spelling: Spelling) -> bytes:
    ids, company = _NAMES[spelling]
    payload: dict[str, JSON] = {"event_type": READY, ids: list(record_ids), company: company_id}
    return to_json(payload).encode()


def _is_on_this_machine(url: str) -> bool:
    try:
        address = httpx.URL(url)
    except (TypeError, httpx.InvalidURL):
        return False
    return address.scheme in {"http", "https"} and is_loopback(address.host)
