"""Which error each answer of the API, or of what stands before it, becomes."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from brex_accounting import (
    APIError,
    BadRequestError,
    BrexAccounting,
    ConflictError,
    DuplicateRecordsError,
    ForbiddenError,
    Integration,
    IntegrationExistsError,
    IntegrationNotActiveError,
    InvalidResponseError,
    NotFoundError,
    Outcome,
    RateLimitedError,
    RecordsNotReadyError,
    RetryPolicy,
    ServerError,
    UnauthorizedError,
    UnprocessableError,
    VendorAccountMismatchError,
)
from brex_accounting._http.response import Response

HTML = b"<html>\r\n<head><title>Oops</title></head>\r\n</html>"


async def disconnect(response: httpx.Response) -> Integration:
    transport = httpx.MockTransport(lambda _: response)
    async with BrexAccounting("bxt_hunter2", transport=transport, retry=RetryPolicy.none()) as brex:
        return await brex.integrations.disconnect("int_1")


async def failure(status: int, **response: Any) -> APIError:
    with pytest.raises(APIError) as caught:
        await disconnect(httpx.Response(status, **response))
    error = caught.value
    assert (error.status, error.operation, error.attempts) == (status, "disconnectIntegration", 1)
    assert error.idempotency_key is not None
    return error


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "INVALID_REQUEST", BadRequestError),
        (401, "UNAUTHORIZED", UnauthorizedError),
        (403, "FORBIDDEN", ForbiddenError),
        (404, "NOT_FOUND", NotFoundError),
        (408, "REQUEST_TIMEOUT", APIError),
        (409, "ACTIVE_INTEGRATION_EXISTS", IntegrationExistsError),
        (409, "VENDOR_ACCOUNT_ID_MISMATCH", VendorAccountMismatchError),
        (409, "INTEGRATION_NOT_ACTIVE", IntegrationNotActiveError),
        (409, "SOMETHING_NEW", ConflictError),
        (409, "NOT_FOUND", ConflictError),
        (418, "TEAPOT", APIError),
        (422, "DUPLICATE_ACCOUNTING_RECORD_IDS", DuplicateRecordsError),
        (422, "ACCOUNTING_RECORD_NOT_READY_FOR_EXPORT", RecordsNotReadyError),
        (422, "ACTIVE_INTEGRATION_EXISTS", UnprocessableError),
        (429, "RATE_LIMITED", RateLimitedError),
        (499, "CLIENT_CLOSED", APIError),
        (500, "INTERNAL_ERROR", ServerError),
        (500, "ACTIVE_INTEGRATION_EXISTS", ServerError),
        (503, "UNAVAILABLE", ServerError),
        (520, "UNKNOWN", ServerError),
        (599, "INTEGRATION_NOT_ACTIVE", ServerError),
    ],
)
async def test_class_by_status_and_code(status: int, code: str, kind: type[APIError]) -> None:
    error = await failure(status, json={"error_code": code, "message": "So it is.", "details": None})
    assert type(error) is kind
    assert (error.error_code, error.message, error.details) == (code, "So it is.", {})
    in_doubt = status == 408 or status >= 500
    assert error.outcome is (Outcome.UNKNOWN if in_doubt else Outcome.NOT_APPLIED)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 422, 429, 500])
@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ({"error_code": "FORBIDDEN", "message": "No."}, "FORBIDDEN", "No."),
        ({"error_code": "A_NEW_CODE", "message": "No.", "type": "OLD", "code": "OLD"}, "A_NEW_CODE", "No."),
        ({"type": "UNAUTHORIZED", "message": "No."}, "UNAUTHORIZED", "No."),
        ({"type": "UNAUTHORIZED", "message": "No.", "code": "EXPIRED"}, "EXPIRED", "No."),
        ({"errors": {"type": "UNAUTHORIZED", "message": "No."}}, "UNAUTHORIZED", "No."),
        ({"errors": {"type": "UNAUTHORIZED", "message": "No.", "code": "EXPIRED"}}, "EXPIRED", "No."),
        ({"errors": [{"type": "UNAUTHORIZED", "message": "No."}, {"type": "OTHER"}]}, "UNAUTHORIZED", "No."),
        ({"message": "No."}, None, "No."),
        ({"error_code": "FORBIDDEN"}, "FORBIDDEN", ""),
        ({"error_code": "", "message": ""}, None, ""),
        ({"error_code": None, "message": None}, None, ""),
        ({"error_code": 7, "message": ["No."], "details": "none"}, None, ""),
        ({"error_code": {"x": 1}, "type": "UNAUTHORIZED", "message": 7}, "UNAUTHORIZED", ""),
        ({"error_code": "FORBIDDEN", "message": "No.", "details": [1]}, "FORBIDDEN", "No."),
        ({"errors": None}, None, ""),
        ({"errors": []}, None, ""),
        ({"errors": ["No."]}, None, ""),
        ({}, None, ""),
    ],
    ids=str,
)
async def test_envelopes(status: int, body: object, code: str | None, message: str) -> None:
    error = await failure(status, json=body)
    assert (error.error_code, error.message, error.details) == (code, message, {})


async def test_an_envelope_behind_a_byte_order_mark() -> None:
    error = await failure(404, content=b'\xef\xbb\xbf{"error_code": "NOT_FOUND", "message": "No."}')
    assert (error.error_code, error.message) == ("NOT_FOUND", "No.")


@pytest.mark.parametrize("status", [401, 404, 409, 429, 502])
@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", ""),
        (HTML, "<html> <head><title>Oops</title></head> </html>"),
        (b"upstream connect error", "upstream connect error"),
        (b'{"error_code": "NOT_FOUND", "mess', '{"error_code": "NOT_FOUND", "mess'),
        (b"[1, 2]", "[1, 2]"),
        (b"null", "null"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"\x1b[31mred\x00\x9b", "[31mred \ufffd"),
        ("right\u202eleft\u2028line".encode(), "right left line"),
        (b"x" * 5000, "x" * 299 + "…"),
        (b"[" * 5000, "[" * 299 + "…"),
    ],
    ids=lambda value: ascii(value)[:30],
)
async def test_bodies_that_are_no_envelope(status: int, body: bytes, message: str) -> None:
    error = await failure(status, content=body, headers={"Content-Type": "text/html"})
    assert (error.error_code, error.message, error.details) == (None, message, {})
    assert f"(text/html, {len(body)} bytes)" in str(error)


async def test_details_are_kept_as_they_came() -> None:
    details = {
        "existing_integration_id": "int_2",
        "existing_vendor": "ERP_B",
        "requested_vendor": "ERP_A",
        "x": {"y": [1, None, "z"]},
    }
    error = await failure(409, json={"error_code": "ACTIVE_INTEGRATION_EXISTS", "message": "", "details": details})
    assert error.details == details
    assert error.details["x"] == {"y": [1, None, "z"]}


@pytest.mark.parametrize(
    ("status", "code", "details", "fields"),
    [
        (
            409,
            "ACTIVE_INTEGRATION_EXISTS",
            {"existing_integration_id": "int_2", "existing_vendor": "ERP_B", "requested_vendor": "ERP_A"},
            {"existing_integration_id": "int_2", "existing_vendor": "ERP_B", "requested_vendor": "ERP_A"},
        ),
        (
            409,
            "VENDOR_ACCOUNT_ID_MISMATCH",
            {
                "existing_integration_id": "int_2",
                "existing_vendor_account_id": "acct-1",
                "requested_vendor_account_id": "acct-2",
            },
            {
                "existing_integration_id": "int_2",
                "existing_vendor_account_id": "acct-1",
                "requested_vendor_account_id": "acct-2",
            },
        ),
        (
            409,
            "INTEGRATION_NOT_ACTIVE",
            {"integration_id": "int_1", "current_status": "DISABLED"},
            {"integration_id": "int_1", "current_status": "DISABLED"},
        ),
        (409, "ACTIVE_INTEGRATION_EXISTS", None, {"existing_integration_id": None, "existing_vendor": None}),
        (
            409,
            "ACTIVE_INTEGRATION_EXISTS",
            {"existing_integration_id": 7, "existing_vendor": None, "requested_vendor": "ERP_A"},
            {"existing_integration_id": None, "existing_vendor": None, "requested_vendor": "ERP_A"},
        ),
        (409, "INTEGRATION_NOT_ACTIVE", {"current_status": ["DISABLED"]}, {"current_status": None}),
        (
            404,
            "NOT_FOUND",
            {"not_found_export_entry_source_ids": ["accr_1", "accr_2"]},
            {"record_ids": ("accr_1", "accr_2")},
        ),
        (404, "NOT_FOUND", {}, {"record_ids": ()}),
        (404, "NOT_FOUND", {"not_found_export_entry_source_ids": "accr_1"}, {"record_ids": ()}),
        (422, "DUPLICATE_ACCOUNTING_RECORD_IDS", {"duplicate_accounting_record_ids": ["a"]}, {"record_ids": ("a",)}),
        (
            422,
            "ACCOUNTING_RECORD_NOT_READY_FOR_EXPORT",
            {"not_ready_for_export_accounting_record_ids": ["a", None, 7, "b"]},
            {"record_ids": ("a", "b")},
        ),
    ],
)
async def test_fields_of_an_error(status: int, code: str, details: object, fields: dict[str, object]) -> None:
    error = await failure(status, json={"error_code": code, "message": "", "details": details})
    assert {name: getattr(error, name) for name in fields} == fields


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("0", 0.0), ("-1", None), ("1.5", 1.5), ("1.5.2", None), ("soon", None), ("nan", None), ("", None)],
)
@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after(status: int, header: str, seconds: float | None) -> None:
    assert (await failure(status, headers={"Retry-After": header})).retry_after == seconds


@pytest.mark.parametrize("status", [404, 500])
async def test_trace_id(status: int) -> None:
    error = await failure(status, headers={"x-brex-trace-id": "abc-123"}, json={})
    assert error.trace_id == "abc-123"
    assert "abc-123" in str(error)
    assert (await failure(status)).trace_id is None


async def test_a_token_that_the_api_repeats_is_not_shown() -> None:
    body = {"error_code": "bxt_hunter2", "message": "Bad bxt_hunter2", "details": {"bxt_hunter2": ["bxt_hunter2"]}}
    error = await failure(401, json=body)
    assert "hunter2" not in repr((error, vars(error)))


@pytest.mark.parametrize(
    ("status", "response"),
    [
        (200, {"content": HTML, "headers": {"Content-Type": "text/html"}}),
        (200, {"content": b"", "headers": {"Content-Type": "application/json"}}),
        (200, {"content": b'{"id": "int_1", "vend', "headers": {"Content-Type": "application/json"}}),
        (200, {"content": b"\xff", "headers": {"Content-Type": "application/json"}}),
        (200, {"json": {"id": "LEDGER"}}),
        (201, {"json": ["LEDGER"]}),
        (204, {"headers": {"X-Brex-Trace-Id": "abc-123"}}),
        (301, {"headers": {"Location": "https://evil.test/", "X-Brex-Trace-Id": "abc-123"}}),
        (307, {"content": b"LEDGER", "headers": {"Location": "/v3/accounting/integration"}}),
    ],
)
async def test_what_cannot_be_understood(status: int, response: dict[str, Any]) -> None:
    answer = httpx.Response(status, **response)
    with pytest.raises(InvalidResponseError) as caught:
        await disconnect(answer)
    error = caught.value
    assert (error.outcome, error.attempts, error.operation) == (Outcome.UNKNOWN, 1, "disconnectIntegration")
    assert (error.status, error.length) == (status, len(answer.content))
    assert (error.content_type, error.trace_id) == (
        answer.headers.get("Content-Type"),
        answer.headers.get("X-Brex-Trace-Id"),
    )
    assert "LEDGER" not in repr((error, vars(error)))
    assert f"idempotency_key={error.idempotency_key!r}" in str(error)


@pytest.mark.parametrize("status", [200, 201, 299])
@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "application/problem+json", None])
async def test_what_can(status: int, content_type: str | None) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    body = (
        b'{"id":"int_1","vendor":"A","vendor_account_id":"a","status":"DISABLED","created_at":"2025-08-15T10:00:00Z"}'
    )
    assert (await disconnect(httpx.Response(status, content=body, headers=headers))).id == "int_1"


def test_a_word_that_is_too_short_for_a_secret_stays() -> None:
    answer = Response(404, {"x": "test"}, b'{"ids": ["accr_test_1"]}')
    assert answer.without("test") == answer
