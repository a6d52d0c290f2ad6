"""What an attempt came to: success or error, whether it may have changed something, whether to try again. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from http import HTTPStatus
from typing import Any, Generic, TypeVar

from brex_accounting import errors
from brex_accounting._http.response import Cause, Response, TransportFailure, retry_after
from brex_accounting._text import EXCERPT_LENGTH, printable
from brex_accounting_api.codec import Anything, decode

from .refusals import Advice, refusal_of

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
    """Whether a call goes on after an attempt in doubt; if not, its caller first finds out what that attempt did."""


class Retry(Enum):
    """Whether another attempt makes sense."""

    NO = auto()
    YES = auto()
    THROTTLED = auto()
    ONCE = auto()
    """Once, with the same key: the first attempt may still be in progress."""
    AT_ONCE = auto()
    """Without a wait, the first time: an old connection broke, which says nothing about the API."""


class Reach(Enum):
    """How far an attempt got."""

    ANSWERED = auto()
    """The API answered, if only with an error."""
    AWAY = auto()
    """It did not get through: refused, broken off, or a gateway that says so."""
    THROTTLED = auto()
    UNCLEAR = auto()
    """It was sent, and no whole answer came in time."""


_GATEWAY = {HTTPStatus.BAD_GATEWAY, HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}


@dataclass(slots=True)
class AttemptOutcome(Generic[T]):
    """What one attempt came to: a value, or an error."""

    value: T | None = None
    error: type[errors.BrexError] | None = None
    text: str = ""
    attributes: dict[str, Any] = field(default_factory=dict)
    retry: Retry = Retry.NO
    doubt: bool = False
    """Whether this attempt may have changed something without saying so."""
    reach: Reach = Reach.ANSWERED
    advice: Advice = Advice.LOOK_AT_DETAILS
    status: int | None = None
    retry_after: float | None = None
    trace_id: str | None = None
    failure: errors.BrexError | None = None
    """An error that was made elsewhere, such as by the authorization."""


def classify(
    operation: Operation[T],
    received: Response | TransportFailure,
    *,
    doubt: bool,
    now: float,
    check: Callable[[T], str | None] | None = None,
) -> AttemptOutcome[T]:
    """Say what an attempt came to.

    Args:
        operation: What was asked.
        received: What came back.
        doubt: That of the attempts before it.
        now: The wall clock.
        check: Returns why a success does not answer this request, if it does not.
    """
    if isinstance(received, TransportFailure):
        return _classify_failure(received)
    if received.too_large:
        return _unreadable(received, "its body is larger than 64 MiB", Retry.NO)
    if HTTPStatus.OK <= received.status < HTTPStatus.MULTIPLE_CHOICES:
        return _classify_success(operation, received, check)
    if received.status < HTTPStatus.BAD_REQUEST:
        redirect = received.status >= HTTPStatus.MULTIPLE_CHOICES
        reason = "redirects are not followed" if redirect else "it is not an answer to this request"
        return _unreadable(received, reason, Retry.NO)
    return _classify_refusal(received, doubt=doubt, now=now)


_ADVICE = {
    Cause.PROXY_CREDENTIALS: Advice.CHECK_THE_PROXY_CREDENTIALS,
    Cause.PROXY_REFUSAL: Advice.CHECK_THE_PROXY,
    Cause.DESCRIPTORS: Advice.FREE_DESCRIPTORS,
}


def _classify_failure(failure: TransportFailure) -> AttemptOutcome[Any]:
    retry, reach = Retry.YES, Reach.AWAY
    if failure.cause in {Cause.PROXY_CREDENTIALS, Cause.PROXY_REFUSAL}:
        retry, reach = Retry.NO, Reach.ANSWERED
    elif failure.cause is Cause.KEPT_CONNECTION:
        retry, reach = Retry.AT_ONCE, Reach.UNCLEAR
    elif failure.timed_out and failure.sent:
        reach = Reach.UNCLEAR
    return AttemptOutcome(
        error=errors.CallTimeoutError if failure.timed_out else errors.ConnectionFailedError,
        text=printable(failure.reason),
        retry=retry,
        doubt=failure.sent,
        reach=reach,
        advice=Advice.ALLOW_MORE_TIME if failure.timed_out else _ADVICE.get(failure.cause, Advice.CHECK_THE_NETWORK),
    )


def _classify_success(
    operation: Operation[T], response: Response, check: Callable[[T], str | None] | None
) -> AttemptOutcome[T]:
    if response.defect:
        return _unreadable(response, response.defect, Retry.YES)
    if not is_json_type(response.content_type):
        return _unreadable(response, "it is not JSON by its Content-Type", Retry.YES)
    record_id = advice = None
    try:
        value = operation.read(response.body)
    except ValueError as error:
        reason = str(error)
        if hasattr(error, "record_id"):  # it is about one record, whose id may be unreadable too
            record_id, advice = error.record_id, _UNREADABLE_RECORD.get(operation.name)
    except Exception as error:  # noqa: BLE001 - a mistake of ours must not hide that the change was made
        reason = type(error).__name__
    else:
        mismatch = None if check is None else check(value)
        if response.surplus:
            mismatch = "something more was received behind it"
        if mismatch is not None:
            return _unreadable(response, f"it does not answer this request: {mismatch}", Retry.NO)
        return AttemptOutcome(value=value, status=response.status, trace_id=response.trace_id)
    if not response.body:
        return _unreadable(response, "its body is empty", Retry.YES)
    return _unreadable(response, reason, Retry.NO if is_json(response.body) else Retry.YES, record_id, advice)


_UNREADABLE_RECORD = {
    "queryAccountingRecords": Advice.GO_ON_WITHOUT,
    "getAccountingRecord": Advice.UPGRADE,
}


def _unreadable(
    response: Response, reason: str, retry: Retry, record_id: str | None = None, advice: Advice | None = None
) -> AttemptOutcome[Any]:
    """Only facts about the body go into the text: the body of a success is other people's books."""
    return AttemptOutcome(
        error=errors.InvalidResponseError,
        text=f"the answer {response.status} {_body_facts(response)} cannot be understood: {reason}",
        attributes={
            "status": response.status,
            "content_type": response.content_type,
            "length": response.length,
            "record_id": record_id,
            "trace_id": response.trace_id,
        },
        retry=retry,
        doubt=True,
        reach=Reach.UNCLEAR,
        advice=advice or Advice.CHECK_WHAT_IS_BETWEEN,
        status=response.status,
        trace_id=response.trace_id,
    )


def _body_facts(response: Response) -> str:
    return f"({printable(response.content_type or 'no Content-Type')}, {response.length} bytes)"


def _classify_refusal(response: Response, *, doubt: bool, now: float) -> AttemptOutcome[Any]:
    status, wait = response.status, retry_after(response.headers, now)
    code, message, details = _read_envelope(response.body)
    refusal = refusal_of(status, code)
    in_doubt = status == HTTPStatus.REQUEST_TIMEOUT or status >= HTTPStatus.INTERNAL_SERVER_ERROR
    retry, reach = Retry.NO, Reach.AWAY if status in _GATEWAY else Reach.ANSWERED
    if in_doubt:
        retry = Retry.YES
    elif status == HTTPStatus.TOO_MANY_REQUESTS:
        retry, reach = Retry.THROTTLED, Reach.THROTTLED
    elif refusal.error is errors.ConflictError and doubt:
        retry = Retry.ONCE
    said = f"{status} {printable(code or '')}".rstrip() + (f": {message}" if message else "")
    if code is None:
        said += f" {_body_facts(response)}"
    return AttemptOutcome(
        error=refusal.error,
        text=f"the API answered {said}",
        attributes={
            "status": status,
            "error_code": code,
            "message": message,
            "details": details,
            "trace_id": response.trace_id,
            "retry_after": wait,
            **refusal.attributes(details),
        },
        retry=retry,
        doubt=in_doubt,
        reach=reach,
        advice=refusal.advice,
        status=status,
        retry_after=wait,
        trace_id=response.trace_id,
    )


def _read_envelope(body: bytes) -> tuple[str | None, str, dict[str, Any]]:
    """Read the code, message and details of an error: the API's envelope, the gateway's, or the latter in `errors`."""
    try:
        document: Any = decode(Anything, body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        return None, printable(body[: 16 * EXCERPT_LENGTH].decode("utf-8", "replace")), {}
    inner = document.get("errors")
    if isinstance(inner, list):
        inner = next(iter(inner), None)
    if isinstance(inner, dict) and "error_code" not in document:
        document = inner
    codes = (document.get(name) for name in ("error_code", "code", "type"))
    code = next((code for code in codes if isinstance(code, str) and code), None)
    message, details = document.get("message"), document.get("details")
    return (
        code,
        printable(message) if isinstance(message, str) else "",
        details if isinstance(details, dict) else {},
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
