"""What an answer means for a call: the table of the design, as a pure function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from http import HTTPStatus
from typing import Any, Generic, TypeVar

from brex_accounting import errors
from brex_accounting._http.response import Response, TransportFailure, retry_after
from brex_accounting._text import EXCERPT_LENGTH, printable
from brex_accounting_api.codec import decode

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Operation(Generic[T]):
    """An operation of the API, as the engine needs to know it."""

    name: str
    """Its id in the description."""
    read: Callable[[bytes], T]
    """Reads the body of a success. Raises ValueError that says where it does not fit, never what it holds."""
    safe: bool = False
    """Whether it only reads (RFC 9110 9.2.1): then nothing is in doubt, and no Idempotency-Key is sent."""
    resend: bool = True
    """Whether a call goes on after an attempt in doubt; if not, whoever makes it finds out first what became of it."""


class Retry(Enum):
    """Whether another attempt makes sense."""

    NO = auto()
    YES = auto()
    THROTTLED = auto()
    ONCE = auto()
    """With the same key, for the first attempt may still be at work; but not twice."""


@dataclass(frozen=True, slots=True)
class AttemptOutcome(Generic[T]):
    """What one attempt came to: a value, or an error."""

    value: T | None = None
    error: type[errors.BrexError] | None = None
    text: str = ""
    attributes: dict[str, Any] = field(default_factory=dict)
    retry: Retry = Retry.NO
    doubt: bool = False
    """Whether this attempt may have changed something without saying so."""
    status: int | None = None
    retry_after: float | None = None
    trace_id: str | None = None
    failure: errors.BrexError | None = None
    """An error that was made elsewhere, such as by the authorization."""


def classify(
    operation: Operation[T], came: Response | TransportFailure, *, doubt: bool, now: float
) -> AttemptOutcome[T]:
    """Tell what came back of an attempt; `doubt` is that of the attempts before it, `now` the wall clock."""
    if isinstance(came, TransportFailure):
        error = errors.CallTimeoutError if came.timed_out else errors.ConnectionFailedError
        return AttemptOutcome(error=error, text=printable(came.reason), retry=Retry.YES, doubt=came.sent)
    if came.too_large:
        return _unreadable(came, "its body is larger than 64 MiB", Retry.NO)
    if HTTPStatus.OK <= came.status < HTTPStatus.MULTIPLE_CHOICES:
        return _classify_success(operation, came)
    if came.status < HTTPStatus.BAD_REQUEST:
        redirect = came.status >= HTTPStatus.MULTIPLE_CHOICES
        return _unreadable(came, "redirects are not followed" if redirect else "it is none to this request", Retry.NO)
    return _classify_refusal(came, doubt=doubt, now=now)


def _classify_success(operation: Operation[T], answer: Response) -> AttemptOutcome[T]:
    if answer.defect:
        return _unreadable(answer, answer.defect, Retry.YES)
    if not is_json_type(answer.content_type):
        return _unreadable(answer, "it is not JSON by its Content-Type", Retry.YES)
    record_id = None
    try:
        value = operation.read(answer.body)
    except ValueError as error:
        reason, record_id = str(error), getattr(error, "record_id", None)
    except Exception as error:  # noqa: BLE001 - a mistake of ours must not hide that the change was made
        reason = type(error).__name__
    else:
        return AttemptOutcome(value=value, status=answer.status, trace_id=answer.trace_id)
    if not answer.body:
        return _unreadable(answer, "its body is empty", Retry.YES)
    return _unreadable(answer, reason, Retry.NO if is_json(answer.body) else Retry.YES, record_id)


def _unreadable(answer: Response, reason: str, retry: Retry, record_id: str | None = None) -> AttemptOutcome[Any]:
    """Only facts about the body go into the text: the body of a success is other people's books."""
    return AttemptOutcome(
        error=errors.InvalidResponseError,
        text=f"the answer {answer.status} {_body_facts(answer)} cannot be understood: {reason}",
        attributes={
            "status": answer.status,
            "content_type": answer.content_type,
            "length": answer.length,
            "record_id": record_id,
            "trace_id": answer.trace_id,
        },
        retry=retry,
        doubt=True,
        status=answer.status,
        trace_id=answer.trace_id,
    )


def _body_facts(answer: Response) -> str:
    return f"({printable(answer.content_type or 'no Content-Type')}, {answer.length} bytes)"


def _classify_refusal(answer: Response, *, doubt: bool, now: float) -> AttemptOutcome[Any]:
    envelope = read_envelope(answer.body)
    wait = retry_after(answer.headers, now)
    status, code, details = answer.status, envelope.error_code, envelope.details
    in_doubt = status == HTTPStatus.REQUEST_TIMEOUT or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    error = _error_class(status, code)
    retry = Retry.NO
    if in_doubt:
        retry = Retry.YES
    elif status == HTTPStatus.TOO_MANY_REQUESTS:
        retry = Retry.THROTTLED
    elif error is errors.ConflictError and doubt:
        retry = Retry.ONCE
    said = f"{status} {printable(code or '')}".rstrip() + (f": {envelope.message}" if envelope.message else "")
    if code is None:
        said += f" {_body_facts(answer)}"
    return AttemptOutcome(
        error=error,
        text=f"the API answered {said}",
        attributes={
            "status": status,
            "error_code": code,
            "message": envelope.message,
            "details": details,
            "trace_id": answer.trace_id,
            "retry_after": wait,
            **_fields(error, details),
        },
        retry=retry,
        doubt=in_doubt,
        status=status,
        retry_after=wait,
        trace_id=answer.trace_id,
    )


_BY_STATUS: dict[int, type[errors.APIError]] = {
    HTTPStatus.BAD_REQUEST: errors.BadRequestError,
    HTTPStatus.UNAUTHORIZED: errors.UnauthorizedError,
    HTTPStatus.FORBIDDEN: errors.ForbiddenError,
    HTTPStatus.NOT_FOUND: errors.NotFoundError,
    HTTPStatus.CONFLICT: errors.ConflictError,
    HTTPStatus.UNPROCESSABLE_ENTITY: errors.UnprocessableError,
    HTTPStatus.TOO_MANY_REQUESTS: errors.RateLimitedError,
}

_BY_CODE: dict[tuple[int, str], type[errors.APIError]] = {
    (HTTPStatus.CONFLICT, "ACTIVE_INTEGRATION_EXISTS"): errors.IntegrationExistsError,
    (HTTPStatus.CONFLICT, "VENDOR_ACCOUNT_ID_MISMATCH"): errors.VendorAccountMismatchError,
    (HTTPStatus.CONFLICT, "INTEGRATION_NOT_ACTIVE"): errors.IntegrationNotActiveError,
    (HTTPStatus.UNPROCESSABLE_ENTITY, "DUPLICATE_ACCOUNTING_RECORD_IDS"): errors.DuplicateRecordsError,
    (HTTPStatus.UNPROCESSABLE_ENTITY, "ACCOUNTING_RECORD_NOT_READY_FOR_EXPORT"): errors.RecordsNotReadyError,
}

_RECORD_IDS: dict[type[errors.APIError], str] = {
    errors.NotFoundError: "not_found_export_entry_source_ids",
    errors.DuplicateRecordsError: "duplicate_accounting_record_ids",
    errors.RecordsNotReadyError: "not_ready_for_export_accounting_record_ids",
}

_CONFLICT_FIELDS: dict[type[errors.APIError], tuple[str, ...]] = {
    errors.IntegrationExistsError: ("existing_integration_id", "existing_vendor", "requested_vendor"),
    errors.VendorAccountMismatchError: (
        "existing_integration_id",
        "existing_vendor_account_id",
        "requested_vendor_account_id",
    ),
    errors.IntegrationNotActiveError: ("integration_id", "current_status"),
}


def _error_class(status: int, code: str | None) -> type[errors.APIError]:
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return errors.ServerError
    return _BY_CODE.get((status, code or ""), _BY_STATUS.get(status, errors.APIError))


def _fields(error: type[errors.APIError], details: dict[str, Any]) -> dict[str, Any]:
    """The details that the error class names, where they came as the contract says."""
    if error in _RECORD_IDS:
        ids = details.get(_RECORD_IDS[error])
        return {"record_ids": tuple(i for i in ids if isinstance(i, str)) if isinstance(ids, list) else ()}
    names = _CONFLICT_FIELDS.get(error, ())
    return {name: details[name] for name in names if isinstance(details.get(name), str)}


@dataclass(frozen=True, slots=True)
class Envelope:
    """What an error's body says."""

    error_code: str | None
    message: str
    details: dict[str, Any]


def read_envelope(body: bytes) -> Envelope:
    """Read every error body that the contract names: the API's, the gateway's, and the latter under `errors`."""
    try:
        document = decode(Any, body)
    except ValueError:
        document = None
    if isinstance(document, dict):
        inner = document.get("errors")
        if isinstance(inner, list):
            inner = next(iter(inner), None)
        if isinstance(inner, dict) and "error_code" not in document:
            document = inner
        codes = (document.get(name) for name in ("error_code", "code", "type"))
        message, details = document.get("message"), document.get("details")
        return Envelope(
            error_code=next((code for code in codes if isinstance(code, str) and code), None),
            message=printable(message) if isinstance(message, str) else "",
            details=details if isinstance(details, dict) else {},
        )
    return Envelope(
        error_code=None, message=printable(body[: 16 * EXCERPT_LENGTH].decode("utf-8", "replace")), details={}
    )


def is_json_type(content_type: str | None) -> bool:
    """Whether a Content-Type is JSON's, or is missing."""
    if content_type is None:
        return True
    return content_type.partition(";")[0].strip().lower().endswith(("/json", "+json"))


def is_json(body: bytes) -> bool:
    try:
        decode(Any, body)
    except ValueError:
        return False
    return True
