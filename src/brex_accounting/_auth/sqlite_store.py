"""Tokens in one SQLite file, for all processes of one machine, and lock files beside it."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar
from weakref import WeakValueDictionary

from brex_accounting._clock import Clock
from brex_accounting._files import check_path, is_there, take_lock
from brex_accounting._sqlite import BUSY, DAMAGED, Connection, Layout, check_companions, code_of, describe, open_file
from brex_accounting.errors import ConfigurationError

from .locking import acquire_with_backoff
from .tokens import StoreBusyError, StoredToken, StoreError, decode, encode

LINGER = 0.5
"""Seconds until idle connections are closed: a process may have thousands of files."""
INSERT = "INSERT INTO tokens (version, stored, key) VALUES (?, ?, ?) ON CONFLICT (key) DO NOTHING"
UPDATE = "UPDATE tokens SET version = ?, stored = ? WHERE key = ? AND version = ?"
SELECT = "SELECT CAST(stored AS BLOB) FROM tokens WHERE key = ?"  # of text, sqlite3's errors would show the content


def _make_tables(database: sqlite3.Connection) -> None:
    database.execute("CREATE TABLE tokens (key TEXT PRIMARY KEY, version INTEGER NOT NULL, stored BLOB NOT NULL)")


LAYOUT = Layout(
    holds="tokens",
    application_id=int.from_bytes(b"Brex"),
    schema=1,
    pragmas=(
        "synchronous = EXTRA",  # FULL, and the end of a transaction survives a power cut too
        "fullfsync = ON",  # macOS: an fsync that deserves the name
        "secure_delete = ON",  # an old token does not stay in a free page
    ),
    make_tables=_make_tables,
)


class SQLiteTokenStore:
    """Keeps tokens in a file, for all processes on one machine; not on a network drive, where locks cannot be trusted.

    Making one touches no file: the file is made by the first save. It holds the tokens in the clear, so it and the
    files beside it (``….lock`` for each key, ``…-journal`` during a save) are for their owner alone, 0600, and folders
    that had to be made are 0700. A file that is a symbolic link, belongs to another user, or that others can read or
    write is refused, and so is a folder that everybody can write to (without the sticky bit): there, others could put
    their files in the place of ours. Such a folder is left as it is; a folder inside it will do. Lock files are never
    removed; whoever removes one while a refresh runs allows a second refresh beside it.

    All objects of this class for one file share two connections, one that saves and one that loads; they are closed
    when nothing comes for a moment. Saves that come together are committed together, and each is on the disk when it
    returns. An object can be pickled, and works in any thread, event loop or forked process.

    A save that has begun goes on to its end. Cancelling the task that awaits it takes effect afterwards, so that a lock
    around it is not let go too early.

    Each method raises TimeoutError when other processes kept the file or the lock busy for too long, another OSError
    when the disk or its permissions say no, and ConfigurationError for a file that is refused, damaged, or of another
    application.

    Args:
        path: The file. "~" is your home folder. Raises ConfigurationError for what names no file (":memory:", a
            "file:" URI), and on Windows, which has neither these locks nor these permissions.
    """

    __module__ = "brex_accounting"  # pickles name the public place

    _clock = Clock()

    def __init__(self, path: str | PathLike[str]) -> None:
        self._path = check_path(path, "a token store", "MemoryTokenStore or a TokenStore of your own")
        self._file = _File.at(self._path)

    def __repr__(self) -> str:
        return f"SQLiteTokenStore({str(self._path)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._path,)

    async def load(self, key: str) -> StoredToken | None:
        """Give what is stored under a key; None: nothing, or no file yet."""

        def load(database: sqlite3.Connection) -> list[StoredToken | None]:
            _check(self._path)
            return [decode(document) for (document,) in database.execute(SELECT, (key,))]

        try:
            found = await self._file.loading.read(load)
        except FileNotFoundError:
            return None
        if None in found:
            raise _damaged(self._path)
        return found[0] if found else None

    async def save(self, key: str, stored: StoredToken, *, expected_version: int | None) -> bool:
        """Store this if what is stored has the expected version (None: if there is nothing); return whether it did.

        When it returns, what was saved is on the disk.
        """
        statement, expected = (INSERT, ()) if expected_version is None else (UPDATE, (expected_version,))

        def save(database: sqlite3.Connection) -> bool:
            _check(self._path)
            return database.execute(statement, (stored.version, encode(stored), key, *expected)).rowcount == 1

        return await self._file.saving.write(save)

    @asynccontextmanager
    async def lock(self, key: str) -> AsyncIterator[None]:
        """Hold the lock of a key, a file's lock that the kernel frees when the process dies.

        Raises TimeoutError when it could not be acquired within 30 seconds.
        """
        name = f"{self._path.name}.{hashlib.sha256(key.encode()).hexdigest()[:32]}.lock"
        lock = await acquire_with_backoff(partial(take_lock, self._path.with_name(name)), self._clock)
        try:
            yield
        finally:
            lock.release()


class _File:
    """The connections to one file: loads do not wait behind saves."""

    _files: ClassVar[WeakValueDictionary[Path, _File]] = WeakValueDictionary()

    def __init__(self, path: Path) -> None:
        explain = partial(_explain, path)
        self.saving = Connection(path, partial(open_file, path, LAYOUT), explain, linger=LINGER)
        self.loading = Connection(path, partial(open_file, path, LAYOUT, make=False), explain, linger=LINGER)

    @classmethod
    def at(cls, path: Path) -> _File:
        """Return those of this process. Two threads that come at once may make two, which does no harm."""
        return cls._files.get(path) or cls._files.setdefault(path, cls(path))


def _check(path: Path) -> None:
    """Refuse what somebody has made of the file since it was opened."""
    is_there(path)
    check_companions(path)


def _explain(path: Path, error: BaseException, _unknown: bool) -> BaseException:  # noqa: FBT001 - `Connection` says it so
    """Make the error for callers. SQLite's own words may repeat what is stored."""
    if isinstance(error, sqlite3.Error):
        code = code_of(error)
        if code in DAMAGED:
            return _damaged(path)
        return (StoreBusyError if code in BUSY else StoreError)(f"{path} cannot be used: {describe(error)}.")
    if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
        return StoreError(f"{path} cannot be used: {error.strerror or type(error).__name__}.")
    return error


def _damaged(path: Path) -> ConfigurationError:
    return ConfigurationError(
        f"{path} is damaged, or not a SQLite file. If it held tokens and there is no copy, move it away, and let each "
        "customer consent again."
    )
