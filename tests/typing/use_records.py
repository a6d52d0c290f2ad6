"""The records of the API as their users' type checkers see them: mypy --strict and pyright agree that this is right.

A line with an ignore is a mistake that both must find: an ignore that is not needed is an error.
"""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal, assert_type

from brex_accounting import (
    AccountingFieldValue,
    AccountingRecord,
    BrexAccounting,
    BrexError,
    ExportFailed,
    ExportResult,
    ExportSucceeded,
    InvalidRecord,
    InvalidResponseError,
    LineItem,
    LineItemType,
    Money,
    Receipt,
    RecordPage,
    Records,
    RecordStream,
    RecordType,
    ReportOutcome,
    ReviewStatus,
    SourceType,
    User,
    Vendor,
)


async def reads(brex: BrexAccounting, moment: datetime) -> None:
    assert_type(brex.records, Records)
    record = await brex.records.get("accr_1")
    assert_type(record, AccountingRecord)
    assert_type(await brex.records.get(record_id=record.id, single_entry=True), AccountingRecord)
    page = await brex.records.query()
    assert_type(page, RecordPage)
    assert_type(page.items, list[AccountingRecord])
    assert_type(page.next_cursor, str | None)
    assert_type(page.has_next_page, bool)
    assert_type(page.total_count, int | None)
    await brex.records.query(ids=("a", "b"), review_status=ReviewStatus.REVIEW, limit=1000, cursor=page.next_cursor)
    await brex.records.query(ids=["a"], source_type="BILL", updated_after=moment, single_entry=False)
    assert_type(brex.records.pages(), RecordStream[RecordPage])
    assert_type(brex.records.iterate(), RecordStream[AccountingRecord])
    async with brex.records.ready_for_export(updated_after=moment, page_size=50, on_invalid=tell) as ready:
        assert_type(ready, RecordStream[AccountingRecord])
        assert_type(await asyncio.wait_for(anext(ready), 1), AccountingRecord)
        assert_type([each async for each in ready], list[AccountingRecord])
    ordinary: AsyncIterator[AccountingRecord] = brex.records.ready_for_export(updated_after="2025-11-01T00:00:00Z")
    assert_type(await anext(ordinary), AccountingRecord)
    async for one in brex.records.iterate(
        ids=(f"accr_{n}" for n in range(3)),
        review_status="READY_FOR_EXPORT",
        source_type=SourceType.CARD,
        updated_after="2025-11-01T00:00:00Z",
        updated_before=moment,
        single_entry=None,
        page_size=500,
        cursor=None,
        on_invalid=tell,
    ):
        assert_type(one, AccountingRecord)
    bad: list[InvalidRecord] = []
    generator = brex.records.pages(on_invalid=bad.append, cursor="c", updated_after=moment)
    assert_type(await anext(generator), RecordPage)
    await generator.aclose()


def tell(invalid: InvalidRecord) -> None:
    assert_type(invalid.record_id, str | None)
    assert_type(invalid.reason, str)
    assert_type(invalid.raw, bytes)


def fields(record: AccountingRecord) -> Decimal:
    assert_type(record.id, str)
    assert_type(record.amount, Money)
    assert_type(record.original_amount, Money | None)
    assert_type(record.type, RecordType)
    assert_type(record.review_status, ReviewStatus)
    assert_type(record.source_id, str | None)
    assert_type(record.source_type, SourceType)
    assert_type(record.erp_posting_date, datetime)
    assert_type(record.updated_at, datetime)
    assert_type(record.version, int)
    assert_type(record.receipts, list[Receipt] | None)
    assert_type(record.user, User | None)
    assert_type(record.vendor, Vendor | None)
    assert_type(record.memo, str | None)
    assert_type(record.posted_at, datetime)
    assert_type(record.due_at, datetime | None)
    assert_type(record.invoice_number, str | None)
    assert_type(record.line_items, list[LineItem])
    assert_type(record.is_balanced, bool)
    assert_type(record.status, str | None)
    assert_type(record.billing_amount, Money | None)
    assert_type(record.to_dict(), dict[str, Any])
    assert_type(record.to_dict(mode="json"), dict[str, Any])
    assert_type(record.to_json(), bytes)
    assert_type(record.unknown_fields, Mapping[str, Any])
    for line in record.line_items:
        assert_type(line.type, LineItemType)
        assert_type(line.amount.currency, str)
        assert_type(line.original_amount, Money | None)
        assert_type(line.memo, str | None)
        for value in line.accounting_field_values:
            assert_type(value, AccountingFieldValue)
            assert_type(value.brex_field_id, str)
            assert_type(value.remote_field_id, str | None)
            assert_type(value.brex_field_value_id, str | None)
            assert_type(value.remote_field_value_id, str | None)
            assert_type(value.field_name, str | None)
        assert_type(line.billing_amount, Money | None)
    for receipt in record.receipts or []:
        assert_type(receipt.download_uris, list[str] | None)
    if record.user is not None:
        assert_type(record.user.first_name, str)
        assert_type(record.user.department_name, str | None)
    if record.vendor is not None:
        assert_type(record.vendor.name, str)
        assert_type(record.vendor.phone, str | None)
    return sum((line.amount.amount for line in record.line_items if line.type == "DEBIT"), Decimal(0))


async def reports(brex: BrexAccounting) -> None:
    results: list[ExportResult] = [
        ExportSucceeded("accr_1", "JE-7", "https://erp.example/7"),
        ExportSucceeded(record_id="accr_2", reference_id=None),
        ExportFailed("accr_3", "no such GL account"),
    ]
    assert_type(await brex.records.report(results, idempotency_key="key"), tuple[str, ...])
    assert_type(await brex.records.report([ExportSucceeded("accr_1")]), tuple[str, ...])
    outcomes = await brex.records.report_all(ExportSucceeded(each) for each in ("a", "b"))
    assert_type(outcomes, list[ReportOutcome])
    for outcome in outcomes:
        assert_type(outcome.record_id, str)
        assert_type(outcome.message, str | None)
        assert_type(outcome.error, BrexError | None)
        print(told(outcome))  # noqa: T201


def told(outcome: ReportOutcome) -> str:
    match outcome.status:
        case "reported" | "already_exported":
            return "done"
        case "not_ready" | "not_found" | "not_applied":
            return "not done"
        case "unknown":
            return "look"


def which(error: InvalidResponseError) -> str | None:
    return error.record_id


def in_the_tests_of_users(status: Literal["reported"]) -> list[object]:
    money = Money(amount=Decimal("100.50"), currency="USD")
    now = datetime.now(UTC)
    return [
        ReportOutcome("accr_1", status),
        RecordPage(items=[], next_cursor=None, has_next_page=False),
        AccountingRecord(
            id="accr_1",
            amount=money,
            type=RecordType.CARD_PAYMENT,
            review_status=ReviewStatus("NEW"),
            source_type=SourceType.CARD,
            erp_posting_date=now,
            updated_at=now,
            posted_at=now,
            version=1,
            line_items=[LineItem(id="arli_1", type=LineItemType.DEBIT, amount=money, accounting_field_values=[])],
        ),
    ]


async def mistakes(brex: BrexAccounting, record: AccountingRecord, moment: datetime) -> None:
    await brex.records.get(7)  # type: ignore[arg-type]
    await brex.records.get("accr_1", True)  # type: ignore[call-arg]
    await brex.records.query(["accr_1"])  # type: ignore[call-arg]
    await brex.records.query(ids=[1])  # type: ignore[list-item]
    await brex.records.query(limit=100.0)  # type: ignore[arg-type]
    await brex.records.query(page_size=100)  # type: ignore[call-arg]
    await brex.records.query(on_invalid=tell)  # type: ignore[call-arg]
    await brex.records.query(updated_after=moment.date())  # type: ignore[arg-type]
    await brex.records.query(single_entry="true")  # type: ignore[arg-type]
    brex.records.pages(limit=100)  # type: ignore[call-arg]
    brex.records.iterate(on_invalid=print, ids=7)  # type: ignore[arg-type]
    brex.records.iterate(on_invalid=lambda: None)  # type: ignore[arg-type, misc]
    await brex.records.iterate()  # type: ignore[misc]
    for _ in brex.records.iterate():  # type: ignore[attr-defined]
        pass
    await brex.records.report(ExportSucceeded("accr_1"))  # type: ignore[arg-type]
    await brex.records.report(["accr_1"])  # type: ignore[list-item]
    await brex.records.report_all([ExportFailed("accr_1", "no")], idempotency_key="key")  # type: ignore[call-arg]
    ExportFailed("accr_1")  # type: ignore[call-arg]
    ExportSucceeded(None)  # type: ignore[arg-type]
    print(record.purchase_date, record.user.id)  # type: ignore[attr-defined, union-attr]  # noqa: T201
    record.is_balanced = True  # type: ignore[misc]
    total: float = record.amount.amount  # type: ignore[assignment]
    print(total, record.vendor + record.memo)  # type: ignore[operator]  # noqa: T201
