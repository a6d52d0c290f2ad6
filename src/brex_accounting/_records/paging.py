"""Goes from page to page, fetching the next one while the caller works on this one."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import attrs

from brex_accounting._arguments import check_text
from brex_accounting._engine.classify import Operation
from brex_accounting.errors import ConfigurationError, InvalidResponseError
from brex_accounting.models import InvalidRecord, RecordPage

from .parsing import ReadPage, read_lenient_page, read_page
from .query import RecordQuery, check_ids, split


class Page(Protocol):
    """What leads from a page to the next one."""

    @property
    def next_cursor(self) -> str | None: ...
    @property
    def has_next_page(self) -> bool: ...


P = TypeVar("P", bound=Page)

Place = tuple[int, str | None]
"""A request of several, and the cursor within it."""


HEAD_START = 8
"""Turns of the event loop that a fetch gets before the caller goes to work. Its request is out after 4, and so is on
its way even where the caller computes without ever waiting."""


class Seen:
    """Remembers what was seen in some 90 bytes each, however long it is."""

    def __init__(self) -> None:
        self._digests = set[bytes]()

    def add(self, *words: object) -> bool:
        """Tell whether this is new."""
        # 15 bytes: too many to meet by chance, and the most that Python keeps in 48.
        digest = blake2b("\0".join(map(str, words)).encode("utf-8", "surrogatepass"), digest_size=15).digest()
        new = digest not in self._digests
        self._digests.add(digest)
        return new


class Prefetcher(Generic[P]):
    """The pages of some requests of an operation, one after the other. One page is fetched ahead, never more.

    `close` it when no more is wanted: it leaves no task behind.
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
        self._next: Place | InvalidResponseError | None = self._place(0, cursor) if requests else None
        self._ahead: asyncio.Task[P] | None = None

    async def next(self) -> P | None:
        """Return the next page, or None after the last one. Raises what fetching it raised."""
        if isinstance(self._next, InvalidResponseError):
            raise self._next
        if self._next is None:
            return None
        request, cursor = self._next
        page = await (self._fetch(request, cursor) if self._ahead is None else self._ahead)
        self._ahead = None
        self._next = self._after(request, page)
        if isinstance(self._next, tuple):
            self._ahead = asyncio.create_task(self._fetch(*self._next))
            self._ahead.add_done_callback(_see)  # or asyncio complains where nobody asks for it any more
            for _ in range(HEAD_START):
                await asyncio.sleep(0)
        return page

    async def close(self) -> None:
        ahead, self._ahead, self._next = self._ahead, None, None
        if ahead is not None:
            ahead.cancel()
            await asyncio.wait([ahead])

    @property
    def ends(self) -> bool:
        """Whether the page that `next` returned last was the last one."""
        return self._next is None

    def _after(self, request: int, page: P) -> Place | InvalidResponseError | None:
        if not page.has_next_page:
            return self._place(request + 1, None) if request + 1 < self._requests else None
        if not page.next_cursor:
            return self._astray("says that there is more, and gives no cursor to it")
        if not self._seen.add(request, page.next_cursor):
            return self._astray("gives a cursor that led here already")
        return request, page.next_cursor

    def _place(self, request: int, cursor: str | None) -> Place:
        if cursor is not None:
            self._seen.add(request, cursor)
        return request, cursor

    def _astray(self, what: str) -> InvalidResponseError:
        return InvalidResponseError(
            f"{self._operation}: the answer {what}: what follows cannot be read. Begin again, or ask Brex's support.",
            operation=self._operation,
            attempts=1,
            status=200,
        )


def _see(ahead: asyncio.Task[Any]) -> None:
    if not ahead.cancelled():
        ahead.exception()


if TYPE_CHECKING:
    from brex_accounting._engine.call import Engine


QUERY = Operation("queryAccountingRecords", read_page, safe=True)


LENIENT_QUERY = Operation("queryAccountingRecords", read_lenient_page, safe=True)


class RecordPaginator:
    """Goes through the pages of a query, which is several requests where the ids are too many for one.

    `close` it when no more is wanted.
    """

    def __init__(
        self,
        engine: Engine,
        query: RecordQuery,
        ids: object,
        cursor: object,
        on_invalid: Callable[[InvalidRecord], None] | None,
    ) -> None:
        """Check what a caller passed. Raises ConfigurationError."""
        self._engine = engine
        self._query = query
        self._parts = [None] if ids is None else list(split(check_ids(ids)))
        start = None if cursor is None else check_text(cursor, "cursor")
        if start is not None and len(self._parts) > 1:
            raise ConfigurationError(
                "cursor leads on within one request, and these ids take several: leave cursor out."
            )
        if on_invalid is not None and (not callable(on_invalid) or _is_async(on_invalid)):
            raise ConfigurationError("on_invalid must be an ordinary function, for it is not awaited.")
        self._on_invalid = on_invalid
        self._operation = QUERY if on_invalid is None else LENIENT_QUERY
        self._seen = Seen()
        self._pages = Prefetcher(self._operation.name, len(self._parts), start, self._fetch)

    async def next(self) -> RecordPage | None:
        """Return the next page, without what came before and what cannot be understood; None after the last."""
        read = await self._pages.next()
        if read is None:
            return None
        if self._on_invalid is not None:
            for record in read.invalid:
                self._on_invalid(record)
        items = [record for record in read.page.items if self._seen.add(record.id, record.version)]
        if len(self._parts) == 1:
            return attrs.evolve(read.page, items=items)
        return RecordPage(items=items, next_cursor=None, has_next_page=not self._pages.ends)

    async def close(self) -> None:
        await self._pages.close()

    async def _fetch(self, part: int, cursor: str | None) -> ReadPage:
        return await self._engine.call(self._operation, self._query.request(self._parts[part], cursor))


def _is_async(function: Callable[..., object]) -> bool:
    return any(
        kind(each)
        for kind in (inspect.iscoroutinefunction, inspect.isasyncgenfunction, inspect.isgeneratorfunction)
        for each in (function, getattr(function, "__call__", None))  # noqa: B004 - the method of an object that is called
    )
