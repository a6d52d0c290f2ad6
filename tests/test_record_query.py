"""What a query asks for, as it goes over the wire."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brex_accounting import ConfigurationError, RecordPage, ReviewStatus, SourceType
from brex_accounting._records.query import MAX_IDS, RecordQuery, check_ids, split
from brex_accounting.records import Records
from tests.support.calls import URL, Rig, answer
from tests.support.records import page

pytestmark = pytest.mark.virtual_time
EMPTY = answer(200, page())

WAYS: dict[str, Callable[..., Any]] = {}


def way(call: Callable[..., Any]) -> Callable[..., Any]:
    WAYS[call.__name__] = call
    return call


@way
async def query(records: Records, *, size: Any = None, **asked: Any) -> object:
    return await records.query(**asked, **({} if size is None else {"limit": size}))


@way
async def pages(records: Records, *, size: Any = None, **asked: Any) -> object:
    return [each async for each in records.pages(**asked, **({} if size is None else {"page_size": size}))]


@way
async def iterate(records: Records, *, size: Any = None, **asked: Any) -> object:
    return [each async for each in records.iterate(**asked, **({} if size is None else {"page_size": size}))]


every_way = pytest.mark.parametrize("ask", WAYS.values(), ids=WAYS)


async def sent(ask: Callable[..., Any], **asked: Any) -> list[httpx.Request]:
    rig = Rig(EMPTY)
    await ask(Records(rig.engine), **asked)
    for request in rig.requests:
        assert (request.method, request.url.path, request.content) == ("GET", "/v3/accounting/records", b"")
        assert "Idempotency-Key" not in request.headers
        assert len(str(request.url)) < 6000
    return rig.requests


async def params(ask: Callable[..., Any], **asked: Any) -> list[tuple[str, str]]:
    [request] = await sent(ask, **asked)
    return request.url.params.multi_items()


async def refusal(ask: Callable[..., Any], **asked: Any) -> str:
    rig = Rig(EMPTY)
    with pytest.raises(ConfigurationError) as caught:
        await ask(Records(rig.engine), **asked)
    assert rig.requests == []
    assert caught.value.__context__ is None
    assert len(str(caught.value)) < 150
    return str(caught.value)


# -- filters -----------------------------------------------------------------------------------------------------------


@every_way
async def test_without_filters(ask: Callable[..., Any]) -> None:
    [request] = await sent(ask)
    assert request.url.query == b"limit=100"


@every_way
async def test_every_filter(ask: Callable[..., Any]) -> None:
    moment = datetime(2025, 11, 1, 2, 30, 0, 5, timezone(timedelta(hours=2)))
    [request] = await sent(
        ask,
        ids=["accr_1", "a&b=c", "é +"],
        review_status=ReviewStatus.READY_FOR_EXPORT,
        source_type="BILL",
        updated_after=moment,
        updated_before="2025-11-02T00:00:00Z",
        single_entry=True,
        size=7,
        cursor="a+b/c==",
    )
    asked = request.url.query.decode()
    assert "updated_at%5Bgt%5D=2025-11-01T00%3A30%3A00.000005%2B00%3A00" in asked
    assert sorted(asked.split("&")) == [
        *("cursor=a%2Bb%2Fc%3D%3D", "ids=%C3%A9+%2B", "ids=a%26b%3Dc", "ids=accr_1", "limit=7"),
        *("review_status=READY_FOR_EXPORT", "single_entry=true", "source_type=BILL"),
        "updated_at%5Bgt%5D=2025-11-01T00%3A30%3A00.000005%2B00%3A00",
        "updated_at%5Blt%5D=2025-11-02T00%3A00%3A00%2B00%3A00",
    ]


@every_way
@pytest.mark.parametrize(("value", "text"), [(True, "true"), (False, "false")])
async def test_flags(ask: Callable[..., Any], value: bool, text: str) -> None:
    assert ("single_entry", text) in await params(ask, single_entry=value)


@every_way
@pytest.mark.parametrize("value", [0, 1, "true", "", [], 1.0])
async def test_what_is_no_flag(ask: Callable[..., Any], value: object) -> None:
    assert (await refusal(ask, single_entry=value)).startswith("single_entry must be True or False")


@every_way
@pytest.mark.parametrize("value", ["READY_FOR_EXPORT", ReviewStatus.READY_FOR_EXPORT, "NEW ONE"])
async def test_review_status(ask: Callable[..., Any], value: str) -> None:
    assert ("review_status", str(value)) in await params(ask, review_status=value)


@every_way
@pytest.mark.parametrize("value", ["BILL", SourceType.BILL, SourceType("NEW")])
async def test_source_type(ask: Callable[..., Any], value: str) -> None:
    assert ("source_type", str(value)) in await params(ask, source_type=value)


@every_way
@pytest.mark.parametrize("name", ["review_status", "source_type", "cursor"])
@pytest.mark.parametrize("value", ["", "  ", 5, True, b"BILL", ["BILL"], "\ud800"])
async def test_what_is_no_text(ask: Callable[..., Any], name: str, value: object) -> None:
    assert (await refusal(ask, **{name: value})).startswith(f"{name} ")


# -- limits ------------------------------------------------------------------------------------------------------------


class Number(int):
    """An int of the caller's."""

    def __str__(self) -> str:
        return "a number"


@every_way
@pytest.mark.parametrize("value", [1, 2, 100, 999, 1000, Number(50)])
async def test_limits(ask: Callable[..., Any], value: int) -> None:
    [request] = await sent(ask, size=value)
    assert request.url.query == f"limit={int(value)}".encode()


@every_way
@pytest.mark.parametrize("value", [0, -1, 1001, 10**30, True, False, 100.0, 1.5, "100", [], float("nan")])
async def test_what_is_no_limit(ask: Callable[..., Any], value: object) -> None:
    name = "limit" if ask is query else "page_size"
    assert await refusal(ask, size=value) == f"{name} must be a whole number from 1 to 1,000."


# -- ids ---------------------------------------------------------------------------------------------------------------


@every_way
@pytest.mark.parametrize("ids", [["a", "b", "a", "c", "b"], ("a", "b", "c"), dict.fromkeys("abc"), ["abc"]])
async def test_ids_are_repeated_and_named_once(ask: Callable[..., Any], ids: Iterable[str]) -> None:
    expected = list(dict.fromkeys(ids))
    assert [value for name, value in await params(ask, ids=ids) if name == "ids"] == expected


@pytest.mark.parametrize("ask", [pages, iterate])
async def test_ids_from_a_generator(ask: Callable[..., Any]) -> None:
    assert [v for name, v in await params(ask, ids=(each for each in "aba")) if name == "ids"] == ["a", "b"]


@every_way
@pytest.mark.parametrize("ids", [[], (), set(), iter(())])
async def test_without_any_id_nothing_is_sent(ask: Callable[..., Any], ids: Iterable[str]) -> None:
    rig = Rig(EMPTY)
    found = await ask(Records(rig.engine), ids=ids)
    assert found in ([], RecordPage(items=[], next_cursor=None, has_next_page=False, total_count=0))
    assert rig.requests == []


@every_way
@pytest.mark.parametrize("ids", ["accr_1", b"accr_1", 5, True, bytearray(b"x")])
async def test_one_id_is_not_several(ask: Callable[..., Any], ids: object) -> None:
    assert "id" in await refusal(ask, ids=ids)


@every_way
@pytest.mark.parametrize("wrong", ["", " ", None, 5, b"x", ["a"], "\ud800", "x" * 5000, "é" * 800])
async def test_ids_that_are_none(ask: Callable[..., Any], wrong: object) -> None:
    assert (await refusal(ask, ids=["accr_1", wrong])).startswith("An id of ids ")


async def test_a_query_takes_500_ids() -> None:
    [request] = await sent_long(range(500))
    assert len(request.url.params.get_list("ids")) == 500
    await sent_long([*range(500), *range(500)])
    assert "more than the 500 ids" in await refusal(query, ids=[f"{n}" for n in range(501)])


async def sent_long(numbers: Iterable[int]) -> list[httpx.Request]:
    rig = Rig(EMPTY)
    await Records(rig.engine).query(ids=[f"{n}" for n in numbers])
    return rig.requests


@pytest.mark.parametrize("ask", [pages, iterate])
@pytest.mark.parametrize(("make", "requests"), [("{}".format, 3), ("accr_{:027}".format, 11), ("é{}/+".format, 6)])
async def test_many_ids_take_several_requests(
    ask: Callable[..., Any], make: Callable[[int], str], requests: int
) -> None:
    ids = [make(n) for n in range(1300)]
    received = await sent(
        ask, ids=[*ids, *ids], updated_after=datetime(2025, 1, 1, tzinfo=UTC), review_status="EXPORTED"
    )
    assert len(received) == requests
    parts = [request.url.params.get_list("ids") for request in received]
    assert [each for part in parts for each in part] == ids
    assert max(map(len, parts)) <= MAX_IDS


@pytest.mark.parametrize("ask", [pages, iterate])
async def test_no_cursor_leads_on_in_several_requests(ask: Callable[..., Any]) -> None:
    ids = [f"{n}" for n in range(501)]
    assert "leave cursor out" in await refusal(ask, ids=ids, cursor="c")
    assert ("cursor", "c") in await params(ask, ids=ids[:500], cursor="c")


words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60).filter(str.strip)


@given(st.lists(words | st.integers(0, 10**30).map("accr_{}".format), max_size=600))
def test_parts_are_whole_and_short(ids: list[str]) -> None:
    checked = check_ids(ids)
    parts = list(split(checked))
    assert [each for part in parts for each in part] == list(dict.fromkeys(ids))
    for part in parts:
        assert 1 <= len(part) <= MAX_IDS
        url = httpx.URL(URL, params={"ids": part, "limit": "1000", "cursor": "c" * 1000})
        assert len(str(url)) < 6000
    for part, following in pairwise(parts):  # no part has room for more
        assert len(part) == MAX_IDS or len(quote("".join([*part, following[0]]), safe="")) + 5 * len(part) > 4400


# -- moments -----------------------------------------------------------------------------------------------------------


class Odd(tzinfo):
    """A time zone of the caller's own."""

    def __init__(self, offset: timedelta | None) -> None:
        self.offset = offset

    def utcoffset(self, _moment: datetime | None) -> timedelta | None:
        return self.offset

    def dst(self, _moment: datetime | None) -> timedelta | None:
        return None


MOMENTS = [
    (datetime(2025, 11, 1, tzinfo=UTC), "2025-11-01T00:00:00+00:00"),
    (datetime(2025, 11, 1, tzinfo=timezone(timedelta(hours=-5))), "2025-11-01T05:00:00+00:00"),
    (datetime(2025, 11, 1, tzinfo=timezone(timedelta(seconds=1))), "2025-10-31T23:59:59+00:00"),
    (datetime(2025, 11, 1, tzinfo=Odd(timedelta(hours=5, minutes=30, seconds=7))), "2025-10-31T18:29:53+00:00"),
    (datetime(2025, 11, 1, 0, 0, 0, 1, UTC), "2025-11-01T00:00:00.000001+00:00"),
    (datetime.min.replace(tzinfo=UTC), "0001-01-01T00:00:00+00:00"),
    (datetime.max.replace(tzinfo=UTC), "9999-12-31T23:59:59.999999+00:00"),
    ("2025-11-01T00:00:00Z", "2025-11-01T00:00:00+00:00"),
    ("2025-11-01T01:00:00+01:00", "2025-11-01T00:00:00+00:00"),
    ("2025-11-01 00:00-00:30", "2025-11-01T00:30:00+00:00"),
    ("20251101T000000Z", "2025-11-01T00:00:00+00:00"),
    ("2025-W44-6T00:00:00Z", "2025-11-01T00:00:00+00:00"),
]


@every_way
@pytest.mark.parametrize(("value", "text"), MOMENTS)
async def test_moments_go_out_in_utc(ask: Callable[..., Any], value: object, text: str) -> None:
    [request] = await sent(ask, updated_after=value, updated_before=value)
    assert request.url.params["updated_at[gt]"] == request.url.params["updated_at[lt]"] == text
    assert b"+" not in request.url.query  # which a server reads as a space


NO_MOMENTS = [
    *(datetime(2025, 11, 1), datetime(2025, 11, 1, tzinfo=Odd(None)), datetime(2025, 11, 1).date()),  # noqa: DTZ001
    *("", "yesterday", "2025-11-01", "2025-11-01T00:00:00", "1 Nov 2025", "2025-13-01T00:00:00Z", " ", "\ud800"),
    *("2025-11-01T00:00:00+25:00", "Z", b"2025-11-01T00:00:00Z", 1761955200, 1.5, True, [], timedelta(1)),
    datetime.min.replace(tzinfo=timezone(timedelta(hours=1))),
    datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))),
    datetime(2025, 11, 1, tzinfo=tzinfo()),
    datetime(2025, 11, 1, tzinfo=Odd(timedelta(days=3))),
]


@every_way
@pytest.mark.parametrize("value", NO_MOMENTS, ids=lambda value: ascii(value)[:50])
async def test_what_is_no_moment(ask: Callable[..., Any], value: object) -> None:
    assert (await refusal(ask, updated_after=value)).startswith("updated_after ")
    assert (await refusal(ask, updated_before=value)).startswith("updated_before ")


@given(st.datetimes(timezones=st.timezones() | st.just(UTC)))
def test_any_moment(moment: datetime) -> None:
    try:
        request = RecordQuery.of(1, updated_after=moment).request(None, None)
    except ConfigurationError:
        assert moment.year in {1, 9999}
    else:
        found = datetime.fromisoformat(request["params"]["updated_at[gt]"])
        assert (found, found.utcoffset()) == (moment.astimezone(UTC), timedelta())
