"""Tokens in one SQLite file, for all processes of one machine, and lock files beside it."""

from __future__ import annotations

import hashlib
import os
import shlex
import sqlite3
import stat
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress
from functools import partial
from os import PathLike
from pathlib import Path
from typing import ClassVar, TypeVar

from brex_accounting._arguments import refuse
from brex_accounting._clock import Clock
from brex_accounting.errors import ConfigurationError

from .locking import in_a_thread, obtain
from .tokens import StoredToken, decode, encode

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

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
        if fcntl is None:
            refuse("SQLiteTokenStore does not work on Windows: use WSL, or a TokenStore of your own.")
        self._path = _checked(path)

    def __repr__(self) -> str:
        return f"SQLiteTokenStore({str(self._path)!r})"

    async def load(self, key: str) -> StoredToken | None:
        """Give what is stored under a key; None: nothing, or no file yet."""
        return await in_a_thread(partial(self._load, key))

    async def save(self, key: str, stored: StoredToken, *, expected_version: int | None) -> bool:
        """Store this if what is stored has the expected version (None: if there is nothing), and tell whether.

        When it returns, what was saved is on the disk.
        """
        return await in_a_thread(partial(self._save, key, stored, expected_version))

    @asynccontextmanager
    async def lock(self, key: str) -> AsyncIterator[None]:
        """Hold the lock of a key, a file's lock that the kernel frees when the process dies.

        Raises TimeoutError when it was not to be had within 30 seconds.
        """
        name = f"{self._path.name}.{hashlib.sha256(key.encode()).hexdigest()[:32]}.lock"
        lock = await obtain(partial(_take, self._path.with_name(name)), self._clock)
        try:
            yield
        finally:
            lock.release()

    def _load(self, key: str) -> StoredToken | None:
        if not _is_there(self._path):
            return None
        rows = self._run(lambda database: [decode(document) for (document,) in database.execute(SELECT, (key,))])
        if None in rows:
            raise _damaged(self._path)
        return rows[0] if rows else None

    def _save(self, key: str, stored: StoredToken, expected_version: int | None) -> bool:
        _make_folder(self._path.parent)
        if not _is_there(self._path):
            _create_database(self._path)
        statement, expected = (INSERT, ()) if expected_version is None else (UPDATE, (expected_version,))

        def save(database: sqlite3.Connection) -> bool:
            return database.execute(statement, (stored.version, encode(stored), key, *expected)).rowcount == 1

        return self._run(save)

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Do something with a connection of its own: none is ever shared among threads or carried through a fork."""
        for suffix in ("-journal", "-wal", "-shm"):
            _is_there(self._path.with_name(self._path.name + suffix))
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
            refuse(f"{path} belongs to another application: pass a path of its own for the tokens.")
    if number("PRAGMA user_version") != SCHEMA:
        refuse(f"{path} was written by another version of brex-accounting: upgrade to the newest.")


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


# -- files that are ours alone --


def _checked(path: object) -> Path:
    text = os.fspath(path) if isinstance(path, (str, PathLike)) else None
    if not isinstance(text, str) or not text or "\0" in text:
        refuse("The path of a token store must be a string or a Path that names a file.")
    if text == ":memory:" or text.startswith("file:"):
        refuse("The path of a token store must name a file. To keep tokens in memory only, use MemoryTokenStore.")
    with suppress(RuntimeError):  # there is no home: the folder's name is "~", then
        return Path(text).expanduser().absolute()
    return Path(text).absolute()


def _is_there(path: Path) -> bool:
    """Tell whether there is a file. It is not opened: closing it would free the locks that SQLite has on it."""
    try:
        _check_folder(path.parent)
        status = path.lstat()
    except FileNotFoundError:
        return False
    if stat.S_ISLNK(status.st_mode):
        refuse(f"{path} is a symbolic link: pass the path of the file itself.")
    if not stat.S_ISREG(status.st_mode):
        refuse(f"{path} is not a file: pass the path of a file.")
    if status.st_uid != os.geteuid():
        refuse(f"{path} belongs to the user {status.st_uid}, and this process to the user {os.geteuid()}: chown it.")
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        refuse(f"{path} can be read or written by others: run chmod 600 {shlex.quote(str(path))}")
    return True


def _create(path: Path) -> None:
    """Make a file for its owner alone, from the moment it exists. Raises FileExistsError for whatever is there."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    os.fchmod(descriptor, 0o600)  # under a umask that takes from the owner too
    os.close(descriptor)


def _create_database(path: Path) -> None:
    """Make an empty file, under another name first.

    Under its own name another thread could already use it when it is closed here, and would lose its locks by that
    (POSIX).
    """
    new = path.with_name(f"{path.name}.{uuid.uuid4().hex}.new")
    _create(new)
    try:
        with suppress(FileExistsError):
            path.hardlink_to(new)
    finally:
        new.unlink()


def _make_folder(folder: Path) -> None:
    """Make a folder and those above it, for their owner alone; leave alone what is there."""
    if not folder.exists():
        _make_folder(folder.parent)
        with suppress(FileExistsError):
            folder.mkdir(0o700)


def _check_folder(folder: Path) -> None:
    mode = folder.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        refuse(f"Everybody can write to {folder}: keep the tokens in a folder of their own, such as {folder / 'brex'}.")


class _LockFile:
    """An open lock file."""

    opened: ClassVar[set[_LockFile]] = set()
    """Those of this process."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        self.opened.add(self)

    def lock(self, path: Path) -> bool:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return os.path.samestat(os.fstat(self._descriptor), path.lstat())  # or it was removed before we had it
        except (BlockingIOError, FileNotFoundError):
            return False

    def release(self) -> None:
        if self in self.opened:  # it is not in a forked child
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            self.opened.remove(self)
            os.close(self._descriptor)

    @classmethod
    def forget(cls) -> None:
        """Close, in a forked child, what it inherited: its copies would hold the parent's locks when that has died."""
        for file in cls.opened:
            os.close(file._descriptor)  # noqa: SLF001
        cls.opened.clear()


if fcntl is not None:
    os.register_at_fork(after_in_child=_LockFile.forget)


def _take(path: Path) -> _LockFile | None:
    """Lock a file; None: somebody else has it."""
    _make_folder(path.parent)
    if not _is_there(path):
        with suppress(FileExistsError):
            _create(path)
    try:
        file = _LockFile(path)
    except FileNotFoundError:  # removed this very moment
        return None
    taken = False
    try:
        taken = file.lock(path)
    finally:
        if not taken:
            file.release()
    return file if taken else None
