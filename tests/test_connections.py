"""Connections at rest and at their limits: idle ones go, what else lies in them counts, and descriptors run out."""

import asyncio
import errno
import json
import socket
import ssl
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from brex_accounting import (
    Attempt,
    BrexAccounting,
    MemoryTokenStore,
    OAuth2,
    Outcome,
    RetryPolicy,
    aiohttp_transport,
    errors,
)
from brex_accounting._http import pool, tls
from brex_accounting._http.connection import holds_more, is_closed
from brex_accounting._http.tls import shared_context
from brex_accounting._retry import RetryQuota
from tests.support.calls import CASES, TOKEN, Case
from tests.support.fault_server import JSON, Fault, FaultServer, Request, head, ok, raw, reply
from tests.support.tls import CERTIFICATE, client_context, server_context

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
        assert fake.accepted == 5
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
        async with asyncio.timeout(30.0):
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
    assert is_closed(object())


async def test_a_pool_of_the_callers_throws_such_a_connection_away() -> None:
    async with server(raw(ANSWER + OTHERS), ok) as fake, client(fake.url, transport=httpx.AsyncHTTPTransport) as brex:
        with pytest.raises(errors.InvalidResponseError):
            await burst(brex, 1)
        await burst(brex, 1)
        assert [request.connection for request in fake.requests] == [1, 2]


# aiohttp skips empty lines, which are not a part of an answer, before anybody sees them.
SEEN_ON_AIOHTTP = pytest.mark.parametrize(
    "surplus", [b"H", OTHERS[:30], OTHERS, ANSWER], ids=["a byte", "a part", "an answer", "the same"]
)


@TLS
@SEEN_ON_AIOHTTP
async def test_an_answer_with_something_behind_it_on_aiohttp(surplus: bytes, tls: bool) -> None:
    fake = server(raw(ANSWER + surplus), ok, tls=tls)
    async with fake, client(fake.url, transport=aiohttp_transport) as brex:
        with pytest.raises(errors.InvalidResponseError, match="something more was received") as caught:
            await burst(brex, 1)
        assert caught.value.outcome is Outcome.UNKNOWN
        assert caught.value.attempts == 1
        await burst(brex, 1)
        assert [request.connection for request in fake.requests] == [1, 2]


async def test_what_is_not_http_behind_an_answer_costs_the_answer_on_aiohttp() -> None:
    async with server(raw(ANSWER + b"<html>"), ok) as fake, client(fake.url, transport=aiohttp_transport) as brex:
        await burst(brex, 1)
        assert [request.connection for request in fake.requests] == [1, 2]
        assert len(set(fake.keys)) == 1


@SEEN_ON_AIOHTTP
async def test_what_came_while_nobody_waited_is_not_taken_on_aiohttp(surplus: bytes) -> None:
    async with server() as fake, client(fake.url, transport=aiohttp_transport) as brex:
        await burst(brex, 1)
        await fake.requests[0].write(surplus)
        await asyncio.sleep(0.05)
        await burst(brex, 1)
        assert [request.connection for request in fake.requests] == [1, 2]


# -- given up by the server --------------------------------------------------------------------------------------------


def forgetful(forgotten: set[int]) -> Fault:
    """A load balancer that drops idle connections without a word, and resets what comes on one of them."""

    async def fault(request: Request) -> None:
        if request.connection in forgotten:
            request.reset()
        else:
            await raw(0.01, head(length=len(JSON)), JSON)(request)

    return fault


BOTH = pytest.mark.parametrize("transport", [None, aiohttp_transport], ids=["httpx", "aiohttp"])


@BOTH
@pytest.mark.parametrize("calls", [1, 5, 20, 100])
async def test_connections_that_the_server_has_given_up_cost_no_call_and_no_wait(transport: Any, calls: int) -> None:
    forgotten, attempts = set[int](), list[Attempt]()
    fake = server(forgetful(forgotten))
    async with fake, client(fake.url, transport=transport, on_attempt=attempts.append) as brex:
        await burst(brex, 20)
        forgotten.update(range(1, fake.accepted + 1))
        before = len(fake.requests)
        attempts.clear()
        await burst(brex, calls)
        failed = [attempt for attempt in attempts if attempt.error]
        assert len(failed) == min(calls, 20)
        assert {attempt.retry_in for attempt in failed} == {0.0}
        assert len(set(fake.keys[before:])) == calls
        assert brex._engine.shared.quota.left == RetryQuota.CAPACITY


@BOTH
async def test_a_connection_that_the_server_has_given_up_is_in_doubt(transport: Any) -> None:
    forgotten = set[int]()
    async with server(forgetful(forgotten)) as fake, client(fake.url, transport=transport, retry=ONCE) as brex:
        await burst(brex, 1)
        forgotten.add(1)
        with pytest.raises(errors.ConnectionFailedError) as caught:
            await burst(brex, 1)
        assert caught.value.outcome is Outcome.UNKNOWN


@BOTH
async def test_a_server_that_resets_every_kept_connection_is_asked_on_new_ones(transport: Any) -> None:
    async def fault(request: Request) -> None:
        first = all(other.connection != request.connection for other in fake.requests[:-1])
        if first:
            await ok(request)
        else:
            request.reset()

    attempts = list[Attempt]()
    fake = server(fault)
    async with fake, client(fake.url, transport=transport, on_attempt=attempts.append) as brex:
        for _ in range(3):
            await burst(brex, 1)
    assert [attempt.status for attempt in attempts] == [200, None, 200, None, 200]


async def test_a_new_connection_to_a_unix_socket_is_not_a_kept_one(tmp_path: Path) -> None:
    async def hang_up(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    path, attempts = str(tmp_path / "s"), list[Attempt]()
    listening = await asyncio.start_unix_server(hang_up, path)
    transport = httpx.AsyncHTTPTransport(uds=path)
    retry = RetryPolicy(max_attempts=2, initial_backoff=0.001)
    brex = client("http://127.0.0.1", transport=transport, retry=retry, on_attempt=attempts.append)
    async with listening, transport, brex:
        with pytest.raises(errors.ConnectionFailedError):
            await burst(brex, 1)
    assert attempts[0].retry_in != 0.0


# -- threads -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transport", [None, aiohttp_transport], ids=["httpx", "aiohttp"])
async def test_closing_the_client_closes_the_connections_of_other_threads(transport: Any) -> None:
    async with server() as fake:
        brex = client(fake.url, transport=transport)
        done, over = threading.Event(), threading.Event()

        async def other() -> None:
            await burst(brex)
            done.set()
            await asyncio.to_thread(over.wait, 30)
            with pytest.raises(errors.ConfigurationError, match="is closed"):
                await burst(brex, 1)

        thread = asyncio.create_task(asyncio.to_thread(asyncio.run, other()))
        await asyncio.to_thread(done.wait, 30)
        await burst(brex)
        assert fake.open == 10
        await brex.aclose()
        await fake.closes_all()
        over.set()
        await thread


# -- SSL contexts ------------------------------------------------------------------------------------------------------


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[bool]:
    """The contexts that are made, for certificates that no other test uses."""
    certificates = tmp_path / "certificates.pem"
    certificates.write_bytes(CERTIFICATE.read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(certificates))
    contexts = list[bool]()

    def create(verify: Any = True, **options: Any) -> ssl.SSLContext:
        if verify is True:
            contexts.append(verify)
        return original(verify, **options)

    original = httpx.create_ssl_context
    monkeypatch.setattr("brex_accounting._http.tls.httpx.create_ssl_context", create)
    return contexts


def over_tls(url: str, **options: Any) -> BrexAccounting:
    return BrexAccounting(TOKEN, base_url=url, rate_limit=None, **options)


async def test_one_context_for_all_clients_and_refreshes(made: list[bool]) -> None:
    grant = json.dumps({"access_token": "bxt_2", "token_type": "Bearer", "expires_in": 3600}).encode()
    async with server(tls=True) as fake, server(reply(200, grant), tls=True) as issuer:
        for transport in (None, aiohttp_transport, None):
            auth = OAuth2(
                "id",
                "secret",
                account="acme",
                store=MemoryTokenStore(),
                refresh_token="seed",
                token_url=f"{issuer.url}/token",
                transport=transport,
            )
            async with BrexAccounting(auth, base_url=fake.url, transport=transport) as brex:
                await burst(brex)
        assert len(issuer.requests) == 3
    assert made == [True]


def test_one_context_for_all_threads(made: list[bool]) -> None:
    with ThreadPoolExecutor(8) as threads:
        contexts = set(threads.map(lambda _: asyncio.run(shared_context()), range(8)))
    assert len(contexts) == len(made) == 1


async def test_other_certificates_are_another_context(made: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    first = await shared_context()
    monkeypatch.setenv("SSL_CERT_FILE", str(CERTIFICATE))
    assert await shared_context() is not first


async def test_the_loop_goes_on_while_the_certificates_are_read(
    made: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    read = threading.Event()
    create = tls.httpx.create_ssl_context

    def slow(*, verify: bool) -> ssl.SSLContext:
        assert read.wait(30)
        return create(verify=verify)

    monkeypatch.setattr("brex_accounting._http.tls.httpx.create_ssl_context", slow)
    waiting = [asyncio.create_task(shared_context()) for _ in range(3)]
    await asyncio.sleep(0.01)
    waiting[0].cancel()  # which takes it from nobody else
    await asyncio.wait(waiting[:1])
    read.set()
    assert await waiting[1] is await waiting[2]
    assert len(made) == 1


async def test_certificates_that_could_not_be_read_are_tried_again(
    made: list[bool], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "later.pem"
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    async with server(tls=True) as fake, over_tls(fake.url) as brex:
        with pytest.raises(errors.ConfigurationError, match="certificates cannot be read"):
            await burst(brex, 1)
        path.write_bytes(CERTIFICATE.read_bytes())
        await burst(brex, 1)


async def test_without_a_thread_the_context_is_made_all_the_same(
    made: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    assert await shared_context() is await shared_context()


@pytest.mark.parametrize("transport", [None, aiohttp_transport], ids=["httpx", "aiohttp"])
async def test_a_context_of_the_callers(transport: Any) -> None:
    async with server(tls=True) as fake:
        async with over_tls(fake.url, transport=transport, retry=ONCE) as brex:
            with pytest.raises(errors.ConnectionFailedError, match="CERTIFICATE_VERIFY_FAILED") as caught:
                await burst(brex, 1)
            assert caught.value.outcome is Outcome.NOT_APPLIED
        async with over_tls(fake.url, transport=transport, ssl_context=client_context()) as brex:
            await burst(brex)


# -- descriptors -------------------------------------------------------------------------------------------------------

SCRIPT = """
import asyncio, logging, os, resource
from brex_accounting import BrexAccounting, Outcome, RetryPolicy, aiohttp_transport, errors

logging.getLogger("asyncio").setLevel("ERROR")  # not how long a callback took
resource.setrlimit(resource.RLIMIT_NOFILE, (100, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

def client():
    retry = RetryPolicy.none()
    return BrexAccounting("bxt_12345678", base_url={url!r}, retry=retry, rate_limit=None, transport={transport})

async def some(brex, calls):
    await asyncio.gather(*(brex.integrations.create("ERP_A", "acct-42") for _ in range(calls)))

def use_up():
    taken = []
    try:
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    except OSError:
        return taken

{body}
"""


async def in_want_of_descriptors(body: str, transport: str = "None") -> None:
    async with server(raw(0.02, head(length=len(JSON)), JSON)) as fake:
        script = SCRIPT.format(url=fake.url, transport=transport, body=body)
        done = await asyncio.create_subprocess_exec(
            sys.executable, "-X", "dev", "-W", "error", "-c", script, stderr=asyncio.subprocess.PIPE
        )
        _, problems = await done.communicate()
    assert (done.returncode, problems.decode()) == (0, "")


@pytest.mark.parametrize("transport", ["None", "aiohttp_transport"])
async def test_idle_connections_of_other_clients_give_way(transport: str) -> None:
    await in_want_of_descriptors(
        """
async def main():
    async with client() as first, client() as second:
        await some(first, 20)
        use_up()
        await some(second, 15)

asyncio.run(main())
""",
        transport,
    )


@pytest.mark.parametrize("transport", ["None", "aiohttp_transport"])
async def test_descriptors_that_are_used_up_are_named(transport: str) -> None:
    await in_want_of_descriptors(
        """
async def main():
    async with client() as first:
        await some(first, 20)
    async with client() as second:
        taken = use_up()
        try:
            await some(second, 1)
        except errors.ConnectionFailedError as error:
            assert "too many open files: this process has used up its file descriptors" in str(error), error
            assert "raise the limit of open files (ulimit -n)" in str(error), error
            assert error.outcome is Outcome.NOT_APPLIED
        else:
            raise AssertionError
        for descriptor in taken:
            os.close(descriptor)
        await some(second, 20)

asyncio.run(main())
""",
        transport,
    )


async def test_a_name_that_cannot_be_looked_up_without_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(*args: object, **options: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    def no_more(*args: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    async with BrexAccounting(TOKEN, base_url="https://api.test", retry=ONCE) as brex:
        with pytest.raises(errors.ConnectionFailedError, match="Temporary failure in name resolution"):
            await burst(brex, 1)
        monkeypatch.setattr("brex_accounting._http.failures.os.open", no_more)
        with pytest.raises(errors.ConnectionFailedError, match="too many open files"):
            await burst(brex, 1)
