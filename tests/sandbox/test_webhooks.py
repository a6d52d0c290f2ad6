"""The sandbox's sender: what it sends, how it signs, when it tries again, and that it ends."""

import asyncio
import hmac
import json
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from brex_accounting.sandbox import Sandbox, WebhookOptions
from brex_accounting.sandbox._webhooks import sign

URL = "http://127.0.0.1:9/hook"
IDS = [f"accr_{index:012d}" for index in range(40)]
EPOCH = 1_767_323_045.5
SECRET = "whsec_" + b64encode(b"a secret of 24 bytes 123").decode()

virtual_time = pytest.mark.virtual_time


class Receiver:
    """Takes requests, and answers them by a script; after its end with 204."""

    def __init__(self, *script: int | Exception | Callable[[], Awaitable[None]]) -> None:
        self.requests: list[httpx.Request] = []
        self._script = list(script)

    async def answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        step = self._script.pop(0) if self._script else 204
        if isinstance(step, Exception):
            raise step
        if not isinstance(step, int):
            await step()
            step = 204
        return httpx.Response(step, headers={"Location": "http://127.0.0.1:9/elsewhere"} if step // 100 == 3 else {})

    def transport(self) -> httpx.AsyncBaseTransport:
        return httpx.MockTransport(self.answer)

    @property
    def payloads(self) -> list[Any]:
        return [json.loads(request.content) for request in self.requests]

    def signed_by(self, number: int) -> Callable[[str], bool]:
        request = self.requests[number]
        head = f"{request.headers['Webhook-Id']}.{request.headers['Webhook-Timestamp']}.".encode()
        given = request.headers["Webhook-Signature"].split(" ")

        def check(secret: str) -> bool:
            digest = hmac.digest(b64decode(secret[6:]), head + request.content, "sha256")
            return f"v1,{b64encode(digest).decode()}" in given

        return check


def now() -> float:
    return EPOCH + asyncio.get_running_loop().time()


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(records=40, clock=now, webhooks=WebhookOptions(secret=SECRET)) as sandbox:
        sandbox.state.set_review_status(IDS, "PREPARE")
        yield sandbox


def listen(sandbox: Sandbox, *script: Any, url: str = URL, **options: Any) -> Receiver:
    receiver = Receiver(*script)
    sandbox.webhooks.register(url, transport=receiver.transport, **options)
    return receiver


class TestEvents:
    async def test_a_record_becomes_ready(self, sandbox: Sandbox) -> None:
        receiver = listen(sandbox)
        before = now()
        sandbox.state.set_review_status(IDS[3], "READY_FOR_EXPORT")
        await sandbox.webhooks.settled()
        (request,) = receiver.requests
        assert (request.method, str(request.url)) == ("POST", URL)
        assert request.headers["Content-Type"] == "application/json"
        assert int(before) <= int(request.headers["Webhook-Timestamp"]) <= now()
        assert receiver.payloads == [
            {
                "event_type": "ACCOUNTING_RECORD_READY_FOR_EXPORT",
                "accounting_record_ids": [IDS[3]],
                "company_id": "company_sandbox",
            }
        ]
        assert receiver.signed_by(0)(SECRET)
        (delivery,) = sandbox.webhooks.deliveries
        assert request.headers["Webhook-Id"] == delivery.webhook_id
        assert (delivery.outcome, delivery.record_ids, delivery.url) == ("delivered", (IDS[3],), URL)
        assert [attempt.status for attempt in delivery.attempts] == [204]

    async def test_the_other_spelling(self, sandbox: Sandbox) -> None:
        receiver = listen(sandbox, spelling="camel")
        sandbox.state.set_review_status(IDS[0], "READY_FOR_EXPORT")
        await sandbox.webhooks.settled()
        assert receiver.payloads == [
            {
                "event_type": "ACCOUNTING_RECORD_READY_FOR_EXPORT",
                "accountingRecordIds": [IDS[0]],
                "companyId": "company_sandbox",
            }
        ]

    async def test_records_that_become_ready_together_are_one_event(self, sandbox: Sandbox) -> None:
        sandbox.state.set_review_status(IDS[1], "READY_FOR_EXPORT")
        receiver = listen(sandbox)
        sandbox.state.set_review_status([IDS[2], IDS[1], IDS[0], IDS[2]], "READY_FOR_EXPORT")
        sandbox.state.set_review_status(IDS[4], "READY_FOR_EXPORT")
        await sandbox.webhooks.settled()
        # The one that was ready before did not become so.
        assert [payload["accounting_record_ids"] for payload in receiver.payloads] == [[IDS[2], IDS[0]], [IDS[4]]]
        assert len({request.headers["Webhook-Id"] for request in receiver.requests}) == 2

    async def test_nothing_else_is_an_event(self, sandbox: Sandbox) -> None:
        sandbox.state.set_review_status(IDS[0], "READY_FOR_EXPORT")
        receiver = listen(sandbox)
        for status in ("READY_FOR_EXPORT", "EXPORTED", "REVIEW", "PREPARE"):
            sandbox.state.set_review_status(IDS[0], status)
        sandbox.state.set_review_status([], "READY_FOR_EXPORT")
        await sandbox.webhooks.settled()
        assert (receiver.requests, list(sandbox.webhooks.deliveries)) == ([], [])

    async def test_an_unknown_record_moves_none(self, sandbox: Sandbox) -> None:
        listen(sandbox)
        with pytest.raises(LookupError, match='no accounting record has the id "accr_x"'):
            sandbox.state.set_review_status([IDS[0], "accr_x"], "READY_FOR_EXPORT")
        assert sandbox.state.records[IDS[0]].review_status == "PREPARE"
        assert not sandbox.webhooks.deliveries

    async def test_each_url_gets_it(self, sandbox: Sandbox) -> None:
        failing = listen(sandbox, *[500] * 6)
        other = listen(sandbox, url="http://[::1]/", spelling="camel")
        again = listen(sandbox, url="http://[::1]/")
        sandbox.state.set_review_status(IDS[0], "READY_FOR_EXPORT")
        while len(sandbox.webhooks.deliveries[1].attempts) == 0 or not failing.requests:
            await asyncio.sleep(0)
        # One event, one id; what was registered again takes the place of what was.
        assert len({delivery.webhook_id for delivery in sandbox.webhooks.deliveries}) == 1
        assert (other.requests, len(again.requests)) == ([], 1)
        assert again.payloads[0]["accounting_record_ids"] == [IDS[0]]
        sandbox.webhooks.forget()
        sandbox.state.set_review_status(IDS[1], "READY_FOR_EXPORT")
        assert len(sandbox.webhooks.deliveries) == 2

    def test_without_a_url_there_needs_to_be_no_loop(self) -> None:
        sandbox = Sandbox(records=1)
        sandbox.state.set_review_status(IDS[0], "PREPARE")
        sandbox.state.set_review_status(IDS[0], "READY_FOR_EXPORT")
        sandbox.webhooks.register(URL)
        with pytest.raises(RuntimeError, match="no running event loop"):
            sandbox.webhooks.announce([IDS[0]])
        assert not sandbox.webhooks.deliveries


class TestRetries:
    @virtual_time
    async def test_until_it_is_taken(self, sandbox: Sandbox) -> None:
        reset = httpx.ReadError("reset")
        receiver = listen(sandbox, 503, reset, 302, 404, 201)
        started = now()
        sandbox.state.set_review_status(IDS[:2], "READY_FOR_EXPORT")
        await sandbox.webhooks.settled()
        first, *others = receiver.requests
        for number, request in enumerate(receiver.requests):
            assert (request.url, request.content) == (first.url, first.content)
            assert request.headers["Webhook-Id"] == first.headers["Webhook-Id"]
            assert receiver.signed_by(number)(SECRET)
        times = [int(request.headers["Webhook-Timestamp"]) - int(started) for request in receiver.requests]
        assert times == [0, 1, 6, 31, 156]
        assert len({request.headers["Webhook-Signature"] for request in others}) == 4
        (delivery,) = sandbox.webhooks.deliveries
        assert delivery.outcome == "delivered"
        assert [(attempt.status, attempt.error) for attempt in delivery.attempts] == [
            (503, None),
            (None, "ReadError"),
            (302, None),
            (404, None),
            (201, None),
        ]
        assert [round(attempt.at - started) for attempt in delivery.attempts] == [0, 1, 6, 31, 156]

    @virtual_time
    async def test_until_it_is_given_up(self, sandbox: Sandbox) -> None:
        receiver = listen(sandbox, *[500] * 10)
        sandbox.state.set_review_status(IDS[0], "READY_FOR_EXPORT")
        assert sandbox.webhooks.deliveries[0].outcome == "pending"
        await sandbox.webhooks.settled()
        assert len(receiver.requests) == 6
        assert sandbox.webhooks.deliveries[0].outcome == "failed"

    @virtual_time
    async def test_a_late_answer_is_none(self, sandbox: Sandbox) -> None:
        async def dawdle() -> None:
            await asyncio.sleep(15.01)

        listen(sandbox, dawdle, ValueError("a bug in the receiver, in-process"))
        started = now()
        sandbox.state.set_review_status(IDS[0], "READY_FOR_EXPORT")
        await sandbox.webhooks.settled()
        (delivery,) = sandbox.webhooks.deliveries
        assert [attempt.error for attempt in delivery.attempts] == ["TimeoutError", "ValueError", None]
        assert [round(attempt.at - started) for attempt in delivery.attempts] == [0, 16, 21]

    @virtual_time
    async def test_other_ways(self) -> None:
        options = WebhookOptions(pauses=(0.0,), timeout=1.0)
        async with Sandbox(records=1, clock=now, webhooks=options) as sandbox:
            receiver = listen(sandbox, 500, 500)
            sandbox.webhooks.announce(["accr_1"])
            await sandbox.webhooks.settled()
            assert len(receiver.requests) == 2

    @virtual_time
    async def test_twenty_at_once(self, sandbox: Sandbox) -> None:
        at_once = list[int]()
        working = 0

        async def work() -> None:
            nonlocal working
            working += 1
            at_once.append(working)
            await asyncio.sleep(1)
            working -= 1

        receiver = listen(sandbox, *[work] * 50)
        for _ in range(50):
            sandbox.webhooks.announce(["accr_1"])
        await sandbox.webhooks.settled()
        assert (len(receiver.requests), max(at_once)) == (50, 20)
        assert {delivery.outcome for delivery in sandbox.webhooks.deliveries} == {"delivered"}

    async def test_a_delivery_repeated(self, sandbox: Sandbox) -> None:
        receiver = listen(sandbox)
        sandbox.state.set_review_status(IDS[:2], "READY_FOR_EXPORT")
        await sandbox.webhooks.settled()
        sandbox.webhooks.resend(sandbox.webhooks.deliveries[0].webhook_id)
        await sandbox.webhooks.settled()
        first, second = receiver.requests
        assert (first.headers["Webhook-Id"], first.content) == (second.headers["Webhook-Id"], second.content)
        with pytest.raises(LookupError, match="no event with this id"):
            sandbox.webhooks.resend("msg_x")


class TestRotation:
    async def test_both_secrets_sign(self, sandbox: Sandbox) -> None:
        receiver = listen(sandbox)
        new = sandbox.webhooks.rotate()
        assert sandbox.webhooks.secrets == (new, SECRET)
        sandbox.webhooks.announce(["accr_1"])
        await sandbox.webhooks.settled()
        assert len(receiver.requests[0].headers["Webhook-Signature"].split(" ")) == 2
        assert [receiver.signed_by(0)(secret) for secret in (new, SECRET)] == [True, True]

        sandbox.webhooks.end_rotation()
        assert (sandbox.webhooks.secrets, sandbox.webhooks.secret) == ((new,), new)
        sandbox.webhooks.announce(["accr_1"])
        await sandbox.webhooks.settled()
        assert [receiver.signed_by(1)(secret) for secret in (new, SECRET)] == [True, False]

    async def test_twice(self, sandbox: Sandbox) -> None:
        first, second = sandbox.webhooks.rotate(), sandbox.webhooks.rotate()
        assert sandbox.webhooks.secrets == (second, first)
        assert len({SECRET, first, second}) == 3

    @virtual_time
    async def test_between_two_attempts(self, sandbox: Sandbox) -> None:
        receiver = listen(sandbox, 500)
        sandbox.webhooks.announce(["accr_1"])
        await asyncio.sleep(0.5)
        new = sandbox.webhooks.rotate()
        await sandbox.webhooks.settled()
        assert [receiver.signed_by(number)(new) for number in (0, 1)] == [False, True]


class TestEnd:
    async def test_a_delivery_in_each_state(self) -> None:
        never = asyncio.Event()
        options = WebhookOptions(pauses=(3600.0,))
        async with Sandbox(records=1, webhooks=options) as sandbox:
            hanging = listen(sandbox, never.wait)
            sandbox.webhooks.announce(["accr_1"])
            while not hanging.requests:
                await asyncio.sleep(0)
            sandbox.webhooks.forget()
            failing = listen(sandbox, 500, url="http://localhost/")
            sandbox.webhooks.announce(["accr_1"])
            while not sandbox.webhooks.deliveries[1].attempts:
                await asyncio.sleep(0)
            sandbox.webhooks.announce(["accr_1"])  # not even begun
        assert [delivery.outcome for delivery in sandbox.webhooks.deliveries] == ["stopped"] * 3
        assert len(failing.requests) == 1
        assert asyncio.all_tasks() == {asyncio.current_task()}
        sandbox.webhooks.announce(["accr_1"])
        assert asyncio.all_tasks() == {asyncio.current_task()}

    async def test_with_the_server(self) -> None:
        sandbox = Sandbox(records=1)
        async with sandbox.serve():
            failing = listen(sandbox, 500)
            sandbox.webhooks.announce(["accr_1"])
            while not failing.requests:
                await asyncio.sleep(0)
        assert [delivery.outcome for delivery in sandbox.webhooks.deliveries] == ["stopped"]
        assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize(
    "url",
    [
        "ftp://127.0.0.1/",
        "127.0.0.1",
        "//127.0.0.1/",
        "http://example.com/",
        "http://169.254.169.254/",
        "http://10.0.0.1/",
        "http://127.0.0.1@example.com/",
        "http://localhost.example.com/",
        "http://[::1/",
        "http://",
        "",
        None,
    ],
)
def test_other_machines_are_left_alone(url: Any) -> None:
    sandbox = Sandbox()
    with pytest.raises(ValueError, match="url must be http or https"):
        sandbox.webhooks.register(url)
    assert sandbox.webhooks.endpoints == ()


def test_what_makes_no_sense() -> None:
    with pytest.raises(ValueError, match="spelling must be one of snake, camel"):
        Sandbox().webhooks.register(URL, spelling="kebab")  # type: ignore[arg-type]
    for wrong in ("hunter2", "whsec_", "whsec_hunter2!", "aHVudGVyMg=="):
        with pytest.raises(ValueError, match=r"^secret must be whsec_ and base64$"):
            WebhookOptions(secret=wrong)
    for pauses in ((-1.0,), (float("nan"),), (float("inf"),)):
        with pytest.raises(ValueError, match="pauses"):
            WebhookOptions(pauses=pauses)
    for timeout in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="timeout"):
            WebhookOptions(timeout=timeout)


def test_the_vector_that_the_scheme_publishes() -> None:
    signature = sign(
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "1614265330",
        b'{"test": 2432232314}',
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_no_secret_is_shown(sandbox: Sandbox) -> None:
    listen(sandbox)
    sandbox.webhooks.announce(["accr_1"])
    await sandbox.webhooks.settled()
    shown = repr((sandbox, sandbox.webhooks, WebhookOptions(secret=SECRET), *sandbox.webhooks.deliveries))
    assert SECRET[6:] not in shown
    assert Sandbox().webhooks.secret != Sandbox().webhooks.secret


async def receive_one(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return head, await reader.readexactly(int(length.partition(b":")[2]))


async def test_over_a_socket_with_a_proxy_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    received = list[tuple[bytes, bytes]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.append(await receive_one(reader))
        # The body is none of the sender's business, be it ever so long.
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\nthanks")
        await writer.drain()
        await reader.read()
        writer.close()

    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, Sandbox(records=1) as sandbox:
        sandbox.webhooks.register(f"http://localhost:{port}/hook?a=b")
        sandbox.webhooks.announce(["accr_1"])
        await sandbox.webhooks.settled()
    ((head, body),) = received
    assert head.startswith(b"POST /hook?a=b HTTP/1.1\r\n")
    assert json.loads(body)["accounting_record_ids"] == ["accr_1"]
    (delivery,) = sandbox.webhooks.deliveries
    assert [attempt.status for attempt in delivery.attempts] == [200]


class TestOverHTTP:
    @pytest.fixture
    async def client(self, sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
        async with httpx.AsyncClient(
            transport=sandbox.transport,
            base_url=f"{sandbox.url}/_sandbox/",
            headers={"Authorization": f"Bearer {sandbox.token}"},
        ) as client:
            yield client

    async def test_the_life_of_a_webhook(self, sandbox: Sandbox, client: httpx.AsyncClient) -> None:
        registered = (await client.post("webhooks", json={"url": URL, "spelling": "camel"})).json()
        assert registered == {"urls": [{"url": URL, "spelling": "camel"}], "secrets": [SECRET], "deliveries": []}
        receiver = listen(sandbox)  # what cannot be said over HTTP: no socket
        moved = await client.post("review_status", json={"ids": IDS[:2], "review_status": "READY_FOR_EXPORT"})
        assert moved.json() == {"review_status": {"PREPARE": 38, "READY_FOR_EXPORT": 2}}
        await sandbox.webhooks.settled()
        (delivery,) = (await client.get("webhooks")).json()["deliveries"]
        assert delivery == {
            "webhook_id": receiver.requests[0].headers["Webhook-Id"],
            "url": URL,
            "record_ids": IDS[:2],
            "company_id": "company_sandbox",
            "body": receiver.requests[0].content.decode(),
            "outcome": "delivered",
            "attempts": [{"at": delivery["attempts"][0]["at"], "status": 204, "error": None}],
        }
        await client.post("webhooks/resend", json={"webhook_id": delivery["webhook_id"]})
        await sandbox.webhooks.settled()
        assert len(receiver.requests) == 2
        rotating = (await client.post("webhooks/rotation")).json()["secrets"]
        assert rotating == [sandbox.webhooks.secret, SECRET]
        assert (await client.delete("webhooks/rotation")).json()["secrets"] == rotating[:1]
        assert (await client.delete("webhooks")).json()["urls"] == []

    @pytest.mark.parametrize(
        ("path", "fields", "status"),
        [
            ("webhooks", {}, 400),
            ("webhooks", [], 400),
            ("webhooks", {"url": "http://example.com"}, 400),
            ("webhooks", {"url": 7}, 400),
            ("webhooks", {"url": URL, "spelling": ["snake"]}, 400),
            ("webhooks", {"url": URL, "spelling": "kebab"}, 400),
            ("webhooks", {"url": URL, "transport": "x"}, 400),
            ("webhooks/resend", {"webhook_id": "msg_x"}, 404),
            ("webhooks/resend", {"webhook_id": 7}, 400),
            ("review_status", {"ids": IDS[0], "review_status": "REVIEW"}, 400),
            ("review_status", {"ids": [7], "review_status": "REVIEW"}, 400),
            ("review_status", {"ids": [IDS[0]], "review_status": "DONE"}, 400),
            ("review_status", {"ids": [IDS[0]], "review_status": None}, 400),
            ("review_status", {"ids": ["accr_x"], "review_status": "REVIEW"}, 404),
        ],
    )
    async def test_what_makes_no_sense(
        self, sandbox: Sandbox, client: httpx.AsyncClient, path: str, fields: Any, status: int
    ) -> None:
        answer = await client.post(path, json=fields)
        assert answer.status_code == status
        assert set(answer.json()) == {"error_code", "message", "details"}
        assert sandbox.webhooks.endpoints == ()

    async def test_the_full_token_is_needed(self, sandbox: Sandbox, client: httpx.AsyncClient) -> None:
        headers = {"Authorization": f"Bearer {sandbox.read_only_token}"}
        assert (await client.get("webhooks", headers=headers)).status_code == 403
        assert (await client.get("webhooks", headers={"Authorization": ""})).status_code == 401
        assert (await client.put("webhooks")).headers["Allow"] == "DELETE, GET, POST"
