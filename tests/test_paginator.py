"""All records of a query: each once, the bad ones set apart, nothing left behind however the loop ends."""

from __future__ import annotations

import asyncio
import functools
import itertools
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brex_accounting import (
    AccountingRecord,
    CallTimeoutError,
    ConfigurationError,
    InvalidRecord,
    InvalidResponseError,
    Outcome,
    RecordPage,
    RetryPolicy,
    ServerError,
)
from brex_accounting._records.paging import MAX_PAGES_WITHOUT_NEWS
from brex_accounting.records import Records
from tests.support.calls import RESET, UNAVAILABLE, Rig, Step, answer, hang, refuse
from tests.support.records import chain, page, record, serve, write
from tests.support.virtual_time import now

pytestmark = [pytest.mark.virtual_time, pytest.mark.usefixtures("complaints")]


def rig_of(*items: list[object], after: float = 0.0, **options: Any) -> Rig:
    return Rig(serve(chain(*items), after), **options)


def numbered(*numbers: int, **changes: object) -> list[object]:
    return [record(f"accr_{n}", **changes) for n in numbers]


def ids(items: list[Any]) -> list[int]:
    return [int(each.id.removeprefix("accr_")) for each in items]


async def read(rig: Rig, **asked: Any) -> list[int]:
    found = ids([each async for each in Records(rig.engine).iterate(**asked)])
    await rig.assert_idle()
    return found


async def read_until_error(rig: Rig, **asked: Any) -> tuple[list[int], Any]:
    found: list[AccountingRecord] = []
    with pytest.raises(Exception, match=r".") as caught:
        await collect(rig, found, **asked)
    await rig.assert_idle()
    return ids(found), caught.value


async def collect(rig: Rig, found: list[AccountingRecord], **asked: Any) -> None:
    async for each in Records(rig.engine).iterate(**asked):
        found.append(each)  # noqa: PERF401 - what came before an error counts


# -- records and pages -------------------------------------------------------------------------------------------------


async def test_all_records_in_their_order() -> None:
    rig = rig_of(numbered(0, 1, 2), numbered(3), [], numbered(4, 5))
    assert await read(rig) == [0, 1, 2, 3, 4, 5]
    assert [request.url.params.get("cursor") for request in rig.requests] == [None, "1", "2", "3"]
    assert {request.url.params["limit"] for request in rig.requests} == {"100"}


async def test_pages_lead_on_by_their_cursor() -> None:
    rig = rig_of(numbered(0, 1), numbered(2), numbered(3))
    found = [each async for each in Records(rig.engine).pages()]
    assert [(ids(each.items), each.next_cursor, each.has_next_page) for each in found] == [
        *(([0, 1], "1", True), ([2], "2", True), ([3], None, False))
    ]
    for n, each in enumerate(found[:-1]):
        rest = [later async for later in Records(rig.engine).pages(cursor=each.next_cursor)]
        assert [ids(later.items) for later in rest] == [ids(later.items) for later in found[n + 1 :]]


async def test_every_page_has_the_same_filters() -> None:
    rig = rig_of([], [], [])
    asked: Any = {"review_status": "REVIEW", "source_type": "CARD", "updated_after": "2025-01-01T00:00:00Z"}
    assert await read(rig, **asked, single_entry=False, page_size=7, ids=["accr_1"]) == []
    assert len({request.url.copy_remove_param("cursor") for request in rig.requests}) == 1
    assert len(rig.requests) == 3


async def test_counts_are_of_one_request() -> None:
    body = page(*numbered(0), total_count=7)
    [one] = [each async for each in Records(Rig(answer(200, body)).engine).pages(ids=["accr_0"])]
    assert (one.total_count, one.next_cursor, one.has_next_page) == (7, None, False)

    async def first_of(request: httpx.Request) -> httpx.Response:
        wanted = request.url.params.get_list("ids")
        return await answer(200, page(*numbered(0) * ("accr_0" in wanted), total_count=7))(request)

    split = [each async for each in Records(Rig(first_of).engine).pages(ids=[f"accr_{n}" for n in range(1300)])]
    assert [(each.total_count, each.next_cursor, each.has_next_page) for each in split] == [
        *((None, None, True), (None, None, True), (None, None, True), (None, None, False))
    ]
    assert [len(each.items) for each in split] == [1, 0, 0, 0]


async def test_records_that_a_shifting_list_repeats_come_once() -> None:
    books = [f"accr_{n}" for n in range(20)]

    async def shifting(request: httpx.Request) -> httpx.Response:
        start = int(request.url.params.get("cursor", 0))
        items, more = [record(each) for each in books[start : start + 4]], start + 4 < len(books)
        body = page(*items, cursor=str(start + 4) if more else None)
        if len(books) < 30:
            books.insert(0, f"accr_{len(books)}")
            books.insert(0, f"accr_{len(books)}")
        return await answer(200, body)(request)

    assert await read(Rig(shifting)) == list(range(20))


async def test_a_record_that_changed_comes_again() -> None:
    changed = record("accr_1", version=8)
    rig = rig_of(numbered(0, 1), [*numbered(1), changed, changed, *numbered(2)], [changed])
    assert [(each.id, each.version) async for each in Records(rig.engine).iterate()] == [
        *(("accr_0", 7), ("accr_1", 7), ("accr_1", 8), ("accr_2", 7))
    ]


async def test_each_iteration_remembers_for_itself() -> None:
    rig = rig_of(numbered(0, 0, 1))
    records = Records(rig.engine)
    for _ in range(2):
        assert ids([each async for each in records.iterate()]) == [0, 1]
    assert ids((await records.query()).items) == [0, 0, 1]


# -- one page ahead ----------------------------------------------------------------------------------------------------


async def test_the_next_page_comes_while_the_consumer_works() -> None:
    rig, began = rig_of(*(numbered(2 * n, 2 * n + 1) for n in range(6)), after=1.0), now()
    async for each in Records(rig.engine).iterate():
        wanted = int(each.id.removeprefix("accr_")) // 2 + 1
        await asyncio.sleep(0.5)
        assert len(rig.requests) == min(wanted + 1, 6)
    assert now() - began == 7.0
    assert rig.transport.most == 1


async def test_the_page_ahead_is_on_its_way_before_the_consumer_goes_to_work() -> None:
    rig = rig_of(numbered(0), numbered(1), numbered(2))
    records = Records(rig.engine).iterate()
    for n in range(3):
        await anext(records)  # and computes, without ever waiting
        assert len(rig.requests) == min(n + 2, 3)
    await records.aclose()


async def test_with_one_connection_the_consumer_can_make_calls_of_its_own() -> None:
    rig = rig_of(numbered(0), numbered(1), numbered(2), after=1.0, max_connections=1)
    records = Records(rig.engine)
    async for _ in records.iterate():
        await records.query(cursor="2")


# -- how a loop ends ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pages", "iterate"])
@pytest.mark.parametrize("taken", range(6))
@pytest.mark.parametrize("way", ["break", "aclose", "drop"])
async def test_leaving_in_the_middle(name: str, taken: int, way: str) -> None:
    rig = rig_of(*(numbered(n) for n in range(5)), after=1.0)
    generator = getattr(Records(rig.engine), name)()
    for _ in range(min(taken, 5)):
        await anext(generator)
        await asyncio.sleep(0.5)
    if way == "break":
        async for _ in generator:
            break
    elif way == "aclose":
        await generator.aclose()
        assert rig.transport.now == 0
        await generator.aclose()
        with pytest.raises(StopAsyncIteration):
            await anext(generator)
    del generator
    await rig.assert_idle()
    asked = len(rig.requests)
    await asyncio.sleep(10)
    assert len(rig.requests) == asked


async def test_a_consumer_that_raises() -> None:
    rig = rig_of(numbered(0), numbered(1), after=1.0)

    async def work() -> None:
        async for _ in Records(rig.engine).iterate():
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await work()
    await rig.assert_idle()


SLOW: list[Step] = [
    *(RESET, answer(200, page(*numbered(0, 1), cursor="1"), 1.0), refuse(429, retry_after="2")),
    *(answer(200, page(*numbered(2), cursor="2"), 1.0), UNAVAILABLE, answer(200, page(*numbered(3)), 1.0)),
]


async def consume(rig: Rig, seen: list[AccountingRecord]) -> None:
    async for each in Records(rig.engine).iterate():
        seen.append(each)
        await asyncio.sleep(0.75)


async def test_how_long_that_takes() -> None:
    rig, seen, began = Rig(*SLOW), list[AccountingRecord](), now()
    await consume(rig, seen)
    assert (ids(seen), now() - began) == ([0, 1, 2, 3], 6.75)
    await rig.assert_idle()


@pytest.mark.parametrize("ticks", [0, 1, 2, 5])
@pytest.mark.parametrize("quarters", range(27))
async def test_cancelled_at_any_moment(quarters: int, ticks: int) -> None:
    rig = Rig(*SLOW)
    task = asyncio.create_task(consume(rig, []))
    await asyncio.sleep(quarters / 4)
    for _ in range(ticks):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    await rig.assert_idle()


@pytest.mark.parametrize("quarters", range(1, 27))
async def test_a_timeout_around_the_loop(quarters: int) -> None:
    rig = Rig(*SLOW)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(quarters / 4):
            await consume(rig, [])
    await rig.assert_idle()


async def test_a_generator_that_was_never_begun() -> None:
    rig = rig_of(numbered(0))
    unused = Records(rig.engine).iterate()
    del unused
    begun_by_nobody = Records(rig.engine).pages()
    await begun_by_nobody.aclose()
    await rig.assert_idle()
    assert rig.requests == []


END_OF_THE_LOOP = """
import asyncio, gc, sys, warnings
import httpx
from brex_accounting import BrexAccounting
from tests.support.records import page, record
warnings.simplefilter("error")
calls = 0

async def handle(request):
    global calls
    calls += 1
    await asyncio.sleep(0 if calls == 1 else {seconds})
    return httpx.Response(200 if calls == 1 else {status}, content=page(record(f"accr_{{calls}}"), cursor=str(calls)))

async def main():
    global kept
    brex = BrexAccounting("bxt_x", transport=httpx.MockTransport(handle))
    kept = brex.records.iterate()
    await anext(kept)
    await asyncio.sleep(0.01)

asyncio.run(main(), debug={debug})
gc.collect()
print("done", calls)
"""


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize(("seconds", "status"), [(3600, 200), (0, 200), (0, 404)])
def test_the_event_loop_ends_first(seconds: int, status: int, debug: bool) -> None:
    script = END_OF_THE_LOOP.format(seconds=seconds, status=status, debug=debug)
    run = subprocess.run([sys.executable, "-X", "dev", "-c", script], capture_output=True, text=True, check=False)
    assert run.stdout == "done 2\n"
    assert run.stderr == ""


# -- errors ------------------------------------------------------------------------------------------------------------


async def test_an_error_comes_after_the_records_before_it() -> None:
    pages = chain(numbered(0, 1), numbered(2), numbered(3))

    async def step(request: httpx.Request) -> httpx.Response:
        return await (UNAVAILABLE if request.url.params.get("cursor") == "2" else serve(pages))(request)

    found, error = await read_until_error(Rig(step))
    assert (found, type(error)) == ([0, 1, 2], ServerError)
    assert (error.operation, error.attempts, error.outcome) == ("queryAccountingRecords", 4, Outcome.NOT_APPLIED)


async def test_pages_without_end_that_bring_nothing_new() -> None:
    """Empty ones, or the same records over and over; the cursor is always another one."""

    def endless(*items: object) -> Rig:
        async def step(request: httpx.Request) -> httpx.Response:
            following = str(int(request.url.params.get("cursor", 0)) + 1)
            return await answer(200, page(*items, cursor=following))(request)

        return Rig(step)

    for items, found in ([], []), (numbered(0, 1), [0, 1]):
        rig = endless(*items)
        came, error = await read_until_error(rig)
        assert (came, type(error), error.outcome) == (found, InvalidResponseError, Outcome.NOT_APPLIED)
        assert "pages in a row brought nothing new" in str(error)
        assert len(rig.requests) == MAX_PAGES_WITHOUT_NEWS + len(found[:1])
    heard: list[InvalidRecord] = []
    _, error = await read_until_error(endless(BAD), on_invalid=heard.append)
    assert (type(error), len(heard)) == (InvalidResponseError, MAX_PAGES_WITHOUT_NEWS + 1)


async def test_a_page_that_is_retried_loses_nothing() -> None:
    rig = Rig(*SLOW)
    assert await read(rig) == [0, 1, 2, 3]


async def test_each_page_has_a_deadline_of_its_own() -> None:
    policy = RetryPolicy(deadline=5.0)
    assert await read(rig_of(*(numbered(n) for n in range(5)), after=4.0, retry=policy)) == [0, 1, 2, 3, 4]
    steps = [answer(200, page(*numbered(0), cursor="1")), hang]
    found, error = await read_until_error(Rig(*steps, retry=policy))
    assert (found, type(error)) == ([0], CallTimeoutError)


@pytest.mark.parametrize("cursors", [["A", "A"], ["A", "B", "A"], ["S"], ["A", "S"], [None], ["A", None], ["A", ""]])
async def test_a_server_that_leads_nowhere(cursors: list[str | None]) -> None:
    steps = [answer(200, page(*numbered(n), cursor=cursor, more=True)) for n, cursor in enumerate(cursors)]
    rig = Rig(*steps)
    found, error = await read_until_error(rig, cursor="S")
    assert found == list(range(len(cursors)))
    assert (type(error), error.operation, error.status) == (InvalidResponseError, "queryAccountingRecords", 200)
    assert len(rig.requests) == len(cursors)


# -- records that cannot be understood ---------------------------------------------------------------------------------

BAD = record("accr_99", version="seven", memo="JANE")


async def test_a_bad_record_is_an_error_that_names_it() -> None:
    rig = rig_of(numbered(0), [*numbered(1), BAD, *numbered(2)], numbered(3))
    found, error = await read_until_error(rig)
    assert (found, type(error), error.record_id, error.attempts) == ([0], InvalidResponseError, "accr_99", 1)
    assert "the record accr_99: Expected `int`, got `str` - at `$.version`" in str(error)
    assert "Pass on_invalid" in str(error)
    assert "JANE" not in str(error) + repr(vars(error))
    assert len(rig.requests) == 2


async def test_with_a_handler_the_rest_goes_on() -> None:
    rig = rig_of([*numbered(0), BAD, *numbered(1)], [BAD, None], numbered(2))
    heard: list[Any] = []
    async for each in Records(rig.engine).iterate(on_invalid=heard.append):
        heard.append(each.id)  # noqa: PERF401 - both in their order
    bad = InvalidRecord("accr_99", "Expected `int`, got `str` - at `$.version`", write(BAD))
    assert heard == [
        bad,
        "accr_0",
        "accr_1",
        bad,
        InvalidRecord(None, "Expected `object`, got `null` - at `$`", b"null"),
        "accr_2",
    ]
    await rig.assert_idle()


async def test_pages_come_without_their_bad_records() -> None:
    rig = rig_of([BAD, *numbered(1)], [BAD])
    heard: list[Any] = []
    async for each in Records(rig.engine).pages(on_invalid=heard.append):
        heard.append(ids(each.items))  # noqa: PERF401
    assert [each if isinstance(each, list) else each.record_id for each in heard] == ["accr_99", [1], "accr_99", []]


async def test_a_page_that_is_none_is_an_error_all_the_same() -> None:
    heard: list[InvalidRecord] = []
    found, error = await read_until_error(Rig(answer(200, {"items": []})), on_invalid=heard.append)
    assert (found, heard, type(error), error.record_id) == ([], [], InvalidResponseError, None)


async def test_a_handler_that_raises_ends_the_loop() -> None:
    def handler(invalid: InvalidRecord) -> None:
        raise LookupError(invalid.record_id)

    rig = rig_of(numbered(0), [*numbered(1), BAD], numbered(2), after=1.0)
    found, error = await read_until_error(rig, on_invalid=handler)
    assert (found, repr(error)) == ([0], "LookupError('accr_99')")


class Handler:
    """An object that is called."""

    async def __call__(self, invalid: InvalidRecord) -> None:
        raise AssertionError

    async def method(self, invalid: InvalidRecord) -> None:
        raise AssertionError

    def ordinary(self, invalid: InvalidRecord) -> None:
        raise AssertionError


async def function(invalid: InvalidRecord) -> None:
    raise AssertionError


async def generator(invalid: InvalidRecord) -> AsyncIterator[None]:
    yield None


@pytest.mark.parametrize("name", ["pages", "iterate"])
@pytest.mark.parametrize(
    "handler",
    [
        pytest.param(function, id="function"),
        pytest.param(functools.partial(function), id="partial"),
        pytest.param(Handler(), id="object"),
        pytest.param(Handler().method, id="method"),
        pytest.param(generator, id="generator"),
        *(5, "print", []),
    ],
)
async def test_a_handler_that_could_not_be_called(name: str, handler: Any) -> None:
    rig = rig_of(numbered(0))
    with pytest.raises(ConfigurationError, match=r"^on_invalid must be an ordinary function"):
        getattr(Records(rig.engine), name)(on_invalid=handler)
    assert rig.requests == []


@pytest.mark.parametrize("handler", [Handler().ordinary, print, list[Any]().append, functools.partial(print, "x")])
async def test_handlers(handler: Any) -> None:
    assert await read(rig_of(numbered(0, 1)), on_invalid=handler) == [0, 1]


# -- any layout --------------------------------------------------------------------------------------------------------

item = st.tuples(st.integers(0, 6), st.integers(1, 2)) | st.none()


@given(st.lists(st.lists(item, max_size=5), min_size=1, max_size=6), st.integers(0, 30), st.booleans())
@settings(max_examples=60)
async def test_any_pages(layout: list[list[tuple[int, int] | None]], stop: int, by_page: bool) -> None:
    body = [[None if each is None else record(f"accr_{each[0]}", version=each[1]) for each in its] for its in layout]
    rig, invalid = rig_of(*body), list[InvalidRecord]()
    expected = list(dict.fromkeys(each for each in itertools.chain(*layout) if each))
    found: list[tuple[int, int]] = []

    def take(each: AccountingRecord) -> None:
        found.append((int(each.id.removeprefix("accr_")), each.version))

    records = Records(rig.engine)
    if by_page:
        sheets: list[RecordPage] = [each async for each in records.pages(on_invalid=invalid.append)]
        for sheet in sheets:
            for each in sheet.items:
                take(each)
        assert len(sheets) == len(layout) == len(rig.requests)
    else:
        loop = records.iterate(on_invalid=invalid.append)
        async for each in loop:
            take(each)
            if len(found) == stop:
                expected = expected[:stop]
                break
        await loop.aclose()
    assert found == expected
    if by_page or len(found) != stop:
        assert len(invalid) == sum(each is None for each in itertools.chain(*layout))
    await rig.assert_idle()
