"""stdout, for data only, and stderr."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Iterator
from io import TextIOBase, TextIOWrapper


class _Nowhere(TextIOBase):
    """Takes the place of a stream that is closed."""

    def write(self, text: str) -> int:
        return len(text)


def prepare() -> None:
    """Make every character writable: as UTF-8, or on a terminal as well as it can."""
    # They are None if the parent process closed them.
    sys.stdout = sys.stdout or _Nowhere()
    sys.stderr = sys.stderr or _Nowhere()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="backslashreplace")


def finish() -> None:
    """Flush what was written."""
    sys.stdout.flush()


def give_up_stdout() -> None:
    """Forget what is not written yet: its reader went away, or there is no room for it."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def note(text: str) -> None:
    """Say something that is not data, in one line."""
    line = "".join(each if each.isprintable() else " " for each in text)
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


@contextlib.contextmanager
def noting_log(name: str) -> Iterator[None]:
    """Note what a logger of ours logs."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            note(f"brex-accounting: {record.getMessage()}")

    handler, logger = Handler(logging.INFO), logging.getLogger(name)
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)
