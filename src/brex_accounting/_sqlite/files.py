"""A SQLite file of ours: what is in it, how it is opened, and what its errors mean."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from brex_accounting._files import create_database, is_there, make_folder
from brex_accounting.errors import ConfigurationError

BUSY_TIMEOUT = 10.0
"""Seconds that SQLite waits for other processes."""
BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}
_ADVICE = {
    sqlite3.SQLITE_FULL: ": the disk is full; make room",
    sqlite3.SQLITE_BUSY: ": another process holds it; it is tried again",
    sqlite3.SQLITE_READONLY: ": it is read-only; make it writable",
    sqlite3.SQLITE_CANTOPEN: ": the folder or the file cannot be opened",
}


def code_of(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", sqlite3.SQLITE_MISUSE)) & 0xFF


def describe(error: sqlite3.Error) -> str:
    """Say what happened without SQLite's own words, some of which repeat what is stored."""
    return getattr(error, "sqlite_errorname", type(error).__name__) + _ADVICE.get(code_of(error), "")


@dataclass(frozen=True)
class Layout:
    """What is in a file of ours."""

    holds: str
    """What it holds, in a word for people."""
    application_id: int
    schema: int
    pragmas: Sequence[str]
    make_tables: Callable[[sqlite3.Connection], None]
    wal: bool = False
    newer: Callable[[str], Exception] = ConfigurationError
    """Makes the error for a file that a newer version has written."""


def open_file(path: Path, layout: Layout, *, make: bool = True) -> sqlite3.Connection:
    """Open a file of ours; make it, for its owner alone, if it is missing.

    Raises sqlite3.Error, OSError, ConfigurationError, and FileNotFoundError unless it is made.
    """
    if not is_there(path):
        if not make:
            raise FileNotFoundError
        make_folder(path.parent)
        create_database(path)
    check_companions(path)
    uri = f"{path.as_uri()}?mode=rw"  # never make the file: SQLite would make it for everybody
    # Closed, but never used, by threads other than the one that opened it.
    database = sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
    try:
        _prepare(database, path, layout)
    except BaseException:
        database.close()
        raise
    return database


def check_companions(path: Path) -> None:
    """Check the files that SQLite keeps beside a file."""
    for suffix in ("-journal", "-wal", "-shm"):
        is_there(path.with_name(path.name + suffix))


def _prepare(database: sqlite3.Connection, path: Path, layout: Layout) -> None:
    """Make the tables in an empty file; refuse a file of another application or a newer version."""

    def number(query: str) -> int:
        return int(database.execute(query).fetchone()[0])

    for pragma in layout.pragmas:
        database.execute(f"PRAGMA {pragma}")
    if number("PRAGMA application_id") != layout.application_id:
        if layout.wal:
            _use_wal(database)
        database.execute("BEGIN IMMEDIATE")
        if number("PRAGMA application_id") == number("SELECT count(*) FROM sqlite_master") == 0:
            layout.make_tables(database)
            database.execute(f"PRAGMA user_version = {layout.schema}")
            database.execute(f"PRAGMA application_id = {layout.application_id}")
        database.execute("COMMIT")
        if number("PRAGMA application_id") != layout.application_id:
            raise ConfigurationError(
                f"{path} belongs to another application: pass a path of its own for the {layout.holds}."
            )
    if (found := number("PRAGMA user_version")) != layout.schema:
        raise layout.newer(f"{path} was written by a newer version of brex-accounting (schema {found}): upgrade.")


def _use_wal(database: sqlite3.Connection) -> None:
    """Switch to WAL, for which SQLite does not wait while another process makes the same file."""
    end = time.monotonic() + BUSY_TIMEOUT
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            if code_of(error) != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
        else:
            return
        time.sleep(0.005)
