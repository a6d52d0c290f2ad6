"""Makes the error that a call raises: what happened, what it did, what to do next."""

from __future__ import annotations

import copy
from typing import Any

from brex_accounting import errors
from brex_accounting._text import printable
from brex_accounting.errors import Outcome

from .classify import AttemptOutcome, Operation

_ADVICE: dict[type[errors.BrexError], str] = {
    errors.ConnectionFailedError: "check the network and the address, then repeat the call",
    errors.CallTimeoutError: "repeat the call, with a longer timeout if this goes on",
    errors.InvalidResponseError: "check base_url and what stands between you and the API",
    errors.BadRequestError: "correct the arguments",
    errors.UnauthorizedError: "check that the token is valid and has the permission",
    errors.ForbiddenError: "use a token with the scope that this operation needs",
    errors.NotFoundError: "check the id",
    errors.IntegrationExistsError: "disconnect {existing_integration_id} first, or use ensure(..., replace=True)",
    errors.VendorAccountMismatchError: "disconnect {existing_integration_id} first, or use ensure(..., replace=True)",
    errors.IntegrationNotActiveError: "use ensure_disconnected where all that matters is the end",
    errors.DuplicateRecordsError: "report each record once",
    errors.RecordsNotReadyError: "query these records and leave out those that are not READY_FOR_EXPORT",
    errors.RateLimitedError: "wait a minute, or as long as retry_after says, then repeat the call",
    errors.ServerError: "repeat the call later",
}
_UNREADABLE_RECORD = {
    "queryAccountingRecords": "pass on_invalid to iterate or pages to go on without such records",
    "getAccountingRecord": "look at the record in Brex, or for a newer version of this package",
}
_DEFAULT_ADVICE = "look at status, error_code and details"
_MAY_CHANGE = (errors.RateLimitedError, errors.ConflictError)
"""Refusals that the same request may not get the next time."""


def make_error(
    operation: Operation[Any], result: AttemptOutcome[Any], *, attempts: int, key: str | None, doubt: bool
) -> errors.BrexError:
    """Make the error for a result that is not a success; `doubt` is that of all attempts together."""
    kind = result.error or errors.BrexError
    outcome = Outcome.UNKNOWN if doubt and not operation.safe else Outcome.NOT_APPLIED
    if isinstance(result.failure, errors.ConfigurationError):
        return copy.copy(result.failure)  # without the frames that it came through
    if result.failure is not None:
        error = copy.copy(result.failure)  # others may be raising the same one
        error.outcome, error.operation, error.attempts, error.idempotency_key = outcome, operation.name, attempts, key
        return error
    trace = f" (trace id {printable(result.trace_id)})" if result.trace_id else ""
    return kind(
        f"{operation.name}: {result.text.rstrip('.')}{trace}. {_next_step(operation, result, kind, key, outcome)}.",
        outcome=outcome,
        operation=operation.name,
        attempts=attempts,
        idempotency_key=key,
        **result.attributes,
    )


def _next_step(
    operation: Operation[Any],
    result: AttemptOutcome[Any],
    kind: type[errors.BrexError],
    key: str | None,
    outcome: Outcome,
) -> str:
    blocking = printable(result.attributes.get("existing_integration_id") or "") or "the active integration"
    advice = _ADVICE.get(kind, _DEFAULT_ADVICE).format(existing_integration_id=blocking)
    if result.attributes.get("record_id"):
        advice = _UNREADABLE_RECORD.get(operation.name, advice)
    if outcome is Outcome.NOT_APPLIED:
        return advice[0].upper() + advice[1:] if operation.safe else f"It changed nothing: {advice}"
    definite = issubclass(kind, errors.APIError) and kind not in _MAY_CHANGE and not result.doubt
    if not definite:
        return f"It may have been applied: to find out, repeat the call with idempotency_key={key!r}"
    return "An earlier attempt of this call may have been applied: look at the state before you repeat it"
