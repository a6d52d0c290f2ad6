"""worker status, held, settle and retry: what people see and say beside a worker, whether it runs or not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, TypeVar

from cyclopts import Parameter

from brex_accounting.errors import ConfigurationError
from brex_accounting.worker import ExportEntry, ExportStoreError, SQLiteExportStore
from brex_accounting.worker._entries import HELD

from .exit_codes import Code, sentence, stop
from .options import Flag
from .output import Column, write_fields, write_json, write_table
from .progress_view import age, as_fields, utc
from .standard_streams import note
from .worker import Store

Record = Annotated[str, Parameter(help="The record's id.")]
COLUMNS = (
    Column("record"),
    Column("held"),
    Column("state"),
    Column("since"),
    Column("attempts", justify="right"),
    Column("reference"),
    Column("message", may_be_cut=True),
)
T = TypeVar("T")


def status(
    *,
    store: Store,
    max_age: Annotated[float | None, Parameter(show_default=False)] = None,
    json: Flag = False,
) -> int:
    """Count the records by their state.

    Exit code 1 when something is held for a person, or an open record has waited for longer than --max-age.

    Args:
        store: The worker's SQLite file.
        max_age: Seconds that the longest open record may have waited.
        json: Print JSON.
    """
    found = _ask(store, lambda desk: desk.status())
    fields = as_fields(found)
    if json:
        write_json(fields)
    else:
        write_fields({name.replace("_", " "): "none runs" if (name, value) == ("worker", None) else value
                      for name, value in fields.items()})  # fmt: skip
    waited = age(found)
    late = max_age is not None and waited is not None and waited > max_age
    return Code.FAILED if found.held or late else Code.FINE


def held(*, store: Store, json: Flag = False) -> int:
    """List the records that a person must look at, and say what to do about each kind.

    Exit code 1 when there are any.

    Args:
        store: The worker's SQLite file.
        json: Print JSON lines.
    """
    entries = _ask(store, lambda desk: desk.held())
    if json:
        for entry in entries:
            write_json(_as_fields(entry))
    elif entries:
        write_table(COLUMNS, [[str(value or "") for value in _as_fields(entry).values()] for entry in entries])
        for reason in dict.fromkeys(str(entry.held) for entry in entries):
            note(f"{reason}: {HELD.get(reason, '')}")
    return Code.FAILED if entries else Code.FINE


def settle(
    record: Record,
    /,
    *,
    store: Store,
    booked: str | None = None,
    not_booked: Flag = False,
) -> None:
    """Tell the worker what you found in the ERP about a held record; it goes on with it at once.

    Args:
        record: The record's id.
        store: The worker's SQLite file.
        booked: The reference under which the ERP has it.
        not_booked: The ERP does not have it.
    """
    if (booked is not None) == not_booked:
        stop("say either --booked REFERENCE or --not-booked.", Code.USAGE)
    _ask(store, lambda desk: desk.settle(record, booked))


def retry(record: Record, /, *, store: Store) -> None:
    """Let a held record go on, once its cause is mended.

    Args:
        record: The record's id.
        store: The worker's SQLite file.
    """
    _ask(store, lambda desk: desk.retry(record))


def _as_fields(entry: ExportEntry) -> dict[str, object]:
    return {
        "record": entry.record_id,
        "held": entry.held,
        "state": entry.state,
        "since": utc(datetime.fromtimestamp(entry.changed_at, UTC)),
        "attempts": entry.attempts,
        "reference": entry.reference_id,
        "message": entry.message,
    }


def _ask(path: Path, ask: Callable[[SQLiteExportStore], Awaitable[T]]) -> T:
    """Ask a store that is there."""
    if not path.expanduser().exists():
        stop(f"there is no store {path}: name the file that the worker writes.", Code.USAGE)

    async def work() -> T:
        desk = SQLiteExportStore(path)
        try:
            return await ask(desk)
        finally:
            await desk.aclose()

    problem: ConfigurationError | ExportStoreError
    try:
        return asyncio.run(work())
    except (ConfigurationError, ExportStoreError) as error:
        problem = error
    code = Code.USAGE if isinstance(problem, ConfigurationError) else Code.NO_ANSWER
    return stop(sentence(problem).replace("see held()", "see worker held"), code)
