"""How the API refuses: one entry for each status and error code, with the error's class, fields and advice."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from http import HTTPStatus
from typing import Any

from brex_accounting import errors


class Advice(Enum):
    """What to do next, in the words for whoever calls the SDK; the command line has its own."""

    CHECK_THE_NETWORK = "check the network and the address, then repeat the call"
    CHECK_THE_PROXY_CREDENTIALS = "check the user name and password in the address of the proxy"
    CHECK_THE_PROXY = "ask who runs the proxy to let you through, or use another one"
    FREE_DESCRIPTORS = "share one client, or raise the limit of open files (ulimit -n)"
    ALLOW_MORE_TIME = "repeat the call, with a longer timeout if this goes on"
    CHECK_WHAT_IS_BETWEEN = "check base_url and what stands between you and the API"
    CORRECT_THE_ARGUMENTS = "correct the arguments"
    CHECK_THE_TOKEN = "check that the token is valid and has the permission"  # noqa: S105 - advice
    USE_THE_SCOPE = "use a token with the scope that this operation needs"
    CHECK_THE_ID = "check the id"
    REPLACE = "disconnect {existing_integration_id} first, or use ensure(..., replace=True)"
    ENSURE_DISCONNECTED = "use ensure_disconnected if all that matters is the final state"
    REPORT_ONCE = "report each record once"
    LEAVE_OUT = "query these records and leave out those that are not READY_FOR_EXPORT"
    WAIT = "wait a minute, or as long as retry_after says, then repeat the call"
    REPEAT_LATER = "repeat the call later"
    SEND_LESS = "send a smaller batch"
    GO_ON_WITHOUT = "pass on_invalid to iterate or pages to go on without such records"
    UPGRADE = "look at the record in Brex, or for a newer version of this package"
    LOOK_AT_DETAILS = "look at status, error_code and details"
    REFRESH_LATER = "repeat the call later; the grant may still be good"
    CHECK_THE_CLIENT = (
        "check client_id, client_secret and token_url, and that client_auth is right; the grant may still be good"
    )
    CONSENT_AGAIN = "ask the customer to consent again"
    GIVE_THE_CALLBACK = "pass the whole address that the browser came back to"
    CHECK_THE_ISSUER = "check issuer"
    BEGIN_AGAIN = "begin the consent again"
    FINISH_AGAIN = "call finish_consent again at once, or begin the consent again"
    FIX_THE_STORE = "fix the store, and begin the consent again"
    BEGIN_IF_IT_FAILS = "the first call asks for an access token; begin the consent again if that fails too"
    PROMPT_FOR_CONSENT = (
        'begin the consent again with extra={{"prompt": "consent"}}, without which some servers give none, and check '
        "that the client may have one"
    )
    ASK_FOR_OFFLINE_ACCESS = "begin the consent again with the scope offline_access"


@dataclass(frozen=True, slots=True)
class Refusal:
    """How the API says no."""

    error: type[errors.APIError]
    status: int
    code: str | None = None
    """None: any code that has no entry of its own."""
    strings: Mapping[str, str] = field(default_factory=dict)
    """Attributes of the error, by the properties of `details` that they come from."""
    ids: str | None = None
    """The property of `details` that `record_ids` comes from."""
    advice: Advice = Advice.LOOK_AT_DETAILS

    def attributes(self, details: Mapping[str, Any]) -> dict[str, Any]:
        """The attributes that the details fill in, where they came as published."""
        found: dict[str, Any] = {
            name: details[key] for key, name in self.strings.items() if isinstance(details.get(key), str)
        }
        if self.ids is not None:
            ids = details.get(self.ids)
            found["record_ids"] = tuple(each for each in ids if isinstance(each, str)) if isinstance(ids, list) else ()
        return found


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


REFUSALS = (
    Refusal(errors.BadRequestError, 400, advice=Advice.CORRECT_THE_ARGUMENTS),
    Refusal(errors.UnauthorizedError, 401, advice=Advice.CHECK_THE_TOKEN),
    Refusal(errors.ForbiddenError, 403, advice=Advice.USE_THE_SCOPE),
    Refusal(errors.NotFoundError, 404, ids="not_found_export_entry_source_ids", advice=Advice.CHECK_THE_ID),
    Refusal(errors.APIError, 407, advice=Advice.CHECK_THE_PROXY_CREDENTIALS),
    Refusal(errors.ConflictError, 409),
    Refusal(
        errors.IntegrationExistsError,
        409,
        "ACTIVE_INTEGRATION_EXISTS",
        _same("existing_integration_id", "existing_vendor", "requested_vendor"),
        advice=Advice.REPLACE,
    ),
    Refusal(
        errors.VendorAccountMismatchError,
        409,
        "VENDOR_ACCOUNT_ID_MISMATCH",
        _same("existing_integration_id", "existing_vendor_account_id", "requested_vendor_account_id"),
        advice=Advice.REPLACE,
    ),
    Refusal(
        errors.IntegrationNotActiveError,
        409,
        "INTEGRATION_NOT_ACTIVE",
        _same("integration_id", "current_status"),
        advice=Advice.ENSURE_DISCONNECTED,
    ),
    Refusal(errors.APIError, 413, advice=Advice.SEND_LESS),
    Refusal(errors.UnprocessableError, 422),
    Refusal(
        errors.DuplicateRecordsError,
        422,
        "DUPLICATE_ACCOUNTING_RECORD_IDS",
        ids="duplicate_accounting_record_ids",
        advice=Advice.REPORT_ONCE,
    ),
    Refusal(
        errors.RecordsNotReadyError,
        422,
        "ACCOUNTING_RECORD_NOT_READY_FOR_EXPORT",
        ids="not_ready_for_export_accounting_record_ids",
        advice=Advice.LEAVE_OUT,
    ),
    Refusal(errors.RateLimitedError, 429, advice=Advice.WAIT),
)
_SERVER_ERROR = Refusal(errors.ServerError, 500, advice=Advice.REPEAT_LATER)
_OTHER = Refusal(errors.APIError, 0)
_TABLE = {(refusal.status, refusal.code): refusal for refusal in REFUSALS}


def refusal_of(status: int, code: str | None) -> Refusal:
    """The entry for an answer's status and error code."""
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _SERVER_ERROR
    return _TABLE.get((status, code)) or _TABLE.get((status, None), _OTHER)
