"""Several accounts, records of one's own, edits, and lists that go back only so far: in-process and over HTTP."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from brex_accounting.sandbox import Fault, Sandbox

RECORDS = "/v3/accounting/records"
INTEGRATION = "/v3/accounting/integration"
EXPORT_RESULTS = "/v3/accounting/records/export-results"
ERP_A = {"vendor": "ERP_A", "vendor_account_id": "acct-42"}
NOW = datetime(2026, 6, 1, 12, 0, 0, 250000, UTC)
AS_SENT = json.loads((Path(__file__).parents[1] / "data" / "record-as-sent.json").read_text("utf-8"))
REQUIRED = {"id", "amount", "type", "review_status", "source_type", "erp_posting_date", "updated_at", "version"}
REQUIRED |= {"posted_at", "line_items"}


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now.timestamp()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def sandbox(clock: Clock) -> AsyncIterator[Sandbox]:
    async with Sandbox(records=5, clock=clock) as sandbox:
        yield sandbox


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[httpx.AsyncClient]:
    async with connect(sandbox, sandbox.token) as client:
        yield client


def connect(sandbox: Sandbox, token: str) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.AsyncClient(transport=sandbox.transport, base_url=sandbox.url, headers=headers)


async def listed(client: httpx.AsyncClient, **params: str) -> list[str]:
    response = await client.get(RECORDS, params=params)
    assert response.status_code == 200, response.text
    return [item["id"] for item in response.json()["items"]]


async def access_token(sandbox: Sandbox, refresh_token: str) -> str:
    form = {"grant_type": "refresh_token", "refresh_token": refresh_token}
    server = sandbox.authorization
    async with httpx.AsyncClient(transport=sandbox.transport, auth=(server.client_id, server.client_secret)) as client:
        token: str = (await client.post(sandbox.token_url, data=form)).json()["access_token"]
    return token


class TestAccounts:
    async def test_each_token_opens_its_own_books(self, sandbox: Sandbox, client: httpx.AsyncClient) -> None:
        other = sandbox.add_account("customer-7", records=3, token="bxt_other")
        assert list(sandbox.accounts) == ["account", "customer-7"]
        assert sandbox.accounts["account"].state is sandbox.state
        async with connect(sandbox, other.token) as theirs, connect(sandbox, other.read_only_token) as reader:
            assert await listed(theirs) == await listed(reader) == list(other.state.records)
            assert await listed(client) == list(sandbox.state.records)
            await client.post(INTEGRATION, json=ERP_A)
            assert (await theirs.post(INTEGRATION, json=ERP_A | {"vendor": "ERP_B"})).status_code == 200
            ours = next(iter(sandbox.state.records))
            assert (await theirs.get(f"{RECORDS}/{ours}")).status_code == 404
            results = {"results": [{"accounting_record_id": ours, "success": {}}]}
            assert (await theirs.post(EXPORT_RESULTS, json=results)).status_code == 404
            assert (await reader.post(INTEGRATION, json=ERP_A)).status_code == 403
        assert [each.vendor for each in other.state.integrations.values()] == ["ERP_B"]
        assert not other.state.records.keys() & sandbox.state.records.keys()

    async def test_a_grant_opens_the_books_of_its_account(self, sandbox: Sandbox) -> None:
        other = sandbox.add_account("customer-7", records=3)
        for name, state in (("customer-7", other.state), ("account", sandbox.state), ("stranger", sandbox.state)):
            token = await access_token(sandbox, sandbox.authorization.new_grant(name))
            async with connect(sandbox, token) as client:
                assert await listed(client) == list(state.records)

    async def test_a_consent_names_its_account(self, sandbox: Sandbox) -> None:
        sandbox.add_account("customer-7")
        server = sandbox.authorization
        query = {"client_id": server.client_id, "response_type": "code", "scope": "openid offline_access"}
        query |= {"redirect_uri": "http://127.0.0.1:1/", "login_hint": "customer-7"}
        async with httpx.AsyncClient(transport=sandbox.transport) as client:
            await client.get(f"{sandbox.issuer}/v1/authorize", params=query)
            await client.get(f"{sandbox.issuer}/v1/authorize", params=query | {"login_hint": ""})
        assert [grant.account for grant in server.grants] == ["customer-7", "account"]

    async def test_limits_and_keys_are_their_own(self, clock: Clock) -> None:
        key = {"Idempotency-Key": "k1"}
        async with Sandbox(rate_limit=(1, 60), clock=clock) as sandbox:
            other = sandbox.add_account("customer-7")
            async with connect(sandbox, sandbox.token) as client, connect(sandbox, other.token) as theirs:
                answers = [await each.post(INTEGRATION, json=ERP_A, headers=key) for each in (client, theirs, client)]
        assert [each.status_code for each in answers] == [200, 200, 429]
        assert answers[0].json()["integration_id"] != answers[1].json()["integration_id"]

    @pytest.mark.parametrize(
        ("name", "options", "problem"),
        [
            ("", {}, "name"),
            ("account", {}, "name"),
            ("x", {"token": "secret"}, "bxt_"),
            ("x", {"token": "bxt_taken"}, "another account"),
            ("x", {"records": -1}, "negative"),
            ("x", {"records": [{"updated_at": "yesterday"}]}, "updated_at"),
        ],
    )
    async def test_what_makes_no_account(self, name: str, options: dict[str, Any], problem: str) -> None:
        async with Sandbox(token="bxt_taken") as sandbox:
            with pytest.raises(ValueError, match=problem):
                sandbox.add_account(name, **options)
            assert list(sandbox.accounts) == ["account"]

    async def test_over_http(self, sandbox: Sandbox, client: httpx.AsyncClient) -> None:
        exact = '{"name": "x", "records": [{"id": "a", "amount": 1.10}]}'
        await client.post("/_sandbox/accounts", content=exact)
        assert sandbox.accounts["x"].state.records["a"].to_wire()["amount"] == "1.10"
        added = (await client.post("/_sandbox/accounts", json={"name": "customer-7", "records": 2})).json()
        other = sandbox.accounts["customer-7"]
        assert added == {
            "name": "customer-7",
            "token": other.token,
            "read_only_token": other.read_only_token,
            "review_status": {"READY_FOR_EXPORT": 2},
        }
        assert (await client.get("/_sandbox/accounts")).json()["accounts"][2] == added
        named = (await client.post("/_sandbox/clients", json={"client_id": "c", "client_secret": "s"})).json()
        assert named == {"client_id": "c", "client_secret": "s"}
        assert set((await client.post("/_sandbox/clients")).json()) == {"client_id", "client_secret"}
        async with connect(sandbox, other.token) as theirs:
            granted = (await theirs.post("/_sandbox/grants")).json()
            assert granted["account"] == "customer-7"
        chosen = {"account": "account", "scopes": ["accounting.record.read"], "client_id": "c"}
        narrow = (await client.post("/_sandbox/grants", json=chosen)).json()
        grants = [sandbox.authorization.grant_of(each["refresh_token"]) for each in (granted, narrow)]
        assert [(each.account, each.client_id) for each in grants if each] == [
            ("customer-7", sandbox.authorization.client_id),
            ("account", "c"),
        ]

    @pytest.mark.parametrize(
        ("path", "fields"),
        [
            ("accounts", {}),
            ("accounts", {"name": "account"}),
            ("accounts", {"name": "x", "records": "2"}),
            ("accounts", {"name": "x", "records": True}),
            ("accounts", {"name": "x", "records": ["a"]}),
            ("accounts", {"name": "x", "token": 7}),
            ("clients", {"client_id": 7}),
            ("grants", {"scopes": "all"}),
            ("grants", {"scopes": ["nonsense"]}),
            ("grants", {"client_id": "nobody"}),
            ("records", [7]),
            ("records", {"id": "accr_000000000000"}),
            ("records", [{"id": "accr_x"}, {"id": "accr_x"}]),
            ("records", {"version": "1"}),
        ],
    )
    async def test_what_makes_no_sense_over_http(
        self, sandbox: Sandbox, client: httpx.AsyncClient, path: str, fields: Any
    ) -> None:
        answer = await client.post(f"/_sandbox/{path}", json=fields)
        assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_REQUEST")
        assert (len(sandbox.accounts), len(sandbox.state.records)) == (1, 5)


class TestOwnRecords:
    async def test_a_record_as_brex_sends_it(self, sandbox: Sandbox, client: httpx.AsyncClient) -> None:
        assert sandbox.add_record(AS_SENT) == AS_SENT["id"]
        answer = await client.get(f"{RECORDS}/{AS_SENT['id']}")
        assert answer.json() == AS_SENT
        assert '"amount":84.1,' in answer.text
        page = await client.get(RECORDS, params={"review_status": "PREPARE"})
        assert page.json()["items"] == [AS_SENT]

    async def test_what_is_not_given_is_sensible(self, sandbox: Sandbox, client: httpx.AsyncClient) -> None:
        record_id = sandbox.add_record(memo="Taxi")
        record = (await client.get(f"{RECORDS}/{record_id}")).json()
        assert record.keys() == REQUIRED | {"memo"}
        assert (record["review_status"], record["version"], record["updated_at"]) == (
            "READY_FOR_EXPORT",
            1,
            "2026-06-01T12:00:00.250000Z",
        )
        assert [(line["type"], line["amount"]) for line in record["line_items"]] == [
            ("DEBIT", record["amount"]),
            ("CREDIT", record["amount"]),
        ]
        single = (await client.get(f"{RECORDS}/{record_id}", params={"single_entry": "true"})).json()
        assert single["line_items"] == record["line_items"][:1]

    @pytest.mark.parametrize(
        ("fields", "kinds"),
        [
            ({}, ("CARD", "CARD_EXPENSE_POST")),
            ({"source_type": "BILL"}, ("BILL", "BILL_EXPENSE")),
            ({"type": "INVOICE_PAYMENT"}, ("BILL", "INVOICE_PAYMENT")),
            ({"type": "REIMBURSEMENT_EXPENSE_POST"}, ("REIMBURSEMENT", "REIMBURSEMENT_EXPENSE_POST")),
            ({"type": "CARD_PAYMENT", "source_type": "NEW"}, ("NEW", "CARD_PAYMENT")),
        ],
    )
    def test_kinds(self, sandbox: Sandbox, fields: dict[str, str], kinds: tuple[str, str]) -> None:
        record = sandbox.state.records[sandbox.add_record(fields)].to_wire()
        assert (record["source_type"], record["type"]) == kinds

    async def test_values_from_python(self, sandbox: Sandbox, client: httpx.AsyncClient) -> None:
        moment = datetime(2026, 1, 2, 3, 4, 5, 6, timezone(timedelta(hours=1)))
        record_id = sandbox.add_record(
            amount={"amount": Decimal("90071992547409.93"), "currency": "USD"}, due_at=moment, tags=(1, 2.50, None)
        )
        text = (await client.get(f"{RECORDS}/{record_id}")).text
        assert text.count('"amount":90071992547409.93,') == 3
        assert '"due_at":"2026-01-02T02:04:05.000006Z"' in text
        assert '"tags":[1,2.5,null]' in text

    async def test_anything_goes_where_lists_do_not_look(self, sandbox: Sandbox, client: httpx.AsyncClient) -> None:
        for fields in ({"amount": "nonsense"}, {"line_items": None}, {"line_items": [1, {}]}, {"line_items": "x"}):
            record_id = sandbox.add_record(fields)
            record = (await client.get(f"{RECORDS}/{record_id}?single_entry=true")).json()
            assert record.items() >= {}.items()
            assert set(fields) <= record.keys()

    @pytest.mark.parametrize(
        "fields",
        [
            {"amount": {"amount": float("nan"), "currency": "USD"}},
            {"amount": {"amount": Decimal("Infinity"), "currency": "USD"}},
            {"due_at": datetime(2026, 1, 1)},  # noqa: DTZ001
            {"memo": object()},
            {"memo": {1: 2}},
            {"id": ""},
            {"id": 7},
            {"id": "accr_000000000000"},
            {"updated_at": 7},
            {"updated_at": "2026-01-01T00:00:00"},
            {"version": True},
            {"version": Decimal(1)},
            {"review_status": None},
            {"source_type": 7},
        ],
    )
    async def test_what_makes_no_record(self, sandbox: Sandbox, fields: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match=r"."):
            sandbox.add_records([{}, fields])
        assert len(sandbox.state.records) == 5

    async def test_from_the_start(self, clock: Clock) -> None:
        async with Sandbox(records=[{"id": "a"}, {"source_type": "BILL"}], clock=clock) as sandbox:
            assert [each.source_type for each in sandbox.state.records.values()] == ["CARD", "BILL"]

    async def test_over_http(self, sandbox: Sandbox, client: httpx.AsyncClient) -> None:
        text = (
            '[{"amount": {"amount": 90071992547409.930, "currency": "USD"}, "updated_at": "2021-01-01T00:00:00Z"}, {}]'
        )
        added = (await client.post("/_sandbox/records", content=text)).json()["ids"]
        assert list(sandbox.state.records)[5:] == added
        assert '"amount":90071992547409.930,' in (await client.get(f"{RECORDS}/{added[0]}")).text
        (alone,) = (await client.post("/_sandbox/records", json={"memo": "x"})).json()["ids"]
        seen = (await client.get("/_sandbox/records")).json()["records"]
        assert [each["id"] for each in seen] == list(sandbox.state.records)
        assert seen[-1]["id"] == alone
        assert seen[5] == {
            "id": added[0],
            "source_type": "CARD",
            "review_status": "READY_FOR_EXPORT",
            "version": 1,
            "updated_at": "2021-01-01T00:00:00.000000Z",
        }


class TestEdits:
    async def test_version_and_updated_at_rise(self, sandbox: Sandbox, client: httpx.AsyncClient, clock: Clock) -> None:
        for record_id in ("accr_000000000002", sandbox.add_record()):
            before = (await client.get(f"{RECORDS}/{record_id}")).json()
            clock.now += timedelta(seconds=1)
            sandbox.edit_record(record_id, memo="changed", amount={"amount": Decimal("1.10"), "currency": "EUR"})
            after = await client.get(f"{RECORDS}/{record_id}")
            expected = {"memo": "changed", "version": before["version"] + 1, "updated_at": after.json()["updated_at"]}
            assert after.json() == before | expected | {"amount": {"amount": 1.1, "currency": "EUR"}}
            assert after.json()["updated_at"] == clock.now.isoformat().replace("+00:00", "Z")
            assert '"amount":1.10,' in after.text

    async def test_a_clock_that_stands_still_or_goes_back(self, sandbox: Sandbox, clock: Clock) -> None:
        record = sandbox.state.records[sandbox.add_record()]
        clock.now -= timedelta(days=1)
        for microseconds in (1, 2):
            sandbox.edit_record(record.id, memo="x")
            assert record.updated_at == NOW + timedelta(microseconds=microseconds)

    async def test_what_is_given_for_them_stays(self, sandbox: Sandbox, client: httpx.AsyncClient) -> None:
        sandbox.edit_record("accr_000000000001", version=9, updated_at="2021-01-01T00:00:00.5+01:00")
        record = (await client.get(f"{RECORDS}/accr_000000000001")).json()
        assert (record["version"], record["updated_at"]) == (9, "2021-01-01T00:00:00.5+01:00")
        assert await listed(client, **{"updated_at[lt]": "2022-01-01"}) == [record["id"]]

    async def test_moves_and_reports_are_edits(self, sandbox: Sandbox, client: httpx.AsyncClient, clock: Clock) -> None:
        clock.now += timedelta(hours=1)
        failed = {"accounting_record_id": "accr_000000000001", "failure": {"error_message": "no such account"}}
        await client.post(EXPORT_RESULTS, json={"results": [failed]})
        sandbox.state.set_review_status("accr_000000000002", "PREPARE")
        seen = (await client.get(RECORDS, params={"updated_at[gte]": clock.now.isoformat()})).json()["items"]
        assert [(each["review_status"], each["version"]) for each in seen] == [("REVIEW", 3), ("PREPARE", 4)]

    async def test_becoming_ready_is_announced(self, sandbox: Sandbox) -> None:
        received: list[Any] = []

        async def receive(request: httpx.Request) -> httpx.Response:
            received.append(json.loads(request.content))
            return httpx.Response(204)

        sandbox.webhooks.register("http://localhost/", transport=lambda: httpx.MockTransport(receive))
        sandbox.edit_record("accr_000000000001", memo="still ready")
        sandbox.edit_record("accr_000000000001", review_status="REVIEW")
        sandbox.edit_record("accr_000000000001", review_status="READY_FOR_EXPORT")
        added = sandbox.add_records([{}, {"review_status": "PREPARE"}, {}])
        theirs = sandbox.add_account("customer-7").add_record()
        await sandbox.webhooks.settled()
        assert [(each["accounting_record_ids"], each["company_id"]) for each in received] == [
            (["accr_000000000001"], "company_sandbox"),
            ([added[0], added[2]], "company_sandbox"),
            ([theirs], "company_customer-7"),
        ]
        sandbox.webhooks.resend(sandbox.webhooks.deliveries[-1].webhook_id)
        await sandbox.webhooks.settled()
        assert received[-1] == received[-2]

    @pytest.mark.parametrize(
        "fields", [{"id": "accr_x"}, {"version": "2"}, {"updated_at": "x"}, {"review_status": 1}, {"memo": object()}]
    )
    async def test_what_makes_no_sense_changes_nothing(self, sandbox: Sandbox, fields: dict[str, Any]) -> None:
        before = sandbox.state.records["accr_000000000001"].to_wire()
        with pytest.raises(ValueError, match=r"."):
            sandbox.edit_record("accr_000000000001", {"memo": "changed", **fields})
        assert sandbox.state.records["accr_000000000001"].to_wire() == before

    async def test_over_http(self, sandbox: Sandbox, client: httpx.AsyncClient) -> None:
        edited = await client.patch("/_sandbox/records/accr_000000000001", content='{"memo": null, "x": 1.10}')
        assert edited.json() == {
            "id": "accr_000000000001",
            "source_type": "REIMBURSEMENT",
            "review_status": "READY_FOR_EXPORT",
            "version": 3,
            "updated_at": "2026-06-01T12:00:00.250000Z",
        }
        assert '"x":1.10' in (await client.get(f"{RECORDS}/accr_000000000001")).text
        assert (await client.get("/_sandbox/records/accr_000000000001")).json() == edited.json()
        assert (await client.get("/_sandbox/records/accr_x")).status_code == 404
        assert (await client.patch("/_sandbox/records/accr_x", json={})).status_code == 404
        assert (await client.patch("/_sandbox/records/accr_000000000001", json=[])).status_code == 400
        theirs = sandbox.add_account("customer-7", records=[{"id": "accr_a/b c"}])
        async with connect(sandbox, theirs.token) as other:
            assert (await other.patch("/_sandbox/records/accr_000000000001", json={})).status_code == 404
            assert (await other.patch("/_sandbox/records/accr_a%2Fb%20c", json={})).json()["version"] == 2

    async def test_the_ledger_of_exports_over_http(self, sandbox: Sandbox, client: httpx.AsyncClient) -> None:
        result = {"accounting_record_id": "accr_000000000001", "success": {"reference_id": "JE-1"}}
        await client.post(EXPORT_RESULTS, json={"results": [result]})
        assert (await client.get("/_sandbox/exports")).json() == {
            "exports": [
                {
                    "record_id": "accr_000000000001",
                    "reference_id": "JE-1",
                    "deep_link_url": None,
                    "error_message": None,
                    "applied_at": "2026-06-01T12:00:00.250000Z",
                }
            ]
        }


class TestRecentOnly:
    """Lists without a lower bound that leave out older records, as Brex is reported to."""

    @pytest.fixture
    def recent(self, sandbox: Sandbox) -> str:
        sandbox.recent_days = 30
        sandbox.add_record(updated_at=NOW - timedelta(days=30, microseconds=1))
        return sandbox.add_record(updated_at=NOW - timedelta(days=30))

    @pytest.mark.parametrize("bound", ["updated_at[gt]", "updated_at[gte]"])
    async def test_a_lower_bound_brings_all(
        self, sandbox: Sandbox, client: httpx.AsyncClient, recent: str, bound: str
    ) -> None:
        assert await listed(client) == [recent]
        assert await listed(client, ids=recent) == [recent]
        assert await listed(client, ids="accr_000000000000") == []
        assert await listed(client, review_status="READY_FOR_EXPORT") == [recent]
        assert await listed(client, **{"updated_at[lt]": "2030-01-01"}) == [recent]
        assert await listed(client, **{bound: "2000-01-01"}) == list(sandbox.state.records)
        assert (await client.get(f"{RECORDS}/accr_000000000000")).status_code == 200

    async def test_a_change_makes_a_record_recent(
        self, sandbox: Sandbox, client: httpx.AsyncClient, clock: Clock, recent: str
    ) -> None:
        clock.now += timedelta(days=1)
        assert await listed(client) == []
        sandbox.edit_record("accr_000000000000", memo="x")
        assert await listed(client) == ["accr_000000000000"]

    async def test_from_the_start_and_over_http(self, clock: Clock) -> None:
        async with (
            Sandbox(records=5, recent_days=0.5, clock=clock) as sandbox,
            connect(sandbox, sandbox.token) as client,
        ):
            assert await listed(client) == []
            options = (await client.get("/_sandbox/options")).json()["options"]
            assert (options["recent_days"], options["rotation"]) == (0.5, "rotate")
            assert not any("secret" in name for name in options)
            changed = await client.patch("/_sandbox/options", json={"recent_days": None, "grace": 5})
            assert changed.json()["options"] == options | {"recent_days": None, "grace": 5}
            assert len(await listed(client)) == 5
            assert sandbox.authorization.options.grace == 5
            for nonsense in ({"recent_days": -1}, {"recent_days": "1"}, {"grace": -1}, {"client_id": "x"}, {"x": 1}):
                refused = await client.patch("/_sandbox/options", json=nonsense)
                assert refused.status_code == 400
            uris = await client.patch("/_sandbox/options", json={"redirect_uris": ["https://erp.example/callback"]})
            assert uris.json()["options"]["redirect_uris"] == ["https://erp.example/callback"]
            assert sandbox.authorization.options.redirect_uris == ("https://erp.example/callback",)

    @pytest.mark.parametrize("days", [-1, float("nan"), float("inf"), True, 1e6])
    def test_days_that_make_no_sense(self, days: float) -> None:
        with pytest.raises(ValueError, match="recent_days"):
            Sandbox(recent_days=days)


async def test_the_read_only_token_controls_nothing(sandbox: Sandbox, client: httpx.AsyncClient) -> None:
    sandbox.fault(Fault("status", times=9))  # befalls the API alone
    async with connect(sandbox, sandbox.read_only_token) as reader:
        for method, path in (("GET", "records"), ("POST", "accounts"), ("PATCH", "records/accr_000000000000")):
            assert (await reader.request(method, f"/_sandbox/{path}")).status_code == 403
    assert (await client.get("/_sandbox/records")).status_code == 200
