"""A file that is written page by page beside its destination, so that an export can be interrupted and continued."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import IO, Self

import msgspec

from .exit_codes import Code, stop

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment]


class State(msgspec.Struct):
    """How far an export has come; saved after each page."""

    filters: dict[str, str | list[str] | bool]
    base_url: str
    account: str | None
    token: str | None = None
    """A salted digest of BREX_TOKEN, to recognize it."""
    cursor: str | None = None
    length: int = 0
    """Bytes of whole pages. Anything after them in the file belongs to a page that was not finished."""
    records: int = 0
    lines: int = 0
    left_out: int = 0
    unbalanced: int = 0
    done: bool = False
    """Whether no page follows."""
    excel: bool = False
    semicolon: bool = False


class Part:
    """The partial file, with its state beside it. The destination appears when it is complete, and never before."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._target = Path(os.path.realpath(file))
        self.path = self._target.with_name(f"{self._target.name}.part")
        self._state_path = self._target.with_name(f"{self._target.name}.part.json")
        self._stream: IO[bytes] | None = None

    def begin(self, state: State, head: bytes, *, overwrite: bool) -> None:
        """Begin a new export. Raises OSError."""
        self._check_destination()
        if not overwrite and self._target.exists():
            stop(f"{self.file} exists: choose another name, or replace it with --overwrite.", Code.USAGE)
        if not overwrite and self._state_path.exists():
            stop(
                f"an export to {self.file} is under way or was interrupted: go on with --resume, "
                "or begin again with --overwrite.",
                Code.USAGE,
            )
        self._open(os.O_RDWR | os.O_CREAT).truncate()
        self.write(head)
        self.keep(state)

    def resume(self) -> State:
        """Open what an interrupted export left, as far as its pages are whole. Raises OSError."""
        self._check_destination()
        try:
            stream = self._open(os.O_RDWR)
            state = msgspec.json.decode(self._state_path.read_bytes(), type=State)
        except (FileNotFoundError, ValueError):
            state = None
        if state is None and self._state_path.exists():
            stop(f"what is left of the export to {self.file} is damaged: begin again with --overwrite.")
        if state is None:
            stop(f"there is no interrupted export to {self.file}: begin one without --resume.", Code.USAGE)
        if os.fstat(stream.fileno()).st_size < state.length:
            stop(f"what is left of the export to {self.file} is incomplete: begin again with --overwrite.")
        stream.truncate(state.length)
        return state

    def written(self) -> IO[bytes]:
        """Return what was written, to be read to its end; then more can be written."""
        stream = self._opened()
        stream.seek(0)
        return stream

    def write(self, page: bytes) -> None:
        """Add a page. Raises OSError."""
        self._opened().write(page)

    def keep(self, state: State) -> None:
        """Save the state: all that was written so far is whole pages. Raises OSError."""
        stream = self._opened()
        stream.flush()
        state.length = stream.tell()
        beside = self._state_path.with_name(f"{self._state_path.name}.new")
        beside.write_bytes(msgspec.json.encode(state))
        beside.replace(self._state_path)

    def finish(self) -> None:
        """Rename it to its destination. Raises OSError."""
        stream = self._opened()
        stream.flush()
        os.fsync(stream.fileno())
        self.path.replace(self._target)
        self._state_path.unlink(missing_ok=True)

    def discard(self) -> None:
        """Remove the file and its state."""
        for path in (self.path, self._state_path):
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def _check_destination(self) -> None:
        if self._target.is_dir():
            stop(f"{self.file} is a folder: choose another name.", Code.USAGE)
        if self._target.exists() and not self._target.is_file():
            stop(f"{self.file} is not a regular file, and would be replaced by one: choose another name.", Code.USAGE)

    def _open(self, flags: int) -> IO[bytes]:
        """Open the file for this process alone, as far as the system can."""
        stream = self._stream = os.fdopen(os.open(self.path, flags | getattr(os, "O_BINARY", 0), 0o666), "r+b")
        if fcntl is not None:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                ours = os.path.samestat(os.fstat(stream.fileno()), self.path.stat())  # else it was renamed
            except OSError:
                ours = False
            if not ours:
                stop(f"another export to {self.file} is under way: wait for its end, or choose another name.")
        return stream

    def _opened(self) -> IO[bytes]:
        if self._stream is None:
            raise ValueError("nothing was begun")
        return self._stream

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._stream is not None:
            with contextlib.suppress(OSError):
                self._stream.close()
