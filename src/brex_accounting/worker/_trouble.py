"""Trouble that is waited out: with growing pauses, logged when it begins and when it is over."""

from __future__ import annotations

import logging

from brex_accounting._clock import Clock
from brex_accounting._text import printable
from brex_accounting.errors import APIError, BrexError

log = logging.getLogger("brex_accounting.worker")

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 30.0


class Trouble:
    """Whether something outside, Brex or the store, is in trouble now.

    Several parts may use it: it is in trouble as long as one of them says so.
    """

    def __init__(self, name: str, clock: Clock) -> None:
        self._name = name
        self._clock = clock
        self._parts = set[str]()
        self._pause = FIRST_PAUSE
        self._since = 0.0

    def begin(self, part: str, error: BrexError) -> float:
        """Note that a part failed; return how long it should wait."""
        now = self._clock.monotonic()
        if not self._parts:
            self._since, self._pause = now, FIRST_PAUSE
            log.warning("%s is in trouble (%s): the worker tries again until it is over.", self._name, describe(error))
        self._parts.add(part)
        asked = getattr(error, "retry_after", None) or 0.0
        pause = max(self._clock.uniform(self._pause / 2, self._pause), asked)
        self._pause = min(self._pause * 2, LONGEST_PAUSE)
        return pause

    def over(self, part: str) -> None:
        """Note that a part succeeded."""
        if part not in self._parts:
            return
        self._parts.discard(part)
        if not self._parts:
            seconds = self._clock.monotonic() - self._since
            log.info("%s is out of trouble after %.0f s.", self._name, seconds)


def describe(error: BaseException | None) -> str:
    """Name an error without the words of somebody else, which may quote somebody's books."""
    if error is None:
        return "no answer"
    if isinstance(error, APIError):
        parts = [f"{type(error).__name__} {error.status}", error.error_code or "", error.trace_id or ""]
        return printable(" ".join(part for part in parts if part))
    return type(error).__name__
