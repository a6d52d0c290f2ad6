"""The rim, against a raw server that misbehaves: what goes out, what comes back, and that no connection is lost."""

import asyncio
import codecs
import gc
import gzip
import json
import logging
import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
import traceback
import tracemalloc
import zlib
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

import brex_accounting
import brex_accounting_api
from brex_accounting import BrexAccounting, ExportFailed, Outcome, RetryPolicy, aiohttp_transport, errors
from brex_accounting._http.body import MAX_BODY, Body
from tests.support.calls import CASES, EVERYTHING, INTEGRATION, TOKEN, Case
from tests.support.fault_server import (
    JSON,
    Fault,
    FaultServer,
    Request,
    chunked,
    close,
    closed_port,
    drip,
    gzip_of_zeros,
    head,
    never_accepting,
    ok,
    raw,
    reply,
    reset,
    stall,
)
from tests.support.leaks import assert_holds_no

BOTH = pytest.mark.parametrize("transport", [None, aiohttp_transport], ids=["httpx", "aiohttp"])
AT_ONCE = RetryPolicy(max_attempts=2, initial_backoff=0.0)
ONCE = RetryPolicy.none()


def client(url: str, **options: Any) -> BrexAccounting:
    usual: dict[str, Any] = {"base_url": url, "timeout": 30.0, "retry": AT_ONCE, "rate_limit": None}
    return BrexAccounting(TOKEN, **usual | options)


async def error_of(brex: BrexAccounting, case: Case = CASES[0]) -> Any:
    with pytest.raises(errors.BrexError) as caught:
        await case.call(brex._engine, None)
    return caught.value


async def create(brex: BrexAccounting) -> None:
    assert (await brex.integrations.create("ERP_A", "acct-42")).id == "int_1"


# -- what goes out -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", ["", "/", "/brex/v9", "/brex/v9/"])
@BOTH
async def test_a_request(base: str, transport: Any) -> None:
    async with FaultServer() as server, client(server.url + base, transport=transport) as brex:
        await brex.integrations.create("ERP_A", "acct-42", idempotency_key="my key")
        with pytest.raises(errors.InvalidResponseError):  # the answer is about another integration
            await brex.integrations.disconnect("a/b c")
    create, disconnect = server.requests
    assert (create.method, create.target) == ("POST", base.rstrip("/") + "/v3/accounting/integration")
    assert json.loads(create.body) == {"vendor": "ERP_A", "vendor_account_id": "acct-42"}
    assert create.headers == {
        "host": server.url.removeprefix("http://"),
        "accept": "application/json",
        "accept-encoding": "gzip",
        "user-agent": f"brex-accounting/{brex_accounting.__version__}",
        "authorization": f"Bearer {TOKEN}",
        "idempotency-key": "my key",
        "content-type": "application/json",
        "content-length": str(len(create.body)),
    }
    assert disconnect.target == base.rstrip("/") + "/v3/accounting/integration/a%2Fb%20c/disconnect"
    assert disconnect.headers["content-length"] == "0"


@BOTH
async def test_cookies_are_not_kept(transport: Any) -> None:
    async with FaultServer(reply(set_cookie="session=1")) as server, client(server.url, transport=transport) as brex:
        await create(brex)
        await create(brex)
    assert ["cookie" in request.headers for request in server.requests] == [False, False]


# -- what an answer may be ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Odd:
    """A fault that stays, and what a call makes of it."""

    fault: Fault
    kind: type[errors.BrexError] = errors.InvalidResponseError
    doubt: bool = True
    retried: bool = True
    ends_late: bool = False
    says: str = ""
    status: int | None = None
    length: int | None = None

    @property
    def timeout(self) -> float:
        """Seconds for an attempt: few, if it is to be given up."""
        return 0.25 if self.kind is errors.CallTimeoutError or self.ends_late else 30.0


HTML = b"<html>\x1b[31m\x00\n<h1>canary in the body</h1></html>"
ZIPPED = gzip.compress(JSON)
PLAIN = ["", "identity", "Identity", "none", "utf-8", "UTF8", "identity, utf-8"]
"""What servers say of a body that is not encoded."""
ODD = {
    "reset": Odd(reset, errors.ConnectionFailedError, says="ReadError"),
    "closed": Odd(close, errors.ConnectionFailedError, says="Server disconnected without sending a response"),
    "closed in the head": Odd(raw(head()[:20], then="close"), errors.ConnectionFailedError),
    "stalled": Odd(stall, errors.CallTimeoutError, says="no answer in time"),
    "stalled in the head": Odd(raw(head()[:20], then="stall"), errors.CallTimeoutError),
    "stalled in the body": Odd(raw(head(length=9), b"{", then="stall"), errors.CallTimeoutError),
    "dripping head": Odd(drip(b"HTTP/1.1 200 OK\r\n", b"X: 1\r\n", 0.05), errors.CallTimeoutError),
    "dripping body": Odd(drip(head(length=10**6), b" ", 0.05), errors.CallTimeoutError),
    "dripping chunks": Odd(drip(head(transfer_encoding="chunked"), b"1\r\n \r\n", 0.05), errors.CallTimeoutError),
    "endless early hints": Odd(drip(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n", 0.05), errors.CallTimeoutError),
    "no HTTP": Odd(raw(b"220 smtp.example ESMTP\r\n\r\n", then="close"), errors.ConnectionFailedError),
    "a body and no head": Odd(raw(b'{"memo": "canary"}\r\n\r\n', then="close"), errors.ConnectionFailedError),
    "a body in the head": Odd(
        raw(b'HTTP/1.1 200 OK\r\n{"memo": "canary"}\r\n\r\n', then="close"), errors.ConnectionFailedError
    ),
    "a head without end": Odd(drip(b"HTTP/1.1 200 OK\r\n", b"X: 1\r\n" * 10_000, 0.0), errors.ConnectionFailedError),
    "two lengths": Odd(
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}"), errors.ConnectionFailedError
    ),
    "reset in the body": Odd(raw(head(length=90), JSON[:9], then="reset"), says="cut short", status=200, length=9),
    "cut short of its length": Odd(
        raw(head(length=len(JSON) + 1), JSON, then="close"), says="cut short", status=200, length=len(JSON)
    ),
    "cut chunks": Odd(raw(chunked(JSON, end=b""), then="close"), says="cut short", status=200, length=len(JSON)),
    "odd chunks": Odd(raw(head(transfer_encoding="chunked"), b"xyz\r\n{}"), says="cut short", status=200, length=0),
    "cut without a length": Odd(raw(head(), JSON[:-9], then="close"), status=200, length=len(JSON) - 9),
    "longer than its length": Odd(raw(head(length=len(JSON) - 9), JSON), status=200, length=len(JSON) - 9),
    "HTML": Odd(reply(200, HTML, "text/html"), says=f"text/html, {len(HTML)} bytes", status=200, length=len(HTML)),
    "HTML that calls itself JSON": Odd(
        reply(200, HTML), says=f"application/json, {len(HTML)} bytes", status=200, length=len(HTML)
    ),
    "JSON that calls itself text": Odd(reply(200, JSON, "text/plain"), status=200, length=len(JSON)),
    "empty": Odd(reply(200, b""), says="empty", status=200, length=0),
    "no content": Odd(raw(b"HTTP/1.1 204 No Content\r\n\r\n"), says="empty", status=204, length=0),
    "broken gzip": Odd(
        reply(200, ZIPPED[:10] + b"\xff" * 20, content_encoding="gzip"), says="cannot be decompressed", status=200
    ),
    "gzip with a wrong sum": Odd(
        reply(200, ZIPPED[:-8] + bytes(8), content_encoding="gzip"), says="cannot be decompressed", status=200
    ),
    "gzip that is none": Odd(reply(200, JSON, content_encoding="gzip"), says="cannot be decompressed", length=0),
    "gzip cut short": Odd(reply(200, ZIPPED[:-9], content_encoding="gzip"), says="cut short", status=200),
    "gzip of two members, cut short": Odd(
        reply(200, gzip.compress(JSON[:9]) + gzip.compress(JSON[9:])[:-9], content_encoding="gzip"),
        says="cut short",
        status=200,
    ),
    "gzip and more": Odd(
        reply(200, ZIPPED + b"more", content_encoding="gzip"), says="cannot be decompressed", status=200
    ),
    "gzip cut short of its sum": Odd(reply(200, ZIPPED[:-4], content_encoding="gzip"), says="cut short", status=200),
    "deflate": Odd(reply(200, zlib.compress(JSON), content_encoding="deflate"), says="not asked for", status=200),
    "gzip twice": Odd(
        reply(200, gzip.compress(gzip_of_zeros(99)), content_encoding="gzip, gzip"), says="not asked for", status=200
    ),
    "another shape": Odd(reply(200, b'{"id": 7}'), retried=False, says="$.id", status=200, length=9),
    "an array": Odd(reply(200, b"[]"), retried=False, status=200, length=2),
    "redirect": Odd(reply(307, b"", location="/elsewhere"), retried=False, says="not followed", status=307, length=0),
    "redirect abroad": Odd(reply(302, HTML, "text/html", location="https://evil.test/"), retried=False, status=302),
    "switching protocols": Odd(raw(b"HTTP/1.1 101 Whatever\r\nUpgrade: x\r\n\r\n"), errors.ConnectionFailedError),
    "520": Odd(reply(520, HTML, "text/html"), errors.ServerError, says="520: <html> [31m <h1>", status=520),
    "999": Odd(reply(999, b""), errors.ServerError, status=999),
    "503 cut short": Odd(raw(head(503, 90), JSON[:9], then="close"), errors.ServerError, status=503),
    "503 and stalled": Odd(raw(head(503, 90), b"{", then="stall"), errors.ServerError, ends_late=True, status=503),
    "503 and broken gzip": Odd(reply(503, HTML, content_encoding="gzip"), errors.ServerError, status=503),
    "429 HTML": Odd(reply(429, HTML, "text/html"), errors.RateLimitedError, doubt=False, status=429),
    "400 cut short": Odd(
        raw(head(400, 90), b'{"message', then="reset"), errors.BadRequestError, doubt=False, retried=False, status=400
    ),
    "403 and stalled": Odd(
        raw(head(403, 90), b"{", then="stall"),
        errors.ForbiddenError,
        doubt=False,
        retried=False,
        ends_late=True,
        status=403,
    ),
}


ON_AIOHTTP = {
    # It reads the head together with what follows, and gives neither where that makes no sense.
    "odd chunks": Odd(ODD["odd chunks"].fault, errors.ConnectionFailedError, says="not HTTP"),
    "longer than its length": Odd(ODD["longer than its length"].fault, errors.ConnectionFailedError, says="not HTTP"),
    "switching protocols": Odd(ODD["switching protocols"].fault, retried=False, status=101),
}


@pytest.mark.parametrize(
    ("case", "transport"),
    [(CASES[0], None), (CASES[-1], None), (CASES[0], aiohttp_transport)],
    ids=["httpx, write", "httpx, read", "aiohttp, write"],
)
@pytest.mark.parametrize("name", ODD)
async def test_an_odd_answer(name: str, case: Case, transport: Any, caplog: pytest.LogCaptureFixture) -> None:
    odd = ODD[name] if transport is None else ON_AIOHTTP.get(name, ODD[name])
    with caplog.at_level(logging.DEBUG, logger="brex_accounting"):
        async with (
            FaultServer(odd.fault) as server,
            client(server.url, transport=transport, timeout=odd.timeout) as brex,
        ):
            error = await error_of(brex, case)
            await server.closes_all(left=1)
        await server.closes_all()
    assert type(error) is odd.kind
    assert error.outcome is (Outcome.UNKNOWN if odd.doubt and not case.safe else Outcome.NOT_APPLIED)
    assert error.attempts == len(server.requests) == (2 if odd.retried else 1)
    assert {error.idempotency_key} == set(server.keys)
    assert odd.says in str(error)
    assert str(error).isprintable()
    assert odd.status in {None, getattr(error, "status", None)}
    assert odd.length in {None, getattr(error, "length", None)}
    assert_holds_no(TOKEN, error)
    assert TOKEN not in caplog.text
    shown = getattr(error, "message", "") if isinstance(error, errors.APIError) else ""
    assert ("canary" in str(error)) is ("canary" in shown)
    assert "canary" not in caplog.text


@pytest.mark.parametrize("case", [case for case in CASES if case.operation != "getAccountingRecord"], ids=str)
@pytest.mark.parametrize(
    "fault",
    {
        "chunked": raw(chunked(JSON)),
        "one byte a chunk": raw(head(transfer_encoding="chunked"), *[b"1\r\n%c\r\n" % c for c in JSON], b"0\r\n\r\n"),
        "without a length": raw(head(), JSON, then="close"),
        "gzip": reply(200, ZIPPED, content_encoding="gzip"),
        "gzip, one byte a chunk": raw(
            head(transfer_encoding="chunked", content_encoding="GZip "),
            *[b"1\r\n%c\r\n" % c for c in ZIPPED],
            b"0\r\n\r\n",
        ),
        "gzip, padded": reply(200, ZIPPED + bytes(100), content_encoding="gzip"),
        "gzip of two members": reply(200, gzip.compress(JSON[:9]) + gzip.compress(JSON[9:]), content_encoding="gzip"),
        "gzip of many members, one byte a chunk": raw(
            head(transfer_encoding="chunked", content_encoding="gzip"),
            *[b"1\r\n%c\r\n" % c for c in gzip.compress(JSON[:9]) + gzip.compress(b"") + gzip.compress(JSON[9:])],
            b"0\r\n\r\n",
        ),
        "x-gzip": reply(200, ZIPPED, content_encoding="X-GZip"),
        "gzip that counts as identity too": reply(200, ZIPPED, content_encoding="identity, gzip"),
        **{f"encoded as {name!r}": reply(200, JSON, content_encoding=name) for name in PLAIN},
        "with a byte order mark": reply(200, codecs.BOM_UTF8 + JSON),
        "with a byte order mark, in gzip": reply(200, gzip.compress(codecs.BOM_UTF8 + JSON), content_encoding="gzip"),
        "after 100": raw(b"HTTP/1.1 100 Continue\r\n\r\n", head(length=len(JSON)), JSON),
        "after hints": raw(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" * 9, head(length=len(JSON)), JSON),
        "HTTP/1.0": raw(b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n", JSON, then="close"),
        "201": reply(201),
        "another JSON": reply(200, JSON, "application/hal+json; charset=utf-8"),
        "untyped": raw(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(JSON), JSON),
        "a field and a status more": reply(200, json.dumps(EVERYTHING | {"status": "NEW", "more": [1]}).encode()),
    }.items(),
    ids=lambda item: item[0],
)
@BOTH
async def test_an_answer_that_can_be_understood(fault: tuple[str, Fault], case: Case, transport: Any) -> None:
    async with FaultServer(fault[1]) as server, client(server.url, retry=ONCE, transport=transport) as brex:
        assert case.sum_up(await case.call(brex._engine, None)) == case.expected


async def test_unknown_values_stay_readable() -> None:
    body = json.dumps(INTEGRATION | {"status": "PAUSED", "more": {"amount": 1}}).encode()
    async with FaultServer(reply(200, body)) as server, client(server.url) as brex:
        integration = await brex.integrations.reactivate("int_1")
    assert integration.status == "PAUSED"
    assert integration.unknown_fields == {"more": {"amount": 1}}


# -- was it sent? ------------------------------------------------------------------------------------------------------

NUMBER_OR_PHASES = pytest.mark.parametrize("limit", [float, httpx.Timeout], ids=["number", "phases"])


@NUMBER_OR_PHASES
@pytest.mark.parametrize(
    ("where", "kind"),
    [(closed_port, errors.ConnectionFailedError), (never_accepting, errors.CallTimeoutError)],
)
@BOTH
async def test_no_connection(
    where: Callable[[], AbstractContextManager[str]], kind: type[errors.BrexError], limit: Any, transport: Any
) -> None:
    seconds = 0.2 if kind is errors.CallTimeoutError else 30.0
    with where() as url:
        async with client(url, timeout=limit(seconds), transport=transport) as brex:
            error = await error_of(brex)
    assert (type(error), error.outcome, error.attempts) == (kind, Outcome.NOT_APPLIED, 2)


@NUMBER_OR_PHASES
@BOTH
async def test_a_name_that_is_not_found(monkeypatch: pytest.MonkeyPatch, limit: Any, transport: Any) -> None:
    def getaddrinfo(*args: object, **options: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    async with client("https://no-such-name.test", timeout=limit(30.0), transport=transport) as brex:
        error = await error_of(brex)
    assert (type(error), error.outcome) == (errors.ConnectionFailedError, Outcome.NOT_APPLIED)
    assert "Name or service not known" in str(error)


@NUMBER_OR_PHASES
@BOTH
async def test_a_name_that_is_looked_up_for_too_long(
    monkeypatch: pytest.MonkeyPatch, limit: Any, transport: Any
) -> None:
    over = threading.Event()

    def getaddrinfo(*args: object, **options: object) -> list[object]:
        over.wait(30)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    async with client("https://slow-name.test", timeout=limit(0.2), retry=ONCE, transport=transport) as brex:
        error = await error_of(brex)
        over.set()
    assert (type(error), error.outcome) == (errors.CallTimeoutError, Outcome.NOT_APPLIED)


@BOTH
async def test_a_name_that_no_resolver_takes(transport: Any) -> None:
    async with client(f"https://{'a' * 64}.test", transport=transport) as brex:
        error = await error_of(brex)
    assert (type(error), error.outcome) == (errors.ConnectionFailedError, Outcome.NOT_APPLIED)


@NUMBER_OR_PHASES
@BOTH
async def test_a_server_without_tls(limit: Any, transport: Any) -> None:
    async def plain(request: Request) -> None:
        await request.reader.read(1)
        await request.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with (
        FaultServer(talk=plain) as server,
        client(f"https://127.0.0.1:{server.port}", timeout=limit(30.0), transport=transport) as brex,
    ):
        error = await error_of(brex)
        await server.closes_all()
    assert (type(error), error.outcome) == (errors.ConnectionFailedError, Outcome.NOT_APPLIED)
    assert "SSL" in str(error)


@NUMBER_OR_PHASES
@BOTH
async def test_a_tls_handshake_that_stalls(limit: Any, transport: Any) -> None:
    async with (
        FaultServer(talk=stall) as server,
        client(f"https://127.0.0.1:{server.port}", timeout=limit(0.2), transport=transport) as brex,
    ):
        error = await error_of(brex)
        await server.closes_all()
    assert (type(error), error.outcome) == (errors.CallTimeoutError, Outcome.NOT_APPLIED)
    assert server.accepted == 2


TUNNEL = raw(b"HTTP/1.1 200 Connection established\r\n\r\n", then="stall")


@NUMBER_OR_PHASES
@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (reply(407, b""), errors.ConnectionFailedError),
        (reset, errors.ConnectionFailedError),
        (close, errors.ConnectionFailedError),
        (stall, errors.CallTimeoutError),
        (TUNNEL, errors.CallTimeoutError),
    ],
)
@pytest.mark.parametrize("scheme", ["http://", ""])
@BOTH
async def test_a_proxy_that_does_not_lead_on(
    monkeypatch: pytest.MonkeyPatch,
    fault: Fault,
    kind: type[errors.BrexError],
    *,
    limit: Any,
    scheme: str,
    transport: Any,
) -> None:
    seconds = 0.2 if kind is errors.CallTimeoutError else 30.0
    async with FaultServer(fault) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", f"{scheme}user:canary@127.0.0.1:{proxy.port}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        async with client("https://api.test", timeout=limit(seconds), transport=transport) as brex:
            error = await error_of(brex)
        await proxy.closes_all()
    assert {(request.method, request.target) for request in proxy.requests} == {("CONNECT", "api.test:443")}
    assert "authorization" not in proxy.requests[0].headers
    assert (type(error), error.outcome) == (kind, Outcome.NOT_APPLIED)
    assert_holds_no("canary", error)


async def test_no_proxy_for_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    async with FaultServer() as server:
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
        async with client(server.url, retry=ONCE) as brex:
            await create(brex)


# -- time --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "deadline", "least"), [(0.2, 60.0, 0.2), (httpx.Timeout(30.0), 0.5, 0.5), (60.0, 0.3, 0.3)]
)
@BOTH
async def test_a_body_that_drips_ends_in_time(limit: Any, deadline: float, least: float, transport: Any) -> None:
    policy = RetryPolicy(max_attempts=1, deadline=deadline)
    fault = drip(head(length=10**6), b" ", 0.05)
    async with (
        FaultServer(fault) as server,
        client(server.url, timeout=limit, retry=policy, transport=transport) as brex,
    ):
        began = time.monotonic()
        error = await error_of(brex)
        assert least <= time.monotonic() - began < 30.0
        assert (type(error), error.outcome) == (errors.CallTimeoutError, Outcome.UNKNOWN)
        await server.closes_all()


# -- size --------------------------------------------------------------------------------------------------------------


def peak_of(body: bytes, encoding: str | None) -> Any:
    """Feed a body as the network does; the peak of the memory that it takes, and what was made of it."""
    gc.collect()
    tracemalloc.start()
    try:
        taken = Body(encoding)
        for start in range(0, len(body), 65536):
            taken.feed(body[start : start + 65536])
            if taken.too_large:
                break
        return tracemalloc.get_traced_memory()[1], taken
    finally:
        tracemalloc.stop()


def test_a_bomb_takes_no_more_memory_than_the_limit() -> None:
    peak, taken = peak_of(gzip_of_zeros(2000), "gzip")
    assert taken.too_large
    assert taken.content == b""
    assert peak < 2 * MAX_BODY


def test_a_compressed_body_that_never_ends_is_too_large() -> None:
    nothing = zlib.compressobj(wbits=31)
    body = nothing.compress(b"") + nothing.flush(zlib.Z_SYNC_FLUSH) * (MAX_BODY // 5 + 1)
    taken = peak_of(body, "gzip")[1]
    assert taken.too_large
    assert taken.content == b""


@pytest.mark.parametrize("encoding", [None, "gzip"])
@pytest.mark.parametrize("beyond", [0, 1])
def test_the_limit_is_exact(beyond: int, encoding: str | None) -> None:
    body = bytes(MAX_BODY + beyond)
    taken = peak_of(body if encoding is None else gzip.compress(body, 1), encoding)[1]
    assert taken.too_large is bool(beyond)
    assert taken.content == (b"" if beyond else body)


@pytest.mark.parametrize("status", [200, 400, 503])
@pytest.mark.parametrize(
    "start",
    [head(content_encoding="gzip") + gzip_of_zeros(100), head(length=MAX_BODY + 1), head()],
    ids=["gzip", "length", "endless"],
)
async def test_an_answer_that_is_too_large_ends_the_call(start: bytes, status: int) -> None:
    async def fault(request: Request) -> None:
        await request.write(start.replace(b"200", b"%d" % status, 1))
        while True:
            await request.write(bytes(1024 * 1024))

    async with FaultServer(fault) as server, client(server.url, timeout=30.0) as brex:
        error = await error_of(brex)
        assert (type(error), error.outcome) == (errors.InvalidResponseError, Outcome.UNKNOWN)
        assert (error.attempts, error.status, error.length) == (1, status, MAX_BODY + 1)
        assert "larger than 64 MiB" in str(error)
        await server.closes_all()


# -- connections -------------------------------------------------------------------------------------------------------


@BOTH
async def test_connections_are_kept_and_never_more_than_max_connections(transport: Any) -> None:
    slow = raw(0.002, head(length=len(JSON)), JSON)
    async with (
        FaultServer(slow) as server,
        client(server.url, timeout=10.0, max_connections=7, transport=transport) as brex,
    ):
        await asyncio.gather(*(create(brex) for _ in range(300)))
        assert (server.accepted, server.open, server.most) == (7, 7, 7)
        for _ in range(20):
            await create(brex)
        assert server.accepted == 7
    await server.closes_all()


@BOTH
async def test_one_call_after_the_other_takes_one_connection(transport: Any) -> None:
    async with (
        FaultServer(ok, reply(404, b"{}"), reply(429, b"{}"), reply(503, b""), ok) as server,
        client(server.url, transport=transport) as brex,
    ):
        for _ in range(4):
            await asyncio.gather(create(brex), return_exceptions=True)
        assert server.accepted == 1


@pytest.mark.parametrize(
    "name", [name for name, odd in ODD.items() if odd.kind not in {errors.ServerError, errors.RateLimitedError}]
)
@BOTH
async def test_a_connection_with_an_odd_answer_is_not_used_again(name: str, transport: Any) -> None:
    options = {"retry": ONCE, "transport": transport, "timeout": ODD[name].timeout}
    async with FaultServer(ODD[name].fault, ok) as server, client(server.url, **options) as brex:
        await error_of(brex)
        await create(brex.with_options(timeout=30.0))
        assert [request.connection for request in server.requests] == [1, 2]
        await server.closes_all(left=1)


@BOTH
async def test_a_connection_that_the_server_closed_while_it_was_idle(transport: Any) -> None:
    async with (
        FaultServer(raw(head(length=len(JSON)), JSON, then="close")) as server,
        client(server.url, retry=ONCE, transport=transport) as brex,
    ):
        for _ in range(3):
            await create(brex)
            await server.closes_all()
        assert server.accepted == 3


@BOTH
async def test_a_connection_that_the_server_closes_as_the_request_comes(transport: Any) -> None:
    async with FaultServer(ok, close, ok) as server, client(server.url, transport=transport) as brex:
        await create(brex)
        await create(brex)
        assert [request.connection for request in server.requests] == [1, 1, 2]
        assert len(set(server.keys[1:])) == 1


CANCELLED_IN = {
    "the answer": stall,
    "the head": raw(head()[:20], then="stall"),
    "the body": raw(head(length=90), b"{", then="stall"),
    "the dripping body": drip(head(length=10**6), b" ", 0.01),
    "the gzip": raw(head(length=10**6, content_encoding="gzip"), ZIPPED[:20], then="stall"),
}


@pytest.mark.parametrize("name", CANCELLED_IN)
@BOTH
async def test_cancelled_in(name: str, transport: Any) -> None:
    async with FaultServer(*[CANCELLED_IN[name]] * 5, ok) as server:
        async with client(server.url, timeout=30.0, max_connections=3, transport=transport) as brex:
            calls = [asyncio.create_task(create(brex)) for _ in range(5)]
            await server.received(3)
            server.faults = [ok]
            for call in calls:
                call.cancel()
            await asyncio.wait(calls, timeout=20.0)  # at once, and not when their time is over
            assert all(call.cancelled() for call in calls)
            await server.closes_all()
            await asyncio.gather(*(create(brex) for _ in range(20)))
            assert server.open == 3
        await server.closes_all()
        assert len(asyncio.all_tasks()) == 1


@BOTH
async def test_cancelled_as_it_connects(transport: Any) -> None:
    with never_accepting() as url:
        async with client(url, timeout=30.0, transport=transport) as brex:
            call = asyncio.create_task(create(brex))
            await asyncio.sleep(0.05)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
    assert len(asyncio.all_tasks()) == 1


# -- closing -----------------------------------------------------------------------------------------------------------


@BOTH
async def test_closed_while_calls_are_on_the_wire(transport: Any) -> None:
    async with FaultServer(raw(0.1, head(length=len(JSON)), JSON)) as server:
        brex = client(server.url, max_connections=2, timeout=5.0, transport=transport)
        calls = [asyncio.create_task(create(brex)) for _ in range(5)]
        await server.received(2)
        await brex.aclose()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(result) for result in results] == [type(None)] * 2 + [errors.ConfigurationError] * 3
        assert len(server.requests) == 2
        await server.closes_all()
    assert len(asyncio.all_tasks()) == 1


@BOTH
async def test_a_close_that_is_cancelled_closes_all_the_same(transport: Any) -> None:
    async with FaultServer(raw(0.05, head(length=len(JSON)), JSON)) as server:
        brex = client(server.url, max_connections=5, transport=transport)
        await asyncio.gather(*(create(brex) for _ in range(5)))
        closing = asyncio.create_task(brex.aclose())
        await asyncio.sleep(0)
        closing.cancel()
        await asyncio.wait([closing])
        await server.closes_all()


async def test_a_transport_that_does_not_like_to_be_closed() -> None:
    class Stubborn(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, json=INTEGRATION)

        async def aclose(self) -> None:
            raise RuntimeError("no")

    async with client("https://api.test", transport=Stubborn) as brex:
        await create(brex)
    with pytest.raises(errors.ConfigurationError):
        await create(brex)


class Wire(httpx.AsyncBaseTransport):
    """A transport of the user's: false, as an empty list is, and it decompresses by itself."""

    def __init__(self) -> None:
        self.closed = 0
        self.response = httpx.Response(200, headers={"Content-Encoding": "gzip"}, content=ZIPPED)

    def __bool__(self) -> bool:
        return False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"Content-Encoding": "gzip"}, content=ZIPPED)

    async def aclose(self) -> None:
        self.closed += 1


async def test_a_transport_of_the_users() -> None:
    made = list[Wire]()

    def make() -> Wire:
        made.append(Wire())
        return made[-1]

    async with client("https://api.test", transport=make) as brex:
        await asyncio.gather(*(create(brex) for _ in range(50)))
    assert [wire.closed for wire in made] == [1]
    wire = Wire()
    async with client("https://api.test", transport=wire) as brex:
        await asyncio.gather(*(create(brex) for _ in range(50)))
    assert wire.closed == 0


@pytest.mark.parametrize("body", [bytes(MAX_BODY + 1), b"{}"])
async def test_a_transport_that_answers_at_once_and_in_whole(body: bytes) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=body))
    async with client("https://api.test", transport=transport, retry=ONCE) as brex:
        error = await error_of(brex)
    assert type(error) is errors.InvalidResponseError
    assert error.length == len(body)


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip"])
async def test_a_transport_in_memory_that_answers_in_two_members(encoding: str) -> None:
    content = gzip.compress(JSON[:9]) + gzip.compress(JSON[9:])
    transport = httpx.MockTransport(
        lambda _: httpx.Response(200, headers={"Content-Encoding": encoding}, content=content)
    )
    async with client("https://api.test", transport=transport, retry=ONCE) as brex:
        await create(brex)


@BOTH
async def test_certificates_that_are_not_there(monkeypatch: pytest.MonkeyPatch, transport: Any) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such/file")
    async with client("https://api.test", transport=transport) as brex:
        error = await error_of(brex)
    assert (type(error), error.outcome, error.attempts) == (errors.ConfigurationError, Outcome.NOT_APPLIED, 0)
    assert "certificates" in str(error)


@BOTH
async def test_a_proxy_of_a_kind_that_is_not_known(monkeypatch: pytest.MonkeyPatch, transport: Any) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "gopher://user:canary@127.0.0.1")
    async with client("https://api.test", transport=transport) as brex:
        error = await error_of(brex)
    assert type(error) is errors.ConfigurationError
    assert_holds_no("canary", error)


# -- event loops -------------------------------------------------------------------------------------------------------

SCRIPT = """
import asyncio, gc, httpx, logging
from brex_accounting import BrexAccounting, RetryPolicy, errors

URL = {url!r}
logging.getLogger("asyncio").setLevel("ERROR")  # not how long a callback took

def make():
    return httpx.AsyncHTTPTransport()

async def some(brex):
    await asyncio.gather(*(brex.integrations.create("ERP_A", "acct-42") for _ in range(30)))

async def cancelled(brex):
    await some(brex)  # connected: anyio warns of a task that is cancelled before it has begun to connect
    calls = [asyncio.create_task(some(brex)) for _ in range(3)]
    await asyncio.sleep(0.03)
    for call in calls:
        call.cancel()

{body}
gc.collect()
"""


def run(url: str, body: str) -> None:
    paths = [Path(brex_accounting.__file__).parents[1], Path(brex_accounting_api.__file__).parents[1]]
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-W", "error", "-c", SCRIPT.format(url=url, body=textwrap.dedent(body))],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, paths))},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


@pytest.mark.parametrize("transport", ["None", "make"])
@pytest.mark.parametrize(
    "body",
    {
        "closed in the second loop": """
            brex = BrexAccounting("bxt_1", base_url=URL, transport={transport})
            asyncio.run(some(brex))
            async def second():
                async with brex:
                    await some(brex)
            asyncio.run(second())
        """,
        "never closed": """
            brex = BrexAccounting("bxt_1", base_url=URL, transport={transport})
            asyncio.run(some(brex))
            asyncio.run(some(brex))
        """,
        "never closed, and gone": """
            async def main():
                await some(BrexAccounting("bxt_1", base_url=URL, transport={transport}))
            asyncio.run(main())
            asyncio.run(main())
        """,
        "cancelled at the end of the first": """
            brex = BrexAccounting("bxt_1", base_url=URL, transport={transport}, max_connections=3)
            asyncio.run(cancelled(brex))
            asyncio.run(some(brex))
            assert brex._engine.shared.limiter.running == 0
        """,
        "the first breaks off with an error": """
            brex = BrexAccounting("bxt_1", base_url=URL, transport={transport}, max_connections=3)
            async def breaks():
                await some(brex)
                task = asyncio.create_task(some(brex))
                await asyncio.sleep(0.03)
                raise ZeroDivisionError
            try:
                asyncio.run(breaks())
            except ZeroDivisionError:
                pass
            asyncio.run(some(brex))
        """,
        "back and forth between two": """
            brex = BrexAccounting("bxt_1", base_url=URL, transport={transport})
            with asyncio.Runner() as one, asyncio.Runner() as other:
                for runner in (one, other, one, other):
                    runner.run(some(brex))
                gc.collect()
                one.run(asyncio.sleep(0.01))
                other.run(asyncio.sleep(0.01))
        """,
    }.items(),
    ids=lambda item: item[0],
)
def test_event_loops_one_after_the_other(body: tuple[str, str], transport: str) -> None:
    with asyncio.Runner() as runner:
        slow = raw(0.005, head(length=len(JSON)), JSON)

        async def main() -> None:
            async with FaultServer(slow) as server:
                await asyncio.to_thread(run, server.url, body[1].format(transport=transport))
                await server.closes_all()
                assert server.most <= 20

        runner.run(main())


async def test_an_answer_is_let_go_of_without_the_garbage_collector() -> None:
    def exchanged() -> list[object]:
        return [each for each in gc.get_objects() if type(each) in {httpx.Request, httpx.Response}]

    async with FaultServer() as server, BrexAccounting(TOKEN, base_url=server.url) as brex:
        await brex.integrations.create("ERP_A", "acct-42")
        gc.collect()
        gc.disable()
        try:
            before = exchanged()
            await brex.integrations.create("ERP_A", "acct-42")
            assert len(exchanged()) <= len(before)
        finally:
            gc.enable()


# -- secrets -----------------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("how", ["cancel", "timeout"])
async def test_no_frame_of_a_cancelled_call_shows_the_token(how: str, transport: Any) -> None:
    """Cancelled in each turn of the event loop: frames of httpcore and aiohttp hold the head while they send it."""
    large = [ExportFailed(f"accr_{number}", "no" * 5000) for number in range(300)]
    ended = 0
    async with (
        FaultServer(CANCELLED_IN["the body"]) as server,
        client(server.url, timeout=30.0, transport=transport, retry=ONCE) as brex,
    ):
        calls: list[Callable[[], Awaitable[object]]] = [
            lambda: brex.integrations.create("ERP_A", "acct-42"),
            lambda: anext(brex.records.iterate()),
            lambda: brex.records.report_all(large),
        ]
        for call in calls:
            for turns in range(30):
                left = await cancelled(call, turns, how)
                assert_holds_no(TOKEN, left)
                ended += any("_send" in frame.name for frame in traceback.extract_tb(left.__traceback__))
    assert ended > 20  # and not all of them in tasks of their own


async def cancelled(call: Callable[[], Awaitable[object]], turns: int, how: str) -> BaseException:
    """What is left of a call that is cancelled after so many turns of the event loop."""
    limit = asyncio.timeout(None)

    async def main() -> None:
        async with limit:
            await call()

    task = asyncio.create_task(main())
    for _ in range(turns + 1):
        await asyncio.sleep(0)
    if how == "cancel":
        task.cancel()
    else:
        limit.reschedule(0.0)
    with pytest.raises((asyncio.CancelledError, TimeoutError)) as caught:
        await task
    return caught.value.__cause__ or caught.value
