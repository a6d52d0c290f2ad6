"""Streams of records: a step that is cancelled loses nothing; and all that is ready for export, each record once."""

from __future__ import annotations

import asyncio
import copy
import gc
import pickle
import subprocess
import sys
import threading
import weakref
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brex_accounting import (
    BrexAccounting,
    BrexError,
    ConfigurationError,
    InvalidRecord,
    InvalidResponseError,
    RecordStream,
    ServerError,
)
from brex_accounting.records import Records
from brex_accounting.sandbox import Sandbox
from tests.support.calls import UNAVAILABLE, Rig, answer, hang
from tests.support.records import chain, page, record, serve
from tests.support.virtual_time import now

quiet = pytest.mark.usefixtures("complaints")
virtual = pytest.mark.virtual_time


def numbered(*numbers: int, **changes: object) -> list[object]:
    return [record(f"accr_{n}", **changes) for n in numbers]


def books(pages: int = 4, after: float = 1.0, **options: Any) -> Rig:
    """So many pages of two records each."""
    return Rig(serve(chain(*(numbered(2 * n, 2 * n + 1) for n in range(pages))), after), **options)


def number(each: Any) -> int:
    return int(each.id.removeprefix("accr_"))


# -- a step that is cancelled ------------------------------------------------------------------------------------------


@virtual
@quiet
@pytest.mark.parametrize("after", [0.5, 1.0, 1.5, 2.0, 10.0])
async def test_a_timeout_of_a_step_loses_nothing(after: float) -> None:
    rig, found, timeouts = books(after=after), list[int](), 0
    records = Records(rig.engine).iterate()
    while True:
        try:
            found.append(number(await asyncio.wait_for(anext(records), 1)))
        except TimeoutError:
            timeouts += 1
        except StopAsyncIteration:
            break
    assert found == list(range(8))
    assert len(rig.requests) == 4
    assert after > 1 or timeouts <= 4
    assert after <= 1 or timeouts > 0
    await rig.assert_idle()


@virtual
@quiet
@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.25])
async def test_a_timeout_around_a_step_loses_nothing(seconds: float) -> None:
    rig, found = books(), list[int]()
    records = Records(rig.engine).pages()
    while True:
        try:
            async with asyncio.timeout(seconds):
                found += map(number, (await anext(records)).items)
        except TimeoutError:
            await asyncio.sleep(0.1)
        except StopAsyncIteration:
            break
    assert found == list(range(8))
    assert len(rig.requests) == 4
    await rig.assert_idle()


@virtual
@quiet
@given(st.lists(st.integers(0, 12), max_size=30))
@settings(max_examples=60)
async def test_cancelled_after_any_turns(turns: list[int]) -> None:
    """Each number: so many turns of the loop, or tenths of a second, until a step is cancelled."""
    rig, found = books(3, after=0.3), list[int]()
    records = Records(rig.engine).iterate()
    for n in turns:
        step = asyncio.ensure_future(anext(records))
        if n > 8:
            await asyncio.sleep((n - 8) / 10)
        for _ in range(n):
            await asyncio.sleep(0)
        step.cancel()
        with suppress(asyncio.CancelledError, StopAsyncIteration):
            found.append(number(await step))
    found += [number(each) async for each in records]
    assert found == list(range(6))
    assert len(rig.requests) == 3
    await rig.assert_idle()


@virtual
@quiet
async def test_a_step_while_another_is_under_way() -> None:
    rig = books()
    records = Records(rig.engine).iterate()
    steps = [asyncio.ensure_future(anext(records, None)) for _ in range(12)]
    await asyncio.sleep(0.5)
    steps[1].cancel()
    found = [number(each) for each in await asyncio.gather(*steps[:1], *steps[2:]) if each is not None]
    assert sorted(found) == list(range(8))
    assert rig.transport.most == 1
    await rig.assert_idle()


@virtual
@quiet
async def test_several_workers_share_a_stream() -> None:
    rig, found, began = books(20, after=0.1), list[int](), now()
    records = Records(rig.engine).iterate()

    async def work() -> None:
        async for each in records:
            await asyncio.sleep(1.0)
            found.append(number(each))

    await asyncio.gather(*(work() for _ in range(4)))
    assert sorted(found) == list(range(40))
    assert now() - began < 15
    await rig.assert_idle()


@virtual
@quiet
async def test_closing_ends_a_step_that_waits() -> None:
    rig = Rig(hang)
    records = Records(rig.engine).iterate()
    steps = [asyncio.ensure_future(anext(records)) for _ in range(2)]
    await asyncio.sleep(1)
    await records.aclose()
    for step in steps:
        with pytest.raises(StopAsyncIteration):
            await step
    await rig.assert_idle()


@virtual
@quiet
async def test_a_closed_stream_gives_no_more() -> None:
    rig = books(after=0.0)
    async with Records(rig.engine).iterate() as records:
        assert number(await anext(records)) == 0  # accr_1 is there already
    assert [each async for each in records] == []
    await records.aclose()
    unused = Records(rig.engine).pages()
    await unused.aclose()
    assert [each async for each in unused] == []
    assert len(rig.requests) == 2


@virtual
async def test_a_stream_has_one_owner() -> None:
    stream = Records(books().engine).iterate()
    for twin in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="cannot be pickled or copied"):
            twin(stream)


# -- errors ------------------------------------------------------------------------------------------------------------


@virtual
@quiet
async def test_after_an_error_the_stream_goes_on_where_it_was() -> None:
    pages, fails = chain(numbered(0, 1), numbered(2), numbered(3)), True

    async def step(request: httpx.Request) -> httpx.Response:
        broken = fails and request.url.params.get("cursor") == "1"
        return await (UNAVAILABLE if broken else serve(pages))(request)

    records = Records(Rig(step).engine).iterate()
    found = [number(await anext(records)) for _ in range(2)]
    for _ in range(2):
        with pytest.raises(ServerError):
            await anext(records)
    fails = False
    found += [number(each) async for each in records]
    assert found == [0, 1, 2, 3]


@virtual
@quiet
@pytest.mark.parametrize("name", ["iterate", "pages"])
async def test_what_the_handler_raises_loses_nothing(name: str) -> None:
    bad = [record(f"accr_{n}", version="seven") for n in (7, 8)]
    rig, heard = Rig(serve(chain([*numbered(0), *bad], numbered(1)))), list[str | None]()

    def handler(invalid: InvalidRecord) -> None:
        heard.append(invalid.record_id)
        raise LookupError

    records: RecordStream[Any] = getattr(Records(rig.engine), name)(on_invalid=handler)
    for _ in range(2):
        with pytest.raises(LookupError):
            await anext(records)
    assert len([each async for each in records]) == 2
    assert heard == ["accr_7", "accr_8"]
    await rig.assert_idle()


@virtual
@quiet
async def test_an_error_keeps_nothing_alive() -> None:
    rig = Rig(answer(404, {}))
    records = Records(rig.engine).iterate()
    there = weakref.ref(records)
    gc.disable()
    try:
        with pytest.raises(BrexError) as caught:
            await anext(records)
        del records
        assert there() is None
        there = weakref.ref(caught.value)  # type: ignore[assignment]
        del caught
        assert there() is None
    finally:
        gc.enable()


# -- dropped, and the event loop ends ----------------------------------------------------------------------------------


@virtual
@quiet
@pytest.mark.parametrize("begun", [0.0, 0.5, 1.0, 1.5])
async def test_dropped_in_another_thread(begun: float) -> None:
    rig = books()
    held = [Records(rig.engine).iterate()]
    step = asyncio.ensure_future(asyncio.wait_for(anext(held[0]), begun))
    await asyncio.wait([step])
    step.exception()
    del step
    thread = threading.Thread(target=held.clear)
    thread.start()
    thread.join()
    await rig.assert_idle()
    asked = len(rig.requests)
    await asyncio.sleep(10)
    assert len(rig.requests) == asked


TWO_LOOPS = """
import asyncio, gc, warnings
import httpx
from brex_accounting import BrexAccounting
from tests.support.records import chain, record
warnings.simplefilter("error")
pages = chain(*([record(f"accr_{{n}}")] for n in range(4)))

async def handle(request):
    await asyncio.sleep(0.01)
    return httpx.Response(200, content=pages[request.url.params.get("cursor")])

brex = BrexAccounting("bxt_x", transport=lambda: httpx.MockTransport(handle))
records = brex.records.iterate()

async def some(number):
    found = []
    try:
        while len(found) < number:
            found.append((await asyncio.wait_for(anext(records), {timeout})).id)
    except (StopAsyncIteration, TimeoutError):
        pass
    return found

found = []
for _ in range(2):
    found += asyncio.run(some(1), debug={debug})
    gc.collect()
found += asyncio.run(some(1))
while more := asyncio.run(asyncio.wait_for(anext(records, None), 10)):
    found.append(more.id)
asyncio.run(brex.aclose())
print(*found)
"""


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("timeout", [10, 0.001])
def test_a_stream_goes_on_in_another_event_loop(timeout: float, debug: bool) -> None:
    script = TWO_LOOPS.format(timeout=timeout, debug=debug)
    run = subprocess.run([sys.executable, "-X", "dev", "-c", script], capture_output=True, text=True, check=False)
    assert run.stderr == ""
    assert run.stdout == "accr_0 accr_1 accr_2 accr_3\n"


CLOSED_LOOP = """
import asyncio, gc, warnings
import httpx
from brex_accounting import BrexAccounting
from tests.support.records import page, record
warnings.simplefilter("error")
kept = []

async def handle(request):
    await asyncio.sleep(3600 if "cursor" in request.url.params else 0)
    return httpx.Response(200, content=page(record("accr_0"), cursor="1"))

async def main(keep):
    records = BrexAccounting("bxt_x", transport=lambda: httpx.MockTransport(handle)).records.iterate()
    await anext(records)
    if keep:
        kept.append(records)

for keep in (False, True):
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main(keep))
    loop.close()
    gc.collect()
kept.clear()
gc.collect()
print("done")
"""


def test_an_event_loop_that_is_closed_under_a_fetch() -> None:
    """Unlike asyncio.run, loop.close cancels no task."""
    run = subprocess.run([sys.executable, "-X", "dev", "-c", CLOSED_LOOP], capture_output=True, text=True, check=False)
    assert (run.stdout, run.stderr) == ("done\n", "")


def test_closed_after_its_event_loop() -> None:
    async def begin(brex: BrexAccounting) -> RecordStream[Any]:
        records = brex.records.iterate()
        await anext(records)
        return records

    async def handle(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=page(record("accr_0"), cursor="1"))

    brex = BrexAccounting("bxt_x", transport=lambda: httpx.MockTransport(handle))
    records = asyncio.run(begin(brex))
    asyncio.run(records.aclose())
    asyncio.run(brex.aclose())


# -- all that is ready -------------------------------------------------------------------------------------------------


def two_queries(cards: dict[str | None, bytes], bills: dict[str | None, bytes], after: float = 0.0) -> Rig:
    async def step(request: httpx.Request) -> httpx.Response:
        asked = request.url.params
        return await serve(bills if asked.get("source_type") == "BILL" else cards, after)(request)

    return Rig(step)


async def ready(rig: Rig, **asked: Any) -> list[tuple[str, int]]:
    found = [(each.id, each.version) async for each in Records(rig.engine).ready_for_export(**asked)]
    await rig.assert_idle()
    return found


@virtual
@quiet
async def test_two_queries_each_with_a_lower_bound() -> None:
    rig = two_queries(chain(numbered(0, 1), numbered(2)), chain(numbered(3), numbered(4)))
    assert [each for each, _ in await ready(rig)] == [f"accr_{n}" for n in range(5)]
    asked = [dict(request.url.params) for request in rig.requests]
    since = {"limit": "100", "updated_at[gt]": "2000-01-01T00:00:00+00:00"}
    assert asked == [
        since | {"review_status": "READY_FOR_EXPORT"},
        since | {"review_status": "READY_FOR_EXPORT", "cursor": "1"},
        since | {"source_type": "BILL"},
        since | {"source_type": "BILL", "cursor": "1"},
    ]


@virtual
@quiet
@pytest.mark.parametrize("moment", ["2026-06-01T02:00:00+02:00", datetime(2026, 6, 1, tzinfo=UTC)])
async def test_its_arguments(moment: Any) -> None:
    rig = two_queries(chain([]), chain([]))
    assert await ready(rig, updated_after=moment, page_size=7) == []
    assert [request.url.params["updated_at[gt]"] for request in rig.requests] == ["2026-06-01T00:00:00+00:00"] * 2
    assert {request.url.params["limit"] for request in rig.requests} == {"7"}
    for wrong in ({"updated_after": "2026-06-01"}, {"page_size": 0}, {"on_invalid": 5}):
        with pytest.raises(ConfigurationError, match=rf"^{next(iter(wrong))} "):
            Records(rig.engine).ready_for_export(**wrong)  # type: ignore[arg-type]


@virtual
@quiet
async def test_only_what_is_ready_and_each_record_once() -> None:
    """A filter that passes everything on, a list that shifts, a record that was edited meanwhile."""
    cards = chain([*numbered(0), *numbered(1, review_status="REVIEW")], numbered(0, version=8), numbered(2))
    bills = chain([*numbered(2), *numbered(3, review_status="EXPORTED")], numbered(1, version=9), numbered(4))
    rig = two_queries(cards, bills)
    assert await ready(rig) == [("accr_0", 7), ("accr_2", 7), ("accr_1", 9), ("accr_4", 7)]


@virtual
@quiet
async def test_many_bills_that_are_not_ready_are_no_dead_end() -> None:
    done = [numbered(n, review_status="EXPORTED") for n in range(1500)]
    rig = two_queries(chain([]), chain(*done, numbered(1500)))
    assert await ready(rig) == [("accr_1500", 7)]


@virtual
@quiet
async def test_its_records_that_cannot_be_understood() -> None:
    bad = record("accr_9", version="seven")
    rig, heard = two_queries(chain([bad, *numbered(0)]), chain([bad], numbered(1))), list[InvalidRecord]()
    assert [each for each, _ in await ready(rig, on_invalid=heard.append)] == ["accr_0", "accr_1"]
    assert [each.record_id for each in heard] == ["accr_9", "accr_9"]
    with pytest.raises(InvalidResponseError, match="accr_9"):
        await ready(rig)


@virtual
@quiet
async def test_a_cancelled_step_of_it_loses_nothing() -> None:
    rig, found = two_queries(chain(numbered(0), numbered(1)), chain(numbered(2), numbered(3)), 2.5), list[int]()
    async with Records(rig.engine).ready_for_export() as records:
        while True:
            try:
                found.append(number(await asyncio.wait_for(anext(records), 1)))
            except TimeoutError:
                pass
            except StopAsyncIteration:
                break
    assert found == [0, 1, 2, 3]
    assert len(rig.requests) == 4


async def test_the_sandbox_s_records_that_are_ready() -> None:
    async with (
        Sandbox(records=250) as sandbox,
        BrexAccounting(sandbox.token, base_url=sandbox.url, transport=sandbox.transport) as brex,
    ):
        found = [each.id async for each in brex.records.ready_for_export(page_size=30)]
        assert sorted(found) == sorted(sandbox.state.records)
