"""Tokens in one SQLite file, for all processes of one machine, and lock files beside it."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TypeVar

from brex_accounting._clock import Clock
from brex_accounting._files import check_path, create_database, is_there, make_folder, take_lock
from brex_accounting.errors import ConfigurationError

from .locking import acquire_with_backoff, in_a_thread
from .tokens import StoredToken, decode, encode

BUSY_TIMEOUT = 10.0
"""Seconds that a load or a save waits for those of other processes."""
APPLICATION_ID = int.from_bytes(b"Brex")
SCHEMA = 1
PRAGMAS = (
    "PRAGMA synchronous = EXTRA",  # FULL, and the end of a transaction survives a power cut too
    "PRAGMA fullfsync = ON",  # macOS: an fsync that deserves the name
    "PRAGMA secure_delete = ON",  # an old token does not stay in a free page
)
TABLE = "CREATE TABLE tokens (key TEXT PRIMARY KEY, version INTEGER NOT NULL, stored BLOB NOT NULL)"
INSERT = "INSERT INTO tokens (version, stored, key) VALUES (?, ?, ?) ON CONFLICT (key) DO NOTHING"
UPDATE = "UPDATE tokens SET version = ?, stored = ? WHERE key = ? AND version = ?"
SELECT = "SELECT CAST(stored AS BLOB) FROM tokens WHERE key = ?"  # of text, sqlite3's errors would show the content

T = TypeVar("T")


class SQLiteTokenStore:
    """Keeps tokens in a file, for all processes on one machine; not on a network drive, where locks cannot be trusted.

    Making one touches no file: the file is made by the first save. It holds the tokens in the clear, so it and the
    files beside it (``….lock`` for each key, ``…-journal`` during a save) are for their owner alone, 0600, and folders
    that had to be made are 0700. A file that is a symbolic link, belongs to another user, or that others can read or
    write is refused, and so is a folder that everybody can write to (without the sticky bit): there, others could put
    their files in the place of ours. Such a folder is left as it is; a folder inside it will do. Lock files are never
    removed; whoever removes one while a refresh runs allows a second refresh beside it. An object of this class can be
    pickled, and works in any thread, event loop or forked process.

    A save that has begun goes on to its end. Cancelling the task that awaits it takes effect afterwards, so that a lock
    around it is not let go too early.

    Each method raises TimeoutError when other processes kept the file or the lock busy for too long, another OSError
    when the disk or its permissions say no, and ConfigurationError for a file that is refused, damaged, or of another
    application.

    Args:
        path: The file. "~" is your home folder. Raises ConfigurationError for what names no file (":memory:", a
            "file:" URI), and on Windows, which has neither these locks nor these permissions.
    """

    _clock = Clock()

    def __init__(self, path: str | PathLike[str]) -> None:
        self._path = check_path(path, "a token store", "MemoryTokenStore or a TokenStore of your own")

    def __repr__(self) -> str:
        return f"SQLiteTokenStore({str(self._path)!r})"

    async def load(self, key: str) -> StoredToken | None:
        """Give what is stored under a key; None: nothing, or no file yet."""
        return await in_a_thread(partial(self._load, key))

    async def save(self, key: str, stored: StoredToken, *, expected_version: int | None) -> bool:
        """Store this if what is stored has the expected version (None: if there is nothing); return whether it did.

        When it returns, what was saved is on the disk.
        """
        return await in_a_thread(partial(self._save, key, stored, expected_version))

    @asynccontextmanager
    async def lock(self, key: str) -> AsyncIterator[None]:
        """Hold the lock of a key, a file's lock that the kernel frees when the process dies.

        Raises TimeoutError when it was not to be had within 30 seconds.
        """
        name = f"{self._path.name}.{hashlib.sha256(key.encode()).hexdigest()[:32]}.lock"
        lock = await acquire_with_backoff(partial(take_lock, self._path.with_name(name)), self._clock)
        try:
            yield
        finally:
            lock.release()

    def _load(self, key: str) -> StoredToken | None:
        if not is_there(self._path):
            return None
        rows = self._run(lambda database: [decode(document) for (document,) in database.execute(SELECT, (key,))])
        if None in rows:
            raise _damaged(self._path)
        return rows[0] if rows else None

    def _save(self, key: str, stored: StoredToken, expected_version: int | None) -> bool:
        make_folder(self._path.parent)
        if not is_there(self._path):
            create_database(self._path)
        statement, expected = (INSERT, ()) if expected_version is None else (UPDATE, (expected_version,))

        def save(database: sqlite3.Connection) -> bool:
            return database.execute(statement, (stored.version, encode(stored), key, *expected)).rowcount == 1

        return self._run(save)

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do something with a connection of its own: none is ever shared among threads or carried through a fork."""
        for suffix in ("-journal", "-wal", "-shm"):
            is_there(self._path.with_name(self._path.name + suffix))
        try:
            uri = f"{self._path.as_uri()}?mode=rw"  # never make the file: SQLite would make it for everybody
            with closing(sqlite3.connect(uri, uri=True, timeout=BUSY_TIMEOUT, isolation_level=None)) as database:
                _prepare(database, self._path)
                return work(database)
        except sqlite3.Error as error:
            problem = _explain(error, self._path)
        raise problem


def _prepare(database: sqlite3.Connection, path: Path) -> None:
    """Make the table in an empty file; refuse a file of another application."""

    def number(query: str) -> int:
        return int(database.execute(query).fetchone()[0])

    for pragma in PRAGMAS:
        database.execute(pragma)
    if number("PRAGMA application_id") != APPLICATION_ID:
        database.execute("BEGIN IMMEDIATE")
        if number("PRAGMA application_id") == number("SELECT count(*) FROM sqlite_master") == 0:
            database.execute(TABLE)
            database.execute(f"PRAGMA user_version = {SCHEMA}")
            database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        database.execute("COMMIT")
        if number("PRAGMA application_id") != APPLICATION_ID:
            raise ConfigurationError(f"{path} belongs to another application: pass a path of its own for the tokens.")
    if number("PRAGMA user_version") != SCHEMA:
        raise ConfigurationError(f"{path} was written by another version of brex-accounting: upgrade to the newest.")


def _explain(error: sqlite3.Error, path: Path) -> Exception:
    """Say what happened without SQLite's own words, some of which repeat what is stored."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_MISUSE) & 0xFF
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return TimeoutError(f"{path} was busy for {BUSY_TIMEOUT:g} s: another process writes to it.")
    if code in {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}:
        return _damaged(path)
    return OSError(f"{path} cannot be used: {getattr(error, 'sqlite_errorname', type(error).__name__)}.")


def _damaged(path: Path) -> ConfigurationError:
    return ConfigurationError(
        f"{path} is damaged, or no SQLite file. If it held tokens and there is no copy, move it away, and let each "
        "customer consent again."
    )
