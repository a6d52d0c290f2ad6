"""What a worker is told: checked once, before anything is done."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from brex_accounting._arguments import check_count, check_datetime, check_flag, check_not_negative, check_positive
from brex_accounting.errors import ConfigurationError

from ._entries import ExportEntry
from ._erp import Book, Find
from ._machine import Doubts, Rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The arguments of an ExportWorker."""

    book: Book
    find: Find | None
    concurrency: int
    book_timeout: float
    poll_every: float
    bills_since: datetime | None
    bills_overlap: timedelta
    stop_grace: float
    on_change: Callable[[ExportEntry], None] | None
    rules: Rules

    @classmethod
    def of(
        cls,
        *,
        book: object,
        find: object,
        upsert: object,
        concurrency: object,
        book_timeout: object,
        settle_after: object,
        max_attempts: object,
        initial_backoff: object,
        max_backoff: object,
        poll_every: object,
        bills_since: object,
        bills_overlap: object,
        stop_grace: object,
        on_change: Any,
    ) -> Options:
        if check_flag(upsert, "upsert") and find is not None:
            raise ConfigurationError("Pass find or upsert=True, not both: a doubt is settled in one way.")
        doubts: Doubts = "upsert" if upsert else "person" if find is None else "find"
        timeout = check_positive(book_timeout, "book_timeout")
        rules = Rules(
            doubts,
            settle_after=check_not_negative(settle_after, "settle_after"),
            max_attempts=check_count(max_attempts, "max_attempts"),
            initial_backoff=check_not_negative(initial_backoff, "initial_backoff"),
            max_backoff=check_not_negative(max_backoff, "max_backoff"),
        )
        if rules.settle_after < timeout:
            raise ConfigurationError(
                "settle_after must be at least book_timeout: a request that still runs cannot be settled."
            )
        if not isinstance(bills_overlap, timedelta) or bills_overlap < timedelta(0):
            raise ConfigurationError("bills_overlap must be a timedelta of 0 or more.")
        if on_change is not None and (not callable(on_change) or _is_async(on_change)):
            raise ConfigurationError("on_change must be an ordinary function, for it is not awaited.")
        return cls(
            book=_check_async(book, "book"),
            find=None if find is None else _check_async(find, "find"),
            concurrency=check_count(concurrency, "concurrency"),
            book_timeout=timeout,
            poll_every=check_positive(poll_every, "poll_every"),
            bills_since=None if bills_since is None else check_datetime(bills_since, "bills_since"),
            bills_overlap=bills_overlap,
            stop_grace=check_not_negative(stop_grace, "stop_grace"),
            on_change=on_change,
            rules=rules,
        )


def _check_async(function: Any, name: str) -> Any:
    if not callable(function) or not _is_async(function):
        raise ConfigurationError(f"{name} must be an async function of one record: async def {name}(record).")
    return function


def _is_async(function: Any) -> bool:
    method = getattr(function, "__call__", None)  # noqa: B004 - that of an object that is called
    return any(inspect.iscoroutinefunction(each) for each in (function, method))
