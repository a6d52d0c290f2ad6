"""What is reported of each attempt: to `on_attempt`, and to the log."""

from __future__ import annotations

from collections.abc import Callable
from logging import DEBUG
from typing import TYPE_CHECKING, Any

import attrs

from brex_accounting._logging import logger

if TYPE_CHECKING:  # or a client would import the generated models before it is made
    from .classify import AttemptOutcome


@attrs.frozen
class Attempt:
    """One attempt of a call, as `on_attempt` receives it, after the attempt."""

    __module__ = "brex_accounting"  # pickles name the public place

    operation: str
    """The operation's id in the API's description."""
    number: int
    """From 1, in the order of sending."""
    status: int | None
    """The HTTP status, where an answer came."""
    error: str | None
    """The name of the error that this attempt alone would raise; None for a success."""
    seconds: float
    """From the request's start to the end of its answer."""
    retry_in: float | None
    """Seconds until the next attempt; None when this was the last."""
    idempotency_key: str | None
    trace_id: str | None


def report(
    on_attempt: Callable[[Attempt], None] | None,
    outcome: AttemptOutcome[Any],
    *,
    operation: str,
    number: int,
    seconds: float,
    retry_in: float | None,
    idempotency_key: str | None,
) -> None:
    """Log an attempt, with its fields for structured logs, and hand it to the caller's hook."""
    if retry_in is None and on_attempt is None and not logger.isEnabledFor(DEBUG):
        return
    error = None if outcome.error is None else outcome.error.__name__
    attempt = Attempt(operation, number, outcome.status, error, seconds, retry_in, idempotency_key, outcome.trace_id)
    came_to = error if outcome.status is None else outcome.status
    fields = {**attrs.asdict(attempt), "attempt": number}
    del fields["number"]
    logger.debug("%s attempt %d: %s in %.3f s", operation, number, came_to, seconds, extra=fields)
    if retry_in is not None:
        logger.info("%s attempt %d: %s, next attempt in %.3f s", operation, number, came_to, retry_in, extra=fields)
    if on_attempt is not None:
        try:
            on_attempt(attempt)
        except Exception:  # noqa: BLE001 - a broken hook must not cost the caller the outcome of the call
            logger.warning("on_attempt raised, which is ignored", exc_info=True, extra=fields)
