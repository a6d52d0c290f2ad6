"""Webhooks as users write them; type checkers read this file, nobody runs it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, assert_never, assert_type

import httpx
from starlette.requests import Request

from brex_accounting import (
    BrexError,
    ConfigurationError,
    Outcome,
    RecordsReadyForExport,
    UnknownEvent,
    WebhookVerificationError,
    verify_webhook,
)


def receive(body: bytes, headers: Mapping[str, str]) -> int:
    try:
        event = verify_webhook(body, headers, os.environ["BREX_WEBHOOK_SECRETS"].split())
    except WebhookVerificationError as error:
        is_error: BrexError = error
        assert_type(is_error.outcome, Outcome)
        if error.reason == "stale_timestamp":
            return 408
        return 400
    except ConfigurationError:
        return 500
    assert_type(event, RecordsReadyForExport | UnknownEvent)
    assert_type(event.webhook_id, str)
    match event:
        case RecordsReadyForExport():
            assert_type(event.record_ids, tuple[str, ...])
            assert_type(event.company_id, str | None)
        case UnknownEvent():
            assert_type(event.event_type, str)
            assert_type(event.payload, dict[str, Any])
        case _:
            assert_never(event)
    return 204


async def frameworks(request: Request, response: httpx.Response) -> None:
    verify_webhook(await request.body(), request.headers, "whsec_c2VjcmV0")
    verify_webhook(response.content, response.headers, ("whsec_c2VjcmV0", "b2xk"), tolerance=60)


def in_tests() -> RecordsReadyForExport:
    return RecordsReadyForExport(webhook_id="msg_1", record_ids=("accr_1",))


def wrong(headers: dict[str, str], event: RecordsReadyForExport, error: WebhookVerificationError) -> None:
    verify_webhook("{}", headers, "whsec_c2VjcmV0")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    verify_webhook(b"{}", headers, None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    verify_webhook(b"{}", headers, "whsec_c2VjcmV0", 60)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    event.record_ids = ()  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    assert error.reason != "nonsense"  # type: ignore[comparison-overlap]
