"""The file of a SQLite store: its tables, its statements, and how it is opened."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from brex_accounting._clock import Clock
from brex_accounting._files import create_database, is_there, make_folder
from brex_accounting.errors import ConfigurationError, Outcome

from ._entries import StoreLostError
from ._fenced import FINISHED_STATES, IS_OPEN, NAMES, OPEN_STATES, PRUNE_AT_ONCE, REPLACED, TOUCHED
from ._store import COLUMNS

BUSY_TIMEOUT = 10.0
"""Seconds that a call waits for other processes' writes."""
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
    VALUES (?1, 'ready', 0, ?2, ?2, 0, 1, ?2) ON CONFLICT (record_id) DO UPDATE SET noticed = noticed + 1
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


def open_database(path: Path, clock: Clock) -> sqlite3.Connection:
    make_folder(path.parent)
    if not is_there(path):
        create_database(path)
    for suffix in ("-wal", "-shm"):
        is_there(path.with_name(path.name + suffix))
    uri = f"{path.as_uri()}?mode=rw"  # never make the file: SQLite would make it for everybody
    database = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT, isolation_level=None)
    try:
        _prepare(database, path, clock)
    except BaseException:
        database.close()
        raise
    return database


def _prepare(database: sqlite3.Connection, path: Path, clock: Clock) -> None:
    """Make the tables in an empty file; refuse a file of another application or a newer version."""

    def number(query: str) -> int:
        return int(database.execute(query).fetchone()[0])

    database.execute("PRAGMA synchronous = FULL")
    database.execute("PRAGMA fullfsync = ON")  # macOS: an fsync that deserves the name
    if number("PRAGMA application_id") != APPLICATION_ID:
        _use_wal(database)
        database.execute("BEGIN IMMEDIATE")
        if number("PRAGMA application_id") == number("SELECT count(*) FROM sqlite_master") == 0:
            for statement in TABLES:
                database.execute(statement)
            database.execute("INSERT INTO store (made_at) VALUES (?)", (clock.wall(),))
            database.execute(f"PRAGMA user_version = {SCHEMA}")
            database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        database.execute("COMMIT")
        if number("PRAGMA application_id") != APPLICATION_ID:
            raise ConfigurationError(f"{path} belongs to another application: pass a path of its own for the exports.")
    if (found := number("PRAGMA user_version")) != SCHEMA:
        message = f"{path} was written by a newer version of brex-accounting (schema {found}): upgrade."
        raise StoreLostError(message, outcome=Outcome.NOT_APPLIED)


def _use_wal(database: sqlite3.Connection) -> None:
    """Switch to WAL, for which SQLite does not wait while another process makes the same file."""
    end = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
        else:
            return
        time.sleep(0.005)
