"""What an answer means, as a pure function; through the whole engine the same table is in test_call.py."""

import copy
import json
import pickle
from http import HTTPStatus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from brex_accounting import errors
from brex_accounting._engine.classify import AttemptOutcome, Operation, Retry, classify
from brex_accounting._http.body import MAX_BODY
from brex_accounting._http.response import Response, TransportFailure
from brex_accounting.integrations import read_integration
from brex_accounting.models import Integration
from tests.support.calls import DETAILS, INTEGRATION

CREATE = Operation("createIntegration", read_integration)
JSON = {"content-type": "application/json"}


def classified(status: int, body: object = b"", *, doubt: bool = False, **headers: str) -> AttemptOutcome[Integration]:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = JSON | {name.replace("_", "-"): value for name, value in headers.items()}
    return classify(CREATE, Response(status, lines, content), doubt=doubt, now=0.0)


def test_a_success() -> None:
    assert classified(200, INTEGRATION, x_brex_trace_id="trace-1") == AttemptOutcome(
        value=read_integration(json.dumps(INTEGRATION).encode()), status=200, trace_id="trace-1"
    )


@pytest.mark.parametrize("sent", [True, False])
@pytest.mark.parametrize(
    ("timed_out", "error"), [(True, errors.CallTimeoutError), (False, errors.ConnectionFailedError)]
)
def test_no_answer(timed_out: bool, error: type[errors.BrexError], sent: bool) -> None:
    came = TransportFailure("Some\x1b[0m reason\n\u2028" + "x" * 999, sent=sent, timed_out=timed_out)
    result = classify(CREATE, came, doubt=True, now=0.0)
    assert (result.error, result.doubt, result.retry, result.status) == (error, sent, Retry.YES, None)
    assert result.text.startswith("Some [0m reason xxx")
    assert result.text.isprintable()
    assert len(result.text) <= 300


@pytest.mark.parametrize("status", [200, 400, 409, 503])
def test_too_large(status: int) -> None:
    result = classify(CREATE, Response(status, JSON, b"", too_large=True), doubt=False, now=0.0)
    assert (result.error, result.retry, result.doubt) == (errors.InvalidResponseError, Retry.NO, True)
    assert result.attributes["length"] == MAX_BODY + 1


@pytest.mark.parametrize("defect", ["its body was cut short", "its body cannot be decompressed"])
def test_a_defect_is_one_even_where_the_body_can_be_read(defect: str) -> None:
    came = Response(200, JSON, json.dumps(INTEGRATION).encode(), defect)
    result = classify(CREATE, came, doubt=False, now=0.0)
    assert (result.error, result.retry, result.doubt) == (errors.InvalidResponseError, Retry.YES, True)
    assert defect in result.text


@pytest.mark.parametrize("mistake", [KeyError("canary"), TypeError("canary"), RecursionError("canary")])
def test_a_reader_that_breaks(mistake: Exception) -> None:
    def read(_body: bytes) -> None:
        raise mistake

    result = classify(Operation("op", read), Response(200, JSON, b"{}"), doubt=False, now=0.0)
    assert (result.error, result.retry, result.doubt) == (errors.InvalidResponseError, Retry.NO, True)
    assert type(mistake).__name__ in result.text
    assert "canary" not in result.text


@pytest.mark.parametrize(
    ("code", "doubt", "retry"),
    [
        ("ACTIVE_INTEGRATION_EXISTS", True, Retry.NO),
        ("VENDOR_ACCOUNT_ID_MISMATCH", True, Retry.NO),
        ("INTEGRATION_NOT_ACTIVE", True, Retry.NO),
        ("IDEMPOTENCY_KEY_IN_USE", True, Retry.ONCE),
        ("IDEMPOTENCY_KEY_IN_USE", False, Retry.NO),
        (None, True, Retry.ONCE),
        (None, False, Retry.NO),
    ],
)
def test_a_409_is_asked_about_again_where_a_key_may_be_in_progress(code: str | None, doubt: bool, retry: Retry) -> None:
    assert classified(409, {"error_code": code, "details": DETAILS}, doubt=doubt).retry is retry


@pytest.mark.parametrize("doubt", [True, False])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 418, 422, 431, 451])
def test_a_definite_refusal(status: int, doubt: bool) -> None:
    result = classified(status, {"error_code": "NEW", "message": "no"}, doubt=doubt)
    assert (result.retry, result.doubt) == (Retry.NO, False)
    assert result.text == f"the API answered {status} NEW: no"


def test_what_the_text_says_of_an_answer_without_an_envelope() -> None:
    assert classified(502, b"", content_type="text/html").text == "the API answered 502 (text/html, 0 bytes)"
    assert classified(502, b"<p>bad\x07</p>").text == "the API answered 502: <p>bad </p> (application/json, 11 bytes)"
    assert classify(CREATE, Response(404, {}, b""), doubt=False, now=0.0).text == (
        "the API answered 404 (no Content-Type, 0 bytes)"
    )


@pytest.mark.parametrize("depth", [10, 200, 900, 300_000])
def test_details_that_are_nested_deeply_do_no_harm(depth: int) -> None:
    body = b'{"error_code": "NEW", "message": "No", "details": {"a": %s1%s}}' % (b"[" * depth, b"]" * depth)
    outcome = classified(400, body)
    assert pickle.loads(pickle.dumps(outcome.attributes)) == copy.deepcopy(outcome.attributes) == outcome.attributes


HEADERS = st.dictionaries(
    st.sampled_from(["content-type", "retry-after", "x-brex-trace-id", "content-encoding"]), st.text(max_size=40)
)
NAMES = ["error_code", "message", "details", "errors", "code", "type", *DETAILS, *INTEGRATION]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=5),
    max_leaves=8,
)
BODIES = st.binary(max_size=200) | VALUES.map(lambda value: json.dumps(value).encode())


@given(status=st.integers(100, 999), headers=HEADERS, body=BODIES, doubt=st.booleans())
@example(status=409, headers={}, body=b'{"error_code": "ACTIVE_INTEGRATION_EXISTS", "details": null}', doubt=True)
@example(status=404, headers={}, body=b'{"details": {"not_found_export_entry_source_ids": {}}}', doubt=True)
@example(status=400, headers={}, body=b"[" * 100_000, doubt=False)
@example(status=200, headers={}, body=b"[" * 100_000, doubt=False)
@example(status=400, headers={}, body=b'{"errors": []}', doubt=False)
@example(status=400, headers={}, body=b"1" * 5_000, doubt=False)
def test_whatever_comes_there_is_a_verdict(status: int, headers: dict[str, str], body: bytes, doubt: bool) -> None:
    result = classify(CREATE, Response(status, headers, body), doubt=doubt, now=0.0)
    assert result.status == status
    assert result.text.isprintable()
    assert len(result.text) < 1200
    assert (result.error is None) is (result.value is not None)
    if result.error is not None:
        result.error("text", **result.attributes)
        definite = HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR and status != 408
        assert result.doubt is not definite
        assert (result.retry is Retry.THROTTLED) is (status == 429)
    if status < HTTPStatus.BAD_REQUEST:
        assert "canary" not in result.text


@given(
    body=st.text(min_size=3, max_size=60).map(lambda text: f"canary {text} canary"), status=st.sampled_from([200, 302])
)
def test_what_a_success_holds_is_never_shown(body: str, status: int) -> None:
    for content in (body.encode("utf-8", "replace"), json.dumps({body: body}).encode(), json.dumps([body]).encode()):
        result = classify(CREATE, Response(status, JSON, content), doubt=False, now=0.0)
        assert result.error is errors.InvalidResponseError
        assert "canary" not in result.text + str(result.attributes)
