"""One account's exports in PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar

from brex_accounting.errors import ConfigurationError
from brex_accounting.worker._entries import ExportEntry, ExportStoreError
from brex_accounting.worker._fenced import FencedStore
from brex_accounting.worker._store import COLUMNS, Tally, to_row, unknown

from . import _statements as sql
from ._database import Connection, Database, UnavailableError, to_its_end
from ._listener import Listener
from ._locks import Locks

T = TypeVar("T")


class PostgresExportStore(FencedStore):
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
        self._heard = 0

    def __repr__(self) -> str:
        return f"PostgresExportStore({self._account!r})"

    # -- the worker's side --

    async def due(self, now: float, limit: int, *, latest: float) -> Sequence[ExportEntry]:
        """Return what is to be looked at, the longest due first."""
        await self._listener.start()
        self._heard = self._listener.heard(self._account)
        with _as_store_error():
            ahead = await self._database.offset()
            rows = await self._rows(sql.DUE, now=now + ahead, limit=limit, latest=latest + ahead)
        return [_entry(row, ahead) for row in rows]

    async def next_due(self, now: float) -> float | None:
        """Return when the next entry is due, in seconds since 1970."""
        with _as_store_error():
            ahead = await self._database.offset()
            [(noticed, due)] = await self._rows(sql.NEXT)
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
            rows = await self._rows(sql.ONE, id=record_id)
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
            rows = await self._rows(sql.HELD)
        return [_entry(row, ahead) for row in rows]

    async def aclose(self) -> None:
        """Do nothing: the connections are those of `PostgresStores`."""

    async def _note(self, record_ids: Sequence[str], bills_until: datetime | None) -> None:
        await self._write(self._insert_notes(list(record_ids), bills_until))
        await self._listener.note(self._account)

    async def _tally(self) -> Tally:
        with _as_store_error():
            ahead = await self._database.offset()
            async with self._database.transaction() as connection:
                _, until, polled_at, worker = await self._of_account(connection)
                counts = await self._rows(sql.COUNT, on=connection)
                [(oldest,)] = await self._rows(sql.OLDEST, on=connection)
                [(runs,)] = await self._rows(sql.RUNS, on=connection, lock=self._lock)
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

    # -- one worker --

    @property
    def _place(self) -> str:
        return f"the account {self._account}"

    @asynccontextmanager
    async def _locked(self) -> AsyncIterator[None]:
        with _as_store_error():
            taken = await self._locks.take(self._lock)
        if taken is None:
            raise self._running()
        try:
            yield
        finally:
            await self._locks.free(taken)

    async def _enter(self, fence: str, worker: str) -> None:
        async def enter() -> None:
            async with self._database.transaction() as connection:
                await self._of_account(connection)
                await self._execute(connection, sql.ENTER, fence=fence, worker=worker)

        await self._write(enter())

    async def _leave(self, fence: str) -> None:
        async def leave() -> None:
            async with self._database.connection() as connection:
                await self._execute(connection, sql.LEAVE, fence=fence)

        await self._write(leave())

    async def _prune(self, moment: float) -> int:
        async def prune() -> int:
            before = moment + await self._database.offset()
            async with self._database.transaction() as connection:
                await self._execute(connection, sql.LOCK_ACCOUNT)
                number = await self._execute(connection, sql.PRUNE, before=before)
                if number:
                    await self._execute(connection, sql.PRUNED, before=before)
                return number

        return await self._write(prune())

    # -- transactions --

    async def _save(self, entries: Sequence[ExportEntry], forget: Sequence[ExportEntry], fence: str | None) -> None:
        ahead = await self._database.offset()
        rows = [to_row(replace(each, due=each.due + ahead, changed_at=each.changed_at + ahead)) for each in entries]
        async with self._database.transaction() as connection:
            found = await self._rows(sql.FENCE, on=connection)
            self._check_fence(fence, found[0][0] if found else None)
            if forget:
                await self._execute(connection, sql.LOCK, ids=[each.record_id for each in (*entries, *forget)])
            if rows:
                columns = dict(zip(COLUMNS, map(list, zip(*rows, strict=True)), strict=True))
                self._check_saved(await self._execute(connection, sql.SAVE, **columns), len(rows))
            if forget:
                ids, noticed = [each.record_id for each in forget], [each.noticed for each in forget]
                await self._execute(connection, sql.FORGET, ids=ids, noticed=noticed)

    async def _insert_notes(self, record_ids: list[str], bills_until: datetime | None) -> None:
        if bills_until is None:  # one statement, for storms of webhooks
            async with self._database.connection() as connection:
                await self._execute(connection, sql.NOTE, ids=record_ids)
            return
        async with self._database.transaction() as connection:
            await self._of_account(connection)
            await self._execute(connection, sql.POLLED, until=bills_until)
            await self._execute(connection, sql.NOTE, ids=record_ids)

    async def _replace(self, record_id: str, change: Callable[..., ExportEntry]) -> None:
        async with self._database.transaction() as connection:
            rows = await self._rows(f"{sql.ONE} FOR UPDATE", on=connection, id=record_id)
            if not rows:
                raise ConfigurationError(unknown(record_id))
            [(now,)] = await self._rows(f"SELECT {sql.NOW}", on=connection)
            changed = change(_entry(rows[0], 0.0), now=now)
            columns = {name: [value] for name, value in zip(COLUMNS, to_row(changed), strict=True)}
            await self._execute(connection, sql.SAVE, **columns)
            await self._execute(connection, sql.TOUCH, id=record_id)
            await self._execute(connection, sql.NOTIFY)

    # -- the database --

    async def _of_account(self, connection: Connection) -> tuple[Any, ...]:
        """The account's own row, which is made when it is needed first."""
        rows = await self._rows(sql.ACCOUNT, on=connection)
        if not rows:
            await self._execute(connection, sql.NEW_ACCOUNT)
            rows = await self._rows(sql.ACCOUNT, on=connection)
        return rows[0]

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
