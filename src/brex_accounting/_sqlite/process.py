"""What all connections of a process share, and what becomes of them when it forks or ends."""

from __future__ import annotations

import atexit
import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .connection import Connection

AT_A_TIME = 32
"""Connections at work, and idle ones, however many files there are: each needs descriptors."""
lock = threading.RLock()  # one that knows its owner: see `is_inside`
"""Guards the jobs and the threads of all connections."""
running: set[Connection] = set()
"""Those that have a thread."""
places = threading.Semaphore(AT_A_TIME)
"""Taken by those at work."""


class Thread(threading.Thread):
    """One that serves a connection."""


def is_inside() -> bool:
    """Return whether this thread is in the middle of our own work.

    A finalizer runs wherever garbage is collected. If it uses a file there, and waits for that, nobody else goes on.
    """
    return isinstance(threading.current_thread(), Thread) or bool(lock._is_owned())  # type: ignore[attr-defined]  # noqa: SLF001


def close_idle(opening: Connection) -> None:
    """Close what is idle, if too much is, before one more is opened."""
    others = [other for other in list(running) if other is not opening and other.is_open]
    for other in others[AT_A_TIME:]:
        if other.hold(blocking=False):
            other.go_on()


@atexit.register
def _finish() -> None:
    with lock:
        unfinished = list(running)
    for connection in unfinished:
        connection.finish()


def _before_fork() -> None:
    lock.acquire()
    for connection in running:
        connection.hold()


def _after_fork() -> None:
    for connection in running:
        connection.go_on()
    lock.release()


def _after_fork_in_child() -> None:
    global places  # noqa: PLW0603 - some were taken by threads that are not in this process
    places = threading.Semaphore(AT_A_TIME)
    for connection in running:
        connection.reset()
    running.clear()
    lock.release()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child)
