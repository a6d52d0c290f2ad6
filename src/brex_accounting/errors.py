"""What a call can raise.

Every error is a `BrexError`. Its `outcome` says what the call did to the books: `NOT_APPLIED`, nothing was changed, or
`UNKNOWN`, something may have been.

    BrexError
    ├── ConfigurationError              wrong arguments or environment; nothing was sent
    ├── ConnectionFailedError           no answer: refused, reset, name not found, TLS
    ├── CallTimeoutError                no answer in time
    ├── InvalidResponseError            an answer that cannot be understood
    ├── TokenRefreshError               could not obtain a token; the grant may still be good
    │   └── ReauthorizationRequiredError    the grant is dead: the customer must consent again
    ├── WebhookVerificationError        a webhook that is not proved to come from Brex, or cannot be read
    └── APIError                        the API said no
        ├── BadRequestError             400
        ├── UnauthorizedError           401
        ├── ForbiddenError              403
        ├── NotFoundError               404
        ├── ConflictError               409
        │   ├── IntegrationExistsError
        │   ├── VendorAccountMismatchError
        │   └── IntegrationNotActiveError
        ├── UnprocessableError          422
        │   ├── DuplicateRecordsError
        │   └── RecordsNotReadyError
        ├── RateLimitedError            429
        └── ServerError                 5xx
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum
from typing import Any, Literal, Self, TypeAlias

WebhookReason: TypeAlias = Literal[
    "missing_header",
    "malformed_header",
    "stale_timestamp",
    "future_timestamp",
    "wrong_signature",
    "unreadable_body",
    "too_large",
]


class Outcome(Enum):
    """What a failed call did."""

    NOT_APPLIED = "not_applied"
    """It changed nothing."""
    UNKNOWN = "unknown"
    """It may have changed something."""


class BrexError(Exception):
    """The root of this package's errors.

    Every attribute can be given by its name when an error is made. Errors pickle, and hold no request, no header and
    no secret. `args` is the text and, for job queues that rebuild an error from its class and `args`, its attributes as
    plain JSON values.
    """

    __slots__ = ("_report",)  # what the text is made of, for those who word it otherwise; no part of a pickle

    outcome: Outcome = Outcome.UNKNOWN
    """What this call did. Reads change nothing, so theirs is NOT_APPLIED. An error that was built without saying so is
    UNKNOWN: no error claims by default that nothing happened."""
    operation: str | None = None
    """The operation's id in the API's description, such as ``createIntegration``."""
    attempts: int = 0
    """How many requests were sent, a replay after a 401 included."""
    idempotency_key: str | None = None
    """The Idempotency-Key of the call, to repeat it with; None for reads."""
    disconnected_integration_id: str | None = None
    """The integration that `ensure(replace=True)` disconnected, or may have, before this happened."""

    def __init__(self, text: str = "", state: object = None, /, *_: object, **attributes: Any) -> None:
        super().__init__(text)
        for name in attributes:
            if hasattr(Exception, name) or not hasattr(type(self), name):
                message = f"{type(self).__name__} has no attribute {name!r}"
                raise TypeError(message)
        restored = _restore(type(self), state) if isinstance(state, Mapping) else {}
        self.amend(**restored | attributes)

    def amend(self, text: str | None = None, **attributes: Any) -> None:
        """Change the text or attributes, for code that learns more while the error is on its way to the caller."""
        self.__dict__.update(attributes)
        state = _state(self.__dict__)
        Exception.__init__(self, str(self) if text is None else text, *([state] if state else []))  # sets args

    def __copy__(self) -> Self:
        twin = type(self)(*self.args)
        twin.__dict__.update(self.__dict__)
        if (report := getattr(self, "_report", None)) is not None:
            twin._report = report  # type: ignore[attr-defined]  # noqa: SLF001 - a copy of our own
        return twin

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


def _state(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The public attributes that JSON can carry."""
    plain = {name: _plain(value) for name, value in attributes.items() if value is not None}
    return {name: value for name, value in plain.items() if value is not None}


def _plain(value: object) -> Any:
    """The same as JSON can carry it, a Decimal as text; None for what it cannot carry."""
    try:
        return json.loads(json.dumps(value, allow_nan=False, default=_to_text))
    except (TypeError, ValueError, RecursionError):
        return None


def _to_text(value: object) -> str:
    if isinstance(value, Outcome):
        return value.value
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError


def _restore(kind: type[BrexError], state: Mapping[str, Any]) -> dict[str, Any]:
    """Read what `_state` wrote, leaving out what is not of this class."""
    known = {name: value for name, value in state.items() if hasattr(kind, name) and not hasattr(Exception, name)}
    if "outcome" in known:
        known["outcome"] = Outcome.NOT_APPLIED if known["outcome"] == "not_applied" else Outcome.UNKNOWN
    if isinstance(known.get("record_ids"), list):
        known["record_ids"] = tuple(known["record_ids"])
    return known


class ConfigurationError(BrexError):
    """Wrong arguments or a wrong environment; nothing was sent."""

    outcome = Outcome.NOT_APPLIED


class ConnectionFailedError(BrexError):
    """No answer: refused, reset, name not found, TLS."""


class CallTimeoutError(BrexError):
    """No answer in time: an attempt's timeout on the last attempt, or the call's deadline."""


class InvalidResponseError(BrexError):
    """An answer that cannot be understood: HTML, cut short, of another shape, a redirect."""

    status: int | None = None
    """The HTTP status of that answer."""
    content_type: str | None = None
    """Its Content-Type."""
    length: int | None = None
    """How many bytes of its body arrived (after decompression)."""
    trace_id: str | None = None
    """Brex's X-Brex-Trace-Id; their support asks for it."""
    record_id: str | None = None
    """The id of the accounting record that cannot be understood, if it is one and its id can be read."""


class TokenRefreshError(BrexError):
    """Could not obtain an access token; the grant may still be good."""


class ReauthorizationRequiredError(TokenRefreshError):
    """The grant is dead (invalid_grant), or there never was one: the customer must consent again."""


class WebhookVerificationError(BrexError):
    """A webhook that cannot be proved to come from Brex just now, or cannot be read. Nothing of it was used."""

    outcome = Outcome.NOT_APPLIED

    reason: WebhookReason | None = None
    """What is wrong with it: a Webhook-… header is missing or malformed; its timestamp is stale, or in the future; no
    signature is valid for the secret; its body cannot be read, or is too large."""


class APIError(BrexError):
    """The API said no."""

    status: int = 0
    """The HTTP status."""
    error_code: str | None = None
    """The API's code as received, even one that the description does not list; or the gateway's `code` or `type`."""
    message: str = ""
    """The API's own words."""
    details: dict[str, Any] = {}  # noqa: RUF012 - each error gets its own, below
    """The details that came with it, as received."""
    trace_id: str | None = None
    """Brex's X-Brex-Trace-Id; their support asks for it."""
    retry_after: float | None = None
    """Seconds to wait, if the API said so."""

    def __init__(self, text: str = "", state: object = None, /, *_: object, **attributes: Any) -> None:
        super().__init__(text or attributes.get("message", ""), state, **attributes)
        self.__dict__.setdefault("details", {})


class BadRequestError(APIError):
    """400: the request is malformed or incomplete."""

    status: int = 400


class UnauthorizedError(APIError):
    """401: the token is missing, expired, revoked, or (Brex does that too) lacks a permission."""

    status: int = 401


class ForbiddenError(APIError):
    """403: the token lacks the scope that the operation needs."""

    status: int = 403


class NotFoundError(APIError):
    """404: there is no such integration or record."""

    status: int = 404
    record_ids: tuple[str, ...] = ()
    """The unknown record ids, if the API named them."""


class ConflictError(APIError):
    """409: the request conflicts with the state of the account."""

    status: int = 409


class IntegrationExistsError(ConflictError):
    """409 ACTIVE_INTEGRATION_EXISTS: another integration is active, and an account has at most one."""

    existing_integration_id: str | None = None
    """The active integration."""
    existing_vendor: str | None = None
    """Its vendor."""
    requested_vendor: str | None = None
    """The vendor that this call asked for."""


class VendorAccountMismatchError(ConflictError):
    """409 VENDOR_ACCOUNT_ID_MISMATCH: the active integration has this vendor, but another vendor account."""

    existing_integration_id: str | None = None
    """The active integration."""
    existing_vendor_account_id: str | None = None
    """Its account in the accounting system."""
    requested_vendor_account_id: str | None = None
    """The account that this call asked for."""


class IntegrationNotActiveError(ConflictError):
    """409 INTEGRATION_NOT_ACTIVE: only an active integration can be disconnected."""

    integration_id: str | None = None
    """The integration that the call named."""
    current_status: str | None = None
    """Its status, such as ``DISABLED``."""


class UnprocessableError(APIError):
    """422: the request is well formed, and its content is refused."""

    status: int = 422


class DuplicateRecordsError(UnprocessableError):
    """422 DUPLICATE_ACCOUNTING_RECORD_IDS: a record stands in the report more than once."""

    record_ids: tuple[str, ...] = ()
    """These records."""


class RecordsNotReadyError(UnprocessableError):
    """422 ACCOUNTING_RECORD_NOT_READY_FOR_EXPORT: some records are not, or no longer, READY_FOR_EXPORT."""

    record_ids: tuple[str, ...] = ()
    """These records."""


class RateLimitedError(APIError):
    """429: more than 1,000 requests in 60 seconds for the client id and account."""

    status: int = 429


class ServerError(APIError):
    """5xx, 520 and other unregistered numbers included."""

    status: int = 500
