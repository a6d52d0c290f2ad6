"""The client: what it is made of, shared with, closed with, and what it does not show."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import pickle
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import httpx
import pytest
import trio

from brex_accounting import (
    PRODUCTION,
    Attempt,
    BrexAccounting,
    ConfigurationError,
    ConnectionFailedError,
    ExportSucceeded,
    IntegrationExistsError,
    IntegrationNotActiveError,
    IntegrationStatus,
    Outcome,
    RateLimit,
    RetryPolicy,
    ServerError,
    UserToken,
)
from brex_accounting.sandbox import Sandbox

SECRET = "bxt_hunter2"
INTEGRATION = {
    "id": "int_1",
    "vendor": "ERP_A",
    "vendor_account_id": "acct-42",
    "status": "DISABLED",
    "created_at": "2025-08-15T10:00:00Z",
}


class Transport(httpx.AsyncBaseTransport):
    """Counts, and answers with a status."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.requests: list[httpx.Request] = []
        self.closed = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        assert not self.closed
        self.requests.append(request)
        status = "DISABLED" if request.url.path.endswith("/disconnect") else "ACTIVE"
        return httpx.Response(self.status, json=INTEGRATION | {"status": status})

    async def aclose(self) -> None:
        self.closed += 1


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BREX_TOKEN", raising=False)
    monkeypatch.delenv("BREX_BASE_URL", raising=False)


@pytest.fixture
def transport() -> Transport:
    return Transport()


# -- where it goes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "environment", "expected"),
    [
        (None, None, PRODUCTION),
        (None, "", PRODUCTION),
        (None, "https://env.test/brex", "https://env.test/brex"),
        ("https://arg.test", "https://env.test", "https://arg.test"),
        ("https://arg.test", "http://user:hunter2@nonsense", "https://arg.test"),
    ],
)
async def test_base_url(
    monkeypatch: pytest.MonkeyPatch, transport: Transport, argument: str | None, environment: str | None, expected: str
) -> None:
    if environment is not None:
        monkeypatch.setenv("BREX_BASE_URL", environment)
    brex = BrexAccounting(SECRET, base_url=argument, transport=transport)
    await brex.integrations.create("ERP_A", "acct-42")
    assert str(transport.requests[0].url) == f"{expected}/v3/accounting/integration"
    assert repr(brex) == f"<BrexAccounting {expected}>"


# -- views -------------------------------------------------------------------------------------------------------------


async def test_a_view_changes_nothing_in_its_parent() -> None:
    transport = Transport(503)
    parent = BrexAccounting(
        SECRET, transport=transport, timeout=7.0, retry=RetryPolicy(max_attempts=2, initial_backoff=0)
    )
    impatient = parent.with_options(timeout=3.0)
    single = impatient.with_options(retry=RetryPolicy.none())
    same = single.with_options()

    async def attempts(brex: BrexAccounting) -> list[float]:
        transport.requests.clear()
        with pytest.raises(ServerError):
            await brex.integrations.disconnect("int_1")
        return [request.extensions["timeout"]["read"] for request in transport.requests]

    assert await attempts(impatient) == [3.0, 3.0]
    assert await attempts(single) == [3.0]
    assert await attempts(same) == [3.0]
    assert await attempts(parent) == [7.0, 7.0]


async def test_closing_a_view_closes_nothing() -> None:
    made: list[Transport] = []

    def make() -> Transport:
        made.append(Transport())
        return made[-1]

    async with BrexAccounting(SECRET, transport=make) as parent:
        async with parent.with_options(timeout=1.0) as view:
            await view.integrations.disconnect("int_1")
        await view.aclose()
        await view.integrations.disconnect("int_1")
        await parent.integrations.disconnect("int_1")
        assert [(len(one.requests), one.closed) for one in made] == [(3, 0)]
    assert made[0].closed == 1
    with pytest.raises(ConfigurationError, match="closed"):
        await view.integrations.disconnect("int_1")


async def test_a_view_shares_the_connections() -> None:
    on_the_wire, free = asyncio.Queue[httpx.Request](), asyncio.Event()

    async def handle(request: httpx.Request) -> httpx.Response:
        on_the_wire.put_nowait(request)
        await free.wait()
        return httpx.Response(200, json=INTEGRATION)

    parent = BrexAccounting(SECRET, transport=httpx.MockTransport(handle), max_connections=2)
    clients = [parent, parent.with_options(timeout=5.0), parent.with_options().with_options(retry=RetryPolicy.none())]
    tasks = [asyncio.create_task(brex.integrations.disconnect("int_1")) for brex in clients]
    await on_the_wire.get()
    await on_the_wire.get()
    for _ in range(20):
        await asyncio.sleep(0)
    assert on_the_wire.empty()
    free.set()
    await asyncio.gather(*tasks)
    assert on_the_wire.qsize() == 1


async def test_a_view_shares_the_rate_limit(transport: Transport) -> None:
    parent = BrexAccounting(SECRET, transport=transport, rate_limit=RateLimit(1, per=3600.0))
    await parent.integrations.disconnect("int_1")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(parent.with_options(timeout=5.0).integrations.disconnect("int_1"), 0.01)
    assert len(transport.requests) == 1


async def test_a_view_of_a_class_of_ones_own(transport: Transport) -> None:
    class Mine(BrexAccounting):
        def __init__(self, customer: str, token: str) -> None:
            super().__init__(token, transport=transport)
            self.customer = customer

    mine = Mine("Acme", SECRET)
    view = mine.with_options(timeout=1.0)
    assert isinstance(view, Mine)
    assert (view.customer, repr(view)) == ("Acme", f"<Mine {PRODUCTION}>")


# -- opening and closing -----------------------------------------------------------------------------------------------


async def test_a_transport_of_ones_own_stays_open(transport: Transport) -> None:
    async with BrexAccounting(SECRET, transport=transport) as brex:
        await brex.integrations.disconnect("int_1")
    assert (len(transport.requests), transport.closed) == (1, 0)


async def test_a_callable_is_called_at_the_first_call(transport: Transport) -> None:
    calls = 0

    def make() -> Transport:
        nonlocal calls
        calls += 1
        return transport

    async with BrexAccounting(SECRET, transport=make) as brex:
        assert calls == 0
        await asyncio.gather(*(brex.integrations.disconnect("int_1") for _ in range(30)))
        assert (calls, transport.closed) == (1, 0)
    assert (calls, transport.closed) == (1, 1)
    await brex.aclose()
    assert (calls, transport.closed) == (1, 1)


@pytest.mark.parametrize("close", [True, False])
def test_a_callable_is_called_once_for_each_event_loop(close: bool) -> None:
    made: list[Transport] = []

    def make() -> Transport:
        made.append(Transport())
        return made[-1]

    async def work(brex: BrexAccounting) -> None:
        await brex.integrations.disconnect("int_1")
        await brex.integrations.disconnect("int_1")

    async def last_work(brex: BrexAccounting) -> None:
        await work(brex)
        if close:
            await brex.aclose()

    brex = BrexAccounting(SECRET, transport=make)
    asyncio.run(work(brex))
    asyncio.run(last_work(brex))
    assert [(len(one.requests), one.closed) for one in made] == [(2, 1), (2, 1)]


async def test_a_callable_that_raises() -> None:
    def make() -> Transport:
        raise LookupError

    brex = BrexAccounting(SECRET, transport=make)
    with pytest.raises(ConfigurationError, match="LookupError") as caught:
        await brex.integrations.disconnect("int_1")
    assert (caught.value.outcome, caught.value.attempts) == (Outcome.NOT_APPLIED, 0)


async def test_after_closing(transport: Transport) -> None:
    brex = BrexAccounting(SECRET, transport=transport)
    await brex.integrations.disconnect("int_1")
    await brex.aclose()
    await brex.aclose()
    for call in (brex.integrations.disconnect("int_1"), brex.integrations.ensure("ERP_A", "acct-42", replace=True)):
        with pytest.raises(ConfigurationError, match="closed") as caught:
            await call
        assert (caught.value.outcome, caught.value.attempts) == (Outcome.NOT_APPLIED, 0)
    async with brex:
        with pytest.raises(ConfigurationError, match="closed"):
            await brex.integrations.disconnect("int_1")
    assert len(transport.requests) == 1


async def test_closing_what_was_never_used(transport: Transport) -> None:
    async with BrexAccounting(SECRET, transport=transport) as brex:
        assert isinstance(brex, BrexAccounting)
    await BrexAccounting(SECRET).aclose()


async def test_what_the_block_raises_comes_out(transport: Transport) -> None:
    with pytest.raises(LookupError):
        async with BrexAccounting(SECRET, transport=transport):
            raise LookupError


# -- what it tells -----------------------------------------------------------------------------------------------------


async def test_on_attempt() -> None:
    seen: list[Attempt] = []
    transport = Transport(503)
    retry = RetryPolicy(max_attempts=2, initial_backoff=0)
    brex = BrexAccounting(SECRET, transport=transport, retry=retry, on_attempt=seen.append)
    with pytest.raises(ServerError) as caught:
        await brex.with_options(timeout=1.0).integrations.disconnect("int_1")
    assert [(a.operation, a.number, a.status, a.error, a.retry_in) for a in seen] == [
        ("disconnectIntegration", 1, 503, "ServerError", 0.0),
        ("disconnectIntegration", 2, 503, "ServerError", None),
    ]
    assert {attempt.idempotency_key for attempt in seen} == {caught.value.idempotency_key}
    assert "hunter2" not in repr(seen)


@pytest.mark.parametrize("auth", [SECRET, UserToken(SECRET)])
async def test_nothing_within_reach_shows_the_token(transport: Transport, auth: str | UserToken) -> None:
    brex = BrexAccounting(auth, transport=transport)
    await brex.integrations.disconnect("int_1")
    transport.requests.clear()
    seen, todo = set[int](), [brex]
    kinds = set[str]()
    while todo:
        thing: Any = todo.pop()
        ours = type(thing).__module__.startswith("brex_accounting")
        if id(thing) in seen or not (ours or isinstance(thing, (dict, list, tuple))):
            continue
        seen.add(id(thing))
        kinds.add(type(thing).__name__)
        assert "hunter2" not in f"{thing!r} {thing}"
        todo += gc.get_referents(thing)
    assert {"BrexAccounting", "Integrations", "Engine", "Shared", "UserToken", "Network"} <= kinds


@pytest.mark.parametrize("twin_of", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_client_is_not_copied(twin_of: Any) -> None:
    brex = BrexAccounting(SECRET)
    for thing in (brex, brex.with_options(), brex.integrations):
        with pytest.raises(TypeError, match="pickl"):
            twin_of(thing)


# -- against the sandbox -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("id_key", ["integration_id", "id", "both"])
async def test_the_life_of_an_integration(id_key: Literal["integration_id", "id", "both"]) -> None:
    async with (
        Sandbox(id_key=id_key) as sandbox,
        BrexAccounting(sandbox.token, base_url=sandbox.url, transport=sandbox.transport) as brex,
    ):
        first = await brex.integrations.create("ERP_A", "acct-1")
        assert first.status is IntegrationStatus.ACTIVE
        assert await brex.integrations.create("ERP_A", "acct-1") == first
        with pytest.raises(IntegrationExistsError) as exists:
            await brex.integrations.create("ERP_B", "acct-1")
        assert exists.value.existing_integration_id == first.id
        assert (exists.value.existing_vendor, exists.value.requested_vendor) == ("ERP_A", "ERP_B")
        assert (await brex.integrations.disconnect(first.id)).status is IntegrationStatus.DISABLED
        with pytest.raises(IntegrationNotActiveError) as not_active:
            await brex.integrations.disconnect(first.id)
        assert not_active.value.current_status == IntegrationStatus.DISABLED
        assert not_active.value.trace_id is not None
        await brex.integrations.ensure_disconnected(first.id)
        assert (await brex.integrations.reactivate(first.id)).id == first.id
        await brex.integrations.ensure_active(first.id)
        second = await brex.integrations.ensure("ERP_A", "acct-2", replace=True)
        assert second.id != first.id
        await brex.integrations.ensure_disconnected(first.id)
        with pytest.raises(IntegrationExistsError) as taken:
            await brex.integrations.ensure_active(first.id)
        assert taken.value.existing_integration_id == second.id


async def test_over_a_real_socket() -> None:
    async with Sandbox() as sandbox, sandbox.serve() as url:
        async with BrexAccounting(sandbox.token, base_url=url) as brex:
            made = await asyncio.gather(*(brex.integrations.ensure("ERP_A", "acct-1") for _ in range(10)))
            assert len(set(made)) == 1
        assert len(sandbox.requests) == 10
    with pytest.raises(ConnectionFailedError) as caught:
        await BrexAccounting(sandbox.token, base_url=url, retry=RetryPolicy.none()).integrations.disconnect(made[0].id)
    assert caught.value.outcome is Outcome.NOT_APPLIED


# -- where it does not run ---------------------------------------------------------------------------------------------


def test_under_trio_one_clear_sentence() -> None:
    async def enter() -> None:
        async with BrexAccounting(SECRET):
            pass

    with pytest.raises(ConfigurationError, match="needs asyncio") as caught:
        trio.run(enter)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    "call",
    [
        lambda brex: brex.integrations.create("ERP_A", "acct-42"),
        lambda brex: brex.records.query(ids=[]),
        lambda brex: brex.aclose(),
        lambda brex: brex.with_options().aclose(),
        lambda brex: anext(brex.records.iterate()),
        lambda brex: anext(brex.records.pages()),
        lambda brex: anext(brex.records.ready_for_export()),
        lambda brex: brex.records.report_all([]),
        lambda brex: brex.records.report_all([ExportSucceeded("accr_1")]),
    ],
)
def test_under_trio_a_call_says_so_too(call: Callable[[BrexAccounting], Awaitable[object]]) -> None:
    async def make() -> None:
        await call(BrexAccounting(SECRET))

    with pytest.raises(ConfigurationError, match="needs asyncio") as caught:
        trio.run(make)
    assert caught.value.__context__ is None


def test_under_trio_the_users_own_exception_stays() -> None:
    async def leave() -> None:
        brex = BrexAccounting(SECRET)
        try:
            raise KeyError("mine")
        finally:
            with contextlib.suppress(ConfigurationError):
                await brex.__aexit__(None, None, None)

    with pytest.raises(KeyError, match="mine"):
        trio.run(leave)


class Mine(BrexAccounting):
    """A subclass stays what it is."""


def test_a_view_of_a_subclass_is_one() -> None:
    assert type(Mine(SECRET).with_options(timeout=1.0)) is Mine
