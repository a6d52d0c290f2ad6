"""Goes from page to page, and fetches the next one while the caller works on the current one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from brex_accounting._clock import check_asyncio
from brex_accounting._engine.classify import Operation
from brex_accounting.errors import InvalidResponseError, Outcome
from brex_accounting.models import AccountingRecord, InvalidRecord, RecordPage, ReviewStatus

from .parsing import ReadPage, StatusPage, read_lenient_page, read_page
from .query import RecordQuery

if TYPE_CHECKING:
    from brex_accounting._engine.engine import Engine


class Page(Protocol):
    """What leads from a page to the next one."""

    @property
    def next_cursor(self) -> str | None: ...
    @property
    def has_next_page(self) -> bool: ...
    @property
    def has_news(self) -> bool:
        """Whether it holds anything that the pages before it did not."""
        ...


P = TypeVar("P", bound=Page)

Place = tuple[int, str | None]
"""A request of several, and the cursor within it."""

MAX_PAGES_WITHOUT_NEWS = 500
"""In a row. A server that filters after it has cut its pages sends many empty ones, but not without end. Half of what
the rate limit allows in a minute, so the error does not wait for it."""

HEAD_START = 8
"""Turns of the event loop that a fetch gets before the caller goes to work. Its request is out after 5, and so is on
its way even if the caller computes without ever waiting."""


class Seen:
    """Remembers what was seen in some 90 bytes each, however long it is."""

    def __init__(self) -> None:
        self._digests = set[bytes]()

    def add(self, *words: object) -> bool:
        """Return whether this is new."""
        # 15 bytes: too many to meet by chance, and the most that Python keeps in 48.
        digest = blake2b("\0".join(map(str, words)).encode("utf-8", "surrogatepass"), digest_size=15).digest()
        new = digest not in self._digests
        self._digests.add(digest)
        return new


class Prefetcher(Generic[P]):
    """The pages of some requests of an operation, one after the other. One page is fetched ahead, never more.

    Each page is fetched in a task of its own, so that cancelling `wait` or `next` loses nothing. `close` ends
    that task.
    """

    def __init__(
        self,
        operation: str,
        requests: int,
        cursor: str | None,
        fetch: Callable[[int, str | None], Coroutine[Any, Any, P]],
    ) -> None:
        self._operation = operation
        self._requests = requests
        self._fetch = fetch
        self._seen = Seen()
        self._without_news = 0
        self._next = self._place(0, cursor) if requests else None
        """Where the page is that comes next, also while it is fetched."""
        self._dead_end = ""
        """Why there is no way to the next page."""
        self._ahead: asyncio.Task[P] | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing is left to take."""
        return self._next is None and not self._dead_end

    async def wait(self) -> None:
        """Wait until `take` has something to return or to raise. Cancelling this does not cancel the fetch."""
        check_asyncio()
        self._begin()
        if self._ahead is not None and not self._ahead.done():  # asyncio.wait waits a turn for what is done, too
            await asyncio.wait([self._ahead])

    def take(self) -> P | None:
        """Take the page that was fetched, and begin to fetch the one after it; None if it has not arrived.

        Raises what fetching the page raised; then `wait` tries again.
        """
        if self._dead_end:
            raise self._astray()
        ahead, place = self._ahead, self._next
        if ahead is None or place is None or not ahead.done():
            return None
        self._ahead = None
        try:
            page = ahead.result()
        finally:
            del ahead  # or its exception refers to this frame, and this frame to it
        self._next = self._after(place[0], page)
        self._begin()
        return page

    async def next(self) -> P | None:
        """Return the next page, or None after the last one. Raises what fetching it raised."""
        while not self.ended:
            await self.wait()
            if (page := self.take()) is not None:
                return page
        return None

    async def head_start(self) -> None:
        """Let the request for the page ahead go out."""
        if self._ahead is not None:
            for _ in range(HEAD_START):
                await asyncio.sleep(0)

    async def close(self) -> None:
        """Fetch no more, and wait until what was under way has ended."""
        ahead = self._ahead
        self.abandon()
        if ahead is not None and ahead.get_loop() is asyncio.get_running_loop():
            await asyncio.wait([ahead])

    def abandon(self) -> None:
        """Fetch no more. May be called in any thread, and after the event loop has ended."""
        self._next, self._dead_end = None, ""
        self._cancel()

    def _begin(self) -> None:
        """Fetch the next page, unless that is under way."""
        ahead = self._ahead
        if ahead is not None and not ahead.done() and ahead.get_loop() is not asyncio.get_running_loop():
            self._cancel()  # that loop has ended, or does not run
        elif ahead is not None and ahead.cancelled():
            self._ahead = None  # by the end of an event loop
        if self._ahead is None and self._next is not None:
            self._ahead = asyncio.create_task(self._fetch(*self._next))
            self._ahead.add_done_callback(_see)
            # Nothing is lost if an event loop is closed before a page arrives: asyncio need not warn of it.
            self._ahead._log_destroy_pending = False  # type: ignore[attr-defined]  # noqa: SLF001

    def _cancel(self) -> None:
        ahead, self._ahead = self._ahead, None
        if ahead is not None and not ahead.done():
            with suppress(RuntimeError):  # the loop is closed
                ahead.get_loop().call_soon_threadsafe(ahead.cancel)

    def _after(self, request: int, page: P) -> Place | None:
        self._without_news = 0 if page.has_news else self._without_news + 1
        if not page.has_next_page:
            return self._place(request + 1, None) if request + 1 < self._requests else None
        if not page.next_cursor:
            self._dead_end = "the answer says that there is more but gives no cursor"
        elif not self._seen.add(request, page.next_cursor):
            self._dead_end = "the answer gives a cursor that was followed before"
        elif self._without_news >= MAX_PAGES_WITHOUT_NEWS:
            self._dead_end = f"{self._without_news:,} pages in a row brought nothing new, and each gives another cursor"
        else:
            return request, page.next_cursor
        return None

    def _place(self, request: int, cursor: str | None) -> Place:
        if cursor is not None:
            self._seen.add(request, cursor)
        return request, cursor

    def _astray(self) -> InvalidResponseError:
        return InvalidResponseError(
            f"{self._operation}: {self._dead_end}: the rest cannot be read. Start again, or ask Brex's support.",
            outcome=Outcome.NOT_APPLIED,
            operation=self._operation,
            attempts=1,
            status=200,
        )


def _see(ahead: asyncio.Task[Any]) -> None:
    """Mark its exception as seen, or asyncio complains if nobody asks for the page any more."""
    if not ahead.cancelled():
        ahead.exception()


QUERY = Operation("queryAccountingRecords", read_page, safe=True)
LENIENT_QUERY = Operation("queryAccountingRecords", read_lenient_page, safe=True)


def check_ids_of(ids: Iterable[str] | None) -> Callable[[ReadPage | StatusPage], str | None] | None:
    """Make the check that a page holds no other records than those that were asked for; None: all were."""
    if ids is None:
        return None
    asked = frozenset(ids)

    def check(page: ReadPage | StatusPage) -> str | None:
        return None if asked.issuperset(page.record_ids) else "it holds a record that was not asked for"

    return check


Part = tuple[RecordQuery, list[str] | None]
"""One request of several: the filters, and the ids if it asks for these only."""


@dataclass(frozen=True, slots=True)
class FoundPage:
    """A page of records, without those that came before."""

    page: RecordPage
    invalid: list[InvalidRecord]
    next_cursor: str | None
    has_next_page: bool
    """Within its request."""
    has_news: bool


class RecordPaginator:
    """Fetches the pages of one or several requests for records, and leaves out records that came before.

    Within one `pages` or `iterate` each (id, version) comes once. With `only_ready` only records that are
    READY_FOR_EXPORT come, each once whatever its version.
    """

    def __init__(self, engine: Engine, parts: Sequence[Part], *, lenient: bool, only_ready: bool = False) -> None:
        self._engine = engine
        self._parts = parts
        self._operation = LENIENT_QUERY if lenient else QUERY
        self._only_ready = only_ready
        self._seen = Seen()

    def pages(self, cursor: str | None = None) -> Prefetcher[FoundPage]:
        return Prefetcher(self._operation.name, len(self._parts), cursor, self._fetch)

    async def _fetch(self, part: int, cursor: str | None) -> FoundPage:
        query, ids = self._parts[part]
        read = await self._engine.call(self._operation, query.request(ids, cursor), check=check_ids_of(ids))
        new = [record for record in read.page.items if self._is_new(record)]
        return FoundPage(
            self._page(part, read, [record for record in new if _is_ready(record)] if self._only_ready else new),
            read.invalid,
            read.next_cursor,
            read.has_next_page,
            has_news=any([bool(new), *(self._seen.add(each.raw) for each in read.invalid)]),
        )

    def _is_new(self, record: AccountingRecord) -> bool:
        return self._seen.add(record.id, _is_ready(record) if self._only_ready else record.version)

    def _page(self, part: int, read: ReadPage, items: list[AccountingRecord]) -> RecordPage:
        if len(self._parts) > 1:  # a cursor and a count are of one request, and say nothing of the others
            more = read.has_next_page or part + 1 < len(self._parts)
            return RecordPage(items=items, next_cursor=None, has_next_page=more)
        return RecordPage(
            items=items,
            next_cursor=read.next_cursor,
            has_next_page=read.has_next_page,
            total_count=read.page.total_count,
        )


def _is_ready(record: AccountingRecord) -> bool:
    return record.review_status == ReviewStatus.READY_FOR_EXPORT
