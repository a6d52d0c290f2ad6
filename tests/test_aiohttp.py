"""aiohttp as the transport: the same outcomes as on httpx's own."""

from __future__ import annotations

import asyncio
import ssl
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from unittest import mock

import aiohttp
import httpx
import httpx_aiohttp
import pytest

from brex_accounting import (
    BrexAccounting,
    BrexError,
    CallTimeoutError,
    ConfigurationError,
    ConnectionFailedError,
    Outcome,
    RetryPolicy,
    aiohttp_transport,
)
from brex_accounting._http.failures import by_cause
from brex_accounting.sandbox import Sandbox

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]


@asynccontextmanager
async def listening(handle: Handler) -> AsyncIterator[str]:
    """Read one request's head, then do what the handler does."""
    writers = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        await reader.readuntil(b"\r\n\r\n")
        handle(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()


OURS_AND_THEIRS = pytest.mark.parametrize("transport", [aiohttp_transport, httpx_aiohttp.AiohttpTransport])


async def failure(url: str, seconds: float = 30.0, transport: object = aiohttp_transport) -> BrexError:
    options = {"timeout": seconds, "retry": RetryPolicy.none(), "transport": transport}
    async with BrexAccounting("bxt_x", base_url=url, **options) as brex:  # type: ignore[arg-type]
        with pytest.raises(BrexError) as caught:
            await brex.integrations.create("ERP_A", "acct-42")
    return caught.value


async def test_runs_calls_and_is_closed_by_the_client() -> None:
    async with Sandbox() as sandbox, sandbox.serve() as url:
        async with BrexAccounting(sandbox.token, base_url=url, transport=aiohttp_transport) as brex:
            first, *others = await asyncio.gather(*(brex.integrations.create("ERP_A", "acct-42") for _ in range(50)))
        assert {other.id for other in others} == {first.id}


@OURS_AND_THEIRS
async def test_a_reset_is_in_doubt(transport: object) -> None:
    async with listening(lambda _, writer: writer.transport.abort()) as url:
        error = await failure(url, transport=transport)
    assert isinstance(error, ConnectionFailedError)
    assert error.outcome is Outcome.UNKNOWN


@OURS_AND_THEIRS
async def test_no_answer_in_time_is_in_doubt(transport: object) -> None:
    async with listening(lambda *_: None) as url:
        error = await failure(url, seconds=0.2, transport=transport)
    assert isinstance(error, CallTimeoutError)
    assert error.outcome is Outcome.UNKNOWN


@OURS_AND_THEIRS
async def test_a_refused_connection_was_never_sent(transport: object) -> None:
    async with listening(lambda *_: None) as url:
        pass
    error = await failure(url, transport=transport)
    assert isinstance(error, ConnectionFailedError)
    assert error.outcome is Outcome.NOT_APPLIED


@OURS_AND_THEIRS
async def test_a_name_that_is_not_found_was_never_sent(transport: object) -> None:
    error = await failure("https://brex.invalid", transport=transport)
    assert isinstance(error, ConnectionFailedError)
    assert error.outcome is Outcome.NOT_APPLIED


@OURS_AND_THEIRS
async def test_an_answer_that_is_not_http_is_not_quoted(transport: object) -> None:
    async with listening(lambda _, writer: writer.write(b'{"memo": "canary"}\r\n\r\n')) as url:
        error = await failure(url, transport=transport)
    assert "the answer is not HTTP" in str(error)
    assert error.outcome is Outcome.UNKNOWN


async def test_is_a_transport_for_httpx_too() -> None:
    async with Sandbox() as sandbox, sandbox.serve() as url, httpx.AsyncClient(transport=aiohttp_transport()) as client:
        assert (await client.get(f"{url}/v3/accounting/records")).status_code == 401


def test_other_errors_are_left_alone() -> None:
    error = httpx.ConnectTimeout("no")
    error.__cause__ = TimeoutError()
    assert by_cause(error) is error


@pytest.mark.parametrize(
    ("cause", "kind"),
    [
        (aiohttp.ConnectionTimeoutError("late"), httpx.ConnectTimeout),
        (aiohttp.SocketTimeoutError("late"), httpx.ReadTimeout),
        (aiohttp.ClientOSError(104, "reset"), httpx.ReadError),
        (aiohttp.ClientConnectorCertificateError(mock.Mock(), ssl.CertificateError("expired")), httpx.ConnectError),
        (aiohttp.ServerDisconnectedError(), httpx.ReadError),
    ],
)
def test_is_named_by_its_cause(cause: Exception, kind: type[Exception]) -> None:
    error = httpx.ConnectTimeout("as httpx-aiohttp names most")
    error.__cause__ = cause
    assert type(by_cause(error)) is kind


def test_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx_aiohttp", None)
    with pytest.raises(ConfigurationError, match=r'pip install "brex-accounting\[aiohttp\]"'):
        aiohttp_transport()


def test_max_connections_is_checked() -> None:
    with pytest.raises(ConfigurationError, match="max_connections"):
        aiohttp_transport(max_connections=0)
