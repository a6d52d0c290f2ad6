"""One account's exports in PostgreSQL."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from brex_accounting._arguments import check_datetime
from brex_accounting.errors import ConfigurationError, Outcome
from brex_accounting.worker._entries import (
    FINISHED,
    EntryChangedError,
    ExportEntry,
    ExportStoreError,
    WorkerRunningError,
)
from brex_accounting.worker._store import COLUMNS, Desk, Tally, to_row, unknown

from ._database import CHANNEL, Connection, Database, UnavailableError, to_its_end
from ._listener import Listener
from ._locks import Locks, number_of
from ._schema import OPEN_STATES

T = TypeVar("T")

PRUNE_AT_ONCE = 5000
_FINISHED = ", ".join(f"'{state}'" for state in FINISHED)
_NAMES = ", ".join(COLUMNS)
_TYPES = {"version": "bigint", "handled": "bigint", "noticed": "bigint", "attempts": "integer"} | dict.fromkeys(
    ("due", "changed_at"), "double precision"
)
_NOW = "extract(epoch FROM statement_timestamp())::float8"
_SELECT = f"SELECT {_NAMES} FROM brex_exports WHERE account = %(account)s"  # noqa: S608 - our own names
_IS_OPEN = f"held IS NULL AND state IN ({OPEN_STATES})"
_DUE = f"""
    (SELECT * FROM ({_SELECT} AND {_IS_OPEN} AND due <= %(now)s ORDER BY due LIMIT %(limit)s) AS overdue)
    UNION (SELECT * FROM ({_SELECT} AND {_IS_OPEN} AND due > %(latest)s ORDER BY due LIMIT %(limit)s) AS absurd)
    UNION (SELECT * FROM ({_SELECT} AND noticed > handled ORDER BY due LIMIT %(limit)s) AS noticed)
    ORDER BY due LIMIT %(limit)s
"""  # noqa: S608 - our own names
_NEXT = f"""
    SELECT EXISTS (SELECT 1 FROM brex_exports WHERE account = %(account)s AND noticed > handled),
           (SELECT min(due) FROM brex_exports WHERE account = %(account)s AND {_IS_OPEN})
"""  # noqa: S608 - our own names
# Transactions that lock rows in different orders deadlock. Here all lock the account's row first, then the records' in
# the order of their ids.
_NOTE = f"""
    INSERT INTO brex_exports (account, record_id, state, attempts, due, changed_at, handled, noticed, opened_at)
    SELECT %(account)s, id, 'ready', 0, {_NOW}, {_NOW}, 0, 1, {_NOW} FROM unnest(%(ids)s::text[]) AS id ORDER BY id
    ON CONFLICT (account, record_id) DO UPDATE SET noticed = brex_exports.noticed + 1
"""  # noqa: S608 - our own names
_SAVE = f"""
    INSERT INTO brex_exports (account, {_NAMES}, opened_at)
    SELECT %(account)s, {_NAMES}, changed_at FROM unnest(
        {", ".join(f"%({name})s::{_TYPES.get(name, 'text')}[]" for name in COLUMNS)}
    ) AS entry ({_NAMES}) ORDER BY record_id
    ON CONFLICT (account, record_id) DO UPDATE SET
        {", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name not in {"record_id", "noticed"})},
        opened_at = CASE WHEN brex_exports.state IN ({_FINISHED}) THEN excluded.opened_at
                         ELSE brex_exports.opened_at END
    WHERE brex_exports.touched <= excluded.noticed
"""  # noqa: S608 - our own names
_LOCK = """
    SELECT FROM brex_exports WHERE account = %(account)s AND record_id = ANY (%(ids)s::text[])
    ORDER BY record_id FOR UPDATE
"""
_FORGET = """
    DELETE FROM brex_exports USING unnest(%(ids)s::text[], %(noticed)s::bigint[]) AS old (id, seen)
    WHERE account = %(account)s AND record_id = old.id AND noticed = old.seen
"""
_PRUNE = f"""
    DELETE FROM brex_exports WHERE account = %(account)s AND record_id = ANY (ARRAY(
        SELECT record_id FROM brex_exports WHERE account = %(account)s AND state IN ({_FINISHED})
        AND changed_at < %(before)s AND noticed <= handled ORDER BY record_id LIMIT {PRUNE_AT_ONCE} FOR UPDATE
    ))
"""  # noqa: S608 - our own names
_COUNT = "SELECT state, held IS NOT NULL, count(*) FROM brex_exports WHERE account = %(account)s GROUP BY 1, 2"
_OLDEST = f"SELECT min(opened_at) FROM brex_exports WHERE account = %(account)s AND state IN ({OPEN_STATES})"  # noqa: S608
_RUNS = """
    SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                   AND ((classid::bigint << 32) | objid::bigint) = %(lock)s::bigint)
"""
_NOTIFY = f"SELECT pg_notify('{CHANNEL}', %(account)s)"


class PostgresExportStore(Desk):
    """Keeps one account's exports in PostgreSQL, for all processes on all machines. `PostgresStores.exports` makes it.

    A worker's lock is a session advisory lock on the process's one connection for locks. When that breaks, another
    worker may start, and this one is fenced: its next save finds the other one's mark, and fails. The database's clock
    decides what is due, so the clocks of the machines need not agree.

    Every method raises ExportStoreError when the database cannot be used now, and ConfigurationError when somebody must
    repair it.
    """

    def __init__(self, database: Database, locks: Locks, listener: Listener, account: str) -> None:
        self._database = database
        self._locks = locks
        self._listener = listener
        self._account = account
        self._lock = f"exports {account}"
        self._fence: str | None = None
        self._heard = 0

    def __repr__(self) -> str:
        return f"PostgresExportStore({self._account!r})"

    # -- the worker's side --

    @asynccontextmanager
    async def lock(self) -> AsyncIterator[None]:
        """Be the account's one worker to the end of the block. Raises WorkerRunningError at once if another one is."""
        with _as_store_error():
            taken = await self._locks.take(self._lock)
        if not taken:
            raise WorkerRunningError(
                f"Another worker is at the account {self._account}: stop it first; `status` says which it is.",
                outcome=Outcome.NOT_APPLIED,
            )
        fence = uuid.uuid4().hex
        try:
            await self._write(self._enter(fence))
            self._fence = fence
            yield
        finally:
            self._fence = None
            try:
                with suppress(ExportStoreError, ConfigurationError):
                    await self._write(self._leave(fence))
            finally:
                await self._locks.free(self._lock)

    async def due(self, now: float, limit: int, *, latest: float) -> Sequence[ExportEntry]:
        """Return what is to be looked at, the longest due first."""
        await self._listener.start()
        self._heard = self._listener.heard(self._account)
        with _as_store_error():
            ahead = await self._database.offset()
            rows = await self._rows(_DUE, now=now + ahead, limit=limit, latest=latest + ahead)
        return [_entry(row, ahead) for row in rows]

    async def next_due(self, now: float) -> float | None:
        """Return when the next entry is due, in seconds since 1970."""
        with _as_store_error():
            ahead = await self._database.offset()
            [(noticed, due)] = await self._rows(_NEXT)
        if noticed:
            return now
        return None if due is None else max(now, due - ahead)

    async def save(self, entries: Sequence[ExportEntry], *, forget: Sequence[ExportEntry] = ()) -> None:
        """Save all of these or none, and forget those."""
        await self._write(self._save(entries, forget, self._fence))

    async def get(self, record_id: str) -> ExportEntry | None:
        """Return one entry. None: the record is not known."""
        with _as_store_error():
            ahead = await self._database.offset()
            rows = await self._rows(f"{_SELECT} AND record_id = %(id)s", id=record_id)
        return _entry(rows[0], ahead) if rows else None

    async def marks(self) -> tuple[datetime, datetime | None]:
        """Return since when the store remembers everything, and how far the bills were seen."""
        with _as_store_error():
            ahead = await self._database.offset()
            async with self._database.transaction() as connection:
                made_at, until, *_ = await self._of_account(connection)
        return datetime.fromtimestamp(made_at - ahead, UTC), until

    async def wait(self, seconds: float) -> None:
        """Wait so long, or until somebody has noted something since the last call of `due`."""
        await self._listener.wait(self._account, self._heard, seconds)

    # -- people's side --

    async def held(self) -> list[ExportEntry]:
        """Return what a person must look at, the longest held first."""
        with _as_store_error():
            ahead = await self._database.offset()
            rows = await self._rows(f"{_SELECT} AND held IS NOT NULL ORDER BY changed_at")
        return [_entry(row, ahead) for row in rows]

    async def prune(self, before: datetime) -> int:
        """Forget what was exported or returned before this moment; return how many records that was."""
        moment, pruned = check_datetime(before, "before").timestamp(), 0
        while number := await self._write(self._prune(moment)):
            pruned += number
        return pruned

    async def aclose(self) -> None:
        """Do nothing: the connections are those of `PostgresStores`."""

    async def _note(self, record_ids: Sequence[str], bills_until: datetime | None) -> None:
        await self._write(self._insert_notes(list(record_ids), bills_until))
        await self._listener.note(self._account)

    async def _tally(self) -> Tally:
        with _as_store_error():
            ahead = await self._database.offset()
            async with self._database.transaction() as connection:
                _, until, polled_at, _, worker = await self._of_account(connection)
                counts = await self._rows(_COUNT, on=connection)
                [(oldest,)] = await self._rows(_OLDEST, on=connection)
                [(runs,)] = await self._rows(_RUNS, on=connection, lock=number_of(self._lock))
        return Tally(
            open={(state, held): number for state, held, number in counts},
            oldest=None if oldest is None else oldest - ahead,
            bills_until=until,
            polled_at=None if polled_at is None else polled_at - ahead,
            worker=worker if runs else None,
        )

    async def _change(self, record_id: str, change: Callable[..., ExportEntry]) -> None:
        await self._write(self._replace(record_id, change))
        await self._listener.note(self._account)

    # -- transactions --

    async def _enter(self, fence: str) -> None:
        name = f"{socket.gethostname()}:{os.getpid()} since {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        async with self._database.transaction() as connection:
            await self._of_account(connection)
            await self._execute(
                connection,
                "UPDATE brex_export_accounts SET fence = %(fence)s, worker = %(name)s WHERE account = %(account)s",
                fence=fence,
                name=name,
            )

    async def _leave(self, fence: str) -> None:
        query = "UPDATE brex_export_accounts SET worker = NULL WHERE account = %(account)s AND fence = %(fence)s"
        async with self._database.transaction() as connection:
            await self._execute(connection, query, fence=fence)

    async def _save(self, entries: Sequence[ExportEntry], forget: Sequence[ExportEntry], fence: str | None) -> None:
        ahead = await self._database.offset()
        rows = [to_row(replace(each, due=each.due + ahead, changed_at=each.changed_at + ahead)) for each in entries]
        async with self._database.transaction() as connection:
            # FOR SHARE: a worker that takes over waits until this is committed, or this sees its fence.
            query = "SELECT fence FROM brex_export_accounts WHERE account = %(account)s FOR SHARE"
            found = await self._rows(query, on=connection)
            self._check_fence(fence, found[0][0] if found else None)
            if forget:
                ids = [each.record_id for each in (*entries, *forget)]
                await self._execute(connection, _LOCK, ids=ids)
            if rows:
                columns = dict(zip(COLUMNS, map(list, zip(*rows, strict=True)), strict=True))
                if await self._execute(connection, _SAVE, **columns) != len(rows):
                    raise EntryChangedError(
                        "A person changed a record meanwhile: nothing was saved.", outcome=Outcome.NOT_APPLIED
                    )
            if forget:
                ids, noticed = [each.record_id for each in forget], [each.noticed for each in forget]
                await self._execute(connection, _FORGET, ids=ids, noticed=noticed)

    async def _insert_notes(self, record_ids: list[str], bills_until: datetime | None) -> None:
        async with self._database.transaction() as connection:
            await self._of_account(connection)
            if bills_until is not None:
                mark = f"bills_until = greatest(bills_until, %(until)s), polled_at = {_NOW}"
                query = f"UPDATE brex_export_accounts SET {mark} WHERE account = %(account)s"  # noqa: S608 - our own words
                await self._execute(connection, query, until=bills_until)
            await self._execute(connection, _NOTE, ids=record_ids)
            await self._execute(connection, _NOTIFY)

    async def _replace(self, record_id: str, change: Callable[..., ExportEntry]) -> None:
        async with self._database.transaction() as connection:
            rows = await self._rows(f"{_SELECT} AND record_id = %(id)s FOR UPDATE", on=connection, id=record_id)
            if not rows:
                raise ConfigurationError(unknown(record_id))
            [(now,)] = await self._rows(f"SELECT {_NOW}", on=connection)
            changed = change(_entry(rows[0], 0.0), now=now)
            columns = {name: [value] for name, value in zip(COLUMNS, to_row(changed), strict=True)}
            await self._execute(connection, _SAVE, **columns)
            touch = "noticed = noticed + 1, touched = noticed + 1"
            query = f"UPDATE brex_exports SET {touch} WHERE account = %(account)s AND record_id = %(id)s"  # noqa: S608
            await self._execute(connection, query, id=record_id)
            await self._execute(connection, _NOTIFY)

    async def _prune(self, moment: float) -> int:
        ahead = await self._database.offset()
        async with self._database.transaction() as connection:
            query = "SELECT FROM brex_export_accounts WHERE account = %(account)s FOR UPDATE"
            await self._execute(connection, query)
            number = await self._execute(connection, _PRUNE, before=moment + ahead)
            if number:  # what is older than this is no longer known
                made_at = f"greatest(made_at, least(%(before)s, {_NOW}))"
                query = f"UPDATE brex_export_accounts SET made_at = {made_at} WHERE account = %(account)s"  # noqa: S608
                await self._execute(connection, query, before=moment + ahead)
            return number

    # -- the database --

    async def _of_account(self, connection: Connection) -> tuple[Any, ...]:
        """The account's own row, which is made when it is needed first."""
        columns = "made_at, bills_until, polled_at, fence, worker"
        query = f"SELECT {columns} FROM brex_export_accounts WHERE account = %(account)s"  # noqa: S608 - our own names
        rows = await self._rows(query, on=connection)
        if not rows:
            await self._execute(
                connection, "INSERT INTO brex_export_accounts (account) VALUES (%(account)s) ON CONFLICT DO NOTHING"
            )
            rows = await self._rows(query, on=connection)
        return rows[0]

    def _check_fence(self, ours: str | None, found: str | None) -> None:
        if ours is None:
            message = "Only whoever holds the store's lock() may save: nothing was saved."
            raise ExportStoreError(message, outcome=Outcome.NOT_APPLIED)
        if found != ours:
            message = f"Another worker has taken over the account {self._account}: nothing was saved."
            raise WorkerRunningError(message, outcome=Outcome.NOT_APPLIED)

    async def _rows(self, query: str, *, on: Connection | None = None, **values: Any) -> list[tuple[Any, ...]]:
        parameters = {"account": self._account, **values}
        if on is not None:
            return await (await on.execute(query, parameters)).fetchall()
        async with self._database.connection() as connection:
            return await (await connection.execute(query, parameters)).fetchall()

    async def _execute(self, connection: Connection, query: str, **values: Any) -> int:
        return (await connection.execute(query, {"account": self._account, **values})).rowcount

    async def _write(self, work: Coroutine[Any, Any, T]) -> T:
        """Do what a cancellation must not cut in half."""
        with _as_store_error():
            return await to_its_end(work)


def _entry(row: tuple[Any, ...], ahead: float) -> ExportEntry:
    entry = ExportEntry(*row)
    return replace(entry, due=entry.due - ahead, changed_at=entry.changed_at - ahead) if ahead else entry


@contextmanager
def _as_store_error() -> Iterator[None]:
    try:
        yield
    except UnavailableError as error:
        text = str(error)
    else:
        return
    raise ExportStoreError(f"{text}: try again later.")
