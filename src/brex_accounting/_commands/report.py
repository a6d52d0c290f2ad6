"""records report: report to Brex what became of records in the accounting system."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from brex_accounting.client import BrexAccounting
from brex_accounting.models import ExportResult, ReportOutcome

from .connection import HERE, Connection
from .exit_codes import Code, code_of, sentence, stop
from .options import Flag
from .output import Column, write_json, write_table
from .results import read_results
from .signals import run
from .standard_streams import finish, give_up_stdout, note

DONE = ("reported", "already_exported")
COLUMNS = (Column("record"), Column("outcome"), Column("message", may_be_cut=True))
NAMED = 10
"""How many ids a sentence names."""


def report(
    file: Path,
    /,
    *,
    json: Flag = False,
    connection: Connection = HERE,
) -> Code:
    """Report the outcomes in a file to Brex, and print what became of each.

    The file is CSV or JSON Lines, by its extension, with the fields record_id, status (success or failure),
    reference_id and deep_link_url (of a success), error_message (of a failure). All of it is read and checked before
    anything is reported. Nothing is reported twice: repeat the command as often as you like.

    Args:
        file: The outcomes, ending in .csv, .jsonl or .ndjson.
        json: Print JSON Lines instead of a table.
    """
    try:
        results = read_results(file)
    except OSError as error:
        problem = sentence(error)
    else:
        return _report(results, connection, json=json)
    return stop(f"cannot read {file}: {problem}", Code.USAGE)


def _report(results: Sequence[ExportResult], connection: Connection, *, json: bool) -> Code:
    client = connection.client()
    try:
        outcomes = run(_send(client, results))
    except KeyboardInterrupt:
        outcomes = None
    if outcomes is None:
        stop(
            "interrupted: some of it may be reported. Repeat the command: what was taken then is already_exported, "
            "or, for a failure, not_ready.",
            Code.INTERRUPTED,
        )
    try:
        _print(outcomes, json=json)
        finish()
    except OSError as error:
        give_up_stdout()
        if not isinstance(error, BrokenPipeError):
            note(f"brex-accounting: cannot print the outcomes: {sentence(error)}")
    note(_summary(outcomes))
    return _code(outcomes)


async def _send(client: BrexAccounting, results: Sequence[ExportResult]) -> list[ReportOutcome]:
    console = Console(stderr=True)
    waiting = (
        console.status(f"Reporting {len(results):,} outcomes") if console.is_terminal else contextlib.nullcontext()
    )
    with waiting:
        async with client as brex:
            return await brex.records.report_all(results)


@dataclass(frozen=True, slots=True)
class _Told:
    """An outcome as it is printed."""

    record_id: str
    status: str
    message: str | None


def _print(outcomes: Sequence[ReportOutcome], *, json: bool) -> None:
    told = [_Told(each.record_id, each.status, _message(each)) for each in outcomes]
    if json:
        for each in told:
            write_json(each)
    else:
        write_table(COLUMNS, [(each.record_id, each.status, each.message or "") for each in told])


def _message(outcome: ReportOutcome) -> str | None:
    error = outcome.error
    return sentence(error) if error is not None and outcome.message == str(error) else outcome.message


def _summary(outcomes: Sequence[ReportOutcome]) -> str:
    counts = Counter(each.status for each in outcomes)
    told = f"Of {len(outcomes):,} outcomes: " + ", ".join(f"{count:,} {name}" for name, count in counts.items()) + "."
    unknown = [each.record_id for each in outcomes if each.status == "unknown"]
    if unknown:
        names = ", ".join(unknown[:NAMED]) + (", …" if unknown[NAMED:] else "")
        told += f" The outcome is unknown for {names}: look at these records, or repeat the command."
    return told


def _code(outcomes: Sequence[ReportOutcome]) -> Code:
    """Return the gravest code of all outcomes."""
    codes = set[Code]()
    for each in outcomes:
        if each.status == "unknown":
            codes.add(Code.NO_ANSWER)
        elif each.status == "not_applied" and each.error is not None:
            codes.add(code_of(each.error))
        elif each.status not in DONE:
            codes.add(Code.REFUSED)
    return max(codes, default=Code.FINE)
