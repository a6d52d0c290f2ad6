"""All records of a query, or all pages, as an iterator that outlives the cancellation of a step."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Generic, TypeVar

from brex_accounting._arguments import check_text
from brex_accounting.errors import ConfigurationError
from brex_accounting.models import AccountingRecord, InvalidRecord, RecordPage, ReviewStatus, SourceType

from .paging import FoundPage, Part, Prefetcher, RecordPaginator
from .query import BEFORE_ALL_RECORDS, RecordQuery, check_ids, split

if TYPE_CHECKING:
    from typing import NoReturn, Self

    from brex_accounting._engine.engine import Engine

T_co = TypeVar("T_co", covariant=True)
OnInvalid = Callable[[InvalidRecord], None]


class RecordStream(AsyncIterator[T_co], Generic[T_co]):
    """What `pages`, `iterate` and `ready_for_export` return: an asynchronous iterator that loses nothing.

    ::

        async with brex.records.ready_for_export() as records:
            async for record in records:
                ...

    A step that is cancelled, such as ``asyncio.wait_for(anext(records), 1)`` that times out, takes nothing with it: the
    request goes on, and the next step waits for its answer. After an error the next step asks for the same page again.
    Several tasks may take steps at once: each item goes to one of them.

    Leave the loop whenever you like. A stream that is dropped cancels what it was fetching; `aclose`, or `async with`,
    also waits until that has ended.
    """

    __module__ = "brex_accounting"  # reprs and pickles name the public place

    def __init__(
        self,
        pages: Prefetcher[FoundPage],
        unpack: Callable[[FoundPage], Iterable[T_co | InvalidRecord]],
        on_invalid: OnInvalid | None,
    ) -> None:
        self._pages = pages
        self._unpack = unpack
        self._on_invalid = on_invalid
        self._items = deque[T_co | InvalidRecord]()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T_co:
        try:
            # An item leaves the stream only in the moment in which it is returned: a cancellation takes none with it.
            while True:
                while self._items:
                    item = self._items.popleft()
                    if not isinstance(item, InvalidRecord):
                        return item
                    if self._on_invalid is not None:
                        self._on_invalid(item)
                if self._pages.ended:
                    raise StopAsyncIteration
                await self._pages.wait()
                if not self._items and (page := self._pages.take()) is not None:
                    self._items.extend(self._unpack(page))
                    await self._pages.head_start()
        finally:
            del self  # or the traceback of an error keeps a stream alive that everybody else has dropped

    async def aclose(self) -> None:
        """End the stream, and wait until the request under way has ended. A step that waits for it ends too."""
        self._items.clear()
        await self._pages.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    def __del__(self) -> None:
        self._pages.abandon()

    def __reduce__(self) -> NoReturn:
        message = "a stream has one owner: it cannot be pickled or copied"
        raise TypeError(message)


def stream(
    engine: Engine,
    query: RecordQuery,
    unpack: Callable[[FoundPage], Iterable[T_co | InvalidRecord]],
    *,
    ids: object,
    cursor: object,
    on_invalid: OnInvalid | None,
) -> RecordStream[T_co]:
    """Check what is left to check of a caller's arguments, and make the stream. Raises ConfigurationError."""
    parts: list[Part] = [(query, None)] if ids is None else [(query, each) for each in split(check_ids(ids))]
    start = None if cursor is None else check_text(cursor, "cursor")
    if start is not None and len(parts) > 1:
        raise ConfigurationError("cursor continues one request, and these ids take several: leave cursor out.")
    _check_handler(on_invalid)
    return RecordStream(RecordPaginator(engine, parts, lenient=on_invalid is not None).pages(start), unpack, on_invalid)


def stream_ready(engine: Engine, query: RecordQuery, on_invalid: OnInvalid | None) -> RecordStream[AccountingRecord]:
    """Make the stream of all that is ready, for a query with no filter but `updated_after`."""
    _check_handler(on_invalid)
    since = replace(query, updated_after=query.updated_after or BEFORE_ALL_RECORDS)
    parts: list[Part] = [
        (replace(since, review_status=str(ReviewStatus.READY_FOR_EXPORT)), None),
        (replace(since, source_type=str(SourceType.BILL)), None),  # the filter by review status finds no bills
    ]
    paginator = RecordPaginator(engine, parts, lenient=on_invalid is not None, only_ready=True)
    return RecordStream(paginator.pages(), to_records, on_invalid)


def to_page(found: FoundPage) -> Iterable[RecordPage | InvalidRecord]:
    return [*found.invalid, found.page]


def to_records(found: FoundPage) -> Iterable[AccountingRecord | InvalidRecord]:
    return [*found.invalid, *found.page.items]


def _check_handler(on_invalid: object) -> None:
    if on_invalid is not None and (not callable(on_invalid) or _is_async(on_invalid)):
        raise ConfigurationError("on_invalid must be an ordinary function: it is called, not awaited.")


def _is_async(function: Callable[..., object]) -> bool:
    return any(
        kind(each)
        for kind in (inspect.iscoroutinefunction, inspect.isasyncgenfunction, inspect.isgeneratorfunction)
        for each in (function, getattr(function, "__call__", None))  # noqa: B004 - the method of an object that is called
    )
