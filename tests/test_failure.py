"""The error that a call raises: what happened, what it did, what to do next."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from brex_accounting import Outcome, errors
from brex_accounting._engine.classify import AttemptOutcome, Operation, classify
from brex_accounting._engine.failure import make_error
from brex_accounting._http.response import Response, TransportFailure
from brex_accounting.integrations import read_integration
from tests.support.calls import DETAILS

WRITE = Operation("createIntegration", read_integration)
READ = Operation("getThing", read_integration, safe=True)


def made(result: AttemptOutcome[Any], *, doubt: bool, operation: Operation[Any] = WRITE) -> errors.BrexError:
    return make_error(operation, result, attempts=3, key=None if operation.safe else "my key", doubt=doubt)


def classes(root: type[errors.APIError]) -> Iterator[type[errors.APIError]]:
    yield root
    for kind in root.__subclasses__():
        yield from classes(kind)


CLASSES = [errors.ConnectionFailedError, errors.CallTimeoutError, errors.InvalidResponseError]
CLASSES += [kind for kind in classes(errors.APIError) if kind.__module__ == errors.__name__]
# What the same request with the same key may find out.
AGAIN = {
    *CLASSES[:3],
    errors.APIError,  # 408
    errors.ConflictError,
    errors.RateLimitedError,
    errors.ServerError,
}


@pytest.mark.parametrize("doubt", [True, False])
@pytest.mark.parametrize("operation", [WRITE, READ])
@pytest.mark.parametrize("kind", CLASSES)
def test_what_an_error_carries_and_tells(kind: type[errors.BrexError], operation: Operation[Any], doubt: bool) -> None:
    ends_in_doubt = kind in {errors.APIError, errors.ServerError, errors.InvalidResponseError}
    result: AttemptOutcome[Any] = AttemptOutcome(
        error=kind, text="it went wrong.", doubt=ends_in_doubt, trace_id="trace-1"
    )
    error = made(result, doubt=doubt or ends_in_doubt, operation=operation)
    unknown = (doubt or ends_in_doubt) and not operation.safe
    assert type(error) is kind
    assert error.outcome is (Outcome.UNKNOWN if unknown else Outcome.NOT_APPLIED)
    assert (error.operation, error.attempts) == (operation.name, 3)
    assert error.idempotency_key == (None if operation.safe else "my key")
    told = re.fullmatch(rf"{operation.name}: it went wrong \(trace id trace-1\)\. (.+)\.", str(error))
    assert told is not None
    advice = told[1]
    assert advice[0].isupper()
    assert "{" not in advice
    assert ". " not in advice
    if not unknown:
        assert advice.startswith("It changed nothing: ") is not operation.safe
    elif kind in AGAIN:
        assert advice == "It may have been applied: to find out, repeat the call with idempotency_key='my key'"
    else:
        assert advice.startswith("An earlier attempt of this call may have been applied: look at the state")


def test_a_conflict_names_what_to_disconnect() -> None:
    body = b'{"error_code": "ACTIVE_INTEGRATION_EXISTS", "details": {"existing_integration_id": "int_9\\u001b[31m"}}'
    result = classify(WRITE, Response(409, {}, body), doubt=False, now=0.0)
    error = made(result, doubt=False)
    assert isinstance(error, errors.IntegrationExistsError)
    assert "disconnect int_9 [31m first, or use ensure(..., replace=True)" in str(error)
    assert error.existing_integration_id == "int_9\x1b[31m"
    result = classify(WRITE, Response(409, {}, body.replace(b"existing", b"other")), doubt=False, now=0.0)
    assert "disconnect the active integration first" in str(made(result, doubt=False))


@pytest.mark.parametrize("text", ["a\nb", "\x1b]0;owned\x07", "\u202egnp.exe", "\x00", "x" * 100_000, "{0}{name}"])
def test_whatever_the_server_says_the_text_is_one_printable_line(text: str) -> None:
    said = {"error_code": text, "message": text, "details": DETAILS | {"existing_integration_id": text}}
    for code in (text, "ACTIVE_INTEGRATION_EXISTS"):
        body = Response(409, {"x-brex-trace-id": text, "content-type": text}, _json(said | {"error_code": code}))
        for came in (body, TransportFailure(text, sent=True, timed_out=False)):
            error = made(classify(WRITE, came, doubt=True, now=0.0), doubt=True)
            assert str(error).isprintable()
            assert len(str(error)) < 2000


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


class GrantError(errors.BrexError):
    """What an authorization may raise, with an attribute of its own."""

    hint: str = ""


@pytest.mark.parametrize("doubt", [True, False])
@pytest.mark.parametrize("operation", [WRITE, READ])
def test_an_error_that_was_made_elsewhere_is_copied_and_told_of_the_call(
    operation: Operation[Any], doubt: bool
) -> None:
    failure = GrantError("the grant is dead", hint="consent again")
    failure.__cause__ = ValueError("canary")
    error = made(AttemptOutcome(error=GrantError, failure=failure), doubt=doubt, operation=operation)
    assert isinstance(error, GrantError)
    assert error is not failure
    assert (str(error), error.hint, error.attempts) == ("the grant is dead", "consent again", 3)
    assert error.outcome is (Outcome.UNKNOWN if doubt and not operation.safe else Outcome.NOT_APPLIED)
    assert (error.operation, error.__cause__, error.__traceback__) == (operation.name, None, None)
    assert (failure.operation, failure.attempts) == (None, 0)


def test_a_mistake_of_the_callers_is_raised_as_it_is_without_its_frames() -> None:
    failure = errors.ConfigurationError("The client is closed: make a new one.")
    error = made(AttemptOutcome(error=errors.ConfigurationError, failure=failure), doubt=False)
    assert (type(error), str(error), vars(error)) == (type(failure), str(failure), vars(failure))
    assert error is not failure
