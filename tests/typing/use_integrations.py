"""The API as its users' type checkers see it: mypy --strict and pyright agree that this is right.

A line with an ignore is a mistake that both must find: an ignore that is not needed is an error.
"""

# pyright: strict, reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, assert_type

import httpx

from brex_accounting import (
    PRODUCTION,
    STAGING,
    APIError,
    Attempt,
    BrexAccounting,
    BrexError,
    CallTimeoutError,
    ConfigurationError,
    ConflictError,
    ConnectionFailedError,
    DuplicateRecordsError,
    Integration,
    IntegrationExistsError,
    IntegrationNotActiveError,
    Integrations,
    IntegrationStatus,
    InvalidResponseError,
    NotFoundError,
    Outcome,
    RateLimit,
    RateLimitedError,
    RecordsNotReadyError,
    RetryPolicy,
    ServerError,
    UserToken,
    VendorAccountMismatchError,
)


def clients(seen: list[Attempt], transport: httpx.AsyncBaseTransport) -> list[BrexAccounting]:
    def count(attempt: Attempt) -> None:
        assert_type(attempt.operation, str)
        assert_type(attempt.number, int)
        assert_type(attempt.status, int | None)
        assert_type(attempt.error, str | None)
        assert_type(attempt.seconds, float)
        assert_type(attempt.retry_in, float | None)
        assert_type(attempt.idempotency_key, str | None)
        assert_type(attempt.trace_id, str | None)

    def make() -> httpx.MockTransport:
        return httpx.MockTransport(lambda _: httpx.Response(200))

    return [
        BrexAccounting(),
        BrexAccounting(None),
        BrexAccounting("bxt_…"),
        BrexAccounting(UserToken("bxt_…"), base_url=STAGING),
        BrexAccounting(
            auth="bxt_…",
            base_url=PRODUCTION,
            timeout=10,
            retry=RetryPolicy(max_attempts=2, deadline=60, initial_backoff=0, max_backoff=1.5, max_retry_after=30),
            rate_limit=RateLimit(500, per=60),
            max_connections=50,
            transport=transport,
            on_attempt=seen.append,
        ),
        BrexAccounting(rate_limit=None, transport=None, on_attempt=None, base_url=None),
        BrexAccounting(timeout=httpx.Timeout(5.0, connect=1.0), transport=make, on_attempt=count),
        BrexAccounting(transport=httpx.AsyncHTTPTransport),
    ]


async def integrations() -> None:
    async with BrexAccounting("bxt_…") as brex:
        assert_type(brex, BrexAccounting)
        assert_type(brex.integrations, Integrations)
        integration = await brex.integrations.create(vendor="ERP_A", vendor_account_id="acct-42")
        assert_type(integration, Integration)
        assert_type(integration.id, str)
        assert_type(integration.vendor, str)
        assert_type(integration.vendor_account_id, str)
        assert_type(integration.status, IntegrationStatus)
        assert_type(integration.created_at, datetime)
        assert_type(integration.unknown_fields, Mapping[str, Any])
        assert_type(await brex.integrations.create("ERP_A", "acct-42", idempotency_key="key"), Integration)
        assert_type(await brex.integrations.disconnect(integration.id, idempotency_key=None), Integration)
        assert_type(await brex.integrations.reactivate(integration_id=integration.id), Integration)
        assert_type(await brex.integrations.ensure("ERP_A", "acct-42"), Integration)
        assert_type(await brex.integrations.ensure(vendor="ERP_A", vendor_account_id="a", replace=True), Integration)
        done: list[Awaitable[None]] = [
            brex.integrations.ensure_disconnected(integration.id),
            brex.integrations.ensure_active(integration_id=integration.id),
            brex.aclose(),
        ]
        for one in done:
            await one
        view = brex.with_options(timeout=5.0, retry=RetryPolicy(deadline=600.0))
        assert_type(view, BrexAccounting)
        await view.with_options(timeout=httpx.Timeout(5)).with_options(retry=RetryPolicy.none()).aclose()


def status(status: IntegrationStatus) -> str:
    text: str = status
    text = status.value
    if status == "ACTIVE" or status == IntegrationStatus.DISABLED:  # noqa: PLR1714 - both spellings are used
        return text
    match IntegrationStatus("PAUSED"):
        case IntegrationStatus.ACTIVE:
            return "active"
        case IntegrationStatus.DISABLED:
            return "disabled"
        case other:  # the API may send what this version does not know
            return other


async def errors(call: Callable[[], Awaitable[Integration]]) -> str | None:  # noqa: C901, PLR0911
    try:
        await call()
    except IntegrationExistsError as error:
        assert_type(error.existing_integration_id, str | None)
        assert_type(error.existing_vendor, str | None)
        assert_type(error.requested_vendor, str | None)
        assert_type(error.disconnected_integration_id, str | None)
        return error.existing_integration_id
    except VendorAccountMismatchError as error:
        assert_type(error.existing_vendor_account_id, str | None)
        assert_type(error.requested_vendor_account_id, str | None)
        return error.existing_integration_id
    except IntegrationNotActiveError as error:
        assert_type(error.integration_id, str | None)
        assert_type(error.current_status, str | None)
        return error.current_status if error.current_status != IntegrationStatus.DISABLED else None
    except ConflictError as error:
        return error.error_code
    except NotFoundError as error:
        return error.record_ids[0] if error.record_ids else None
    except (DuplicateRecordsError, RecordsNotReadyError) as error:
        assert_type(error.record_ids, tuple[str, ...])
        return None
    except (RateLimitedError, ServerError) as error:
        assert_type(error.retry_after, float | None)
        return None
    except APIError as error:
        assert_type(error.status, int)
        assert_type(error.error_code, str | None)
        assert_type(error.message, str)
        assert_type(error.details, dict[str, Any])
        assert_type(error.trace_id, str | None)
        return str(error.details["x"])
    except InvalidResponseError as error:
        assert_type(error.status, int | None)
        assert_type(error.content_type, str | None)
        assert_type(error.length, int | None)
        return error.trace_id
    except (ConfigurationError, ConnectionFailedError, CallTimeoutError):
        return None
    except BrexError as error:
        assert_type(error.outcome, Outcome)
        assert_type(error.operation, str | None)
        assert_type(error.attempts, int)
        assert_type(error.idempotency_key, str | None)
        return None if error.outcome is Outcome.NOT_APPLIED else error.idempotency_key
    return None


def outcome(outcome: Outcome) -> int:
    match outcome:
        case Outcome.NOT_APPLIED:
            return 0
        case Outcome.UNKNOWN:
            return 1


def in_the_tests_of_users() -> list[object]:
    return [
        IntegrationExistsError("text", existing_integration_id="int_1", outcome=Outcome.NOT_APPLIED),
        NotFoundError(),
        Integration(
            id="int_1",
            vendor="ERP_A",
            vendor_account_id="acct-42",
            status=IntegrationStatus.ACTIVE,
            created_at=datetime.fromisoformat("2025-08-15T10:00:00Z"),
        ),
    ]


async def mistakes(brex: BrexAccounting, integration: Integration) -> None:
    BrexAccounting(b"bxt_x")  # type: ignore[arg-type]
    BrexAccounting("bxt_…", PRODUCTION)  # type: ignore[call-arg]
    BrexAccounting(timeout="30")  # type: ignore[arg-type]
    BrexAccounting(timeout=None)  # type: ignore[arg-type]
    BrexAccounting(retry=3)  # type: ignore[arg-type]
    BrexAccounting(rate_limit=1000)  # type: ignore[arg-type]
    BrexAccounting(transport=httpx.HTTPTransport())  # type: ignore[arg-type]
    BrexAccounting(transport=httpx.HTTPTransport)  # type: ignore[arg-type]
    BrexAccounting(on_attempt=lambda: None)  # type: ignore[arg-type, misc]
    BrexAccounting(token="bxt_…")  # type: ignore[call-arg]
    UserToken()  # type: ignore[call-arg]
    RetryPolicy(4)  # type: ignore[call-arg]
    RetryPolicy(deadline="60")  # type: ignore[arg-type]
    RateLimit(1000)  # type: ignore[call-arg]
    RateLimit(1000, 60.0)  # type: ignore[call-arg]
    brex.with_options(timeout=None)  # type: ignore[arg-type]
    brex.with_options(retry=None)  # type: ignore[arg-type]
    brex.with_options(base_url=STAGING)  # type: ignore[call-arg]
    await brex.integrations.create("ERP_A")  # type: ignore[call-arg]
    await brex.integrations.create("ERP_A", None)  # type: ignore[arg-type]
    await brex.integrations.create("ERP_A", "acct-42", "key")  # type: ignore[call-arg]
    await brex.integrations.ensure("ERP_A", "acct-42", True)  # type: ignore[call-arg]
    await brex.integrations.disconnect(42)  # type: ignore[arg-type]
    await brex.integrations.disconnect(integration)  # type: ignore[arg-type]
    await brex.integrations.disconnect("int_1", replace=True)  # type: ignore[call-arg]
    nothing: Integration = await brex.integrations.ensure_active("int_1")  # type: ignore[func-returns-value, assignment]
    integration.id = "int_2"  # type: ignore[misc]
    print(nothing, integration.integration_id)  # type: ignore[attr-defined]  # noqa: T201
    with brex:  # type: ignore[attr-defined]
        brex.integrations.disconnect("int_1")  # type: ignore[unused-coroutine]
