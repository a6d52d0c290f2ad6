"""Answers that come late: a refresh token that was sent is never sent again because of the time."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import httpx
import pytest

from brex_accounting import (
    MemoryTokenStore,
    OAuth2,
    StoredToken,
    TokenRefreshError,
    begin_consent,
    finish_consent,
)
from brex_accounting._auth import redemption, token_endpoint
from brex_accounting._auth.tokens import store_key
from brex_accounting.sandbox import AuthorizationOptions, Fault, Sandbox
from tests.support.fault_server import FaultServer, Request, head, raw, reply, reset
from tests.support.tls import client_context, server_context
from tests.support.virtual_time import now, virtual_clock

REDIRECT = "https://partner.example/brex"


@asynccontextmanager
async def strict_sandbox(**options: Any) -> AsyncIterator[Sandbox]:
    authorization = AuthorizationOptions(redirect_uris=(REDIRECT,), **options)
    async with Sandbox(authorization=authorization, clock=lambda: 1_800_000_000 + now()) as sandbox:
        yield sandbox


def oauth2(sandbox: Sandbox, store: Any = None, **options: Any) -> OAuth2:
    server = sandbox.authorization
    given = {
        "account": "acme",
        "refresh_token": server.new_grant(),
        "token_url": sandbox.token_url,
        "transport": sandbox.transport,
    }
    auth = OAuth2(
        server.client_id,
        server.client_secret,
        store=MemoryTokenStore() if store is None else store,
        **given | options,
    )
    auth._refresher.clock = auth._refresher.grant.clock = auth._clock = virtual_clock()
    return auth


# -- a slow endpoint --


@pytest.mark.virtual_time
@pytest.mark.parametrize(("waited_before", "seconds"), [(0.0, 12.0), (0.0, 29.0), (14.0, 12.0)])
async def test_an_answer_is_waited_for_as_long_as_the_refresh_has(waited_before: float, seconds: float) -> None:
    async with strict_sandbox() as sandbox:
        store = patient_store()
        auth = oauth2(sandbox, store)
        sandbox.fault(Fault("delay", operation="token", seconds=seconds, applied=True))
        async with store.lock(auth._refresher.grant._key):
            asking = asyncio.create_task(auth.token())
            await asyncio.sleep(waited_before)
        assert sandbox.authorization.is_live(await asking)
        assert (len(sandbox.authorization.requests), sandbox.authorization.reuse_events) == (1, 0)


def patient_store() -> MemoryTokenStore:
    store = MemoryTokenStore()
    store._clock = virtual_clock()  # type: ignore[misc]
    return store


@pytest.mark.virtual_time
async def test_one_deadline_bounds_the_lock_the_attempts_and_the_answer() -> None:
    async with strict_sandbox() as sandbox:
        store = patient_store()
        auth = oauth2(sandbox, store)
        sandbox.fault(
            Fault("status", operation="token", status=503),
            Fault("delay", operation="token", seconds=1000.0),
        )
        began = now()
        async with store.lock(auth._refresher.grant._key):
            asking = asyncio.create_task(auth.token())
            await asyncio.sleep(10.0)
        with pytest.raises(TokenRefreshError, match=r"gave no answer in (19|20) s"):
            await asking
        assert now() - began == pytest.approx(30.0, abs=0.2)
        assert len(sandbox.authorization.requests) == 2


@pytest.mark.virtual_time
async def test_nothing_is_asked_when_a_slow_answer_could_not_be_waited_for() -> None:
    async with strict_sandbox() as sandbox:
        store = patient_store()
        auth = oauth2(sandbox, store)
        async with store.lock(auth._refresher.grant._key):
            asking = asyncio.create_task(auth.token())
            await asyncio.sleep(20.0)
        with pytest.raises(TokenRefreshError, match=r"left 1?\d s to ask for one\."):
            await asking
        assert not sandbox.authorization.requests
        assert sandbox.authorization.is_live(await auth.token())


@pytest.mark.virtual_time
async def test_an_outage_that_lasts_ends_within_the_deadline() -> None:
    async with strict_sandbox() as sandbox:
        auth = oauth2(sandbox)
        sandbox.fault(Fault("status", operation="token", status=503, seconds=3.0, times=1000))
        began = now()
        with pytest.raises(TokenRefreshError, match="503"):
            await auth.token()
        assert now() - began < 30.0


@pytest.mark.virtual_time
async def test_a_request_that_timed_out_is_not_sent_again_by_this_call() -> None:
    async with strict_sandbox(grace=1000.0) as sandbox:
        auth = oauth2(sandbox)
        sandbox.fault(Fault("delay", operation="token", seconds=31.0, applied=True))
        began = now()
        with pytest.raises(TokenRefreshError, match="'acme': the token endpoint gave no answer in 30 s"):
            await auth.token()
        assert now() - began == pytest.approx(30.0, abs=0.1)
        assert len(sandbox.authorization.requests) == 1
        assert sandbox.authorization.is_live(await auth.token())  # the server has a grace


@pytest.mark.virtual_time
async def test_a_retry_has_time_for_a_slow_answer() -> None:
    async with strict_sandbox() as sandbox:
        auth = oauth2(sandbox)
        sandbox.fault(
            Fault("status", operation="token", status=503, seconds=13.0),
            Fault("delay", operation="token", seconds=14.0, applied=True),
        )
        assert sandbox.authorization.is_live(await auth.token())
        assert (len(sandbox.authorization.requests), sandbox.authorization.reuse_events) == (2, 0)


@pytest.mark.virtual_time
async def test_what_is_granted_at_the_last_moment_has_time_to_be_saved() -> None:
    class Slow(MemoryTokenStore):
        async def save(self, key: str, stored: StoredToken, *, expected_version: int | None) -> bool:
            await asyncio.sleep(10.0)
            return await super().save(key, stored, expected_version=expected_version)

    async with strict_sandbox() as sandbox:
        store = Slow()
        auth = oauth2(sandbox, store)
        sandbox.fault(Fault("delay", operation="token", seconds=29.9, applied=True))
        assert sandbox.authorization.is_live(await auth.token())
        stored = await store.load(auth._refresher.grant._key)
        assert stored is not None
        assert sandbox.authorization.is_live(stored.token.refresh_token or "")


@pytest.mark.virtual_time
async def test_a_life_is_counted_from_when_the_token_was_asked_for() -> None:
    async with strict_sandbox(expires_in=60) as sandbox:
        auth = oauth2(sandbox)
        began = now()
        sandbox.fault(Fault("delay", operation="token", seconds=20.0, applied=True))
        await auth.token()
        assert auth._ends_at == pytest.approx(began + 60.0, abs=0.1)
        assert auth._known is not None
        assert auth._known.token.expires_at is not None
        assert auth._known.token.expires_at.timestamp() == pytest.approx(virtual_clock().wall() + 40.0, abs=0.1)


@pytest.mark.virtual_time
@pytest.mark.parametrize("seconds", [12.0, 31.0])
async def test_a_code_is_redeemed_once_however_long_it_takes(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr(redemption, "_clock", virtual_clock())
    async with strict_sandbox() as sandbox:
        server, store = sandbox.authorization, MemoryTokenStore()
        consent = await begin_consent(server.client_id, REDIRECT, issuer=sandbox.issuer, transport=sandbox.transport)
        async with httpx.AsyncClient(transport=sandbox.transport) as browser:
            callback = (await browser.get(consent.url)).headers["location"]
        sandbox.fault(Fault("delay", operation="token", seconds=seconds, applied=True))
        finishing = finish_consent(
            consent,
            callback,
            client_id=server.client_id,
            client_secret=server.client_secret,
            account="acme",
            store=store,
            transport=sandbox.transport,
        )
        if seconds < token_endpoint.ANSWER_TIMEOUT:
            await finishing
            stored = await store.load(store_key(sandbox.token_url, server.client_id, "acme"))
            assert stored is not None
            assert server.is_live(stored.token.refresh_token or "")
        else:
            with pytest.raises(TokenRefreshError, match="gave no answer in 30 s"):
                await finishing
        assert len(server.requests) == 1


# -- broken connections --

GRANT = b'{"access_token": "access", "refresh_token": "second", "expires_in": 3600, "token_type": "Bearer"}'


async def fault_oauth2(server: FaultServer) -> OAuth2:
    return OAuth2(
        "client",
        "secret of the client",
        account="acme",
        store=MemoryTokenStore(),
        refresh_token="first",
        token_url=f"{server.url}/token",
    )


async def test_after_a_reset_it_is_sent_once_more() -> None:
    async with FaultServer(reset, reply(200, GRANT)) as server:
        assert await (await fault_oauth2(server)).token() == "access"
        assert len(server.requests) == 2
    async with FaultServer(reset) as server:
        with pytest.raises(TokenRefreshError, match="the connection to the token endpoint broke"):
            await (await fault_oauth2(server)).token()
        assert len(server.requests) == 2


async def test_an_answer_that_is_cut_behind_the_refresh_token_costs_nothing() -> None:
    cut = b'{"refresh_token": "second", "access_token": "acc'

    async def cut_short(request: Request) -> None:
        await request.write(head(200, 1000) + cut)
        request.close()

    async with FaultServer(cut_short, reply(200, GRANT.replace(b"second", b"third"))) as server:
        assert await (await fault_oauth2(server)).token() == "access"
        assert [request.body.partition(b"refresh_token=")[2] for request in server.requests] == [b"first", b"second"]


async def test_an_answer_whose_end_never_comes_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_endpoint, "ANSWER_TIMEOUT", 0.3)
    async with FaultServer(raw(head(200, 1000) + GRANT, then="stall")) as server:
        assert await (await fault_oauth2(server)).token() == "access"
        assert len(server.requests) == 1


async def test_the_endpoint_is_not_asked_for_gzip() -> None:
    async with FaultServer(reply(200, GRANT)) as server:
        await (await fault_oauth2(server)).token()
        assert server.requests[0].headers["accept-encoding"] == "identity"


# -- a loop that stands still --


class ThreadedServer:
    """A server with a loop of its own, which goes on while the test's stands still."""

    def __init__(self, context: ssl.SSLContext | None) -> None:
        self.bodies: list[bytes] = []
        self.answered = threading.Event()
        self._context = context

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        headers = await reader.readuntil(b"\r\n\r\n")
        length = int(headers.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        self.bodies.append(await reader.readexactly(length))
        answer = head(200, len(GRANT)) + GRANT
        writer.write(answer[:50])  # in pieces, as they come
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.write(answer[50:])
        await writer.drain()
        self.answered.set()
        await reader.read()
        writer.close()

    async def _run(self, port: Future[int]) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._context)
        port.set_result(server.sockets[0].getsockname()[1])
        await self._over.wait()
        server.close()

    @contextmanager
    def running(self) -> Iterator[str]:
        port: Future[int] = Future()
        thread = threading.Thread(target=asyncio.run, args=(self._run(port),))
        thread.start()
        try:
            yield f"http{'s' if self._context else ''}://127.0.0.1:{port.result(10)}/token"
        finally:
            self._loop.call_soon_threadsafe(self._over.set)
            thread.join()


@pytest.mark.parametrize("secure", [False, True])
async def test_what_arrived_while_the_loop_stood_still_is_read(
    monkeypatch: pytest.MonkeyPatch, *, secure: bool
) -> None:
    monkeypatch.setattr(token_endpoint, "ANSWER_TIMEOUT", 0.5)
    server = ThreadedServer(server_context() if secure else None)
    with server.running() as url:
        auth = OAuth2(
            "client",
            "secret of the client",
            account="acme",
            store=MemoryTokenStore(),
            refresh_token="first",
            token_url=url,
            ssl_context=client_context() if secure else None,
        )
        asking = asyncio.create_task(auth.token())
        while not server.bodies:
            await asyncio.sleep(0.001)
        server.answered.wait(10)
        time.sleep(0.7)  # noqa: ASYNC251 - that is the point
        assert await asking == "access"
        assert len(server.bodies) == 1


# -- many accounts --


@pytest.mark.virtual_time
async def test_in_an_outage_nobody_waits_for_all_the_others() -> None:
    async with strict_sandbox() as sandbox:
        seeds = [sandbox.authorization.new_grant(str(number)) for number in range(200)]
        auths = [oauth2(sandbox, account=str(number), refresh_token=seed) for number, seed in enumerate(seeds)]
        sandbox.fault(Fault("delay", operation="token", seconds=1000.0, times=1000))
        began = now()
        ends = await asyncio.gather(*(auth.token() for auth in auths), return_exceptions=True)
        assert {type(end) for end in ends} == {TokenRefreshError}
        assert now() - began < 65
        assert 24 <= len(sandbox.authorization.requests) <= 48


@pytest.mark.virtual_time
async def test_a_long_line_behind_a_slow_endpoint_is_served() -> None:
    async with strict_sandbox() as sandbox:
        seeds = [sandbox.authorization.new_grant(str(number)) for number in range(100)]
        auths = [oauth2(sandbox, account=str(number), refresh_token=seed) for number, seed in enumerate(seeds)]
        sandbox.fault(Fault("delay", operation="token", seconds=12.0, times=1000))
        tokens = await asyncio.gather(*(auth.token() for auth in auths))
        assert all(map(sandbox.authorization.is_live, tokens))
