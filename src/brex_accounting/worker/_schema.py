"""The file of a SQLite store: its tables, its statements, and its errors."""

from __future__ import annotations

import sqlite3
from functools import partial
from pathlib import Path

from brex_accounting._clock import Clock
from brex_accounting._sqlite import DAMAGED, Layout, code_of, describe
from brex_accounting.errors import Outcome

from ._entries import ExportStoreError, StoreLostError
from ._fenced import FINISHED_STATES, IS_OPEN, NAMES, OPEN_STATES, PRUNE_AT_ONCE, REPLACED, TOUCHED
from ._store import COLUMNS

APPLICATION_ID = int.from_bytes(b"BrxE")
SCHEMA = 1
TABLES = (
    "CREATE TABLE store (made_at REAL NOT NULL, bills_until TEXT, polled_at REAL, fence TEXT, worker TEXT)",
    """
    CREATE TABLE exports (
        record_id TEXT PRIMARY KEY, state TEXT NOT NULL, version INTEGER, content TEXT, reference_id TEXT,
        deep_link_url TEXT, message TEXT, held TEXT, attempts INTEGER NOT NULL, due REAL NOT NULL,
        changed_at REAL NOT NULL, handled INTEGER NOT NULL, noticed INTEGER NOT NULL,
        opened_at REAL NOT NULL,            -- since when it is open
        touched INTEGER NOT NULL DEFAULT 0  -- its notices when a person changed it last
    )
    """,
    # What is finished is in none of these but the last.
    f"CREATE INDEX exports_due ON exports (due) WHERE {IS_OPEN}",
    "CREATE INDEX exports_noticed ON exports (due) WHERE noticed > handled",
    f"CREATE INDEX exports_open ON exports (opened_at) WHERE state IN ({OPEN_STATES})",
    "CREATE INDEX exports_held ON exports (changed_at) WHERE held IS NOT NULL",
    "CREATE INDEX exports_state ON exports (state, changed_at)",
)
SELECT = f"SELECT {NAMES} FROM exports"  # noqa: S608 - our own names
# INDEXED BY: left alone, SQLite takes the index of the states and sorts.
_DUE = f"{SELECT} INDEXED BY exports_due WHERE {IS_OPEN}"
_NOTICED = f"{SELECT} INDEXED BY exports_noticed WHERE noticed > handled"
DUE = (f"{_DUE} AND due <= ? ORDER BY due LIMIT ?", f"{_DUE} AND due > ? ORDER BY due LIMIT ?")
NOTICED = f"{_NOTICED} ORDER BY due LIMIT ?"
NEXT_NOTICED = "SELECT 1 FROM exports INDEXED BY exports_noticed WHERE noticed > handled LIMIT 1"
NEXT_DUE = f"SELECT min(due) FROM exports INDEXED BY exports_due WHERE {IS_OPEN}"  # noqa: S608 - our own names
OLDEST = f"SELECT min(opened_at) FROM exports INDEXED BY exports_open WHERE state IN ({OPEN_STATES})"  # noqa: S608
HELD = f"{SELECT} INDEXED BY exports_held WHERE held IS NOT NULL ORDER BY changed_at"
COUNT = "SELECT state, count(*) FROM exports GROUP BY state"
COUNT_HELD = "SELECT state, count(*) FROM exports INDEXED BY exports_held WHERE held IS NOT NULL GROUP BY state"
NOTE = """
    INSERT INTO exports (record_id, state, attempts, due, changed_at, handled, noticed, opened_at)
    VALUES (?, 'ready', 0, ?, ?, 0, 1, ?) ON CONFLICT (record_id) DO UPDATE SET noticed = noticed + 1
"""
SAVE = f"""
    INSERT INTO exports ({NAMES}, opened_at) VALUES ({", ".join("?" * len(COLUMNS))}, ?)
    ON CONFLICT (record_id) DO UPDATE SET
        {REPLACED},
        opened_at = CASE WHEN state IN ({FINISHED_STATES}) THEN excluded.opened_at ELSE opened_at END
    WHERE touched <= excluded.noticed
"""  # noqa: S608 - our own names
FORGET = "DELETE FROM exports WHERE record_id = ? AND noticed = ?"
TOUCH = f"UPDATE exports SET {TOUCHED} WHERE record_id = ?"  # noqa: S608 - our own words
PRUNE = f"""
    DELETE FROM exports WHERE record_id IN (
        SELECT record_id FROM exports
        WHERE state IN ({FINISHED_STATES}) AND changed_at < ? AND noticed <= handled LIMIT {PRUNE_AT_ONCE}
    )
"""  # noqa: S608 - our own names


def layout(clock: Clock) -> Layout:
    return Layout(
        holds="exports",
        application_id=APPLICATION_ID,
        schema=SCHEMA,
        pragmas=("synchronous = FULL", "fullfsync = ON"),  # macOS: an fsync that deserves the name
        make_tables=partial(_make_tables, clock),
        wal=True,
        newer=partial(StoreLostError, outcome=Outcome.NOT_APPLIED),
    )


def _make_tables(clock: Clock, database: sqlite3.Connection) -> None:
    for statement in TABLES:
        database.execute(statement)
    database.execute("INSERT INTO store (made_at) VALUES (?)", (clock.wall(),))


def lost(path: Path) -> StoreLostError:
    message = f"{path} was removed or replaced: what it held is lost, unless there is a copy."
    return StoreLostError(message, outcome=Outcome.NOT_APPLIED)


def explain(path: Path, error: BaseException, unknown: bool) -> BaseException:  # noqa: FBT001 - `Connection` says it so
    """Make the error for callers. SQLite's own words may repeat what is stored."""
    outcome = Outcome.UNKNOWN if unknown else Outcome.NOT_APPLIED
    if isinstance(error, sqlite3.Error):
        if code_of(error) in {*DAMAGED, sqlite3.SQLITE_MISUSE}:
            message = (
                f"{path} is damaged, or not a store of exports ({describe(error)}): move it away, or bring back a copy."
            )
            return StoreLostError(message, outcome=outcome)
        return ExportStoreError(f"{path} cannot be used: {describe(error)}.", outcome=outcome)
    if isinstance(error, OSError):
        return ExportStoreError(f"{path} cannot be used: {error.strerror or type(error).__name__}.", outcome=outcome)
    return error
