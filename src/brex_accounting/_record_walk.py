"""All records of a query: from page to page, each record once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from ._arguments import check_text, refuse
from ._pages import Prefetcher, Seen
from ._reading import ReadPage, read_lenient_page, read_page
from ._record_query import RecordQuery, check_ids, split
from ._verdict import Operation
from .models import InvalidRecord, RecordPage

if TYPE_CHECKING:
    from ._call import Engine

QUERY = Operation("queryAccountingRecords", read_page, safe=True)
LENIENT_QUERY = Operation("queryAccountingRecords", read_lenient_page, safe=True)


class RecordWalk:
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
            refuse("cursor leads on within one request, and these ids take several: leave cursor out.")
        if on_invalid is not None and (not callable(on_invalid) or _is_async(on_invalid)):
            refuse("on_invalid must be an ordinary function, for it is not awaited.")
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
            return msgspec.structs.replace(read.page, items=items)
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
