"""Files that are ours alone: a database, and lock files that the kernel frees when their holder dies."""

from __future__ import annotations

import os
import shlex
import stat
import uuid
from contextlib import suppress
from os import PathLike
from pathlib import Path
from typing import ClassVar

from .errors import ConfigurationError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def check_path(path: object, what: str, instead: str) -> Path:
    """Check the path of a store's file. `what` names the store, `instead` what to use where a file cannot serve."""
    if fcntl is None:
        raise ConfigurationError(
            f"{what[0].upper()}{what[1:]} in SQLite does not work on Windows: use WSL, or {instead}."
        )
    text = os.fspath(path) if isinstance(path, (str, PathLike)) else None
    if not isinstance(text, str) or not text or "\0" in text:
        raise ConfigurationError(f"The path of {what} must be a string or a Path that names a file.")
    if text == ":memory:" or text.startswith("file:"):
        raise ConfigurationError(f"The path of {what} must name a file. To keep nothing on disk, use {instead}.")
    with suppress(RuntimeError):  # there is no home: the folder's name is "~", then
        return Path(text).expanduser().absolute()
    return Path(text).absolute()


def is_there(path: Path) -> bool:
    """Return whether the file exists. It is not opened: closing it would free the locks that SQLite has on it."""
    try:
        _check_folder(path.parent)
        status = path.lstat()
    except FileNotFoundError:
        return False
    if stat.S_ISLNK(status.st_mode):
        raise ConfigurationError(f"{path} is a symbolic link: pass the path of the file itself.")
    if not stat.S_ISREG(status.st_mode):
        raise ConfigurationError(f"{path} is not a file: pass the path of a file.")
    if status.st_uid != os.geteuid():
        raise ConfigurationError(
            f"{path} belongs to the user {status.st_uid}, and this process to the user {os.geteuid()}: chown it."
        )
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ConfigurationError(f"{path} can be read or written by others: run chmod 600 {shlex.quote(str(path))}")
    return True


def _create(path: Path) -> None:
    """Make a file for its owner alone, from the moment it exists. Raises FileExistsError if anything is there."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    os.fchmod(descriptor, 0o600)  # under a umask that takes from the owner too
    os.close(descriptor)


def create_database(path: Path) -> None:
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


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, for their owner alone; leave alone what is there."""
    if not folder.exists():
        make_folder(folder.parent)
        with suppress(FileExistsError):
            folder.mkdir(0o700)


def _check_folder(folder: Path) -> None:
    mode = folder.stat().st_mode
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        raise ConfigurationError(
            f"Everybody can write to {folder}: use a folder of its own, such as {folder / 'brex'}."
        )


class LockFile:
    """An open lock file."""

    opened: ClassVar[set[LockFile]] = set()
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
            self.opened.remove(self)
            with suppress(OSError):  # where locks do not work at all (ENOLCK); closing frees them too
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.close(self._descriptor)

    @classmethod
    def forget(cls) -> None:
        """Close, in a forked child, what it inherited: its copies would hold the parent's locks when that has died."""
        for file in cls.opened:
            os.close(file._descriptor)  # noqa: SLF001
        cls.opened.clear()


if fcntl is not None:
    os.register_at_fork(after_in_child=LockFile.forget)


def take_lock(path: Path) -> LockFile | None:
    """Lock a file; None: somebody else has it."""
    make_folder(path.parent)
    if not is_there(path):
        with suppress(FileExistsError):
            _create(path)
    try:
        file = LockFile(path)
    except FileNotFoundError:  # removed this very moment
        return None
    taken = False
    try:
        taken = file.lock(path)
    finally:
        if not taken:
            file.release()
    return file if taken else None


def is_locked(path: Path) -> bool:
    """Return whether somebody holds the lock of a file; asking takes it for an instant, shared with others who ask."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
