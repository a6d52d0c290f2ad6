"""The state machine, without any I/O: what the contract says each operation does."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from brex_accounting.sandbox import _platform
from brex_accounting.sandbox._platform import IdempotencyLedger, SlidingWindow
from brex_accounting.sandbox._records import sample_records
from brex_accounting.sandbox._requests import ExportResult, InvalidRequestError, RecordQuery, parse_query, parse_results
from brex_accounting.sandbox._state import IdKey, State
from brex_accounting.sandbox._wire import JSON, Number, Reply, success, to_json

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, UTC)
AS_SENT = json.loads((Path(__file__).parents[1] / "data" / "record-as-sent.json").read_text("utf-8"))
PUBLISHED_TYPES = {
    "CARD_EXPENSE_POST",
    "CARD_EXPENSE_REPAYMENT",
    "REIMBURSEMENT_EXPENSE_REPAYMENT",
    "REIMBURSEMENT_EXPENSE_APPROVAL",
    "REIMBURSEMENT_EXPENSE_MONEY_MOVEMENT_PAYOUT",
    "REIMBURSEMENT_EXPENSE_MONEY_MOVEMENT_PAYIN",
    "REIMBURSEMENT_EXPENSE_POST",
    "CARD_PAYMENT",
    "REWARD_REDEMPTION",
    "REIMBURSEMENT_EXPENSE_MONEY_MOVEMENT_REFUND",
    "CARD_EXPENSE_REFUND",
    "CARD_PAYMENT_REFUND",
    "REIMBURSEMENT_EXPENSE_MONEY_MOVEMENT_PAYOUT_REVERSAL",
    "INVOICE",
    "INVOICE_PAYMENT",
    "BILL_EXPENSE",
    "BILL_EXPENSE_PAYMENT",
    "BILL_EXPENSE_CARD_PAYMENT",
    "BILL_MONEY_MOVEMENT_PAYIN",
}


def make_state(records: int = 0, *, id_key: IdKey = "integration_id") -> State:
    numbers = count(1)
    return State(records=sample_records(records), id_key=id_key, now=lambda: NOW, new_id=lambda: f"{next(numbers)}")


def body(reply: Reply, status: int = 200) -> Any:
    assert reply.status == status, reply
    return json.loads(reply.body, parse_float=Decimal)


def failing(reply: Reply, status: int, code: str) -> Any:
    envelope = body(reply, status)
    assert set(envelope) == {"error_code", "message", "details"}
    assert envelope["error_code"] == code
    assert envelope["message"]
    return envelope["details"]


def ids(reply: Reply) -> list[str]:
    return [item["id"] for item in body(reply)["items"]]


class TestIntegrations:
    def test_create_without_an_active_one_makes_one(self) -> None:
        state = make_state()
        assert body(state.create("ERP_A", "acct-42")) == {
            "integration_id": "int_1",
            "vendor": "ERP_A",
            "vendor_account_id": "acct-42",
            "status": "ACTIVE",
            "created_at": "2026-01-02T03:04:05.678901Z",
        }

    def test_create_again_returns_the_same(self) -> None:
        state = make_state()
        assert state.create("ERP_A", "acct-42") == state.create("ERP_A", "acct-42")
        assert len(state.integrations) == 1

    def test_create_for_another_account_of_the_vendor(self) -> None:
        state = make_state()
        state.create("ERP_A", "acct-42")
        assert failing(state.create("ERP_A", "acct-43"), 409, "VENDOR_ACCOUNT_ID_MISMATCH") == {
            "existing_integration_id": "int_1",
            "existing_vendor_account_id": "acct-42",
            "requested_vendor_account_id": "acct-43",
        }

    def test_create_for_another_vendor(self) -> None:
        state = make_state()
        state.create("ERP_A", "acct-42")
        assert failing(state.create("ERP_B", "acct-42"), 409, "ACTIVE_INTEGRATION_EXISTS") == {
            "existing_integration_id": "int_1",
            "existing_vendor": "ERP_A",
            "requested_vendor": "ERP_B",
        }
        assert len(state.integrations) == 1

    def test_create_after_disconnect_makes_a_new_one(self) -> None:
        state = make_state()
        state.create("ERP_A", "acct-42")
        state.disconnect("int_1")
        assert body(state.create("ERP_A", "acct-42"))["integration_id"] == "int_2"

    def test_disconnect_and_reactivate(self) -> None:
        state = make_state()
        created = body(state.create("ERP_A", "acct-42"))
        assert body(state.disconnect("int_1")) == created | {"status": "DISABLED"}
        assert body(state.reactivate("int_1")) == created

    def test_disconnect_what_is_disabled(self) -> None:
        state = make_state()
        state.create("ERP_A", "acct-42")
        state.disconnect("int_1")
        assert failing(state.disconnect("int_1"), 409, "INTEGRATION_NOT_ACTIVE") == {
            "integration_id": "int_1",
            "current_status": "DISABLED",
        }

    def test_unknown_ids(self) -> None:
        state = make_state()
        assert failing(state.disconnect("int_9"), 404, "NOT_FOUND") is None
        assert failing(state.reactivate("int_9"), 404, "NOT_FOUND") is None

    def test_reactivate_while_another_is_active(self) -> None:
        state = make_state()
        state.create("ERP_A", "acct-42")
        state.disconnect("int_1")
        state.create("ERP_B", "acct-7")
        assert failing(state.reactivate("int_1"), 409, "ACTIVE_INTEGRATION_EXISTS") == {
            "existing_integration_id": "int_2",
            "existing_vendor": "ERP_B",
            "requested_vendor": "ERP_A",
        }

    def test_reactivate_what_is_active_names_that_very_one(self) -> None:
        state = make_state()
        state.create("ERP_A", "acct-42")
        details = failing(state.reactivate("int_1"), 409, "ACTIVE_INTEGRATION_EXISTS")
        assert details["existing_integration_id"] == "int_1"

    @pytest.mark.parametrize(
        ("id_key", "names"),
        [("integration_id", {"integration_id"}), ("id", {"id"}), ("both", {"id", "integration_id"})],
    )
    def test_spellings_of_the_id(self, id_key: IdKey, names: set[str]) -> None:
        integration = body(make_state(id_key=id_key).create("ERP_A", "acct-42"))
        assert {name for name, value in integration.items() if value == "int_1"} == names


class TestQuery:
    def test_pages_hold_every_record_once(self) -> None:
        state = make_state(25)
        seen, cursor, pages = list[str](), "", 0
        while cursor is not None:
            page = body(state.query(parse_query(f"limit=10{cursor and f'&cursor={cursor}'}")))
            assert page["total_count"] == 25
            assert page["has_next_page"] is (page["next_cursor"] is not None)
            seen += [item["id"] for item in page["items"]]
            cursor, pages = page["next_cursor"], pages + 1
        assert seen == list(state.records)
        assert pages == 3

    def test_a_full_last_page_is_the_last(self) -> None:
        page = body(make_state(20).query(RecordQuery(limit=20)))
        assert (len(page["items"]), page["has_next_page"], page["next_cursor"]) == (20, False, None)

    def test_nothing_found(self) -> None:
        page = body(make_state().query(RecordQuery()))
        assert page == {"items": [], "total_count": 0, "next_cursor": None, "has_next_page": False}

    @given(st.integers(1, 7), st.integers(0, 100))
    def test_records_that_leave_while_they_are_read_shift_nothing(self, limit: int, exported: int) -> None:
        """Each page's records are exported, all or some, before the next page is asked for."""
        state = make_state(40)
        wanted = [each.id for each in state.records.values() if each.source_type != "BILL"]
        seen, cursor = list[str](), ""
        while cursor is not None:
            query = f"review_status=READY_FOR_EXPORT&limit={limit}{cursor and f'&cursor={cursor}'}"
            page = body(state.query(parse_query(query)))
            on_page = [item["id"] for item in page["items"]]
            leaving = on_page[: exported * len(on_page) // 100]
            if leaving:
                body(state.report([ExportResult(record_id) for record_id in leaving]))
            seen += on_page
            cursor = page["next_cursor"]
        assert seen == wanted

    def test_review_status_knows_no_bills(self) -> None:
        state = make_state(40)
        state.set_review_status("accr_000000000000", "PREPARE")
        ready = body(state.query(RecordQuery(review_status="READY_FOR_EXPORT")))["items"]
        assert Counter(item["source_type"] for item in ready) == {"CARD": 13, "REIMBURSEMENT": 14}
        assert ids(state.query(RecordQuery(review_status="PREPARE"))) == ["accr_000000000000"]
        assert ids(state.query(RecordQuery(review_status="READY_FOR_EXPORT", source_type="BILL"))) == []

    def test_bills_come_by_source_type_and_time(self) -> None:
        state = make_state(40)
        bills = [each for each in state.records.values() if each.source_type == "BILL"]
        assert ids(state.query(RecordQuery(source_type="BILL"))) == [bill.id for bill in bills]
        middle = sorted(bill.updated_at for bill in bills)[3]
        later = state.query(RecordQuery(source_type="BILL", updated_at=(("gt", middle),)))
        assert ids(later) == [bill.id for bill in bills if bill.updated_at > middle]
        assert len(ids(later)) == len(bills) - 4

    @pytest.mark.parametrize(
        ("bounds", "expected"),
        [
            ("[gt]=2025-01-02", [2, 3]),
            ("[gte]=2025-01-02", [1, 2, 3]),
            ("[lt]=2025-01-02", [0]),
            ("[lte]=2025-01-02", [0, 1]),
            ("[gte]=2025-01-02T01:00:00.000001%2B01:00", [2, 3]),
            ("[gte]=2025-01-02&updated_at[lt]=2025-01-02T00:00:00.000002Z", [1, 2]),
            ("[gt]=2025-01-02&updated_at[lte]=2025-01-02", []),
            ("%5Bgt%5D=2025-01-02T00:00:00.000001Z", [3]),
        ],
    )
    def test_updated_at_between_bounds(self, bounds: str, expected: list[int]) -> None:
        state = make_state()
        moments = ["2025-01-01T23:59:59.999999Z", "2025-01-02T00:00:00Z"]
        moments += ["2025-01-02T01:00:00.000001+01:00", "2025-01-03T00:00:00Z"]
        added = state.add_records([{"updated_at": moment} for moment in moments])
        assert ids(state.query(parse_query(f"updated_at{bounds}"))) == [added[each] for each in expected]

    def test_a_change_is_an_update(self) -> None:
        state = make_state(40)
        since = RecordQuery(updated_at=(("gte", NOW),))
        assert ids(state.query(since)) == []
        state.report([ExportResult("accr_000000000011")])
        item = body(state.query(since))["items"][0]
        assert (item["updated_at"], item["version"]) == ("2026-01-02T03:04:05.678901Z", 4)

    def test_ids_that_exist_are_found(self) -> None:
        wanted = frozenset({"accr_000000000003", "accr_nowhere", "accr_000000000001"})
        assert ids(make_state(5).query(RecordQuery(ids=wanted))) == ["accr_000000000001", "accr_000000000003"]

    @pytest.mark.parametrize(
        "query",
        [
            *("limit=0", "limit=1001", "limit=-1", "limit=100.0", "limit=1e2", "limit=", "limit=1&limit=2"),
            *("limit=%EF%BC%91", "review_status=EXPORT", "review_status=", "source_type=CASH", "single_entry=True"),
            *("single_entry=1", "cursor=", "cursor=abc", "cursor=LTU=", "cursor=%F0%9F", "updated_at[gt]=2026-W01-1"),
            *("updated_at=2026-01-01", "updated_at[lt]=2026-02-30", "updated_at[lte]=1&updated_at[lte]=2"),
            *("updated_at[gt]=20260101", "updated_at[gt]=2026-01-01&updated_at[gt]=2026-01-01"),
            *("updated_at[gt]=2026-01-01T00:00:00", "updated_at[gt]=2026-13-01T00:00:00Z", "updated_at[gt]="),
            *("updated_at[gt]=2026-01-01T00:00:00+01:00", "ids=a&" * 501),
        ],
    )
    def test_what_the_description_does_not_allow(self, query: str) -> None:
        with pytest.raises(InvalidRequestError):
            parse_query(query)

    def test_what_it_does_allow(self) -> None:
        query = parse_query(
            "ids=a&ids=b&review_status=REVIEW&source_type=CARD&single_entry=true&limit=1000&cursor=NDI%3D"
            "&updated_at%5Bgt%5D=2026-01-01t01:00:00.25%2B01:00&unheard=of"
        )
        assert query == RecordQuery(
            ids=frozenset({"a", "b"}),
            review_status="REVIEW",
            source_type="CARD",
            single_entry=True,
            limit=1000,
            after=42,
            updated_at=(("gt", datetime(2026, 1, 1, 0, 0, 0, 250000, UTC)),),
        )
        assert parse_query("ids=a&" * 500).ids == {"a"}


class TestReport:
    def test_successes_and_failures(self) -> None:
        state = make_state(3)
        results = [
            ExportResult("accr_000000000002", reference_id="JE-1", deep_link_url="https://erp.example/1"),
            ExportResult("accr_000000000000", error_message="unknown GL account"),
        ]
        assert body(state.report(results)) == {
            "updated_accounting_record_ids": ["accr_000000000002", "accr_000000000000"]
        }
        statuses = [record.review_status for record in state.records.values()]
        assert statuses == ["REVIEW", "READY_FOR_EXPORT", "EXPORTED"]
        assert [(export.result, export.applied_at) for export in state.exports] == [(each, NOW) for each in results]

    def test_all_unknown_ids_are_named_and_nothing_is_applied(self) -> None:
        state = make_state(3)
        results = [ExportResult(each) for each in ("accr_x", "accr_000000000000", "accr_y")]
        details = failing(state.report(results), 404, "NOT_FOUND")
        assert details == {"not_found_export_entry_source_ids": ["accr_x", "accr_y"]}
        self.assert_nothing_applied(state)

    def test_all_duplicates_are_named_and_nothing_is_applied(self) -> None:
        state = make_state(3)
        twice = ["accr_000000000000", "accr_000000000001"] * 2
        results = [ExportResult(each) for each in [*twice, "accr_000000000002"]]
        details = failing(state.report(results), 422, "DUPLICATE_ACCOUNTING_RECORD_IDS")
        assert details == {"duplicate_accounting_record_ids": ["accr_000000000000", "accr_000000000001"]}
        self.assert_nothing_applied(state)

    @pytest.mark.parametrize("status", ["PREPARE", "REVIEW", "EXPORTED"])
    def test_all_that_are_not_ready_are_named_and_nothing_is_applied(self, status: str) -> None:
        state = make_state(4)
        for record_id in ("accr_000000000001", "accr_000000000003"):
            state.set_review_status(record_id, status)
        details = failing(
            state.report([ExportResult(each) for each in state.records]),
            422,
            "ACCOUNTING_RECORD_NOT_READY_FOR_EXPORT",
        )
        assert details == {"not_ready_for_export_accounting_record_ids": ["accr_000000000001", "accr_000000000003"]}
        assert not state.exports
        assert state.records["accr_000000000000"].review_status == "READY_FOR_EXPORT"

    def assert_nothing_applied(self, state: State) -> None:
        assert not state.exports
        assert {record.review_status for record in state.records.values()} == {"READY_FOR_EXPORT"}

    @pytest.mark.parametrize(
        "item",
        [
            {"success": {}},
            {"accounting_record_id": 1, "success": {}},
            {"accounting_record_id": "a"},
            {"accounting_record_id": "a", "success": None},
            {"accounting_record_id": "a", "success": []},
            {"accounting_record_id": "a", "success": {"reference_id": 1}},
            {"accounting_record_id": "a", "success": {"deep_link_url": None}},
            {"accounting_record_id": "a", "failure": {}},
            {"accounting_record_id": "a", "failure": {"error_message": None}},
            {"accounting_record_id": "a", "success": {}, "failure": {"error_message": "both"}},
            "a",
        ],
    )
    def test_items_that_are_no_result(self, item: Any) -> None:
        request = json.dumps({"results": [{"accounting_record_id": "ok", "success": {}}, item]}).encode()
        with pytest.raises(InvalidRequestError):
            parse_results("application/json", request)

    def test_an_item_that_matches_exactly_one_schema(self) -> None:
        item = {"accounting_record_id": "a", "success": {"reference_id": None}, "failure": None}
        request = json.dumps({"results": [item]}).encode()
        assert parse_results("application/json; charset=utf-8", request) == [ExportResult("a")]

    def test_set_review_status_knows_four(self) -> None:
        with pytest.raises(ValueError, match="READY_FOR_EXPORT"):
            make_state(1).set_review_status("accr_000000000000", "DONE")


class TestSampleRecords:
    def records(self, *, single_entry: bool = False) -> list[Any]:
        return [
            json.loads(to_json(record.to_wire(single_entry=single_entry)), parse_float=Decimal)
            for record in sample_records(500)
        ]

    def test_they_are_the_same_every_time(self) -> None:
        assert self.records() == self.records()
        assert len({record["id"] for record in self.records()}) == 500
        assert {record["review_status"] for record in self.records()} == {"READY_FOR_EXPORT"}

    def test_every_published_type_and_one_that_is_not(self) -> None:
        types = Counter(record["type"] for record in self.records())
        assert set(types) > PUBLISHED_TYPES
        assert len(types) == len(PUBLISHED_TYPES) + 1
        sources = Counter(record["source_type"] for record in self.records())
        assert sources == {"CARD": 175, "REIMBURSEMENT": 175, "BILL": 150}

    def test_debits_equal_credits_in_each_currency(self) -> None:
        two_currencies = 0
        for record in self.records():
            sums: Counter[tuple[str, str]] = Counter()
            for line in record["line_items"]:
                amount = Decimal(line["amount"]["amount"])
                assert amount > 0
                sums[line["type"], line["amount"]["currency"]] += amount  # type: ignore[assignment]
            currencies = {currency for _, currency in sums}
            two_currencies += len(currencies) == 2
            for currency in currencies:
                assert sums["DEBIT", currency] == sums["CREDIT", currency]
            assert sums["DEBIT", record["amount"]["currency"]] == Decimal(record["amount"]["amount"])
        assert two_currencies > 10

    def test_single_entry_leaves_out_the_balancing_lines(self) -> None:
        for whole, single in zip(self.records(), self.records(single_entry=True), strict=True):
            assert single["line_items"] == whole["line_items"][: len(single["line_items"])]
            assert len({line["type"] for line in single["line_items"]}) == 1
            assert len({line["type"] for line in whole["line_items"]}) == 2
            assert {**single, "line_items": None} == {**whole, "line_items": None}

    @pytest.mark.parametrize(
        "name", ["user", "vendor", "receipts", "memo", "original_amount", "due_at", "invoice_number"]
    )
    def test_optional_fields_are_absent_and_null_and_present(self, name: str) -> None:
        records = self.records()
        assert any(name not in record for record in records)
        assert any(record.get(name, 0) is None for record in records)
        assert any(record.get(name) for record in records)

    def test_odd_values(self) -> None:
        records = self.records()
        users = [record["user"] for record in records if record.get("user")]
        assert "TRAVEL_ADMIN" in {user["role"] for user in users}
        assert any(user["first_name"].endswith(" ") for user in users)
        amounts = {to_json(record.to_wire(single_entry=False)["amount"]) for record in sample_records(60)}
        assert {
            '{"amount":1284750.35,"currency":"EUR"}',
            '{"amount":84.1,"currency":"USD"}',
            '{"amount":2400,"currency":"USD"}',
            '{"amount":42,"currency":"EUR"}',
            '{"amount":250.00,"currency":"USD"}',
        } <= amounts
        values = [
            value for record in records for line in record["line_items"] for value in line["accounting_field_values"]
        ]
        assert {value["remote_field_id"] for value in values} >= {None, "gl-0"}
        receipts = [receipt for record in records for receipt in record.get("receipts") or []]
        assert {receipt["download_uris"] is None for receipt in receipts} == {True, False}

    def test_some_charges_have_no_account_in_the_general_ledger_yet(self) -> None:
        charges = [record for record in self.records() if record["type"].startswith("CARD_EXPENSE")]
        values = [
            value for record in charges for line in record["line_items"] for value in line["accounting_field_values"]
        ]
        assert any("brex_field_value_id" not in value for value in values)
        assert any(value.get("brex_field_value_id", 0) is None for value in values)
        assert any(value.get("brex_field_value_id") for value in values if value.get("field_name"))

    def test_the_order_is_not_that_of_updated_at(self) -> None:
        bills = [record["updated_at"] for record in self.records() if record["source_type"] == "BILL"]
        assert bills != sorted(bills)
        assert (min(bills)[:7], max(bills)[:7]) == ("2025-01", "2025-06")

    def test_some_are_what_real_answers_look_like(self) -> None:
        as_sent = [record for record in self.records() if "status" in record]
        assert {record["source_type"] for record in as_sent} == {"CARD", "REIMBURSEMENT", "BILL"}
        assert 0.2 < len(as_sent) / 500 < 0.5
        for record in as_sent:
            assert record.keys() - {"user", "vendor", "memo"} <= AS_SENT.keys()
            assert record["billing_amount"] == record["amount"]
            assert re.fullmatch(r".*\.\d{3}Z", record["posted_at"])
            assert re.fullmatch(r".*\.\d{6}Z", record["updated_at"])
            for line in record["line_items"]:
                assert line.keys() == AS_SENT["line_items"][line["type"] != record["line_items"][0]["type"]].keys()
                assert line["amortization"] is None
                for value in line["accounting_field_values"]:
                    expected = AS_SENT["line_items"][0]["accounting_field_values"][0].keys()
                    assert expected - {"brex_field_value_id"} <= value.keys() <= expected
        users = [record["user"] for record in as_sent if record.get("user")]
        assert AS_SENT["user"].keys() <= users[0].keys()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


class TestWire:
    @given(json_values)
    def test_what_is_written_reads_as_it_was(self, value: JSON) -> None:
        assert json.loads(to_json(value)) == value

    @given(st.decimals(allow_nan=False, allow_infinity=False))
    def test_numbers_keep_their_digits(self, number: Decimal) -> None:
        literal = str(number)
        assert to_json({"amount": Number(literal)}) == f'{{"amount":{literal}}}'


class TestSlidingWindow:
    @given(st.integers(1, 5), st.lists(st.floats(0, 3), max_size=60))
    def test_never_more_than_so_many_in_any_window(self, requests: int, steps: Sequence[float]) -> None:
        now, admitted = 0.0, list[float]()
        window = SlidingWindow(requests, 10.0, lambda: now)
        for step in steps:
            now += step
            recent = [moment for moment in admitted if moment > now - 10.0]
            if window.admit("token") is None:
                admitted.append(now)
                assert len(recent) < requests
            else:
                assert len(recent) == requests

    def test_the_wait_is_enough_and_no_longer_than_needed(self) -> None:
        now = 0.0
        window = SlidingWindow(2, 10.0, lambda: now)
        assert window.admit("token") is None
        now = 4.5
        assert window.admit("token") is None
        assert window.admit("token") == 6
        assert window.admit("other token") is None
        now = 10.0
        assert window.admit("token") is None
        assert window.admit("token") == 5


class TestIdempotencyLedger:
    def test_a_request_that_was_given_up_leaves_its_key_free(self) -> None:
        ledger = IdempotencyLedger()
        with pytest.raises(InterruptedError), ledger.once(("token", "k1"), b"request", lambda: success({})):
            raise InterruptedError
        with ledger.once(("token", "k1"), b"another request", lambda: success({})) as perform:
            assert perform() == success({})

    def test_the_oldest_keys_are_forgotten(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_platform, "_KEYS_REMEMBERED", 2)
        ledger, performed = IdempotencyLedger(), list[str]()

        def call(key: str) -> None:
            def perform() -> Reply:
                performed.append(key)
                return success({})

            with ledger.once(("token", key), b"request", perform) as answer:
                assert answer() == success({})

        for key in ("k1", "k2", "k2", "k3", "k2", "k1"):
            call(key)
        assert performed == ["k1", "k2", "k3", "k1"]


@dataclass
class Model:
    """What a reader of the contract would expect after the calls so far."""

    active: str | None = None
    vendors: dict[str, tuple[str, str]] = field(default_factory=dict)
    exported: dict[str, str] = field(default_factory=dict)


class Account(RuleBasedStateMachine):
    """Any sequence of calls keeps the contract's promises."""

    def __init__(self) -> None:
        super().__init__()
        self.state = make_state(6)
        self.model = Model()

    @rule(vendor=st.sampled_from("AB"), account=st.sampled_from("12"))
    def create(self, vendor: str, account: str) -> None:
        reply = self.state.create(vendor, account)
        if self.model.active is None:
            self.model.active = body(reply)["integration_id"]
            assert self.model.active not in self.model.vendors
            self.model.vendors[self.model.active] = (vendor, account)
        elif self.model.vendors[self.model.active] == (vendor, account):
            assert body(reply)["integration_id"] == self.model.active
        else:
            assert reply.status == 409

    @rule(number=st.integers(1, 4))
    def disconnect(self, number: int) -> None:
        integration_id = f"int_{number}"
        status = self.state.disconnect(integration_id).status
        if integration_id == self.model.active:
            assert status == 200
            self.model.active = None
        else:
            assert status == (409 if integration_id in self.model.vendors else 404)

    @rule(number=st.integers(1, 4))
    def reactivate(self, number: int) -> None:
        integration_id = f"int_{number}"
        status = self.state.reactivate(integration_id).status
        if integration_id not in self.model.vendors:
            assert status == 404
        elif self.model.active is not None:
            assert status == 409
        else:
            assert status == 200
            self.model.active = integration_id

    @rule(numbers=st.lists(st.integers(0, 6), min_size=1, max_size=3), fails=st.booleans())
    def report(self, numbers: list[int], fails: bool) -> None:
        record_ids = [f"accr_{number:012d}" for number in numbers]
        message = "no such account" if fails else None
        reply = self.state.report([ExportResult(each, error_message=message) for each in record_ids])
        if len(set(record_ids)) < len(record_ids) or self.model.exported.keys() & set(record_ids):
            assert reply.status in {404, 422}
        elif 6 in numbers:
            assert reply.status == 404
        else:
            assert reply.status == 200
            self.model.exported |= dict.fromkeys(record_ids, "REVIEW" if fails else "EXPORTED")

    @invariant()
    def the_books_are_as_expected(self) -> None:
        active = [each.id for each in self.state.integrations.values() if each.status == "ACTIVE"]
        assert active == ([self.model.active] if self.model.active else [])
        left = {each.id: each.review_status for each in self.state.records.values()}
        assert left == dict.fromkeys(self.state.records, "READY_FOR_EXPORT") | self.model.exported
        assert Counter(export.result.record_id for export in self.state.exports) == Counter(self.model.exported.keys())


TestAccount = Account.TestCase
