"""The sandbox over real sockets: what a client's kernel and parser see."""

import asyncio
import json
import logging
import re
import socket
import time
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import httpx
import pytest

from brex_accounting.sandbox import Fault, Sandbox

INTEGRATION = "/v3/accounting/integration"
RECORDS = "/v3/accounting/records"
ERP_A = {"vendor": "ERP_A", "vendor_account_id": "acct-42"}


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(records=40, rate_limit=None) as sandbox:
        yield sandbox


@pytest.fixture
async def url(sandbox: Sandbox) -> AsyncIterator[str]:
    async with sandbox.serve() as url:
        yield url


@pytest.fixture
async def client(sandbox: Sandbox, url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with connect(sandbox, url) as client:
        yield client


def connect(sandbox: Sandbox, url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {sandbox.token}"}, trust_env=False)


def get_records(sandbox: Sandbox) -> bytes:
    return (
        f"GET {RECORDS}?limit=1 HTTP/1.1\r\nHost: sandbox\r\nAuthorization: Bearer {sandbox.token}\r\n\r\n"
    ).encode()


async def open_connection(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    address = urlsplit(url)
    return await asyncio.open_connection(address.hostname, address.port)


async def send_raw(url: str, request: bytes) -> bytes:
    """Send these bytes, and return all that comes until the server closes."""
    reader, writer = await open_connection(url)
    writer.write(request)
    try:
        return await reader.read()
    finally:
        writer.close()


async def test_operations(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    created = await client.post(INTEGRATION, json=ERP_A)
    assert created.json()["integration_id"] in sandbox.state.integrations
    assert re.fullmatch("[0-9a-f]{32}", created.headers["X-Brex-Trace-Id"])
    page = await client.get(RECORDS, params={"limit": 40})
    assert page.json()["total_count"] == 40
    assert '"amount":1284750.35,' in page.text


async def test_an_answer_is_not_held_back_until_the_client_acknowledges_its_headers(client: httpx.AsyncClient) -> None:
    """With Nagle's algorithm each call on a kept connection takes 40 ms, the time of a delayed ACK."""
    took = []
    for _ in range(20):
        began = time.perf_counter()
        await client.get(f"{RECORDS}/accr_000000000000")
        took.append(time.perf_counter() - began)
    assert min(took[1:]) < 0.03


async def test_connections_are_kept(client: httpx.AsyncClient, sandbox: Sandbox) -> None:
    ports = set[object]()

    async def note_port(name: str, info: dict[str, object]) -> None:
        if name == "connection.connect_tcp.complete":
            ports.add(info["return_value"])

    for _ in range(3):
        await client.get(RECORDS, extensions={"trace": note_port})
    assert len(ports) == 1
    assert [request.status for request in sandbox.requests] == [200] * 3


@pytest.mark.parametrize(("kind", "applied"), [("reset_before", 0), ("reset_after", 1)])
async def test_a_reset_is_a_reset(sandbox: Sandbox, client: httpx.AsyncClient, kind: str, applied: int) -> None:
    await client.post("/_sandbox/faults", json={"kind": kind})
    with pytest.raises(httpx.ReadError) as caught:
        await client.post(INTEGRATION, json=ERP_A)
    assert connection_reset(caught.value)
    assert len(sandbox.state.integrations) == applied
    assert (await client.get(RECORDS)).status_code == 200


def connection_reset(error: BaseException | None) -> bool:
    while error is not None and not isinstance(error, ConnectionResetError):
        error = error.__cause__ or error.__context__
    return error is not None


async def test_a_cut_body(sandbox: Sandbox, url: str) -> None:
    sandbox.fault(Fault("cut_body"))
    head, _, body = (await send_raw(url, get_records(sandbox))).partition(b"\r\n\r\n")
    announced = re.search(rb"content-length: (\d+)", head)
    assert announced is not None
    assert len(body) == int(announced[1]) // 2 > 0


async def test_a_cut_body_in_httpx(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.fault(Fault("cut_body"))
    with pytest.raises(httpx.RemoteProtocolError):
        await client.post(INTEGRATION, json=ERP_A)
    assert len(sandbox.state.integrations) == 1


@pytest.mark.parametrize("status", [200, 204, 302, 304, 520, 599])
@pytest.mark.parametrize("body", ["json", "html", "empty"])
async def test_any_status(client: httpx.AsyncClient, status: int, body: str) -> None:
    fault = {"kind": "status", "status": status, "body": body, "retry_after": "soon"}
    await client.post("/_sandbox/faults", json=fault)
    response = await client.get(RECORDS)
    assert (response.status_code, response.headers["Retry-After"]) == (status, "soon")
    assert (await client.get(RECORDS)).status_code == 200


async def test_faults_are_quiet(sandbox: Sandbox, client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    for kind in ("reset_before", "reset_after", "cut_body"):
        await client.post("/_sandbox/faults", json={"kind": kind})
        with pytest.raises(httpx.TransportError):
            await client.get(RECORDS)
    sandbox.fault(Fault("delay", seconds=3600))
    with pytest.raises(httpx.ReadTimeout):
        await client.get(RECORDS, timeout=0.05)
    assert caplog.records == []


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"junk\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nbad header\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /" + b"a" * 100_000,
        b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
    ],
)
async def test_what_is_no_http(url: str, request_bytes: bytes) -> None:
    head, _, body = (await send_raw(url, request_bytes)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert b"x-brex-trace-id: " in head.lower()
    assert json.loads(body)["error_code"] == "INVALID_REQUEST"


@pytest.mark.parametrize("target", [b"*", b"http://sandbox/v3/accounting/records", b"/%", b"/%00", b"//"])
async def test_odd_targets(url: str, target: bytes) -> None:
    request = b"GET " + target + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    assert (await send_raw(url, request)).startswith(b"HTTP/1.1 404 ")


async def test_pipelined_requests_with_junk_behind(sandbox: Sandbox, url: str) -> None:
    received = await send_raw(url, get_records(sandbox) * 2 + b"junk\r\n\r\n")
    assert re.findall(rb"HTTP/1.1 (\d+)", received) == [b"200", b"200", b"400"]


async def test_a_client_that_leaves_in_the_middle_of_its_body(sandbox: Sandbox) -> None:
    async with sandbox.serve() as url:
        _, writer = await open_connection(url)
        writer.write(b"POST /v3/accounting/integration HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n{")
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        async with connect(sandbox, url) as client:
            assert (await client.get(RECORDS)).status_code == 200
    assert [request.path for request in sandbox.requests] == [RECORDS]


async def test_the_end_waits_for_nobody() -> None:
    """Idle, half-sent and delayed requests are open when the server stops; no task outlives it."""
    asleep = asyncio.Event()

    async def sleep(_seconds: float) -> None:
        asleep.set()
        await asyncio.Event().wait()

    before = asyncio.all_tasks()
    async with Sandbox(sleep=sleep) as sandbox:
        sandbox.fault(Fault("delay", seconds=3600))
        async with sandbox.serve() as url:
            idle, half_sent, delayed = [await open_connection(url) for _ in range(3)]
            half_sent[1].write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n{")
            delayed[1].write(get_records(sandbox))
            await asleep.wait()
        for reader, writer in (idle, half_sent, delayed):
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()
    assert asyncio.all_tasks() == before
    with pytest.raises(ConnectionRefusedError):
        await open_connection(url)


async def test_a_sandbox_is_served_twice_and_in_process_too(sandbox: Sandbox) -> None:
    for _ in range(2):
        async with sandbox.serve() as url, connect(sandbox, url) as client:
            await client.post(INTEGRATION, json=ERP_A)
    async with httpx.AsyncClient(transport=sandbox.transport, base_url=sandbox.url) as client:
        await client.post(INTEGRATION, json=ERP_A, headers={"Authorization": f"Bearer {sandbox.token}"})
    assert len(sandbox.requests) == 3
    assert len(sandbox.state.integrations) == 1


async def test_a_chosen_port_and_a_port_in_use(sandbox: Sandbox) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    async with sandbox.serve(port=port) as url:
        assert url == f"http://127.0.0.1:{port}"
        with pytest.raises(OSError, match="in use"):
            async with sandbox.serve(port=port):
                pass
    async with sandbox.serve(port=port) as url, connect(sandbox, url) as client:
        assert (await client.get(RECORDS)).status_code == 200


async def test_an_error_inside_the_context_comes_out(sandbox: Sandbox) -> None:
    with pytest.raises(ZeroDivisionError):
        async with sandbox.serve():
            _ = 1 / 0
