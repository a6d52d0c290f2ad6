"""From page to page: one page ahead, never more, and nothing left behind however it ends. In virtual time."""

from __future__ import annotations

import asyncio
import gc
import itertools
import sys
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brex_accounting import InvalidResponseError, Outcome
from brex_accounting._records.paging import MAX_PAGES_WITHOUT_NEWS, Prefetcher, Seen
from tests.support.virtual_time import now


@dataclass(frozen=True)
class Sheet:
    """A page; its name is its place."""

    name: str
    next_cursor: str | None = None
    has_next_page: bool = False
    has_news: bool = True


class Server:
    """Answers each request after a second; a place that leads nowhere is an error."""

    def __init__(self, *pages: dict[str | None, Sheet], seconds: float = 1.0) -> None:
        self.pages = pages
        self.seconds = seconds
        self.asked: list[tuple[int, str | None, float]] = []
        self.at_work = 0

    async def fetch(self, request: int, cursor: str | None) -> Sheet:
        self.asked.append((request, cursor, now()))
        self.at_work += 1
        try:
            await asyncio.sleep(self.seconds)
        finally:
            self.at_work -= 1
        if cursor not in self.pages[request]:
            raise OSError(cursor)
        return self.pages[request][cursor]

    def walk(self, cursor: str | None = None) -> Prefetcher[Sheet]:
        return Prefetcher("listSheets", len(self.pages), cursor, self.fetch)


def line(length: int, name: str = "") -> dict[str | None, Sheet]:
    """So many pages, one after the other."""
    cursors = [None, *(f"{name}{n}" for n in range(1, length))]
    following = [*cursors[1:], None]
    return {
        cursor: Sheet(f"{name}{n}", after, after is not None)
        for n, (cursor, after) in enumerate(zip(cursors, following, strict=True))
    }


async def names(walk: Prefetcher[Sheet]) -> list[str]:
    found = []
    while (page := await walk.next()) is not None:
        found.append(page.name)
    await walk.close()
    return found


pytestmark = [pytest.mark.virtual_time, pytest.mark.usefixtures("complaints")]


# -- one page ahead ----------------------------------------------------------------------------------------------------


async def test_nothing_is_asked_before_the_first_page_is_wanted() -> None:
    server = Server(line(3))
    walk = server.walk()
    await asyncio.sleep(10)
    assert server.asked == []
    await walk.close()


async def test_the_next_page_comes_while_the_consumer_works() -> None:
    server, began = Server(line(5)), now()
    walk = server.walk()
    while await walk.next() is not None:
        await asyncio.sleep(1.0)
    assert [cursor for _, cursor, _ in server.asked] == [None, "1", "2", "3", "4"]
    assert [at - began for _, _, at in server.asked] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert now() - began == 6.0  # ten without


async def test_one_page_ahead_and_never_more() -> None:
    server = Server(line(9))
    walk = server.walk()
    for taken in range(1, 10):
        assert (await walk.next()) is not None
        await asyncio.sleep(100)
        assert len(server.asked) == min(taken + 1, 9)
    assert await walk.next() is None
    assert await walk.next() is None
    await walk.close()


async def test_a_slow_server_is_asked_one_thing_at_a_time() -> None:
    server = Server(line(4), seconds=5.0)
    walk = server.walk()
    while await walk.next() is not None:
        await asyncio.sleep(0.1)
        assert server.at_work <= 1


async def test_one_request_after_the_other() -> None:
    server = Server(line(2, "a"), line(1, "b"), line(3, "c"))
    assert await names(server.walk()) == ["a0", "a1", "b0", "c0", "c1", "c2"]
    assert [each[:2] for each in server.asked] == [(0, None), (0, "a1"), (1, None), (2, None), (2, "c1"), (2, "c2")]


async def test_no_request() -> None:
    assert await names(Server().walk()) == []


async def test_from_a_cursor() -> None:
    server = Server(line(4))
    assert await names(server.walk("2")) == ["2", "3"]
    assert await names(server.walk("3")) == ["3"]


async def test_it_tells_which_page_is_the_last() -> None:
    walk = Server(line(2, "a"), line(1, "b")).walk()
    ends = []
    while await walk.next() is not None:
        ends.append(walk.ended)
    assert ends == [False, False, True]


# -- errors ------------------------------------------------------------------------------------------------------------


async def test_an_error_comes_after_the_pages_before_it() -> None:
    pages = line(5)
    del pages["2"]
    walk = Server(pages).walk()
    assert [(await walk.next()), (await walk.next())] == [pages[None], pages["1"]]
    await asyncio.sleep(10)  # it has failed long since
    with pytest.raises(OSError, match="2"):
        await walk.next()
    await walk.close()


async def test_after_an_error_the_same_page_is_asked_for_again() -> None:
    pages = line(3)
    gone = pages.pop("1")
    server = Server(pages)
    walk = server.walk()
    assert await walk.next() == pages[None]
    for _ in range(2):
        with pytest.raises(OSError, match="1"):
            await walk.next()
    pages["1"] = gone
    assert await names(walk) == ["1", "2"]
    assert [cursor for _, cursor, _ in server.asked] == [None, "1", "1", "1", "2"]


async def test_pages_that_bring_nothing_end() -> None:
    def endless(news: Callable[[int], bool]) -> Prefetcher[Sheet]:
        numbers = itertools.count(1)

        async def fetch(_request: int, _cursor: str | None) -> Sheet:
            n = next(numbers)
            return Sheet(f"{n}", f"{n}", has_next_page=n < 5 * MAX_PAGES_WITHOUT_NEWS, has_news=news(n))

        return Prefetcher("listSheets", 1, None, fetch)

    walk = endless(lambda n: n == 3)
    for _ in range(3 + MAX_PAGES_WITHOUT_NEWS):
        assert await walk.next() is not None
    with pytest.raises(InvalidResponseError, match="500 pages in a row brought nothing new"):
        await walk.next()
    assert len(await names(endless(lambda n: n % MAX_PAGES_WITHOUT_NEWS == 0))) == 5 * MAX_PAGES_WITHOUT_NEWS


async def test_an_error_that_nobody_waits_for_is_no_complaint() -> None:
    walk = Server({None: Sheet("0", "gone", has_next_page=True)}).walk()
    await walk.next()
    await asyncio.sleep(10)
    await walk.close()
    del walk


async def test_nor_where_the_walk_is_dropped_unclosed() -> None:
    walk = Server({None: Sheet("0", "gone", has_next_page=True)}).walk()
    await walk.next()
    await asyncio.sleep(10)
    del walk
    gc.collect()


@pytest.mark.parametrize(
    ("pages", "start", "passed"),
    [
        ({None: "A", "A": "A"}, None, 2),
        ({None: "A", "A": "B", "B": "A"}, None, 3),
        ({None: "A", "A": "B", "B": "B"}, None, 3),
        ({"S": "S"}, "S", 1),
        ({"S": "A", "A": "S"}, "S", 2),
        ({None: None}, None, 1),
        ({None: ""}, None, 1),
        ({None: "A", "A": None}, None, 2),
    ],
)
async def test_a_server_that_leads_nowhere(pages: dict[str | None, str | None], start: str | None, passed: int) -> None:
    server = Server({at: Sheet(str(at), after, has_next_page=True) for at, after in pages.items()})
    walk = server.walk(start)
    for _ in range(passed):
        assert await walk.next() is not None
    assert not walk.ended
    for _ in range(2):
        with pytest.raises(InvalidResponseError, match=r"listSheets: .* cursor") as caught:
            await walk.next()
    assert (caught.value.outcome, caught.value.operation) == (Outcome.NOT_APPLIED, "listSheets")
    assert len(server.asked) == passed
    await walk.close()


async def test_the_same_cursor_in_two_requests_is_no_circle() -> None:
    pages = {None: Sheet("0", "c", has_next_page=True), "c": Sheet("1")}
    assert await names(Server(pages, pages).walk()) == ["0", "1", "0", "1"]


@given(
    lengths=st.lists(st.integers(1, 5), max_size=4),
    work=st.sampled_from([0.0, 0.5, 3.0]),
    stop=st.none() | st.integers(0, 12),
)
@settings(max_examples=60)
async def test_any_walk(lengths: list[int], work: float, stop: int | None) -> None:
    server = Server(*(line(length, "abcd"[n]) for n, length in enumerate(lengths)))
    expected = [page.name for pages in server.pages for page in pages.values()]
    walk, found = server.walk(), []
    while stop is None or len(found) < stop:
        page = await walk.next()
        if page is None:
            break
        found.append(page.name)
        await asyncio.sleep(work)
        assert len(server.asked) <= len(found) + 1
    await walk.close()
    assert found == expected[:stop]
    assert server.at_work == 0
    assert await walk.next() is None


# -- stopping ----------------------------------------------------------------------------------------------------------


async def test_close_ends_what_is_under_way() -> None:
    server = Server(line(3))
    walk = server.walk()
    await walk.next()
    await asyncio.sleep(0.5)
    assert server.at_work == 1
    await walk.close()
    assert server.at_work == 0
    await walk.close()


async def test_a_head_start_lets_the_request_for_the_page_ahead_go_out() -> None:
    server = Server(line(3))
    walk = server.walk()
    await walk.next()
    assert len(server.asked) == 1
    await walk.head_start()
    assert len(server.asked) == 2
    await walk.close()
    await walk.head_start()
    assert server.at_work == 0


@pytest.mark.parametrize("ticks", range(4))
@pytest.mark.parametrize("quarter", range(1, 16))
async def test_cancelled_at_any_moment(quarter: int, ticks: int) -> None:
    server = Server(line(4))

    async def consume() -> None:
        walk = server.walk()
        try:
            while await walk.next() is not None:
                await asyncio.sleep(0.75)
        finally:
            await walk.close()

    task = asyncio.create_task(consume())
    await asyncio.sleep(quarter / 4)
    for _ in range(ticks):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert server.at_work == 0
    asked = len(server.asked)
    await asyncio.sleep(10)
    assert len(server.asked) == asked


async def test_cancelled_in_the_middle_of_closing() -> None:
    class Stubborn(Server):
        async def fetch(self, request: int, cursor: str | None) -> Sheet:
            try:
                return await super().fetch(request, cursor)
            except asyncio.CancelledError:
                await asyncio.sleep(5)
                raise OSError("too late") from None

    walk = Stubborn(line(3)).walk()
    await walk.next()
    await asyncio.sleep(0.5)
    closing = asyncio.create_task(walk.close())
    await asyncio.sleep(1)
    closing.cancel()
    await asyncio.wait([closing])
    assert closing.cancelled()
    await asyncio.sleep(10)


# -- memory ------------------------------------------------------------------------------------------------------------


async def test_what_was_seen() -> None:
    seen = Seen()
    assert [seen.add(*words) for words in [("a", 1), ("a", 2), ("a", 1), ("a1",), ("a", "1"), ("\ud800", 1)]] == [
        *(True, True, False, True, False, True)
    ]


async def test_what_was_seen_takes_little_memory() -> None:
    seen = Seen()
    for n in range(10_000):
        seen.add(f"accr_{n:030}", n)
    size = sys.getsizeof(seen._digests) + sum(map(sys.getsizeof, seen._digests))
    assert size < 10_000 * 110
