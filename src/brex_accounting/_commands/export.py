"""records export: all records of a query, in a file."""

from __future__ import annotations

import hashlib
import os
import secrets
import shlex
from contextlib import aclosing
from dataclasses import asdict
from pathlib import Path

import msgspec

from brex_accounting._records.query import DEFAULT_LIMIT, check_limit
from brex_accounting.client import PRODUCTION, BrexAccounting
from brex_accounting.errors import BadRequestError, BrexError
from brex_accounting.models import AccountingRecord, InvalidRecord

from .connection import HERE, Connection
from .exit_codes import Code, code_of, sentence, stop
from .filters import ALL, Filters
from .formats import Format, Key, format_of
from .options import Flag
from .output import cell, progress
from .partial_file import Part, State
from .signals import run
from .standard_streams import note


def export(
    file: Path,
    /,
    *,
    filters: Filters = ALL,
    resume: Flag = False,
    new_token: Flag = False,
    overwrite: Flag = False,
    excel: Flag = False,
    semicolon: Flag = False,
    page_size: int = DEFAULT_LIMIT,
    connection: Connection = HERE,
) -> Code:
    """Write all records into a file: CSV, a row for each line item, or JSON Lines, by the file's extension.

    The file appears when it is complete. An export that ended early is kept beside it as FILE.part, and --resume
    continues it.

    Args:
        file: Where to write, ending in .csv, .jsonl or .ndjson.
        resume: Continue an export to this file that ended early, with its filters and format.
        new_token: With --resume: BREX_TOKEN has changed since the export began, and is for the same account.
        overwrite: Replace the file, or what is left of an export that ended early.
        excel: CSV with a byte order mark, so that Excel opens it by a double click and shows all letters.
        semicolon: CSV with ; between the values and a decimal comma, as spreadsheets expect in many countries.
        page_size: How many records to ask for at a time, 1 to 1,000.
    """
    kind = format_of(file, excel=excel, semicolon=semicolon)
    filters.check()
    check_limit(page_size, "page_size")
    client = connection.client()
    state = State(
        _set(filters),
        _base_url(connection),
        _account(connection),
        _digest(secrets.token_hex(16)),
        excel=excel,
        semicolon=semicolon,
    )
    with Part(file) as part:
        seen = set[Key]()
        try:
            if resume:
                state, kind, seen = _go_on(part, state, new_token=new_token)
            else:
                part.begin(state, kind.head, overwrite=overwrite)
        except OSError as error:
            problem: BaseException = error
        else:
            return _finish(_Export(client, part, kind, state, seen), connection, page_size, resumed=resume)
    return stop(f"cannot write {file}: {sentence(problem)}")


class _Export:
    def __init__(self, client: BrexAccounting, part: Part, kind: Format, state: State, seen: set[Key]) -> None:
        self.part = part
        self.state = state
        self._client = client
        self._kind = kind
        self._filters = msgspec.convert(state.filters, Filters)
        self._seen = seen
        self._seen_ids = {record_id for record_id, _ in seen}
        self._invalid = 0

    async def run(self, page_size: int) -> None:
        """Write page after page. Raises BrexError, OSError."""
        state = self.state
        with progress("Exporting") as bar:
            task = bar.add_task("", total=None, completed=state.records)
            async with (
                self._client as brex,
                aclosing(self._filters.pages(brex.records, page_size, self._leave_out, state.cursor)) as pages,
            ):
                async for page in pages:
                    records = [each for each in page.items if not self._is_written(each)]
                    self.part.write(self._kind.page(records))
                    state.cursor, state.done = page.next_cursor, not page.has_next_page
                    state.records += len(records)
                    state.lines += sum(max(1, len(each.line_items)) for each in records)
                    state.unbalanced += sum(not each.is_balanced for each in records)
                    state.left_out, self._invalid = state.left_out + self._invalid, 0
                    self.part.keep(state)
                    bar.update(task, total=page.total_count, completed=state.records + state.left_out)

    def _is_written(self, record: AccountingRecord) -> bool:
        """Return whether an earlier run wrote it. Of what is ready each record comes once, whatever its version."""
        key = self._kind.key(record)
        return key[0] in self._seen_ids if self._filters.ready else key in self._seen

    def _leave_out(self, record: InvalidRecord) -> None:
        self._invalid += 1
        name = cell(record.record_id) if record.record_id else "a record without a readable id"
        note(f"brex-accounting: {name} cannot be understood and is left out: {record.reason}")


def _go_on(part: Part, now: State, *, new_token: bool) -> tuple[State, Format, set[Key]]:
    """Continue an export that ended early, for the same account and with its own filters and format."""
    if now.filters:
        stop("--resume continues with the filters that the export had: leave the filters out.", Code.USAGE)
    state = part.resume()
    if (now.excel and not state.excel) or (now.semicolon and not state.semicolon):
        stop("--resume continues in the format that the export had: leave --excel and --semicolon out.", Code.USAGE)
    if state.base_url != now.base_url:
        stop(f"the export that ended early read from {state.base_url}: pass --base-url {state.base_url}.", Code.USAGE)
    if state.account != now.account:
        stop(f"the export that ended early was for {state.account or 'BREX_TOKEN'}, not this account.", Code.USAGE)
    if new_token:
        state.token = now.token
    elif state.token != _digest((state.token or "").partition(":")[0]):
        stop(
            "BREX_TOKEN is not the token that the export began with: add --new-token if it is for the same account, "
            "else begin again with --overwrite.",
            Code.USAGE,
        )
    if state.cursor is None and not state.done:  # without a cursor everything is read again, for what is missing
        state.left_out = 0
    kind = format_of(part.file, excel=state.excel, semicolon=state.semicolon)
    return state, kind, kind.keys(part.written())


def _finish(work: _Export, connection: Connection, page_size: int, *, resumed: bool) -> Code:
    """Export, and report what became of it."""
    problem: BaseException | None = None
    try:
        if not work.state.done:
            run(work.run(page_size))
        work.part.finish()
    except (BrexError, OSError, KeyboardInterrupt) as error:
        problem = error
    state, file = work.state, work.part.file
    if problem is None:
        note(_summary(state, file))
        return Code.FAILED if state.left_out else Code.FINE
    if not state.records:
        work.part.discard()
        return stop(f"{sentence(problem)} Nothing was exported.", code_of(problem))
    name = os.path.join(".", file) if str(file).startswith("-") else str(file)  # noqa: PTH118 - a Path drops the ./
    command = ["brex-accounting", "records", "export", name, "--resume", *connection.as_typed()]
    stale = resumed and isinstance(problem, BadRequestError)
    otherwise = "; if its place in the list is refused, as too old, begin again with --overwrite" if stale else ""
    return stop(
        f"{sentence(problem)} {state.records:,} records are in {work.part.path}{otherwise}; "
        f"to go on: {shlex.join(command)}",
        code_of(problem),
    )


def _summary(state: State, file: Path) -> str:
    told = f"{state.records:,} records with {state.lines:,} lines are in {file}."
    if state.unbalanced and not state.filters.get("single_entry"):
        told += f" In {state.unbalanced:,} of them debits and credits differ."
    if state.left_out:
        told += f" {state.left_out:,} could not be understood and are not in it."
    return told


def _set(filters: Filters) -> dict[str, str | list[str] | bool]:
    """Return the filters that are set, as they can be written down."""
    values = asdict(filters) | {"ids": list(filters.ids)}
    return {name: value for name, value in values.items() if value}


def _base_url(connection: Connection) -> str:
    return connection.base_url or os.environ.get("BREX_BASE_URL") or PRODUCTION


def _account(connection: Connection) -> str | None:
    return None if os.environ.get("BREX_TOKEN") else connection.account or os.environ.get("BREX_ACCOUNT")


def _digest(salt: str) -> str | None:
    """Return a salted digest of BREX_TOKEN, to recognize it. It is random and long, so one round of a hash hides it."""
    token = os.environ.get("BREX_TOKEN")
    return f"{salt}:{hashlib.sha256(f'{salt}:{token}'.encode()).hexdigest()}" if token else None
