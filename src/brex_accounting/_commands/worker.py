"""worker run: books what is ready for export with somebody's function, and reports it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

from cyclopts import Parameter

from brex_accounting.client import BrexAccounting
from brex_accounting.errors import BrexError, ConfigurationError, TokenRefreshError, UnauthorizedError
from brex_accounting.worker import ExportWorker, SQLiteExportStore

from .connection import HERE, Connection
from .exit_codes import Code, sentence, stop
from .functions import load
from .options import Flag
from .progress_view import Rate, duration, showing
from .standard_streams import noting_log

Store = Annotated[Path, Parameter(help="The SQLite file that says how far each record is; one for each account.")]
LOGGER = "brex_accounting.worker"


def run(
    book: str,
    /,
    *,
    store: Store,
    find: str | None = None,
    upsert: Flag = False,
    once: Flag = False,
    concurrency: int = 8,
    book_timeout: float = 60.0,
    settle_after: float = 120.0,
    poll_every: float = 3600.0,
    budget: float = 3600.0,
    json: Flag = False,
    connection: Connection = HERE,
) -> int:
    """Book every record that is ready for export, once, and report it to Brex, until Ctrl-C or SIGTERM.

    It goes on where it was, whatever it died of. docs/worker.md says what the functions must do.

    Args:
        book: MODULE:FUNCTION, an async function that books a record in the ERP and returns its reference.
        store: The SQLite file that says how far each record is; one for each account.
        find: MODULE:FUNCTION, an async function that returns the reference under which the ERP has a record, or None.
        upsert: The book function may be called again for the same record: it brings the ERP's entry up to date.
        once: Poll, work off what is due, and end: for cron. Exit code 1 when something is left for later.
        concurrency: How many calls of the functions at a time.
        book_timeout: Seconds for one call; then the record is in doubt.
        settle_after: Seconds that the ERP may take to show what a request that was cut off has booked.
        poll_every: Seconds between polls.
        budget: With --once, seconds after which no more is begun.
        json: Print JSON lines.
    """
    booking, finding = load(book, "BOOK"), None if find is None else load(find, "--find")
    problem: BrexError
    try:
        left = asyncio.run(
            _work(
                connection.client(),
                store,
                booking,
                once=once,
                budget=budget,
                json=json,
                find=finding,
                upsert=upsert,
                concurrency=concurrency,
                book_timeout=book_timeout,
                settle_after=settle_after,
                poll_every=poll_every,
            )
        )
    except BrexError as error:
        problem = error
    else:
        if left is None:
            return Code.FINE
        stop(f"something is left, and due in {duration(left)}: run the command again then.")
    return stop(sentence(problem), _code(problem))


def _code(problem: BrexError) -> Code:
    if isinstance(problem, ConfigurationError):
        return Code.USAGE
    return Code.AUTHORIZATION if isinstance(problem, (TokenRefreshError, UnauthorizedError)) else Code.NO_ANSWER


async def _work(
    client: BrexAccounting, path: Path, book: Any, *, once: bool, budget: float, json: bool, **options: Any
) -> float | None:
    """Work; return the seconds until more is due, if that is why it ends."""
    rate = Rate()
    store = SQLiteExportStore(path)
    try:
        async with client as brex:
            worker = ExportWorker(brex, book, store, on_change=rate.count, **options)
            with noting_log(LOGGER):
                async with showing(store, rate, json=json):
                    if not once:
                        await worker.run(signals=True)
                        return None
                    with _stopping(worker):
                        return await worker.drain(budget=budget)
    finally:
        await store.aclose()


@contextlib.contextmanager
def _stopping(worker: ExportWorker) -> Iterator[None]:
    """Stop at the first signal; leave the second to whoever handled them before."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def handle(_number: int, _frame: FrameType | None) -> None:
        restore()
        worker.stop()

    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, handle)
    try:
        yield
    finally:
        restore()
