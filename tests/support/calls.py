"""The operations under test, what a server may do to them, and an engine in virtual time to run them on."""

import asyncio
import gzip
import itertools
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from operator import attrgetter, itemgetter
from typing import Any

import httpx

from brex_accounting import Attempt, BrexError, ExportSucceeded, RateLimit, RetryPolicy, UserToken
from brex_accounting._arguments import check_token
from brex_accounting._engine.authorizer import Authorizer
from brex_accounting._engine.call import Shared
from brex_accounting._engine.classify import Operation
from brex_accounting._engine.engine import Engine
from brex_accounting._engine.limits import RateLimiter
from brex_accounting._http.exchange import Timeout
from brex_accounting._http.network import Network
from brex_accounting._retry import RetryQuota
from brex_accounting.integrations import Integrations, read_integration
from brex_accounting.records import Records
from tests.support.virtual_time import now, virtual_clock

TOKEN = check_token("bxt_canary/8f3a+Zq=", "The token")
URL = "https://api.test"
INTEGRATION = {
    "id": "int_1",
    "vendor": "ERP_A",
    "vendor_account_id": "acct-42",
    "status": "ACTIVE",
    "created_at": "2025-08-15T10:00:00Z",
}
EVERYTHING = INTEGRATION | {
    "status": "NEW",  # a status that no operation contradicts
    "amount": {"amount": 1.10, "currency": "USD"},
    "type": "CARD_EXPENSE_POST",
    "review_status": "READY_FOR_EXPORT",
    "source_type": "CARD",
    **dict.fromkeys(("erp_posting_date", "updated_at", "posted_at"), "2025-08-15T10:00:00Z"),
    "version": 1,
    "line_items": [],
    "items": [],
    "has_next_page": False,
    "updated_accounting_record_ids": ["int_1"],
}
"""A success of all operations but one: an integration, a page and a list of ids at once."""
A_RECORD = EVERYTHING | {"vendor": None}
"""A success of that one: the vendor of a record is not one of an integration."""
READ = Operation("getThing", read_integration, safe=True)

# -- operations --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """An operation of the API, and how to call it."""

    operation: str
    call: Callable[[Engine, str | None], Awaitable[Any]]
    safe: bool = False
    expected: Any = "int_1"
    """What the success amounts to."""
    sum_up: Callable[[Any], Any] = attrgetter("id")

    def __str__(self) -> str:
        return self.operation


CASES = [
    Case("createIntegration", lambda e, key: Integrations(e).create("ERP_A", "acct-42", idempotency_key=key)),
    Case("disconnectIntegration", lambda e, key: Integrations(e).disconnect("int_1", idempotency_key=key)),
    Case("reactivateIntegration", lambda e, key: Integrations(e).reactivate("int_1", idempotency_key=key)),
    Case(
        "reportAccountingExportResults",
        lambda e, key: Records(e).report([ExportSucceeded("int_1")], idempotency_key=key),
        sum_up=itemgetter(0),
    ),
    Case("getAccountingRecord", lambda e, _key: Records(e).get("int_1"), safe=True),
    Case(
        "queryAccountingRecords", lambda e, _key: Records(e).query(), safe=True, expected=[], sum_up=attrgetter("items")
    ),
    Case("getThing", lambda e, _key: e.call(READ, {"method": "get", "url": "/v3/thing"}), safe=True),
]
CREATE, DISCONNECT, REACTIVATE, *_, GET = CASES

# -- what a server may do ----------------------------------------------------------------------------------------------

Step = Callable[[httpx.Request], Awaitable[httpx.Response]]


class Stream(httpx.AsyncByteStream):
    """A body that comes in pieces, and may break."""

    def __init__(self, *pieces: bytes | Exception | float) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> Any:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            if isinstance(piece, bytes):
                yield piece
            else:
                await asyncio.sleep(piece)


def answer(
    status: int = 200, body: bytes | Mapping[str, Any] | None = None, after: float = 0.0, **headers: str | None
) -> Step:
    """Answer after some seconds: JSON where nothing else is said."""
    content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    named = {"content_type": "application/json"} | headers
    lines = [(name.replace("_", "-"), value) for name, value in named.items() if value is not None]

    async def step(request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(after)
        success = A_RECORD if request.url.path.startswith("/v3/accounting/records/int_1") else EVERYTHING
        return httpx.Response(
            status, headers=lines, stream=Stream(json.dumps(success).encode() if content is None else content)
        )

    return step


def pieces(*parts: bytes | Exception | float, status: int = 200, content_type: str = "application/json") -> Step:
    async def step(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, headers={"Content-Type": content_type}, stream=Stream(*parts))

    return step


def refuse(status: int, code: str | None = None, after: float = 0.0, **headers: str) -> Step:
    body = {"message": f"no: {status}"} | ({} if code is None else {"error_code": code, "details": DETAILS})
    return answer(status, body, after, **headers)


def fail(error: BaseException, after: float = 0.0) -> Step:
    async def step(_request: httpx.Request) -> httpx.Response:
        await asyncio.sleep(after)
        raise error

    return step


async def hang(_request: httpx.Request) -> httpx.Response:
    answer: httpx.Response = await asyncio.get_running_loop().create_future()
    return answer


DETAILS = {
    "existing_integration_id": "int_9",
    "existing_vendor": "ERP_B",
    "requested_vendor": "ERP_A",
    "existing_vendor_account_id": "acct-9",
    "requested_vendor_account_id": "acct-42",
    "integration_id": "int_1",
    "current_status": "DISABLED",
}
OK = answer()
HTML = answer(200, b"<html>", content_type="text/html")
RESET = fail(httpx.ReadError("reset by peer"))
REFUSED = fail(httpx.ConnectError("refused"))
UNAVAILABLE = refuse(503)
THROTTLED = refuse(429)
BROKEN_GZIP = answer(200, gzip.compress(b"{}")[:-9] + b"\0" * 9, content_encoding="gzip")

# -- an engine ---------------------------------------------------------------------------------------------------------


class Transport(httpx.AsyncBaseTransport):
    """Takes the steps one after the other, the last one for ever."""

    def __init__(self, steps: tuple[Step, ...]) -> None:
        self.go_on_with(*steps)
        self.requests: list[httpx.Request] = []
        self.times: list[float] = []
        self.now = self.most = 0

    def go_on_with(self, *steps: Step) -> None:
        self._steps = itertools.chain(steps, itertools.repeat(steps[-1]))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.times.append(now())
        step = next(self._steps)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            return await step(request)
        finally:
            self.now -= 1


class Rig:
    """An engine in virtual time on a scripted transport, and all that can be seen of it."""

    def __init__(
        self,
        *steps: Step,
        retry: RetryPolicy | None = None,
        timeout: float | httpx.Timeout = 30.0,
        rate_limit: RateLimit | None = None,
        max_connections: int = 20,
        auth: Authorizer | None = None,
        on_attempt: Callable[[Attempt], None] | None = None,
        **clock: Any,
    ) -> None:
        self.transport = Transport(steps or (OK,))
        self.attempts: list[Attempt] = []
        self.waits: list[float] = []
        self.clock = replace(virtual_clock(), **({"sleep": self._sleep} | clock))
        self.network = Network(httpx.URL(URL), self.transport, max_connections)
        self.limiter = RateLimiter(rate_limit, self.clock)
        self.quota = RetryQuota()
        self.engine = Engine(
            Shared(
                network=self.network,
                auth=auth or UserToken(TOKEN),
                limiter=self.limiter,
                quota=self.quota,
                clock=self.clock,
                on_attempt=on_attempt or self.attempts.append,
            ),
            Timeout.of(timeout),
            retry or RetryPolicy(),
        )

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        await asyncio.sleep(seconds)

    @property
    def requests(self) -> list[httpx.Request]:
        return self.transport.requests

    @property
    def times(self) -> list[float]:
        return self.transport.times

    @property
    def keys(self) -> list[str | None]:
        return [request.headers.get("Idempotency-Key") for request in self.requests]

    async def call(self, case: Case = CREATE, key: str | None = None) -> Any:
        return await case.call(self.engine, key)

    async def end(self, case: Case = CREATE, key: str | None = None) -> Any:
        """What a call ends in, be it an error."""
        try:
            return await self.call(case, key)
        except BrexError as error:
            return error

    async def error(self, case: Case = CREATE, key: str | None = None) -> BrexError:
        """The error that a call ends in."""
        error = await self.end(case, key)
        assert isinstance(error, BrexError)
        return error

    async def assert_idle(self) -> None:
        """Nothing is held any more: no slot, no place in the limiter, no task."""
        for _ in range(5):  # asyncio ends an asynchronous generator that was left in the middle in a task
            await asyncio.sleep(0)
        assert self.limiter.running == 0
        assert self.transport.now == 0
        for pool in self.network._pools.values():
            assert pool._gate._free == self.network._size
            assert not pool._gate._first
            assert not pool._gate._again
        assert asyncio.all_tasks() == {asyncio.current_task()}
