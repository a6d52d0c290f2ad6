"""The errors themselves: their tree, what they carry, what they say, and what they keep to themselves."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import re
import textwrap
import traceback
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

import brex_accounting
from brex_accounting import (
    APIError,
    BrexAccounting,
    BrexError,
    CallTimeoutError,
    ConflictError,
    ConnectionFailedError,
    IntegrationExistsError,
    IntegrationNotActiveError,
    InvalidResponseError,
    NotFoundError,
    Outcome,
    RateLimitedError,
    RetryPolicy,
    ServerError,
    errors,
)
from tests.support.calls import Rig, refuse

TREE = """
BrexError
    ConfigurationError
    ConnectionFailedError
    CallTimeoutError
    InvalidResponseError
    TokenRefreshError
        ReauthorizationRequiredError
    WebhookVerificationError
    APIError
        BadRequestError
        UnauthorizedError
        ForbiddenError
        NotFoundError
        ConflictError
            IntegrationExistsError
            VendorAccountMismatchError
            IntegrationNotActiveError
        UnprocessableError
            DuplicateRecordsError
            RecordsNotReadyError
        RateLimitedError
        ServerError
"""

FIELDS: dict[str, dict[str, Any]] = {
    "InvalidResponseError": {"status": 200, "content_type": "text/html", "length": 5, "trace_id": "abc-123"},
    "WebhookVerificationError": {"reason": "wrong_signature"},
    "NotFoundError": {"record_ids": ("accr_1",)},
    "IntegrationExistsError": {
        "existing_integration_id": "int_2",
        "existing_vendor": "ERP_B",
        "requested_vendor": "ERP_A",
    },
    "VendorAccountMismatchError": {
        "existing_integration_id": "int_2",
        "existing_vendor_account_id": "acct-1",
        "requested_vendor_account_id": "acct-2",
    },
    "IntegrationNotActiveError": {"integration_id": "int_1", "current_status": "DISABLED"},
    "DuplicateRecordsError": {"record_ids": ("accr_1",)},
    "RecordsNotReadyError": {"record_ids": ("accr_1",)},
}
OF_EACH: dict[str, Any] = {
    "outcome": Outcome.UNKNOWN,
    "operation": "createIntegration",
    "attempts": 3,
    "idempotency_key": "key",
    "disconnected_integration_id": "int_3",
}
OF_API_ERRORS: dict[str, Any] = {
    "status": 409,
    "error_code": "CODE",
    "message": "So it is.",
    "details": {"x": [1]},
    "trace_id": "abc-123",
    "retry_after": 7.0,
}


def family(kind: type[BrexError], indent: int = 0) -> Iterator[str]:
    yield " " * indent + kind.__name__
    for child in kind.__subclasses__():
        if child.__module__ == BrexError.__module__:  # other tests have classes of their own
            yield from family(child, indent + 4)


CLASSES = [getattr(brex_accounting, name.strip()) for name in family(BrexError)]


def all_attributes(kind: type[BrexError]) -> dict[str, Any]:
    return OF_EACH | (OF_API_ERRORS if issubclass(kind, APIError) else {}) | FIELDS.get(kind.__name__, {})


def test_tree() -> None:
    assert "\n".join(family(BrexError)) == TREE.strip()
    assert BrexError.__bases__ == (Exception,)


def test_the_tree_of_the_documentation() -> None:
    text = errors.__doc__ or ""
    lines = text[text.index("    BrexError") :].translate(str.maketrans("│├└─", "    ")).splitlines()
    names = [found[0] for line in lines if (found := re.match(r" *\w+", line))]
    assert textwrap.dedent("\n".join(names)) == TREE.strip()


@pytest.mark.parametrize("kind", CLASSES)
def test_made_by_hand(kind: type[BrexError]) -> None:
    error = kind("What happened.", **all_attributes(kind))
    assert str(error) == "What happened."
    assert {name: getattr(error, name) for name in all_attributes(kind)} == all_attributes(kind)


@pytest.mark.parametrize("kind", CLASSES)
def test_made_of_nothing(kind: type[BrexError]) -> None:
    error = kind()
    certain = kind in {errors.ConfigurationError, errors.WebhookVerificationError}
    assert error.outcome is (Outcome.NOT_APPLIED if certain else Outcome.UNKNOWN)
    assert (error.operation, error.attempts) == (None, 0)
    assert (error.idempotency_key, error.disconnected_integration_id) == (None, None)
    assert all(hasattr(error, name) for name in all_attributes(kind))


@pytest.mark.parametrize(
    ("kind", "status"),
    [(NotFoundError, 404), (IntegrationExistsError, 409), (RateLimitedError, 429), (ServerError, 500), (APIError, 0)],
)
def test_the_status_of_a_class(kind: type[APIError], status: int) -> None:
    assert kind().status == status
    assert kind(status=599).status == 599


def test_the_message_is_the_text_where_there_is_no_other() -> None:
    assert str(NotFoundError(message="No such integration.")) == "No such integration."
    assert str(NotFoundError("Text.", message="No such integration.")) == "Text."


def test_details_are_not_shared() -> None:
    APIError().details["x"] = 1
    assert APIError().details == {}


@pytest.mark.parametrize("name", ["stauts", "record_id", "args", "add_note", "with_traceback", "__class__"])
def test_attributes_that_are_none(name: str) -> None:
    attributes: dict[str, Any] = {name: 1}
    with pytest.raises(TypeError, match=name):
        NotFoundError(**attributes)


@pytest.mark.parametrize("kind", CLASSES)
@pytest.mark.parametrize(
    "twin_of",
    [
        copy.copy,
        copy.deepcopy,
        *(lambda e, p=p: pickle.loads(pickle.dumps(e, p)) for p in range(pickle.HIGHEST_PROTOCOL + 1)),
    ],
    ids=["copy", "deepcopy", *(f"pickle {p}" for p in range(pickle.HIGHEST_PROTOCOL + 1))],
)
def test_twins(kind: type[BrexError], twin_of: Callable[[BrexError], BrexError]) -> None:
    error = kind("What happened.", **all_attributes(kind))
    error.add_note("Seen in the nightly run.")
    twin = twin_of(error)
    assert type(twin) is kind
    assert (str(twin), vars(twin)) == (str(error), vars(error))
    assert twin.__notes__ == ["Seen in the nightly run."]
    if isinstance(error, APIError) and isinstance(twin, APIError) and twin_of is not copy.copy:
        twin.details["x"].append(2)
        assert error.details == {"x": [1]}


def answer(status: int, code: str | None = None, **details: str) -> httpx.Response:
    return httpx.Response(status, json={"error_code": code, "message": "So it is.", "details": details})


EXISTS = answer(409, "ACTIVE_INTEGRATION_EXISTS", existing_integration_id="int_2")
FAILURES = [
    pytest.param(came, kind, outcome, advice, id=f"{kind.__name__}-{outcome.name}")
    for came, kind, outcome, advice in [
        (httpx.ConnectError("refused"), ConnectionFailedError, Outcome.NOT_APPLIED, "check the network"),
        (httpx.ReadError("reset"), ConnectionFailedError, Outcome.UNKNOWN, "repeat the call with idempotency_key"),
        (httpx.ConnectTimeout("slow"), CallTimeoutError, Outcome.NOT_APPLIED, "longer timeout"),
        (httpx.ReadTimeout("slow"), CallTimeoutError, Outcome.UNKNOWN, "repeat the call with idempotency_key"),
        (httpx.Response(200, text="<html>"), InvalidResponseError, Outcome.UNKNOWN, "idempotency_key"),
        (answer(400), errors.BadRequestError, Outcome.NOT_APPLIED, "correct the arguments"),
        (answer(401), errors.UnauthorizedError, Outcome.NOT_APPLIED, "the token"),
        (answer(403), errors.ForbiddenError, Outcome.NOT_APPLIED, "the scope"),
        (answer(404), NotFoundError, Outcome.NOT_APPLIED, "check the id"),
        (answer(409, "NEW"), ConflictError, Outcome.NOT_APPLIED, "error_code"),
        (EXISTS, IntegrationExistsError, Outcome.NOT_APPLIED, "disconnect int_2 first"),
        (answer(409, "INTEGRATION_NOT_ACTIVE"), IntegrationNotActiveError, Outcome.NOT_APPLIED, "ensure_disconnected"),
        (answer(429), RateLimitedError, Outcome.NOT_APPLIED, "wait"),
        (answer(500), ServerError, Outcome.UNKNOWN, "idempotency_key"),
    ]
]
CALLS: dict[str, Callable[[BrexAccounting], Any]] = {
    "createIntegration": lambda brex: brex.integrations.create("ERP_A", "acct-42"),
    "disconnectIntegration": lambda brex: brex.integrations.disconnect("int_1"),
    "reactivateIntegration": lambda brex: brex.integrations.reactivate("int_1"),
}


def client(came: httpx.Response | Exception, retry: RetryPolicy) -> BrexAccounting:
    def handle(_: httpx.Request) -> httpx.Response:
        if isinstance(came, Exception):
            raise came
        return came

    return BrexAccounting("bxt_hunter2", transport=httpx.MockTransport(handle), retry=retry)


@pytest.mark.parametrize("operation", CALLS)
@pytest.mark.parametrize(("came", "kind", "outcome", "advice"), FAILURES)
async def test_what_a_call_raises(
    operation: str, came: httpx.Response | Exception, kind: type[BrexError], outcome: Outcome, advice: str
) -> None:
    with pytest.raises(BrexError) as caught:
        await CALLS[operation](client(came, RetryPolicy.none()))
    error = caught.value
    assert type(error) is kind
    assert (error.outcome, error.operation, error.attempts) == (outcome, operation, 1)
    assert error.idempotency_key is not None
    text = str(error)
    assert text.startswith(f"{operation}: ")
    assert text.endswith(".")
    assert advice in text
    assert ("It changed nothing: " in text) == (outcome is Outcome.NOT_APPLIED)
    assert text.isprintable()
    assert len(text) < 400


@pytest.mark.parametrize("came", [answer(503), httpx.ReadError("reset"), httpx.ConnectError("refused")])
async def test_attempts_are_counted(came: httpx.Response | Exception) -> None:
    with pytest.raises(BrexError) as caught:
        await client(came, RetryPolicy(max_attempts=3, initial_backoff=0)).integrations.disconnect("int_1")
    assert caught.value.attempts == 3


@pytest.mark.parametrize("came", [httpx.ReadError("reset"), answer(401), httpx.Response(200, text="x")])
async def test_nothing_secret_hangs_on_an_error(came: httpx.Response | Exception) -> None:
    brex = client(came, RetryPolicy.none())
    try:
        await brex.integrations.disconnect("int_1")
    except BrexError as caught:
        error = caught
    assert (error.__context__, error.__cause__) == (None, None)
    # What crash reporters send: the local variables of every frame.
    shown = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    assert str(Path(brex_accounting.__file__).parent) in shown
    assert "hunter2" not in shown
    assert b"hunter2" not in pickle.dumps(error)


async def test_in_a_task_group() -> None:
    brex = client(answer(404), RetryPolicy.none())
    caught: list[NotFoundError] = []
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(brex.integrations.disconnect("int_1"))
    except* NotFoundError as several:
        caught += [error for error in several.exceptions if isinstance(error, NotFoundError)]
    assert [error.operation for error in caught] == ["disconnectIntegration"]


@pytest.mark.parametrize("code", ["A\nB", "A\x1b[31m", "A" * 5000, "A\u2028B", "A\u202eB"])
@pytest.mark.parametrize("field", ["error_code", "existing_integration_id"])
async def test_the_text_is_one_short_line_whatever_the_api_says(field: str, code: str) -> None:
    codes = {"error_code": "ACTIVE_INTEGRATION_EXISTS", "existing_integration_id": "int_2", field: code}
    body = {"error_code": codes["error_code"], "message": code, "details": codes}
    response = httpx.Response(
        409, json=body, headers={"X-Brex-Trace-Id": "abc 123", "Content-Type": "application/json"}
    )
    with pytest.raises(ConflictError) as caught:
        await client(response, RetryPolicy.none()).integrations.disconnect("int_1")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 1000


# -- rebuilt by job queues ---------------------------------------------------------------------------------------------


def rebuilt(error: BrexError) -> BrexError:
    """As Celery and taskiq do with their JSON serializers: the class, called with what came through of `args`."""
    return type(error)(*json.loads(json.dumps(error.args)))


@pytest.mark.parametrize("kind", CLASSES)
def test_an_error_rebuilt_from_class_and_args_says_the_same(kind: type[BrexError]) -> None:
    error = kind("What happened.", outcome=Outcome.NOT_APPLIED, operation="x", attempts=3, idempotency_key="key")
    again = rebuilt(error)
    assert (str(again), again.outcome, again.operation) == ("What happened.", Outcome.NOT_APPLIED, "x")
    assert (again.attempts, again.idempotency_key) == (3, "key")
    assert rebuilt(kind("x", outcome=Outcome.UNKNOWN)).outcome is Outcome.UNKNOWN
    assert kind("x", {"outcome": 7, "nonsense": 1, "args": 2}, "surplus").outcome is Outcome.UNKNOWN


def test_what_json_cannot_carry_is_text_or_left_out() -> None:
    details = {"ids": ["a"], "amount": Decimal("1.50")}
    again = rebuilt(errors.RecordsNotReadyError("x", record_ids=("a", "b"), details=details, retry_after=2.5))
    assert isinstance(again, errors.RecordsNotReadyError)
    assert (again.record_ids, again.retry_after) == (("a", "b"), 2.5)
    assert again.details == {"ids": ["a"], "amount": "1.50"}
    assert rebuilt(errors.APIError("x", details={"a": object()})).args == ("x",)


@pytest.mark.virtual_time
async def test_an_error_of_a_call_survives_a_queue() -> None:
    error = await Rig(refuse(503)).error()
    again = rebuilt(error)
    assert isinstance(again, errors.ServerError)
    assert (str(again), again.outcome, again.idempotency_key) == (str(error), Outcome.UNKNOWN, error.idempotency_key)
    assert (again.status, again.message) == (503, "no: 503")
