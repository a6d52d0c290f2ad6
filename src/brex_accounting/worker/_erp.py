"""Calls of the author's `book` and `find`: bounded in time, and understood whatever they end in."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from pathlib import Path
from traceback import walk_tb
from typing import Any, TypeAlias

from brex_accounting._arguments import check_text
from brex_accounting._text import printable
from brex_accounting.errors import ConfigurationError
from brex_accounting.models import AccountingRecord, ExportFailed, ExportSucceeded

from ._answers import Answer, Doubt, Nothing, Reference, Refusal
from ._entries import NotBookedError

Book: TypeAlias = Callable[[AccountingRecord], Awaitable[str | ExportSucceeded | ExportFailed]]
Find: TypeAlias = Callable[[AccountingRecord], Awaitable[str | ExportSucceeded | None]]

CANCEL_GRACE = 1.0
"""Seconds that a cancelled call has to end; what it still returns counts."""


async def book(call: Book, record: AccountingRecord, seconds: float) -> Answer:
    """Call `book` and say what came of it."""
    value, error = await _call(call, record, seconds)
    if isinstance(error, NotBookedError):
        return Nothing(printable(error.message) or None, _seconds(error.retry_in))
    if error is not None:
        return Doubt(_describe("book", call, error, seconds))
    if isinstance(value, ExportFailed) and value.record_id == record.id:
        return Refusal(value.error_message)
    return _reference("book", value, record)


async def find(call: Find, record: AccountingRecord, seconds: float) -> Reference | Nothing | Doubt:
    """Call `find` and say what came of it."""
    value, error = await _call(call, record, seconds)
    if error is not None:
        return Doubt(_describe("find", call, error, seconds))
    return Nothing() if value is None else _reference("find", value, record)


async def _call(
    call: Callable[[AccountingRecord], Awaitable[Any]], record: AccountingRecord, seconds: float
) -> tuple[Any, BaseException | None]:
    """Return what it returned, or what it raised; TimeoutError when its time is up, even if it does not end then.

    When this is cancelled, so is the call.
    """

    async def run() -> Any:
        return await call(record)

    task = asyncio.ensure_future(run())
    try:
        done, _ = await asyncio.wait([task], timeout=seconds)
        if not done:
            task.cancel()
            done, _ = await asyncio.wait([task], timeout=CANCEL_GRACE)
    except asyncio.CancelledError:
        task.cancel()
        task.add_done_callback(_look_away)
        raise
    if not done:
        task.add_done_callback(_look_away)
        return None, TimeoutError()
    if task.cancelled():
        return None, asyncio.CancelledError()
    return (None, error) if (error := task.exception()) is not None else (task.result(), None)


def _look_away(task: asyncio.Task[Any]) -> None:
    """What came too late is in doubt already; asyncio need not complain that nobody looked."""
    if not task.cancelled():
        task.exception()


def _reference(what: str, value: object, record: AccountingRecord) -> Reference | Doubt:
    """The ERP has it, under a reference that can be kept and reported."""
    if isinstance(value, str):
        try:
            return Reference(check_text(value, "reference"))
        except ConfigurationError:
            return Doubt(f"{what} returned a reference that is empty, or not Unicode text")
    if isinstance(value, ExportSucceeded) and value.record_id == record.id:
        return Reference(value.reference_id, value.deep_link_url)
    if isinstance(value, (ExportSucceeded, ExportFailed)):
        return Doubt(f"{what} returned a result for another record")
    return Doubt(f"{what} returned {type(value).__name__}")


def _describe(what: str, call: Any, error: BaseException, seconds: float) -> str:
    """Name the error and its place in the author's module: its own text may quote somebody's books."""
    if error.__traceback__ is None:  # ours
        return f"{what} did not end within {seconds:g} s"
    places = [(frame.f_code.co_filename, line) for frame, line in walk_tb(error.__traceback__)]
    module = getattr(inspect.unwrap(call), "__code__", None)
    theirs = [place for place in places if module is not None and place[0] == module.co_filename]
    file, line = (theirs or places)[-1]
    return f"{what} raised {type(error).__name__} at {Path(file).name}:{line}"


def _seconds(value: object) -> float | None:
    """What an author gave as retry_in, if it is a time."""
    usable = isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0
    return float(value) if usable else None  # type: ignore[arg-type]
