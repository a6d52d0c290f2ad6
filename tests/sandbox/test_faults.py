"""Answers that are spoiled, and outages: in-process, and over sockets where only a socket shows them."""

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any, get_args
from urllib.parse import urlsplit

import httpx
import pytest

from brex_accounting.sandbox import Fault, Sandbox
from brex_accounting.sandbox._faults import _EFFECTS, FaultKind

INTEGRATION = "/v3/accounting/integration"
RECORDS = "/v3/accounting/records"
ERP_A = {"vendor": "ERP_A", "vendor_account_id": "acct-42"}


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(records=3, rate_limit=None) as sandbox:
        yield sandbox


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(
        transport=sandbox.transport, base_url=sandbox.url, headers={"Authorization": f"Bearer {sandbox.token}"}
    ) as client:
        yield client


async def raw_body(response: httpx.Response) -> bytes:
    return b"".join([chunk async for chunk in response.aiter_raw()])


def test_each_kind_has_its_entry_in_the_table() -> None:
    assert tuple(_EFFECTS) == get_args(FaultKind)


class TestSpoiledAnswers:
    async def test_another_status(self, sandbox: Sandbox, client: httpx.AsyncClient) -> None:
        sandbox.fault(Fault("replace_status", status=201))
        created = await client.post(INTEGRATION, json=ERP_A)
        assert created.status_code == HTTPStatus.CREATED
        assert [created.json()["integration_id"]] == list(sandbox.state.integrations)

    async def test_a_byte_order_mark(self, sandbox: Sandbox, client: httpx.AsyncClient) -> None:
        plain = await client.get(f"{RECORDS}/accr_000000000000")
        sandbox.fault(Fault("bom"))
        marked = await client.get(f"{RECORDS}/accr_000000000000")
        assert marked.content == b"\xef\xbb\xbf" + plain.content

    @pytest.mark.parametrize("encoding", ["gzip", "x-gzip"])
    @pytest.mark.parametrize("members", [1, 2, 7])
    async def test_gzip(self, sandbox: Sandbox, client: httpx.AsyncClient, encoding: str, members: int) -> None:
        plain = await client.get(f"{RECORDS}/accr_000000000000")
        sandbox.fault(Fault("encode", encoding=encoding, members=members))
        async with client.stream("GET", f"{RECORDS}/accr_000000000000") as response:
            sent = await raw_body(response)
        assert response.headers["Content-Encoding"] == encoding
        assert gzip.decompress(sent) == plain.content
        found = 0
        while sent:
            member = zlib.decompressobj(31)
            assert member.decompress(sent)
            sent, found = member.unused_data, found + 1
        assert found == members

    @pytest.mark.parametrize("encoding", ["utf-8", "none", "identity"])
    async def test_an_encoding_that_is_none(self, sandbox: Sandbox, client: httpx.AsyncClient, encoding: str) -> None:
        sandbox.fault(Fault("encode", encoding=encoding))
        async with client.stream("GET", f"{RECORDS}/accr_000000000000") as response:
            assert json.loads(await raw_body(response))["id"] == "accr_000000000000"
        assert response.headers["Content-Encoding"] == encoding

    async def test_an_answer_to_another_request(self, sandbox: Sandbox, client: httpx.AsyncClient) -> None:
        sandbox.fault(Fault("merge_json", json={"id": "accr_other"}))
        assert (await client.get(f"{RECORDS}/accr_000000000000")).json()["id"] == "accr_other"

    async def test_a_surplus_answer_needs_a_connection(self, sandbox: Sandbox, client: httpx.AsyncClient) -> None:
        sandbox.fault(Fault("surplus"))
        assert (await client.get(f"{RECORDS}/accr_000000000000")).json()["id"] == "accr_000000000000"

    @pytest.mark.parametrize("surplus", [None, {"id": "accr_surplus"}])
    async def test_a_surplus_answer_in_the_same_segment(self, sandbox: Sandbox, surplus: Any) -> None:
        sandbox.fault(Fault("surplus", json=surplus))
        async with sandbox.serve() as url:
            address = urlsplit(url)
            reader, writer = await asyncio.open_connection(address.hostname, address.port)
            request = f"GET {RECORDS}/accr_000000000000 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {sandbox.token}"
            writer.write(f"{request}\r\n\r\n".encode())
            first = await reader.read(2**20)
            writer.close()
        _, head, body, second_head, second = first.replace(b"HTTP/1.1 200", b"\r\n\r\nHTTP/1.1 200").split(b"\r\n\r\n")
        assert json.loads(body)["id"] == "accr_000000000000"
        assert json.loads(second) == (surplus or json.loads(body))
        assert f"Content-Length: {len(second)}".encode() in second_head
        assert b"200" in head

    async def test_every_kind_can_be_slow(self) -> None:
        slept: list[float] = []

        async def sleep(seconds: float) -> None:
            slept.append(seconds)

        kinds = [kind for kind in get_args(FaultKind) if kind not in {"reset_before", "reset_after", "cut_body"}]
        async with Sandbox(sleep=sleep) as sandbox, httpx.AsyncClient(transport=sandbox.transport) as client:
            headers = {"Authorization": f"Bearer {sandbox.token}"}
            sandbox.fault(*(Fault(kind, seconds=number + 1) for number, kind in enumerate(kinds)))
            for _ in kinds:
                await client.get(f"{sandbox.url}{RECORDS}", headers=headers)
            sandbox.fault(Fault("reset_before", seconds=99))
            with pytest.raises(httpx.ReadError):
                await client.get(f"{sandbox.url}{RECORDS}", headers=headers)
        assert slept == [*(float(number + 1) for number in range(len(kinds))), 99]

    async def test_the_token_endpoint(self, sandbox: Sandbox) -> None:
        server = sandbox.authorization
        odd: list[tuple[Fault, Any]] = [
            (Fault("merge_json", operation="token", json={"token_type": "mac"}), {"token_type": "mac"}),
            (Fault("merge_json", operation="token", json={"access_token": None}), {"access_token": None}),
            (Fault("replace_status", operation="token", status=201), {}),
            (Fault("bom", operation="token"), {}),
            (Fault("encode", operation="token", members=2), {}),
        ]
        async with httpx.AsyncClient(
            transport=sandbox.transport, auth=(server.client_id, server.client_secret)
        ) as http:
            for fault, changed in odd:
                sandbox.fault(fault)
                form = {"grant_type": "refresh_token", "refresh_token": server.new_grant()}
                async with http.stream("POST", sandbox.token_url, data=form) as response:
                    body = await raw_body(response)
                if fault.kind == "encode":
                    body = gzip.decompress(body)
                answer = json.loads(body.removeprefix(b"\xef\xbb\xbf"))
                assert response.status_code == (201 if fault.kind == "replace_status" else 200)
                assert server.is_live(answer["refresh_token"])
                assert {name: answer.get(name) for name in changed} == changed


async def refused_at(port: int) -> None:
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            return
        writer.close()
        await asyncio.sleep(0.01)


class Clock:
    now = 1_767_323_045.5

    def __call__(self) -> float:
        return self.now


class TestOutage:
    async def test_answers_of_a_gateway(self) -> None:
        clock = Clock()
        async with Sandbox(clock=clock) as sandbox, httpx.AsyncClient(transport=sandbox.transport) as client:
            headers = {"Authorization": f"Bearer {sandbox.token}"}
            sandbox.outage(2, "status", status=502)
            refused = [
                await client.post(f"{sandbox.url}{INTEGRATION}", json=ERP_A, headers=headers),
                await client.get(f"{sandbox.url}{RECORDS}"),
                await client.post(sandbox.token_url),
                await client.get(f"{sandbox.url}/nowhere"),
            ]
            assert [each.status_code for each in refused] == [502] * 4
            assert refused[0].json() == {"type": "BAD_GATEWAY", "message": "Bad Gateway"}
            seen = await client.get(f"{sandbox.url}/_sandbox/outage", headers=headers)
            assert seen.json()["outage"].items() >= {"kind": "status", "status": 502, "seconds": 2}.items()
            clock.now += 2
            assert (await client.post(f"{sandbox.url}{INTEGRATION}", json=ERP_A, headers=headers)).status_code == 200
            assert (await client.get(f"{sandbox.url}/_sandbox/outage", headers=headers)).json() == {"outage": None}
        assert [request.status for request in sandbox.requests] == [502] * 4 + [200]
        assert len(sandbox.state.integrations) == 1

    async def test_nobody_is_there(self) -> None:
        clock = Clock()
        async with Sandbox(clock=clock) as sandbox, httpx.AsyncClient(transport=sandbox.transport) as client:
            sandbox.outage(1.5)
            with pytest.raises(httpx.ConnectError):
                await client.get(f"{sandbox.url}{RECORDS}")
            clock.now += 1.5
            assert (await client.get(f"{sandbox.url}{RECORDS}")).status_code == 401
        assert len(sandbox.requests) == 1

    async def test_refused_over_sockets(self) -> None:
        clock, slept, wake = Clock(), [], asyncio.Event()

        async def sleep(seconds: float) -> None:
            slept.append(seconds)
            await wake.wait()

        async with Sandbox(clock=clock, sleep=sleep) as sandbox, sandbox.serve() as url:
            headers = {"Authorization": f"Bearer {sandbox.token}"}
            async with httpx.AsyncClient(base_url=url, headers=headers, trust_env=False) as client:
                sandbox.fault(Fault("delay", seconds=3600))
                in_flight = asyncio.create_task(client.get(RECORDS))
                while not slept:
                    await asyncio.sleep(0)
                began = await client.post("/_sandbox/outage", json={"seconds": 60})
                assert began.status_code == 200
                with pytest.raises(httpx.TransportError):
                    await in_flight
                with pytest.raises(httpx.ConnectError):
                    await client.get(RECORDS)
                clock.now += 60
                wake.set()
                await asyncio.sleep(0)
                for _ in range(100):
                    try:
                        answer = await client.get(RECORDS)
                        break
                    except httpx.ConnectError:
                        await asyncio.sleep(0.01)
                assert answer.status_code == 200
        assert slept == [3600, 60]

    async def test_one_after_the_other(self) -> None:
        async with Sandbox() as sandbox, sandbox.serve() as url, httpx.AsyncClient(trust_env=False) as client:
            port = urlsplit(url).port or 0
            for _ in range(3):
                sandbox.outage(0.05)
                await refused_at(port)
                while True:
                    try:
                        assert (await client.get(f"{url}{RECORDS}")).status_code == 401
                        break
                    except httpx.TransportError:
                        await asyncio.sleep(0.01)

    async def test_the_end_of_a_server_in_the_middle_of_an_outage(self) -> None:
        async with Sandbox() as sandbox:
            async with sandbox.serve() as url:
                port = urlsplit(url).port or 0
                sandbox.outage(3600)
                await refused_at(port)
            sandbox.outage(0.001, "status")
            async with sandbox.serve(port=port) as again:
                assert again == url

    @pytest.mark.parametrize(
        ("options", "problem"),
        [
            ({"seconds": 0}, "seconds"),
            ({"seconds": float("nan")}, "seconds"),
            ({"seconds": 3601}, "seconds"),
            ({"seconds": "1"}, "seconds"),
            ({"seconds": 1, "kind": "flood"}, "kind"),
            ({"seconds": 1, "kind": "status", "status": 200}, "status"),
            ({"seconds": 1, "kind": "status", "status": True}, "status"),
        ],
    )
    async def test_outages_that_make_no_sense(
        self, sandbox: Sandbox, client: httpx.AsyncClient, options: dict[str, Any], problem: str
    ) -> None:
        with pytest.raises(ValueError, match=problem):
            sandbox.outage(**options)
        if options["seconds"] == options["seconds"]:
            assert (await client.post("/_sandbox/outage", json=options)).status_code == 400
        assert (await client.post("/_sandbox/outage", json={})).status_code == 400
        assert (await client.get(RECORDS)).status_code == 200
