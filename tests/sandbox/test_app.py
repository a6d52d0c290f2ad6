"""The sandbox in-process, over its httpx transport: platform rules, faults, and whatever a client may send."""

import asyncio
import gc
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brex_accounting.sandbox import Fault, Sandbox
from brex_accounting.sandbox._delays import Delays
from brex_accounting.sandbox._outage import OutageSwitch
from brex_accounting.sandbox._transport import InProcessTransport
from tests.support.marks import many

INTEGRATION = "/v3/accounting/integration"
RECORDS = "/v3/accounting/records"
EXPORT_RESULTS = "/v3/accounting/records/export-results"
ERP_A = {"vendor": "ERP_A", "vendor_account_id": "acct-42"}
OPERATIONS = [
    ("createIntegration", "POST", INTEGRATION),
    ("disconnectIntegration", "POST", f"{INTEGRATION}/int_1/disconnect"),
    ("reactivateIntegration", "POST", f"{INTEGRATION}/int_1/reactivate"),
    ("getAccountingRecord", "GET", f"{RECORDS}/accr_1"),
    ("queryAccountingRecords", "GET", RECORDS),
    ("reportAccountingExportResults", "POST", EXPORT_RESULTS),
]


QUERY_NAMES = [b"ids=", b"limit=", b"cursor=", b"updated_at[gt]=", b"review_status=", b"single_entry="]


def in_path(raw: bytes) -> bytes:
    return f"{RECORDS}/".encode() + raw


json_objects = st.dictionaries(
    st.sampled_from(["vendor", "vendor_account_id", "results", "accounting_record_id", "success", "failure"]),
    st.recursive(
        st.none() | st.text() | st.floats() | st.integers(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["success", "accounting_record_id"]), inner),
    ),
)


class Time:
    """A clock that is set by hand, and a sleep that ends when told to."""

    def __init__(self) -> None:
        self.now = 1_767_323_045.5
        self.slept: list[float] = []
        self.asleep = asyncio.Event()
        self.wake = asyncio.Event()

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.asleep.set()
        await self.wake.wait()


def connect(sandbox: Sandbox, token: str | None = None) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=sandbox.transport,
        base_url=sandbox.url,
        headers={"Authorization": f"Bearer {token or sandbox.token}"},
    )


def error_code(response: httpx.Response) -> str:
    envelope = response.json()
    assert set(envelope) == {"error_code", "message", "details"}
    assert isinstance(envelope["message"], str)
    code: str = envelope["error_code"]
    return code


def successes(*record_ids: str) -> dict[str, Any]:
    return {"results": [{"accounting_record_id": each, "success": {}} for each in record_ids]}


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
async def sandbox(time: Time) -> AsyncIterator[Sandbox]:
    async with Sandbox(records=40, clock=lambda: time.now, sleep=time.sleep) as sandbox:
        yield sandbox


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    async with connect(sandbox) as client:
        yield client


class TestOperations:
    async def test_the_life_of_an_integration(self, client: httpx.AsyncClient) -> None:
        created = await client.post(INTEGRATION, json=ERP_A)
        assert created.json() == {
            "integration_id": created.json()["integration_id"],
            **ERP_A,
            "status": "ACTIVE",
            "created_at": "2026-01-02T03:04:05.500000Z",
        }
        path = f"{INTEGRATION}/{created.json()['integration_id']}"
        assert (await client.post(f"{path}/disconnect")).json()["status"] == "DISABLED"
        assert (await client.post(f"{path}/reactivate")).json() == created.json()

    async def test_records_are_read_and_reported(self, sandbox: Sandbox, client: httpx.AsyncClient) -> None:
        page = await client.get(RECORDS, params={"limit": 2, "review_status": "READY_FOR_EXPORT"})
        first, second = (item["id"] for item in page.json()["items"])
        assert (await client.get(f"{RECORDS}/{first}")).json() == page.json()["items"][0]
        single = await client.get(f"{RECORDS}/{first}", params={"single_entry": "true"})
        assert len(single.json()["line_items"]) < len(page.json()["items"][0]["line_items"])
        reported = await client.post(EXPORT_RESULTS, json=successes(first, second))
        assert reported.json() == {"updated_accounting_record_ids": [first, second]}
        assert [export.result.record_id for export in sandbox.state.exports] == [first, second]

    async def test_amounts_go_out_digit_for_digit(self, client: httpx.AsyncClient) -> None:
        page = await client.get(RECORDS)
        for literal in ("1284750.35", "84.1", "250.00", "2400"):
            assert f'"amount":{literal},' in page.text

    async def test_an_id_with_a_slash_in_it_is_one_segment(self, client: httpx.AsyncClient) -> None:
        response = await client.get(f"{RECORDS}/accr_1%2F..%2Fexport-results")
        assert response.status_code == 404
        assert "accr_1/../export-results" in response.json()["message"]


class TestAuthorization:
    @pytest.mark.parametrize(("operation", "method", "path"), OPERATIONS)
    @pytest.mark.parametrize(
        "authorization", ["", "Bearer", "Bearer bxt_wrong", "Basic {token}", "{token}", "Bearer {token}x", "Bearer é"]
    )
    async def test_no_token(self, sandbox: Sandbox, operation: str, method: str, path: str, authorization: str) -> None:
        async with httpx.AsyncClient(transport=sandbox.transport, base_url=sandbox.url) as client:
            value = authorization.format(token=sandbox.token).encode("latin-1")
            response = await client.request(method, path, headers=[(b"Authorization", value)])
        assert (response.status_code, error_code(response)) == (401, "UNAUTHORIZED"), operation
        assert response.headers["WWW-Authenticate"] == "Bearer"

    @pytest.mark.parametrize(("operation", "method", "path"), OPERATIONS)
    async def test_a_token_without_the_scope(self, sandbox: Sandbox, operation: str, method: str, path: str) -> None:
        async with connect(sandbox, sandbox.read_only_token) as client:
            response = await client.request(method, path)
        if operation in {"getAccountingRecord", "queryAccountingRecords"}:
            assert response.status_code in {200, 404}
        else:
            assert (response.status_code, error_code(response)) == (403, "FORBIDDEN")

    async def test_the_scheme_is_case_insensitive(self, sandbox: Sandbox) -> None:
        async with connect(sandbox) as client:
            response = await client.get(RECORDS, headers={"Authorization": f"bEARER {sandbox.token}"})
        assert response.status_code == 200

    async def test_tokens(self) -> None:
        sandbox, other = Sandbox(), Sandbox(token="bxt_chosen")
        assert sandbox.token.startswith("bxt_")
        assert len({sandbox.token, sandbox.read_only_token, Sandbox().token}) == 3
        assert other.token == "bxt_chosen"
        assert sandbox.token not in repr(sandbox)
        with pytest.raises(ValueError, match="bxt_"):
            Sandbox(token="secret")


class TestEveryAnswer:
    async def test_has_a_trace_id_of_its_own(self, sandbox: Sandbox, client: httpx.AsyncClient) -> None:
        sandbox.fault(Fault("status", status=520, body="empty"), Fault("html"))
        responses = [
            await client.get(RECORDS),
            await client.get(RECORDS),
            await client.get(RECORDS),
            await client.get(RECORDS, params={"limit": "x"}),
            await client.get("/nowhere"),
            await client.delete(RECORDS),
            await client.get("/_sandbox/requests"),
            await client.get(RECORDS, headers={"Authorization": "none"}),
        ]
        assert [response.status_code for response in responses] == [520, 200, 200, 400, 404, 405, 200, 401]
        assert len({response.headers["X-Brex-Trace-Id"] for response in responses}) == len(responses)

    @pytest.mark.parametrize("path", ["/", "/v3/accounting/integration/", f"{INTEGRATION}//disconnect", "/v3", "//"])
    async def test_unknown_path(self, client: httpx.AsyncClient, path: str) -> None:
        response = await client.post(f"https://sandbox.invalid{path}")
        assert (response.status_code, error_code(response)) == (404, "NOT_FOUND")

    @pytest.mark.parametrize(
        ("method", "path", "allowed"),
        [
            ("GET", INTEGRATION, "POST"),
            ("GET", EXPORT_RESULTS, "POST"),
            ("DELETE", f"{RECORDS}/accr_1", "GET"),
            ("HEAD", RECORDS, "GET"),
            ("BREW", f"{INTEGRATION}/int_1/disconnect", "POST"),
            ("PUT", "/_sandbox/faults", "DELETE, GET, POST"),
            ("POST", "/_sandbox/records/accr_1", "GET, PATCH"),
            ("POST", "/_sandbox/webhooks/rotation/", ""),
        ],
    )
    async def test_wrong_method(self, client: httpx.AsyncClient, method: str, path: str, allowed: str) -> None:
        response = await client.request(method, path)
        assert (response.status_code, response.headers.get("Allow", "")) == (405 if allowed else 404, allowed)


class TestMalformedRequests:
    @pytest.mark.parametrize(
        "content",
        [
            *(b"", b"{", b"null", b"[]", b"\xff\xfe", b"{}", b'{"vendor":1,"vendor_account_id":"a"}'),
            *(b'{"vendor":"a"}', b'{"vendor":NaN}', b"[" * 100_000, b"1" * 10_000, b'"\xff"'),
            *(
                '{"vendor":"a","vendor_account_id":"b"}'.encode("utf-16"),
                b'{"results":[]}',
                b'{"results":[{"accounting_record_id":"accr_000000000000","success":{}}],"x":NaN,"vendor":"a","vendor_account_id":"b"}',
                b'{"results":{}}',
            ),
        ],
    )
    async def test_bodies(self, sandbox: Sandbox, client: httpx.AsyncClient, content: bytes) -> None:
        headers = {"Content-Type": "application/json"}
        created = await client.post(INTEGRATION, content=content, headers=headers)
        assert (created.status_code, error_code(created)) == (400, "INVALID_REQUEST")
        reported = await client.post(EXPORT_RESULTS, content=content, headers=headers)
        assert (reported.status_code, error_code(reported)) == (422, "INVALID_REQUEST")
        assert not sandbox.state.integrations

    @pytest.mark.parametrize(
        "content_type", ["", "text/plain", "application/jsonx", "application/x-www-form-urlencoded"]
    )
    async def test_content_types(self, client: httpx.AsyncClient, content_type: str) -> None:
        content = json.dumps(ERP_A).encode()
        response = await client.post(INTEGRATION, content=content, headers={"Content-Type": content_type})
        assert (response.status_code, error_code(response)) == (400, "INVALID_REQUEST")

    async def test_a_huge_body(self, client: httpx.AsyncClient) -> None:
        vendor = "x" * 20_000_000
        response = await client.post(INTEGRATION, json={"vendor": vendor, "vendor_account_id": "a"})
        assert response.json()["vendor"] == vendor

    async def test_text_comes_back_as_it_was(self, client: httpx.AsyncClient) -> None:
        content = b'{"vendor":"\\ud800 \\u0000 \xe6\x97\xa5","vendor_account_id":""}'
        response = await client.post(INTEGRATION, content=content, headers={"Content-Type": "application/json"})
        assert response.json()["vendor"] == "\ud800 \0 日"

    @pytest.mark.parametrize("path", ["single_entry=yes", "single_entry=true&single_entry=true"])
    async def test_queries_of_one_record(self, client: httpx.AsyncClient, path: str) -> None:
        response = await client.get(f"{RECORDS}/accr_000000000001?{path}")
        assert (response.status_code, error_code(response)) == (400, "INVALID_REQUEST")

    @given(
        method=st.sampled_from(["GET", "POST", "PUT"]),
        path=st.sampled_from([path.encode() for _, _, path in OPERATIONS]) | st.binary().map(in_path),
        query=st.binary(max_size=40) | st.sampled_from(QUERY_NAMES).flatmap(lambda name: st.binary().map(name.__add__)),
        content=st.binary(max_size=200) | json_objects.map(lambda value: json.dumps(value).encode()),
        headers=st.dictionaries(st.sampled_from([b"content-type", b"idempotency-key", b"accept"]), st.binary()),
    )
    async def test_nothing_makes_a_server_error(
        self, method: str, path: bytes, query: bytes, content: bytes, headers: dict[bytes, bytes]
    ) -> None:
        sandbox = Sandbox(records=2)
        given_headers = {
            b"content-type": b"application/json",
            b"authorization": f"Bearer {sandbox.token}".encode(),
        } | headers
        status, answer = await exchange(
            sandbox, method=method, path=path, query=query, headers=given_headers, content=content
        )
        assert status in {200, 400, 404, 405, 422}
        if status != 200:
            assert json.loads(answer)["error_code"] in {"INVALID_REQUEST", "NOT_FOUND"}


async def exchange(
    sandbox: Sandbox, *, method: str, path: bytes, query: bytes, headers: dict[bytes, bytes], content: bytes
) -> tuple[int, bytes]:
    """Call the application with bytes that no client library would let through."""
    sent = list[Any]()

    async def receive() -> Any:
        return {"type": "http.request", "body": content}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "raw_path": path, "query_string": query}
    await sandbox.app({**scope, "headers": list(headers.items())}, receive, send)
    start, body = sent
    return start["status"], body["body"]


class TestIdempotency:
    async def test_the_first_answer_is_given_again_byte_for_byte(
        self, sandbox: Sandbox, client: httpx.AsyncClient
    ) -> None:
        key = {"Idempotency-Key": "k1"}
        first = await client.post(INTEGRATION, json=ERP_A, headers=key)
        await client.post(f"{INTEGRATION}/{first.json()['integration_id']}/disconnect")
        again = await client.post(INTEGRATION, json=ERP_A, headers=key)
        assert (again.status_code, again.content) == (200, first.content)
        assert again.headers["X-Brex-Trace-Id"] != first.headers["X-Brex-Trace-Id"]
        assert sandbox.state.active_integration is None

    async def test_a_body_that_means_the_same_is_the_same_request(
        self, sandbox: Sandbox, client: httpx.AsyncClient
    ) -> None:
        headers = {"Idempotency-Key": "k1", "Content-Type": "application/json"}
        bodies = ['{"vendor":"ERP_A","vendor_account_id":"1"}', '{ "vendor_account_id": "1", "vendor": "ERP\\u005fA" }']
        answers = [await client.post(INTEGRATION, content=each, headers=headers) for each in bodies]
        assert answers[0].status_code == 200
        assert answers[1].content == answers[0].content
        for other in ('{"vendor":"ERP_A","vendor_account_id":1}', "{", ""):
            assert (
                error_code(await client.post(INTEGRATION, content=other, headers=headers)) == "IDEMPOTENCY_KEY_REUSED"
            )

    async def test_a_refusal_is_given_again_too(self, client: httpx.AsyncClient) -> None:
        key = {"Idempotency-Key": "k1"}
        first = await client.post(EXPORT_RESULTS, json=successes("accr_x"), headers=key)
        again = await client.post(EXPORT_RESULTS, json=successes("accr_x"), headers=key)
        assert (first.status_code, first.content) == (again.status_code, again.content) == (404, again.content)

    @pytest.mark.parametrize(
        ("path", "request_body"),
        [(INTEGRATION, ERP_A | {"vendor": "ERP_B"}), (f"{INTEGRATION}?x=1", ERP_A), (EXPORT_RESULTS, ERP_A)],
    )
    async def test_a_key_for_another_request(
        self, sandbox: Sandbox, client: httpx.AsyncClient, path: str, request_body: dict[str, str]
    ) -> None:
        key = {"Idempotency-Key": "k1"}
        await client.post(INTEGRATION, json=ERP_A, headers=key)
        response = await client.post(path, json=request_body, headers=key)
        assert (response.status_code, error_code(response)) == (409, "IDEMPOTENCY_KEY_REUSED")
        assert len(sandbox.state.integrations) == 1

    async def test_keys_of_two_tokens_never_meet(self, sandbox: Sandbox, client: httpx.AsyncClient) -> None:
        key = {"Idempotency-Key": "k1"}
        await client.post(INTEGRATION, json=ERP_A, headers=key)
        async with connect(sandbox, sandbox.read_only_token) as other:
            assert (await other.post(INTEGRATION, json=ERP_A, headers=key)).status_code == 403

    async def test_only_definite_answers_are_remembered(self, time: Time) -> None:
        key = {"Idempotency-Key": "k1"}
        async with Sandbox(rate_limit=(2, 60), clock=lambda: time.now) as sandbox, connect(sandbox) as client:
            sandbox.fault(Fault("status", status=503), Fault("status", status=401))
            statuses = [(await client.post(INTEGRATION, json=ERP_A, headers=key)).status_code for _ in range(3)]
            time.now += 60
            statuses.append((await client.post(INTEGRATION, json=ERP_A, headers=key)).status_code)
        assert statuses == [503, 401, 429, 200]

    async def test_reads_take_no_key(self, sandbox: Sandbox, client: httpx.AsyncClient) -> None:
        path, key = f"{RECORDS}/accr_000000000000", {"Idempotency-Key": "k1"}
        before = await client.get(path, headers=key)
        sandbox.state.set_review_status("accr_000000000000", "PREPARE")
        assert (await client.get(path, headers=key)).json()["version"] == before.json()["version"] + 1

    @pytest.mark.parametrize("applied", [False, True])
    async def test_a_key_still_in_progress(
        self, time: Time, sandbox: Sandbox, client: httpx.AsyncClient, applied: bool
    ) -> None:
        key = {"Idempotency-Key": "k1"}
        sandbox.fault(Fault("delay", seconds=5, applied=applied))
        first = asyncio.create_task(client.post(INTEGRATION, json=ERP_A, headers=key))
        await time.asleep.wait()
        response = await client.post(INTEGRATION, json=ERP_A, headers=key)
        assert (response.status_code, error_code(response)) == (409, "IDEMPOTENCY_KEY_IN_PROGRESS")
        time.wake.set()
        assert (await first).content == (await client.post(INTEGRATION, json=ERP_A, headers=key)).content

    async def test_keys_can_be_ignored(self) -> None:
        key = {"Idempotency-Key": "k1"}
        async with Sandbox(honor_idempotency_keys=False) as sandbox, connect(sandbox) as client:
            path = f"{INTEGRATION}/{(await client.post(INTEGRATION, json=ERP_A)).json()['integration_id']}"
            assert (await client.post(f"{path}/disconnect", headers=key)).status_code == 200
            response = await client.post(f"{path}/disconnect", headers=key)
        assert error_code(response) == "INTEGRATION_NOT_ACTIVE"


class TestRateLimit:
    async def test_beyond_the_limit(self, time: Time) -> None:
        async with Sandbox(rate_limit=(3, 60), clock=lambda: time.now) as sandbox, connect(sandbox) as client:
            for path in (RECORDS, f"{RECORDS}/accr_unknown", RECORDS):
                await client.get(path)
            time.now += 18.2
            response = await client.get(RECORDS)
            assert response.status_code == 429
            assert response.json() == {"type": "TOO_MANY_REQUESTS", "message": "Too Many Requests"}
            assert response.headers["Retry-After"] == "42"
            time.now += 41.8
            assert (await client.get(RECORDS)).status_code == 200

    async def test_what_does_not_count(self, time: Time) -> None:
        async with Sandbox(rate_limit=(1, 60), clock=lambda: time.now) as sandbox, connect(sandbox) as client:
            await client.get(RECORDS, headers={"Authorization": "Bearer bxt_wrong"})
            await client.get("/nowhere")
            await client.get("/_sandbox/requests")
            assert (await client.get(RECORDS)).status_code == 200
            async with connect(sandbox, sandbox.read_only_token) as other:
                assert (await other.get(RECORDS)).status_code == 200
                assert (await other.get(RECORDS)).status_code == 429

    async def test_without_retry_after(self, time: Time) -> None:
        async with (
            Sandbox(rate_limit=(1, 60), send_retry_after=False, clock=lambda: time.now) as sandbox,
            connect(sandbox) as client,
        ):
            await client.get(RECORDS)
            response = await client.get(RECORDS)
        assert response.status_code == 429
        assert "Retry-After" not in response.headers

    @many
    async def test_a_thousand_a_minute_is_the_default(self, client: httpx.AsyncClient) -> None:
        statuses = [(await client.get(f"{RECORDS}/x")).status_code for _ in range(1001)]
        assert statuses == [404] * 1000 + [429]

    @many
    async def test_no_limit(self) -> None:
        async with Sandbox(rate_limit=None) as sandbox, connect(sandbox) as client:
            statuses = {(await client.get(f"{RECORDS}/x")).status_code for _ in range(1001)}
        assert statuses == {404}

    @pytest.mark.parametrize("rate_limit", [(0, 60), (1, 0)])
    def test_limits_that_make_no_sense(self, rate_limit: tuple[int, float]) -> None:
        with pytest.raises(ValueError, match="rate_limit"):
            Sandbox(rate_limit=rate_limit)


class TestFaults:
    @pytest.mark.parametrize("applied", [False, True])
    @pytest.mark.parametrize("status", [302, 408, 429, 500, 503, 520])
    async def test_status(self, sandbox: Sandbox, client: httpx.AsyncClient, status: int, applied: bool) -> None:
        sandbox.fault(Fault("status", status=status, retry_after="7", applied=applied))
        response = await client.post(INTEGRATION, json=ERP_A)
        assert (response.status_code, response.headers["Retry-After"]) == (status, "7")
        assert set(response.json()) == {"type", "message"}
        assert len(sandbox.state.integrations) == applied
        assert (await client.post(INTEGRATION, json=ERP_A)).status_code == 200

    async def test_other_bodies(self, sandbox: Sandbox, client: httpx.AsyncClient) -> None:
        sandbox.fault(Fault("status", body="html"), Fault("status", body="empty"), Fault("status", status=204))
        page, empty, none = [await client.get(RECORDS) for _ in range(3)]
        assert (page.status_code, page.headers["Content-Type"]) == (503, "text/html; charset=utf-8")
        assert page.text.startswith("<!DOCTYPE html>")
        assert (empty.status_code, empty.content) == (503, b"")
        assert (none.status_code, none.content) == (204, b"")

    @pytest.mark.parametrize("applied", [False, True])
    async def test_html(self, sandbox: Sandbox, client: httpx.AsyncClient, applied: bool) -> None:
        sandbox.fault(Fault("html", applied=applied))
        response = await client.post(INTEGRATION, json=ERP_A)
        assert (response.status_code, response.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert len(sandbox.state.integrations) == applied

    @pytest.mark.parametrize(("kind", "applied"), [("reset_before", 0), ("reset_after", 1)])
    async def test_resets(self, sandbox: Sandbox, client: httpx.AsyncClient, kind: Any, applied: int) -> None:
        sandbox.fault(Fault(kind))
        with pytest.raises(httpx.ReadError):
            await client.post(INTEGRATION, json=ERP_A, headers={"Idempotency-Key": "k1"})
        assert len(sandbox.state.integrations) == applied
        assert [request.status for request in sandbox.requests] == [None]
        again = await client.post(INTEGRATION, json=ERP_A, headers={"Idempotency-Key": "k1"})
        assert [again.json()["integration_id"]] == list(sandbox.state.integrations)

    async def test_a_cut_body(self, sandbox: Sandbox, client: httpx.AsyncClient) -> None:
        sandbox.fault(Fault("cut_body"))
        async with client.stream("POST", INTEGRATION, json=ERP_A) as response:
            chunks = response.aiter_raw()
            received = await anext(chunks)
            with pytest.raises(httpx.RemoteProtocolError):
                await anext(chunks)
        assert len(received) == int(response.headers["Content-Length"]) // 2
        assert len(sandbox.state.integrations) == 1

    @pytest.mark.parametrize("applied", [False, True])
    async def test_a_delay_that_outlives_its_caller(
        self,
        time: Time,
        sandbox: Sandbox,
        client: httpx.AsyncClient,
        applied: bool,
    ) -> None:
        sandbox.fault(Fault("delay", seconds=9.5, applied=applied))
        call = asyncio.create_task(client.post(INTEGRATION, json=ERP_A))
        await time.asleep.wait()
        assert len(sandbox.state.integrations) == applied
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await sandbox.__aexit__()
        assert time.slept == [9.5]
        assert len(sandbox.state.integrations) == 1
        assert [request.status for request in sandbox.requests] == [200]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    async def test_a_delay_beyond_the_read_timeout(self, sandbox: Sandbox, client: httpx.AsyncClient) -> None:
        sandbox.fault(Fault("delay", seconds=60))
        with pytest.raises(httpx.ReadTimeout):
            await client.post(INTEGRATION, json=ERP_A, timeout=httpx.Timeout(None, read=0.01))
        assert not sandbox.state.integrations

    async def test_after_its_end_a_sandbox_delays_nothing(self, sandbox: Sandbox, client: httpx.AsyncClient) -> None:
        await sandbox.__aexit__()
        sandbox.fault(Fault("delay", seconds=3600))
        assert (await client.get(RECORDS)).status_code == 200

    async def test_a_reset_that_nobody_sees_is_quiet(self, time: Time) -> None:
        """Its caller has gone: the exchange's error is nobody's, and the loop must not report it."""

        async def app(scope: Any, _receive: object, _send: object) -> None:
            await time.sleep(0)
            scope["state"]["connection"].reset()

        reported = list[dict[str, Any]]()
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
        transport = InProcessTransport(app, Delays(time.sleep), OutageSwitch(lambda: time.now))
        call = asyncio.create_task(transport.handle_async_request(httpx.Request("GET", "https://sandbox.invalid")))
        await time.asleep.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        time.wake.set()
        await transport.stop()
        gc.collect()
        assert reported == []

    def test_an_event_loop_that_ends_before_the_sandbox(self, caplog: pytest.LogCaptureFixture) -> None:
        sandbox = Sandbox()
        sandbox.fault(Fault("delay", seconds=3600))

        async def give_up() -> None:
            async with connect(sandbox) as client:
                await client.post(INTEGRATION, json=ERP_A, timeout=httpx.Timeout(None, read=0.01))

        with pytest.raises(httpx.ReadTimeout):
            asyncio.run(give_up())
        assert not sandbox.state.integrations
        assert caplog.records == []

    async def test_queue_order(self, sandbox: Sandbox, client: httpx.AsyncClient) -> None:
        sandbox.fault(
            Fault("status", operation="createIntegration", status=501, times=2),
            Fault("status", operation="queryAccountingRecords", status=502),
            Fault("status", status=503),
        )
        statuses = [(await client.get(RECORDS)).status_code for _ in range(3)]
        assert statuses == [502, 503, 200]
        statuses = [(await client.post(INTEGRATION, json=ERP_A)).status_code for _ in range(3)]
        assert statuses == [501, 501, 200]
        sandbox.fault(Fault("status", times=5))
        sandbox.clear_faults()
        assert (await client.get(RECORDS)).status_code == 200

    async def test_authentication_and_the_limit_come_first(self, time: Time) -> None:
        async with Sandbox(rate_limit=(1, 60), clock=lambda: time.now) as sandbox, connect(sandbox) as client:
            sandbox.fault(Fault("status", status=520, times=2))
            wrong = await client.get(RECORDS, headers={"Authorization": "Bearer bxt_wrong"})
            statuses = [wrong.status_code, *[(await client.get(RECORDS)).status_code for _ in range(2)]]
        assert statuses == [401, 520, 429]

    @pytest.mark.parametrize(
        "options",
        [
            *({"kind": "explode"}, {"operation": "deleteEverything"}, {"times": 0}, {"times": True}, {"status": 199}),
            *({"status": 600}, {"status": "503"}, {"seconds": -1}, {"seconds": float("nan")}, {"body": "xml"}),
            *({"applied": 1}, {"retry_after": 5}, {"retry_after": "1\r\nX: y"}, {"members": 0}, {"encoding": "é"}),
            *({"encoding": None}, {"json": object()}, {"json": {"a": {1}}}),
        ],
    )
    def test_faults_that_make_no_sense(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=next(iter(options))):
            Fault(**{"kind": "status"} | options)


class TestControl:
    async def test_faults_over_http(self, sandbox: Sandbox, client: httpx.AsyncClient) -> None:
        fault = {"kind": "status", "status": 502, "times": 2, "operation": "createIntegration"}
        queued = await client.post("/_sandbox/faults", json=fault)
        assert queued.json()["faults"][0].items() >= fault.items()
        assert (await client.post(INTEGRATION, json=ERP_A)).status_code == 502
        assert (await client.post("/_sandbox/faults", json={"kind": "html"})).json()["faults"][0]["times"] == 1
        assert (await client.delete("/_sandbox/faults")).json() == {"faults": []}
        assert (await client.post(INTEGRATION, json=ERP_A)).status_code == 200
        assert [request.path for request in sandbox.requests] == [INTEGRATION] * 2

    @pytest.mark.parametrize("content", [b"", b"[]", b'{"kind":"explode"}', b'{"kind":"html","when":"now"}', b"7"])
    async def test_faults_that_make_no_sense(self, client: httpx.AsyncClient, content: bytes) -> None:
        response = await client.post("/_sandbox/faults", content=content)
        assert (response.status_code, error_code(response)) == (400, "INVALID_REQUEST")

    async def test_the_log_of_requests(self, sandbox: Sandbox, client: httpx.AsyncClient) -> None:
        sandbox.fault(Fault("reset_before", operation="createIntegration"))
        await client.get(f"{RECORDS}?limit=1&ids=a%20b")
        with pytest.raises(httpx.ReadError):
            await client.post(INTEGRATION, json=ERP_A, headers={"Idempotency-Key": "k1"})
        response = await client.get("/_sandbox/requests")
        assert response.json()["requests"] == [
            {"method": "GET", "path": RECORDS, "query": "limit=1&ids=a%20b", "idempotency_key": None, "status": 200},
            {"method": "POST", "path": INTEGRATION, "query": "", "idempotency_key": "k1", "status": None},
        ]
        assert sandbox.token not in response.text
        assert sandbox.token not in repr(sandbox.requests)

    async def test_it_asks_for_the_full_token(self, sandbox: Sandbox) -> None:
        for token, status in (("bxt_wrong", 401), (sandbox.read_only_token, 403), (sandbox.token, 200)):
            async with connect(sandbox, token) as client:
                assert (await client.get("/_sandbox/requests")).status_code == status

    async def test_unknown_controls(self, client: httpx.AsyncClient) -> None:
        assert (await client.get("/_sandbox/else")).status_code == 404


def test_a_sandbox_with_fewer_than_no_records() -> None:
    with pytest.raises(ValueError, match="records"):
        Sandbox(records=-1)
