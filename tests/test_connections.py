"""Connections at rest and at their limits: idle ones go, what else lies in them counts, and descriptors run out."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from brex_accounting import BrexAccounting, Outcome, RetryPolicy, errors
from brex_accounting._http import pool
from brex_accounting._http.connection import holds_more
from tests.support.calls import CASES, TOKEN, Case
from tests.support.fault_server import JSON, Fault, FaultServer, Request, head, ok, raw
from tests.support.tls import client_context, server_context

ONCE = RetryPolicy.none()
TLS = pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])


def server(*faults: Fault, tls: bool = False) -> FaultServer:
    return FaultServer(*faults, ssl_context=server_context() if tls else None)


def client(url: str, **options: Any) -> BrexAccounting:
    if url.startswith("https"):
        options = {"ssl_context": client_context()} | options
    return BrexAccounting(TOKEN, base_url=url, rate_limit=None, **options)


async def burst(brex: BrexAccounting, calls: int = 5) -> None:
    await asyncio.gather(*(brex.integrations.create("ERP_A", "acct-42") for _ in range(calls)))


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at idle connections a hundred times a second."""
    monkeypatch.setattr(pool, "SWEEP_EVERY", 0.01)


# -- idle --------------------------------------------------------------------------------------------------------------


async def test_idle_connections_are_closed_when_their_time_is_over(soon: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "KEEP_ALIVE", 0.1)
    async with server() as fake, client(fake.url) as brex:
        await burst(brex)
        assert fake.open == 5
        await fake.closes_all()
        await burst(brex)


@TLS
async def test_idle_connections_that_the_server_closed_are_closed(soon: None, tls: bool) -> None:
    async with server(raw(0.05, head(length=len(JSON)), JSON), tls=tls) as fake, client(fake.url) as brex:
        await burst(brex)
        assert fake.open == 5
        before = descriptors()
        for request in fake.requests:
            request.close()
        await fake.closes_all()
        async with asyncio.timeout(5.0):
            while descriptors() > before - 10:  # both ends of each
                await asyncio.sleep(0.01)
        await burst(brex)
        assert fake.accepted == 10


async def test_what_nobody_asked_for_closes_an_idle_connection(soon: None) -> None:
    async with server() as fake, client(fake.url) as brex:
        await burst(brex, 1)
        await fake.requests[0].write(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
        await fake.closes_all()


async def test_nothing_is_looked_at_while_nothing_is_idle() -> None:
    async with server() as fake, client(fake.url) as brex:
        await burst(brex)
        [its] = brex._engine.shared.network._pools.values()
        assert its._sweeping is not None
        its.close_idle()
        assert its._sweeping is None
        await fake.closes_all()


def descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


# -- surplus -----------------------------------------------------------------------------------------------------------

ANSWER = head(length=len(JSON)) + JSON
OTHERS = head(length=2) + b"{}"


def aligned(size: int) -> bytes:
    """An answer of exactly so many bytes, head included, which is as much as httpcore reads at a time."""
    length = size - len(head(length=size))
    return head(length=length) + JSON.ljust(length)


@TLS
@pytest.mark.parametrize("case", [CASES[0], CASES[-1]], ids=str)
@pytest.mark.parametrize("surplus", [b"H", b"\r\n", OTHERS, ANSWER], ids=["a byte", "a line", "an answer", "the same"])
@pytest.mark.parametrize("answer", [ANSWER, aligned(65536)], ids=["short", "aligned"])
async def test_an_answer_with_something_behind_it(answer: bytes, surplus: bytes, case: Case, tls: bool) -> None:
    async with server(raw(answer + surplus), ok, tls=tls) as fake, client(fake.url) as brex:
        with pytest.raises(errors.InvalidResponseError, match="something more was received") as caught:
            await case.call(brex._engine, None)
        assert caught.value.outcome is (Outcome.NOT_APPLIED if case.safe else Outcome.UNKNOWN)
        assert caught.value.attempts == 1
        assert case.sum_up(await case.call(brex._engine, None)) == case.expected
        assert [request.connection for request in fake.requests] == [1, 2]
        await fake.closes_all(left=1)


@pytest.mark.parametrize("surplus", [b"H", OTHERS])
async def test_an_answer_in_a_tls_record_of_its_own_behind_it(surplus: bytes) -> None:
    """Both records in one segment: asyncio reads them at once, and TLS decrypts one at a time."""

    async def fault(request: Request) -> None:
        request.writer.writelines([ANSWER, surplus])

    async with server(fault, ok, tls=True) as fake, client(fake.url) as brex:
        with pytest.raises(errors.InvalidResponseError, match="something more was received"):
            await burst(brex, 1)
        await burst(brex, 1)
        assert [request.connection for request in fake.requests] == [1, 2]


async def test_a_refusal_with_something_behind_it_is_a_refusal_still() -> None:
    async with server(raw(head(404, 2) + b"{}" + OTHERS), ok) as fake, client(fake.url) as brex:
        with pytest.raises(errors.NotFoundError) as caught:
            await burst(brex, 1)
        assert caught.value.outcome is Outcome.NOT_APPLIED
        await burst(brex, 1)
        assert [request.connection for request in fake.requests] == [1, 2]


async def test_a_connection_that_cannot_be_looked_into_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("brex_accounting._http.exchange.holds_more", lambda _: None)
    async with server() as fake, client(fake.url) as brex:
        await burst(brex, 1)
        await burst(brex, 1)
        assert fake.accepted == 2


def test_a_connection_of_another_release_cannot_be_looked_into() -> None:
    assert holds_more(httpx.Response(200, extensions={"network_stream": object()})) is None
    assert holds_more(httpx.Response(200)) is False


async def test_a_pool_of_the_callers_throws_such_a_connection_away() -> None:
    async with server(raw(ANSWER + OTHERS), ok) as fake, client(fake.url, transport=httpx.AsyncHTTPTransport) as brex:
        with pytest.raises(errors.InvalidResponseError):
            await burst(brex, 1)
        await burst(brex, 1)
        assert [request.connection for request in fake.requests] == [1, 2]
