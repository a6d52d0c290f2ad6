"""The worker with the real client, the sandbox in-process and a store in memory, in time that passes at once."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from brex_accounting import (
    BrexAccounting,
    BrexError,
    ConfigurationError,
    MemoryTokenStore,
    OAuth2,
    ReauthorizationRequiredError,
    ReportOutcome,
    ServerError,
)
from brex_accounting.sandbox import Fault, Sandbox
from brex_accounting.worker import ExportEntry, ExportStoreError, ExportWorker, NotBookedError, WorkerRunningError
from brex_accounting.worker._entries import StoreLostError
from tests.support.exports import ERP, MemoryExportStore
from tests.support.virtual_time import EPOCH, now, virtual_clock

pytestmark = pytest.mark.virtual_time

REPORT = "reportAccountingExportResults"
QUERY = "queryAccountingRecords"


@dataclass
class World:
    sandbox: Sandbox
    brex: BrexAccounting
    store: MemoryExportStore
    erp: ERP = field(default_factory=ERP)
    changes: list[ExportEntry] = field(default_factory=list)

    def worker(self, doubts: str = "find", **options: Any) -> ExportWorker:
        if doubts == "find":
            options["find"] = self.erp.find
        elif doubts == "upsert":
            options["upsert"] = self.erp.upserts = True
        worker = ExportWorker(self.brex, self.erp.book, self.store, **{"on_change": self.changes.append} | options)
        worker._clock = virtual_clock()  # type: ignore[misc]
        return worker

    @asynccontextmanager
    async def running(self, doubts: str = "find", **options: Any) -> AsyncIterator[ExportWorker]:
        worker = self.worker(doubts, **options)
        running = asyncio.create_task(worker.run())
        try:
            yield worker
        finally:
            worker.stop()
            await running

    def add(self, **fields: Any) -> str:
        return self.sandbox.add_record(**fields)

    def edit(self, record_id: str, amount: str) -> None:
        self.sandbox.edit_record(record_id, amount={"amount": Decimal(amount), "currency": "USD"})

    def move(self, record_id: str, status: str) -> None:
        self.sandbox.state.set_review_status(record_id, status)

    def status_of(self, record_id: str) -> str:
        return self.sandbox.state.records[record_id].review_status

    def reported(self, record_id: str) -> list[Any]:
        return [each.result for each in self.sandbox.state.exports if each.result.record_id == record_id]

    def states(self, record_id: str) -> list[str]:
        return [entry.state for entry in self.changes if entry.record_id == record_id]

    def entry(self, record_id: str) -> ExportEntry:
        return self.store.entries.get(record_id, ExportEntry(record_id, "ready"))

    def check(self) -> None:
        """The ERP, Brex and the store agree."""
        assert Counter(each.record_id for each in self.erp.bookings).most_common(1)[0][1] == 1
        for booking in self.erp.bookings:
            [success] = [each for each in self.reported(booking.record_id) if each.error_message is None]
            assert success.reference_id == booking.reference
            assert self.status_of(booking.record_id) == "EXPORTED"
            assert self.entry(booking.record_id).state == "exported"


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with make_world() as world:
        yield world


@asynccontextmanager
async def make_world(**options: Any) -> AsyncIterator[World]:
    sandbox = Sandbox(rate_limit=None, clock=lambda: EPOCH + now(), **options)
    async with sandbox, connect(sandbox, sandbox.token) as brex:
        store = MemoryExportStore(virtual_clock())
        store.made_at = 0.0  # an old store: the ERP is not asked about each record
        yield World(sandbox, brex, store)


def connect(sandbox: Sandbox, auth: Any) -> BrexAccounting:
    """A client whose time passes as that of the loop does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("brex_accounting.client.Clock", virtual_clock)
        return BrexAccounting(auth, base_url=sandbox.url, transport=sandbox.transport, rate_limit=None)


async def until(condition: Any, within: float = 3600.0) -> None:
    async with asyncio.timeout(within):
        while not condition():
            await asyncio.sleep(0.05)


# -- the way it should go --


@pytest.mark.parametrize("doubts", ["find", "upsert", "person"])
async def test_each_record_is_booked_once_and_reported_once(doubts: str) -> None:
    async with make_world(records=400) as world:
        assert await world.worker(doubts).drain(budget=600) is None
        world.check()
        assert len(world.erp.bookings) == 400
        assert world.erp.finds == []
        status = await world.store.status()
        assert (status.exported, status.ready, status.oldest, status.worker) == (400, 0, None, None)
        bills = [each for each in world.sandbox.state.records.values() if each.source_type == "BILL"]
        assert len(bills) == 120
        # One for the list, one before booking, one before the report, and the report.
        assert len(world.sandbox.requests) <= 4 * 4 + 1
        assert world.erp.most_at_once == 8


async def test_what_a_record_goes_through(world: World) -> None:
    record_id = world.add(version=5)
    await world.worker().drain(budget=60)
    assert world.states(record_id) == ["booking", "booked", "exported"]
    intent, booked, exported = world.changes
    assert (intent.version, intent.attempts, booked.reference_id, exported.reference_id) == (5, 1, "JE-1", "JE-1")
    assert exported.content == world.erp.bookings[0].content
    assert exported.attempts == 0
    assert (exported.handled, exported.noticed, exported.message, exported.held) == (1, 1, None, None)


async def test_a_note_wakes_it_at_once(world: World) -> None:
    async with world.running():
        await asyncio.sleep(100)
        record_id = world.add(source_type="BILL")
        began = now()
        await world.store.note([record_id])
        await until(lambda: world.status_of(record_id) == "EXPORTED", within=1)
        assert now() - began < 0.5
    world.check()


async def test_what_nobody_noted_is_found_by_the_poll(world: World) -> None:
    async with world.running(poll_every=500.0):
        await asyncio.sleep(10)
        ids = [world.add(source_type=kind) for kind in ("CARD", "REIMBURSEMENT", "BILL")]
        await asyncio.sleep(480)
        assert world.erp.calls == []
        await asyncio.sleep(20)
        assert {world.status_of(each) for each in ids} == {"EXPORTED"}


async def test_old_records_are_found_though_lists_show_recent_ones_only() -> None:
    async with make_world(records=20, recent_days=30) as world:
        await world.worker().drain(budget=60)
        assert len(world.erp.bookings) == 20


async def test_how_far_the_polls_of_the_bills_look_back() -> None:
    old, new = "2025-01-01T00:00:00Z", "2025-11-01T00:00:00.000001Z"
    async with make_world() as world:
        bills = [world.add(source_type="BILL", updated_at=each, review_status="PREPARE") for each in (old, new)]
        world.add(source_type="CARD", updated_at="2026-01-01T00:00:00Z")
        worker = world.worker(bills_since=datetime(2024, 1, 1, tzinfo=UTC), bills_overlap=timedelta(days=2))
        await worker.drain(budget=60)
        assert (await world.store.marks())[1] == datetime(2025, 11, 1, 0, 0, 0, 1, UTC)  # that of a bill, as Brex says
        begin = [each.query for each in world.sandbox.requests if "BILL" in each.query]
        assert "2024-01-01T00%3A00%3A00" in begin[0]
        await worker.drain(budget=60)
        begin = [each.query for each in world.sandbox.requests if "BILL" in each.query]
        assert "2025-10-30T00%3A00%3A00%2B" in begin[1] or "2025-10-30T00%3A00%3A00Z" in begin[1]
        assert world.entry  # nothing of these bills was noted
        assert set(bills).isdisjoint(world.store.entries)


async def test_an_account_without_bills_polls_from_the_beginning(world: World) -> None:
    for _ in range(2):
        await world.worker().drain(budget=60)
    status = await world.store.status()
    assert status.bills_until is None
    assert status.polled_at is not None
    bill = world.add(source_type="BILL", updated_at="2024-01-01T00:00:00Z")
    await world.worker().drain(budget=60)
    assert world.status_of(bill) == "EXPORTED"


async def test_a_burst_of_notices_is_one_look(world: World) -> None:
    ids = [world.add() for _ in range(100)]
    for _ in range(100):
        await world.store.note(ids)
    await world.worker().drain(budget=60, poll=False)
    world.check()
    assert len(world.sandbox.requests) == 3
    before = len(world.sandbox.requests)
    await world.store.note(ids)
    await world.worker().drain(budget=60, poll=False)
    assert len(world.sandbox.requests) == before + 1
    assert len(world.erp.calls) == 100


async def test_what_is_not_ready_is_forgotten(world: World) -> None:
    ids = [world.add(review_status=status) for status in ("PREPARE", "REVIEW", "EXPORTED")]
    await world.store.note([*ids, "accr_unknown"])
    assert await world.worker().drain(budget=60) is None
    assert world.store.entries == {}
    assert world.erp.calls == []


# -- how book ends --


async def test_a_refusal_goes_back_to_brex_and_comes_again(world: World) -> None:
    record_id = world.add()
    world.erp.next = ["refuse"]
    async with world.running():
        await until(lambda: world.states(record_id) == ["booking", "refused", "returned"])
        assert world.status_of(record_id) == "REVIEW"
        assert world.reported(record_id)[0].error_message == "no such account"
        world.move(record_id, "READY_FOR_EXPORT")
        await world.store.note([record_id])
        await until(lambda: world.status_of(record_id) == "EXPORTED")
    assert world.states(record_id)[3:] == ["booking", "booked", "exported"]
    assert len(world.erp.bookings) == 1


async def test_nothing_booked_is_tried_again_with_growing_pauses(world: World) -> None:
    record_id = world.add()
    world.erp.next = ["not booked"] * 3
    times = []
    async with world.running(initial_backoff=10.0, max_backoff=25.0):
        await until(lambda: times.append(now()) or world.status_of(record_id) == "EXPORTED")
    assert len(world.erp.calls) == 4
    assert 5 + 10 + 12 <= times[-1] - times[0] <= 10 + 20 + 25 + 5
    assert world.erp.finds == []
    tried = [entry for entry in world.changes if entry.state == "ready"]
    assert [entry.attempts for entry in tried] == [1, 2, 3]
    assert {entry.message for entry in tried} == {"the period is closed"}


async def test_the_author_says_when_to_try_again(world: World) -> None:
    record_id = world.add()
    times = list[float]()

    async def book(record: Any) -> str:
        times.append(now())
        if len(times) == 1:
            raise NotBookedError("closed", retry_in=300.0)
        return await world.erp.book(record)  # type: ignore[return-value]

    worker = world.worker()
    worker._options = replace(worker._options, book=book)
    assert 295 < (await worker.drain(budget=60) or 0) <= 300
    await asyncio.sleep(301)
    await worker.drain(budget=60)
    assert world.status_of(record_id) == "EXPORTED"


@pytest.mark.parametrize("what", ["lose the answer", "hang", "lose the request"])
async def test_a_doubt_is_settled_by_find_when_the_erp_shows_it_at_last(world: World, what: str) -> None:
    record_id = world.add()
    world.erp.next, world.erp.shows_after = [what], 110.0
    began = now()
    async with world.running(settle_after=120.0, book_timeout=30.0):
        await until(lambda: world.states(record_id)[-1:] == ["in_doubt"])
        await world.store.note([record_id] * 3)  # no notice makes it faster
        await until(lambda: world.status_of(record_id) == "EXPORTED")
        assert 120 <= now() - began < 125  # from when the request went out
    world.check()
    assert world.erp.finds == [record_id]
    assert len(world.erp.calls) == (2 if what == "lose the request" else 1)
    [doubt] = [entry for entry in world.changes if entry.state == "in_doubt"]
    assert doubt.message == ("book did not end within 30 s" if what == "hang" else doubt.message)


async def test_a_doubt_is_settled_by_booking_again(world: World) -> None:
    record_id = world.add()
    world.erp.next = ["lose the answer", "hang"]
    began = now()
    async with world.running("upsert", settle_after=120.0):
        await until(lambda: world.status_of(record_id) == "EXPORTED")
        assert 240 <= now() - began < 250
    world.check()
    assert len(world.erp.calls) == 3


async def test_a_doubt_is_settled_by_a_person(world: World) -> None:
    ids = [world.add(), world.add()]
    world.erp.next = ["lose the answer", "lose the request"]
    async with world.running("person", concurrency=1):
        await asyncio.sleep(119)
        assert await world.store.held() == []
        await asyncio.sleep(10)
        held = await world.store.held()
        assert [(entry.record_id, entry.held, entry.state) for entry in held] == [
            (e, "in doubt", "in_doubt") for e in ids
        ]
        await asyncio.sleep(10_000)
        assert len(world.erp.calls) == 2
        await world.store.settle(ids[0], world.erp.bookings[0].reference)
        await world.store.settle(ids[1], None)
        await until(lambda: {world.status_of(each) for each in ids} == {"EXPORTED"}, within=5)
    world.check()


async def test_find_that_fails_is_asked_again(world: World) -> None:
    record_id = world.add()
    world.erp.next, world.erp.find_fails = ["lose the answer"], 3
    async with world.running():
        await until(lambda: world.status_of(record_id) == "EXPORTED")
    world.check()
    assert len(world.erp.finds) == 4


async def test_a_call_that_does_not_heed_its_cancellation(world: World) -> None:
    record_id = world.add()
    go_on = asyncio.Event()

    async def deaf(record: Any) -> Any:
        reference = await world.erp.book(record)
        while not go_on.is_set():
            try:
                await go_on.wait()
            except asyncio.CancelledError:
                continue
        return reference

    worker = world.worker(settle_after=120.0)
    worker._options = replace(worker._options, book=deaf)
    running = asyncio.create_task(worker.run())
    await until(lambda: world.status_of(record_id) == "EXPORTED")
    worker.stop()
    await running
    world.check()
    go_on.set()
    await asyncio.sleep(1)


async def test_what_a_cancelled_call_still_returns_counts(world: World) -> None:
    world.add()

    async def late(record: Any) -> Any:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            return await world.erp.book(record)

    worker = world.worker()
    worker._options = replace(worker._options, book=late)
    await worker.drain(budget=200)
    world.check()
    assert world.erp.finds == []


@pytest.mark.parametrize("value", [None, 5, "", " ", "\ud800", b"JE-1"])
async def test_what_is_no_reference_is_a_doubt(world: World, value: Any) -> None:
    record_id = world.add()

    async def book(record: Any) -> Any:
        await world.erp.book(record)
        return value

    worker = world.worker()
    worker._options = replace(worker._options, book=book)
    await worker.drain(budget=60)
    assert world.states(record_id) == ["booking", "in_doubt"]
    await asyncio.sleep(121)
    await world.worker().drain(budget=60)
    world.check()


async def test_no_more_calls_at_a_time_than_told(world: World) -> None:
    for _ in range(50):
        world.add()
    world.erp.slow, world.erp.shows_after = 0.3, 1000.0
    world.erp.next = ["lose the answer"] * 20
    async with world.running("person", concurrency=3):
        await until(lambda: len(world.erp.bookings) == 50)
    assert world.erp.most_at_once == 3


# -- poison --


async def test_one_that_always_fails_never_stops_the_others(world: World) -> None:
    ids = [world.add() for _ in range(30)]
    world.erp.always = {ids[0]: "not booked", ids[1]: "lose the request"}
    async with world.running("upsert", max_attempts=3, concurrency=2, settle_after=60.0):
        await until(lambda: sum(world.status_of(each) == "EXPORTED" for each in ids) == 28, within=60)
        await until(lambda: len([each for each in world.store.entries.values() if each.held]) == 2)
        held = {entry.record_id: entry for entry in await world.store.held()}
        assert {entry.held for entry in held.values()} == {"attempts used up"}
        assert held[ids[0]].message == "the period is closed"
        assert world.erp.calls.count(ids[0]) == world.erp.calls.count(ids[1]) == 3
        await asyncio.sleep(100_000)
        assert world.erp.calls.count(ids[0]) == 3
        world.erp.always = {}
        for each in ids[:2]:
            await world.store.retry(each)
        await until(lambda: {world.status_of(each) for each in ids} == {"EXPORTED"}, within=5)
    world.check()


async def test_one_that_cannot_be_read_is_held_until_it_can(world: World) -> None:
    good, bad = world.add(), world.add()
    bill = world.add(source_type="BILL")
    for each in (bad, bill):
        world.sandbox.edit_record(each, posted_at="yesterday")
    other = world.add(source_type="BILL", review_status="PREPARE")
    world.sandbox.edit_record(other, posted_at="yesterday")
    async with world.running(poll_every=100.0):
        await until(lambda: world.status_of(good) == "EXPORTED" and len(world.store.entries) == 3)
        await asyncio.sleep(1)
        held = await world.store.held()
        assert {(entry.record_id, entry.held) for entry in held} == {(bad, "unreadable"), (bill, "unreadable")}
        assert all("posted_at" in (entry.message or "") for entry in held)
        for each in (bad, bill):
            world.sandbox.edit_record(each, posted_at="2025-04-24T16:13:49Z")
        await until(lambda: {world.status_of(each) for each in (bad, bill)} == {"EXPORTED"}, within=150)
    assert other not in world.store.entries


async def test_one_that_brex_fails_for_is_found_and_goes_alone(world: World) -> None:
    ids = [world.add() for _ in range(120)]
    poison = ids[17]
    really = world.brex.records.report_all
    asked = list[int]()

    async def report_all(results: Any) -> Any:
        asked.append(len(results))
        if any(result.record_id == poison for result in results):
            error = ServerError("no", status=500)
            return [ReportOutcome(result.record_id, "unknown", None, error) for result in results]
        return await really(results)

    world.brex.records.report_all = report_all  # type: ignore[method-assign]
    async with world.running(max_attempts=4):
        await until(lambda: sum(world.status_of(each) == "EXPORTED" for each in ids) == 119, within=200)
        others = 0
        while not await world.store.held():  # others keep coming, and are not held up
            others += 1
            assert others < 20
            other = world.add()
            await world.store.note([other])
            await until(lambda each=other: world.status_of(each) == "EXPORTED", within=60)
            await asyncio.sleep(30)
        assert [(entry.record_id, entry.held) for entry in await world.store.held()] == [(poison, "attempts used up")]
        assert world.entry(poison).state == "booked"
    assert len(world.erp.calls) == 120 + others
    assert len(asked) < 60


async def test_an_erp_that_is_away_holds_nobody(world: World, caplog: pytest.LogCaptureFixture) -> None:
    ids = [world.add() for _ in range(300)]
    really = world.erp.book
    away = [True]

    async def book(record: Any) -> Any:
        if away[0]:
            world.erp.calls.append(record.id)
            raise NotBookedError("the ERP cannot be reached") if len(world.erp.calls) % 2 else ConnectionError
        return await really(record)

    worker = world.worker("upsert")
    worker._options = replace(worker._options, book=book)
    running = asyncio.create_task(worker.run())
    await asyncio.sleep(1200)
    assert len(world.erp.calls) < 60
    assert await world.store.held() == []
    away[0] = False
    await until(lambda: {world.status_of(each) for each in ids} == {"EXPORTED"}, within=600)
    worker.stop()
    await running
    world.check()
    assert len([each for each in caplog.records if "The ERP is away" in each.message]) == 1
    assert len([each for each in caplog.records if "The ERP answers again" in each.message]) == 1
    assert len(world.sandbox.requests) < 7200  # nor is Brex asked all the time


# -- edits --


def meddle(world: World, state: str, act: Any) -> Any:
    """An on_change that does something once, at the moment when a record comes into a state."""
    acts = [act]

    def on_change(entry: ExportEntry) -> None:
        world.changes.append(entry)
        if entry.state == state and acts:
            acts.pop()(entry.record_id)

    return on_change


async def test_an_edit_after_the_booking_is_followed_by_an_upsert(world: World) -> None:
    record_id = world.add()
    on_change = meddle(world, "booked", lambda each: world.edit(each, "999.99"))
    await world.worker("upsert", on_change=on_change).drain(budget=60)
    world.check()
    assert world.states(record_id) == ["booking", "booked", "booking", "booked", "exported"]
    assert world.erp.bookings[0].content == world.entry(record_id).content
    assert len(world.erp.calls) == 2


@pytest.mark.parametrize("doubts", ["find", "person"])
async def test_an_edit_after_the_booking_is_never_reported(world: World, doubts: str) -> None:
    record_id = world.add(amount={"amount": Decimal("100.5"), "currency": "USD"})
    on_change = meddle(world, "booked", lambda each: world.edit(each, "999.99"))
    async with world.running(doubts, on_change=on_change):
        await until(lambda: world.entry(record_id).held == "changed")
        await world.store.note([record_id])
        await asyncio.sleep(10)
        assert world.reported(record_id) == []
        world.edit(record_id, "100.50")  # as it was, written otherwise
        await world.store.note([record_id])
        await until(lambda: world.status_of(record_id) == "EXPORTED", within=5)
    world.check()


async def test_a_person_brings_the_erp_up_to_date(world: World) -> None:
    record_id = world.add()
    on_change = meddle(world, "booked", lambda each: world.edit(each, "999.99"))
    async with world.running(on_change=on_change):
        await until(lambda: world.entry(record_id).held == "changed")
        await world.store.settle(record_id, "JE-1")
        await until(lambda: world.status_of(record_id) == "EXPORTED", within=5)
    world.check()


@pytest.mark.parametrize(
    "edit",
    [
        {"version": 99},
        {"receipts": [{"id": "receipt_1", "download_uris": ["https://files.example/2?new"]}]},
        {"amount": {"amount": Decimal("100.50"), "currency": "USD"}},
        {"vendor": None},
        {"status": "APPROVED"},
    ],
)
async def test_what_is_not_booked_does_not_matter(world: World, edit: dict[str, Any]) -> None:
    receipts = [{"id": "receipt_1", "download_uris": ["https://files.example/1?old"]}]
    record_id = world.add(receipts=receipts, amount={"amount": Decimal("100.5"), "currency": "USD"})
    on_change = meddle(world, "booked", lambda each: world.sandbox.edit_record(each, **edit))
    await world.worker(on_change=on_change).drain(budget=60)
    assert world.status_of(record_id) == "EXPORTED"
    assert len(world.erp.calls) == 1


async def test_a_record_taken_back_after_the_booking_goes_on_when_it_is_ready_again(world: World) -> None:
    record_id = world.add()
    on_change = meddle(world, "booked", lambda each: world.move(each, "PREPARE"))
    async with world.running(on_change=on_change):
        await until(lambda: world.entry(record_id).held == "taken back")
        world.move(record_id, "READY_FOR_EXPORT")
        await world.store.note([record_id])
        await until(lambda: world.status_of(record_id) == "EXPORTED", within=5)
    world.check()


async def test_a_record_that_is_gone_after_the_booking(world: World) -> None:
    record_id = world.add()
    on_change = meddle(world, "booked", world.sandbox.state.records.pop)
    async with world.running(on_change=on_change):
        await until(lambda: world.entry(record_id).held == "gone")
        await world.store.settle(record_id, None)
        await until(lambda: record_id not in world.store.entries, within=5)


async def test_ready_again_after_the_export(world: World) -> None:
    record_id = world.add()
    async with world.running("upsert"):
        await until(lambda: world.status_of(record_id) == "EXPORTED")
        world.move(record_id, "READY_FOR_EXPORT")
        await world.store.note([record_id])
        await until(lambda: world.status_of(record_id) == "EXPORTED", within=5)
        assert len(world.erp.calls) == 1  # the same content: reported again only
        await asyncio.sleep(1)
        world.edit(record_id, "7.77")
        world.move(record_id, "READY_FOR_EXPORT")
        await world.store.note([record_id])
        await until(lambda: world.status_of(record_id) == "EXPORTED", within=5)
        await asyncio.sleep(1)
    assert len(world.erp.calls) == 2
    assert len(world.erp.bookings) == 1
    assert [each.reference_id for each in world.reported(record_id)] == ["JE-1"] * 3


async def test_a_refused_record_that_was_edited_meanwhile_is_booked(world: World) -> None:
    record_id = world.add()
    world.erp.next = ["refuse"]
    on_change = meddle(world, "refused", lambda each: world.edit(each, "7.77"))
    await world.worker(on_change=on_change).drain(budget=60)
    world.check()
    assert [each.error_message for each in world.reported(record_id)] == [None]


# -- deaths and restarts: the processes are in test_deaths.py --


async def test_the_intent_is_saved_before_the_call(world: World) -> None:
    record_id = world.add()
    seen = list[ExportEntry]()

    async def book(record: Any) -> Any:
        seen.append(world.entry(record.id))
        return await world.erp.book(record)

    worker = world.worker()
    worker._options = replace(worker._options, book=book)
    await worker.drain(budget=60)
    [intent] = seen
    assert (intent.record_id, intent.state) == (record_id, "booking")
    assert intent.due == pytest.approx(EPOCH + now() + 120, abs=2)


async def test_a_booking_found_at_the_start_is_in_doubt_from_when_it_went_out(world: World) -> None:
    record_id = world.add()
    sent = EPOCH + now()
    await asyncio.sleep(50)  # nobody worked
    world.store.entries[record_id] = ExportEntry(
        record_id, "booking", 1, "c", attempts=1, due=sent + 120, handled=1, noticed=1
    )
    worker = world.worker()
    wait = await worker.drain(budget=60)
    assert wait == pytest.approx(70, abs=1)
    assert world.entry(record_id).state == "in_doubt"
    assert world.erp.finds == world.erp.calls == []
    await asyncio.sleep(wait + 1)
    await worker.drain(budget=60)
    assert world.erp.finds == [record_id]
    world.check()


async def test_short_jobs_settle_a_doubt_together(world: World) -> None:
    record_id = world.add()
    world.erp.next = ["lose the answer"]
    began = now()
    while world.status_of(record_id) != "EXPORTED":
        await world.worker().drain(budget=1)
        await asyncio.sleep(1)
    assert 120 <= now() - began < 125
    world.check()


async def test_clocks_that_jump(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    record_id, other = world.add(), world.add()
    world.erp.next, world.erp.shows_after = ["lose the answer", "not booked"], 110.0
    offset = [0.0]
    worker = world.worker(concurrency=1)
    worker._clock = replace(virtual_clock(), wall=lambda: EPOCH + now() + offset[0])  # type: ignore[misc]
    running = asyncio.create_task(worker.run())
    await until(lambda: len(world.erp.calls) == 2)
    began = now()
    offset[0] = 86_400.0  # forward: no doubt is settled before its time
    await asyncio.sleep(60)
    assert world.erp.finds == []
    offset[0] = -86_400.0  # back: nothing waits for a day
    await until(lambda: {world.status_of(each) for each in (record_id, other)} == {"EXPORTED"}, within=130)
    assert 119 < now() - began < 200
    worker.stop()
    await running
    world.check()


async def test_the_store_is_lost(world: World) -> None:
    ids = [world.add(posted_at="2025-01-01T00:00:00Z") for _ in range(20)]
    worker = world.worker()
    running = asyncio.create_task(worker.run())
    await until(lambda: len(world.erp.bookings) > 10)
    running.cancel()  # with its store
    await asyncio.wait([running])
    booked = len(world.erp.bookings)
    world.store = MemoryExportStore(virtual_clock())
    await asyncio.sleep(1)
    new = world.add(posted_at=datetime.fromtimestamp(EPOCH + now(), UTC).isoformat())
    await world.worker().drain(budget=60)
    assert len(world.erp.bookings) == 21
    assert set(world.erp.finds) == {each for each in ids if each in world.store.entries}
    assert new not in world.erp.finds
    assert {world.status_of(each) for each in (*ids, new)} == {"EXPORTED"}
    assert Counter(each.record_id for each in world.erp.bookings).most_common(1)[0][1] == 1
    assert booked <= 21


# -- stopping --


async def test_stop_lets_what_is_under_way_end_and_reports_it(world: World) -> None:
    ids = [world.add() for _ in range(40)]
    world.erp.slow = 10.0
    worker = world.worker(concurrency=4)
    running = asyncio.create_task(worker.run())
    await until(lambda: len(world.erp.calls) == 4)
    await asyncio.sleep(1)
    threading.Thread(target=worker.stop).start()
    began = now()
    await running
    assert 8 < now() - began < 12
    assert len(world.erp.calls) == 4
    assert sum(world.status_of(each) == "EXPORTED" for each in ids) == 4
    world.check()


async def test_what_outlasts_the_grace_is_in_doubt(world: World) -> None:
    quick, slow = world.add(), world.add()
    world.erp.next = ["hang"]
    worker = world.worker(concurrency=1, stop_grace=5.0)
    running = asyncio.create_task(worker.run())
    await until(lambda: len(world.erp.calls) == 1)
    worker.stop()
    began = now()
    await running
    assert now() - began == pytest.approx(5.0, abs=0.5)
    [hung] = world.erp.calls
    doubt = world.entry(hung)
    assert (doubt.state, doubt.message) == ("in_doubt", "the worker was stopped during the call")
    assert doubt.due == pytest.approx(EPOCH + began + 120, abs=2)
    assert world.states(hung) == ["booking", "in_doubt"]
    await asyncio.sleep(150)
    await world.worker().drain(budget=60)
    assert {world.status_of(each) for each in (quick, slow)} == {"EXPORTED"}
    world.check()


async def test_stop_before_run(world: World) -> None:
    world.add()
    worker = world.worker()
    worker.stop()
    await worker.run()
    assert world.erp.calls == []
    assert await worker.drain(budget=60) is None
    world.check()


async def test_cancelling_run_is_a_death(world: World) -> None:
    world.add()
    world.erp.next = ["hang"]
    running = asyncio.create_task(world.worker().run())
    await until(lambda: world.erp.calls != [])
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not world.store.locked
    await asyncio.sleep(121)
    await world.worker().drain(budget=60)
    world.check()


async def test_a_stop_does_not_wait_for_brex(world: World) -> None:
    record_id = world.add()
    worker = world.worker()
    running = asyncio.create_task(worker.run())
    world.sandbox.fault(Fault("status", operation=REPORT, times=10_000))
    await until(lambda: world.entry(record_id).state == "booked")
    await asyncio.sleep(300)
    worker.stop()
    began = now()
    await running
    assert now() - began < 20.5
    world.sandbox.clear_faults()
    await asyncio.sleep(70)
    await world.worker().drain(budget=60)
    world.check()


# -- trouble --


async def test_an_hour_without_brex_is_waited_out_and_logged_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "brex_accounting.worker")
    ids = [world.add() for _ in range(250)]
    world.erp.slow = 0.5
    async with world.running():
        await until(lambda: len(world.erp.bookings) > 100)
        world.sandbox.fault(Fault("status", status=503, times=100_000))
        await asyncio.sleep(3600)
        world.sandbox.clear_faults()
        await until(lambda: {world.status_of(each) for each in ids} == {"EXPORTED"}, within=300)
    world.check()
    assert len(world.erp.calls) == 250
    said = [each.getMessage() for each in caplog.records if each.name == "brex_accounting.worker"]
    assert [each.split(":")[0] for each in said if "in trouble" in each] == [
        "Brex is in trouble (ServerError 503"[:40]
    ] or (len([each for each in said if "is in trouble" in each]) == 1)
    assert len([each for each in said if "out of trouble" in each]) == 1
    assert all(entry.held is None for entry in world.store.entries.values())


async def test_a_list_that_fails_does_not_stop_the_rest(world: World) -> None:
    ids = [world.add(source_type="BILL") for _ in range(50)]
    iterate = world.brex.records.iterate

    def without_lists(**filters: Any) -> Any:
        if "ids" not in filters:
            raise ServerError("no", status=500)
        return iterate(**filters)

    world.brex.records.iterate = without_lists  # type: ignore[method-assign,assignment]
    async with world.running():
        await asyncio.sleep(1000)
        await world.store.note(ids)
        await until(lambda: {world.status_of(each) for each in ids} == {"EXPORTED"}, within=5)
        world.brex.records.iterate = iterate  # type: ignore[method-assign]
        other = world.add()
        await until(lambda: world.status_of(other) == "EXPORTED", within=60)
    world.check()


async def test_a_dead_grant_ends_it(world: World, caplog: pytest.LogCaptureFixture) -> None:
    server = world.sandbox.authorization
    auth = OAuth2(
        server.client_id,
        server.client_secret,
        account="a",
        store=MemoryTokenStore(),
        refresh_token=server.new_grant(),
        token_url=world.sandbox.token_url,
        transport=world.sandbox.transport,
    )
    async with connect(world.sandbox, auth) as world.brex:
        ids = [world.add() for _ in range(20)]
        world.erp.slow = 5.0
        worker = world.worker()
        running = asyncio.create_task(worker.run())
        await until(lambda: world.erp.calls != [])
        server.revoke()
        with pytest.raises(ReauthorizationRequiredError):
            await running
        booked = len(world.erp.bookings)
        assert booked >= 8  # what was under way came to its end, and is on the disk
        assert sum(entry.state == "booked" for entry in world.store.entries.values()) == booked
        with pytest.raises(ReauthorizationRequiredError):
            await world.worker().drain(budget=60)
    assert "tries again" not in caplog.text  # it waits for a person
    async with connect(world.sandbox, world.sandbox.token) as world.brex:
        await world.worker().drain(budget=600)
    world.check()
    assert len(world.erp.bookings) == len(ids)


async def test_a_second_worker(world: World) -> None:
    async with world.running():
        await asyncio.sleep(1)
        for work in (world.worker().run(), world.worker().drain(budget=1)):
            with pytest.raises(WorkerRunningError):
                await work


async def test_a_worker_that_lost_its_lock_ends(world: World) -> None:
    world.add()
    world.store.failing = WorkerRunningError("Another worker has taken over.")
    with pytest.raises(WorkerRunningError, match="taken over"):
        await world.worker().run()
    assert world.erp.calls == []


async def test_a_lost_store_ends_it(world: World) -> None:
    world.add()
    world.store.failing = StoreLostError("It was removed.")
    with pytest.raises(ExportStoreError, match="removed"):
        await world.worker().run()
    assert world.erp.calls == []


async def test_without_room_on_the_disk_nothing_is_booked(world: World, caplog: pytest.LogCaptureFixture) -> None:
    ids = [world.add() for _ in range(20)]
    world.store.failing = ExportStoreError("The disk is full.")
    async with world.running():
        await asyncio.sleep(1000)
        assert world.erp.calls == []
        world.store.failing = None
        await until(lambda: {world.status_of(each) for each in ids} == {"EXPORTED"}, within=60)
    world.check()
    assert len([each for each in caplog.records if "The store is in trouble" in each.message]) == 1


async def test_a_result_that_cannot_be_saved_is_kept_and_saved_later(world: World) -> None:
    record_id = world.add()
    world.erp.slow = 5.0
    async with world.running():
        await until(lambda: world.erp.calls != [])
        world.store.failing = ExportStoreError("The disk is full.")
        await asyncio.sleep(1000)
        assert world.entry(record_id).state == "booking"
        world.store.failing = None
        await until(lambda: world.status_of(record_id) == "EXPORTED", within=60)
    world.check()
    assert world.erp.finds == []


async def test_killed_with_a_result_that_cannot_be_saved(world: World) -> None:
    record_id = world.add()
    running = asyncio.create_task(world.worker().run())
    world.erp.slow = 5.0
    await until(lambda: world.erp.calls != [])
    world.store.failing = ExportStoreError("The disk is full.")
    await asyncio.sleep(10)
    running.cancel()
    await asyncio.wait([running])
    assert world.entry(record_id).state == "booking"
    world.store.failing = None
    await asyncio.sleep(150)
    await world.worker().drain(budget=60)
    world.check()
    assert world.erp.finds == [record_id]


async def test_drain_raises_what_stands_in_its_way(world: World) -> None:
    ids = [world.add() for _ in range(3)]
    world.sandbox.fault(Fault("status", operation=REPORT, status=503, times=100))
    with pytest.raises(ServerError):
        await world.worker().drain(budget=60)
    assert {world.entry(each).state for each in ids} == {"booked"}
    world.sandbox.clear_faults()
    world.sandbox.fault(Fault("status", operation=QUERY, status=503, times=100))
    with pytest.raises(BrexError):
        await world.worker().drain(budget=60)
    world.sandbox.clear_faults()
    world.store.failing = ExportStoreError("The disk is full.")
    with pytest.raises(ExportStoreError):
        await world.worker().drain(budget=60)
    world.store.failing = None
    assert await world.worker().drain(budget=60) is None
    world.check()


async def test_the_budget_of_drain(world: World) -> None:
    for _ in range(30):
        world.add()
    world.erp.slow = 3.0
    began = now()
    assert await world.worker(concurrency=2).drain(budget=10) == 0.0
    assert 10 <= now() - began < 15
    assert 6 <= len(world.erp.bookings) <= 10
    world.check()


@pytest.mark.parametrize("keys", [True, False])
async def test_a_lost_answer_of_a_report(keys: bool) -> None:
    async with make_world(honor_idempotency_keys=keys) as world:
        good, bad = world.add(), world.add()
        world.erp.always = {bad: "refuse"}
        world.sandbox.fault(Fault("reset_after", operation=REPORT, times=1))
        assert await world.worker().drain(budget=60) is None
        assert (world.entry(good).state, world.entry(bad).state) == ("exported", "returned")
        assert len(world.reported(good)) == len(world.reported(bad)) == 1


# -- what is told --


async def test_nothing_of_somebodys_books_is_stored_or_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    amount = {"amount": Decimal("98765.43"), "currency": "USD"}
    ids = [world.add(memo="A secret memo", amount=amount) for _ in range(4)]
    world.erp.always = {ids[0]: "lose the request", ids[1]: "lose the answer"}
    await world.worker().drain(budget=60)
    await asyncio.sleep(121)
    await world.worker().drain(budget=60)
    told = repr(list(world.store.entries.values())) + repr(world.changes) + caplog.text
    for secret in ("secret memo", "98765", world.sandbox.token):
        assert secret not in told
    assert "ConnectionError at exports.py:" in world.entry(ids[0]).message or ""


async def test_on_change_that_raises_changes_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.add()

    def on_change(_: ExportEntry) -> None:
        raise ZeroDivisionError("98765.43")

    await world.worker(on_change=on_change).drain(budget=60)
    world.check()
    assert "on_change raised ZeroDivisionError" in caplog.text
    assert "98765.43" not in caplog.text


async def test_an_id_that_cannot_be_used_does_not_stop_the_others(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    good, bad = world.add(), world.add(id="x" * 3000)
    await world.worker().drain(budget=60)
    assert world.status_of(good) == "EXPORTED"
    assert world.status_of(bad) == "READY_FOR_EXPORT"
    assert "cannot be used" in caplog.text


async def test_a_mistake_of_ours_ends_it_and_is_not_swallowed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.add()

    async def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(world.store, "_note", broken)
    with pytest.raises(ZeroDivisionError):
        await world.worker().run()
    assert not world.store.locked
    assert asyncio.all_tasks() == {asyncio.current_task()}


# -- arguments --


async def asynchronous(_: Any) -> str:
    return "JE-1"


class Callable:
    async def __call__(self, _: Any) -> str:
        return "JE-1"


WRONG: list[dict[str, Any]] = [
    {"book": lambda _: "JE-1"},
    {"book": None},
    {"find": lambda _: None},
    {"find": asynchronous, "upsert": True},
    {"upsert": 1},
    {"concurrency": 0},
    {"concurrency": 1.5},
    {"concurrency": True},
    {"book_timeout": 0},
    {"book_timeout": float("inf")},
    {"book_timeout": "60"},
    {"settle_after": 59.9},
    {"max_attempts": 0},
    {"initial_backoff": -1},
    {"max_backoff": float("nan")},
    {"poll_every": 0},
    {"bills_since": "yesterday"},
    {"bills_since": datetime(2025, 1, 1)},  # noqa: DTZ001
    {"bills_overlap": 3600},
    {"bills_overlap": timedelta(seconds=-1)},
    {"stop_grace": -1},
    {"on_change": asynchronous},
    {"on_change": 5},
    {"store": None},
    {"brex": None},
]


@pytest.mark.parametrize("wrong", WRONG, ids=[", ".join(wrong) for wrong in WRONG])
def test_arguments_that_cannot_be_right(wrong: dict[str, Any]) -> None:
    brex, book = BrexAccounting("bxt_example"), asynchronous
    right: dict[str, Any] = {"brex": brex, "book": book, "store": MemoryExportStore()}
    for good in (asynchronous, Callable()):
        ExportWorker(**right | {"book": good})
    with pytest.raises(ConfigurationError):
        ExportWorker(**right | wrong)


async def test_a_budget_that_cannot_be_right(world: World) -> None:
    for wrong in (0, -1, "60", float("inf")):
        with pytest.raises(ConfigurationError):
            await world.worker().drain(budget=wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError):
        await world.worker().run(signals=1)  # type: ignore[arg-type]
