"""The rules of all Brex APIs: the rate limit and the Idempotency-Key."""

import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus

from ._wire import Reply, error

# Brex does not publish how long it remembers a key; this bounds the memory of a long run.
_KEYS_REMEMBERED = 100_000


class SlidingWindow:
    """Admits a number of requests for each token in any window of some seconds; rejected ones do not count."""

    def __init__(self, requests: int, seconds: float, clock: Callable[[], float]) -> None:
        self._requests = requests
        self._seconds = seconds
        self._clock = clock
        self._admitted: defaultdict[str, deque[float]] = defaultdict(deque)

    def admit(self, token: str) -> int | None:
        """Admit a request, or return in how many whole seconds the next one will be admitted."""
        now = self._clock()
        admitted = self._admitted[token]
        while admitted and admitted[0] <= now - self._seconds:
            admitted.popleft()
        if len(admitted) < self._requests:
            admitted.append(now)
            return None
        return max(1, math.ceil(admitted[0] + self._seconds - now))


@dataclass(slots=True)
class _Entry:
    fingerprint: bytes
    reply: Reply | None = None
    in_progress: bool = True


class IdempotencyLedger:
    """Remembers the first answer for each key and repeats it for the same request."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], _Entry] = {}

    @contextmanager
    def once(
        self, key: tuple[str, str], fingerprint: bytes, perform: Callable[[], Reply]
    ) -> Iterator[Callable[[], Reply]]:
        """Yield the function that answers this request; the key is in progress until the context ends."""
        earlier = self._entries.get(key)
        if earlier is not None:
            yield lambda: _repeat(earlier, fingerprint)
            return
        entry = self._entries[key] = _Entry(fingerprint)

        def first() -> Reply:
            entry.reply = perform()
            return entry.reply

        try:
            yield first
        finally:
            entry.in_progress = False
            if entry.reply is None:
                self._entries.pop(key, None)
            elif len(self._entries) > _KEYS_REMEMBERED:
                del self._entries[next(iter(self._entries))]


def _repeat(entry: _Entry, fingerprint: bytes) -> Reply:
    # Both codes are ours: Brex publishes nothing about its 409s for keys.
    if entry.fingerprint != fingerprint:
        return error(HTTPStatus.CONFLICT, "IDEMPOTENCY_KEY_REUSED", "The Idempotency-Key was used for another request.")
    if entry.in_progress or entry.reply is None:
        return error(
            HTTPStatus.CONFLICT,
            "IDEMPOTENCY_KEY_IN_PROGRESS",
            "The first request with this Idempotency-Key is still in progress.",
        )
    return entry.reply
