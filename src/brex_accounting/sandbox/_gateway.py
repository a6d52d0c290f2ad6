"""The gateway in front of the state machine: routes, tokens, the rate limit, the Idempotency-Key."""

import json
import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from hashlib import sha256
from http import HTTPStatus
from typing import Final
from urllib.parse import unquote

from ._accounts import Accounts
from ._grants import Caller
from ._platform import IdempotencyLedger, SlidingWindow
from ._requests import InvalidRequestError, parse_create, parse_json, parse_query, parse_results, parse_single_entry
from ._scopes import INTEGRATION_WRITE, RECORD_READ, RECORD_WRITE
from ._wire import Reply, error, gateway_error


@dataclass(frozen=True, slots=True)
class Call:
    """A request, read completely. `path` is still percent-encoded."""

    method: str
    path: str
    query: str = field(repr=False)
    body: bytes = field(repr=False)
    content_type: str | None
    idempotency_key: str | None
    authorization: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation of the API, and the status of its answer to a malformed request."""

    id: str
    method: str
    path: re.Pattern[str]
    scopes: frozenset[str]
    malformed: int = HTTPStatus.BAD_REQUEST


@dataclass(frozen=True, slots=True)
class Route:
    """An operation and the id in its path."""

    operation: Operation
    resource_id: str


def _operation(operation_id: str, method: str, path: str, *scopes: str, malformed: int = 400) -> Operation:
    return Operation(operation_id, method, re.compile(f"/v3/accounting/{path}"), frozenset(scopes), malformed)


# In OpenAPI a concrete path precedes a templated one: export-results is never a record's id.
OPERATIONS: Final = (
    _operation("createIntegration", "POST", "integration", INTEGRATION_WRITE),
    _operation("disconnectIntegration", "POST", "integration/([^/]+)/disconnect", INTEGRATION_WRITE),
    _operation("reactivateIntegration", "POST", "integration/([^/]+)/reactivate", INTEGRATION_WRITE),
    # Brex's description has no 400 for it, but a 422.
    _operation("reportAccountingExportResults", "POST", "records/export-results", RECORD_WRITE, malformed=422),
    _operation("queryAccountingRecords", "GET", "records", RECORD_READ, RECORD_WRITE),
    _operation("getAccountingRecord", "GET", "records/([^/]+)", RECORD_READ, RECORD_WRITE),
)


def find_route(call: Call) -> Route | Reply:
    """Match the encoded path, so that an id with %2F in it stays one segment."""
    for operation in OPERATIONS:
        match = operation.path.fullmatch(call.path)
        if match is not None and operation.method == call.method:
            return Route(operation, unquote(match[1]) if match.re.groups else "")
        if match is not None:
            return not_routed({operation.method})
    return not_routed(set())


def not_routed(methods_allowed: set[str]) -> Reply:
    """Answer a request without a route: 405 if another method would match, else 404."""
    if methods_allowed:
        return error(
            HTTPStatus.METHOD_NOT_ALLOWED,
            "INVALID_REQUEST",
            "The method is not allowed here.",
            headers=(("Allow", ", ".join(sorted(methods_allowed))),),
        )
    return error(HTTPStatus.NOT_FOUND, "NOT_FOUND", "Nothing is at this path.")


class Gateway:
    """Checks requests and passes them to the state machine."""

    def __init__(
        self,
        accounts: Accounts,
        *,
        issued: Callable[[str], Caller | None],
        window: SlidingWindow | None,
        send_retry_after: bool,
        honor_idempotency_keys: bool,
    ) -> None:
        self._accounts = accounts
        self._issued = issued
        self._window = window
        self._send_retry_after = send_retry_after
        self._ledger = IdempotencyLedger() if honor_idempotency_keys else None

    def admit(self, call: Call, scopes: frozenset[str], *, limited: bool = True) -> Caller | Reply:
        """Return the caller, or the answer that rejects the call; any one of the scopes is enough."""
        caller = self._caller(call.authorization)
        if caller is None:
            return error(
                HTTPStatus.UNAUTHORIZED,
                "UNAUTHORIZED",
                "The access token is missing or not valid.",
                headers=(("WWW-Authenticate", "Bearer"),),
            )
        wait = self._window.admit(caller.name) if self._window is not None and limited else None
        if wait is not None:
            return gateway_error(
                HTTPStatus.TOO_MANY_REQUESTS,
                headers=(("Retry-After", str(wait)),) if self._send_retry_after else (),
            )
        if not caller.scopes & scopes:
            return error(HTTPStatus.FORBIDDEN, "FORBIDDEN", "The access token lacks the scope for this operation.")
        return caller

    def once(self, route: Route, call: Call, caller: Caller) -> AbstractContextManager[Callable[[], Reply]]:
        """Yield the function that answers this call; its Idempotency-Key is in progress until the context ends."""

        def perform() -> Reply:
            return self._perform(route, call, caller)

        if self._ledger is None or not call.idempotency_key or call.method != "POST":
            return nullcontext(perform)
        request = f"{call.method} {call.path}?{call.query}\n"
        fingerprint = sha256(request.encode() + _canonical(call.body)).digest()
        return self._ledger.once((caller.name, call.idempotency_key), fingerprint, perform)

    def _caller(self, authorization: str | None) -> Caller | None:
        scheme, _, presented = (authorization or "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        credentials = presented.strip()
        return self._accounts.caller(credentials) or self._issued(credentials)

    def _perform(self, route: Route, call: Call, caller: Caller) -> Reply:
        try:
            return self._dispatch(route, call, caller)
        except InvalidRequestError as refusal:
            return error(route.operation.malformed, "INVALID_REQUEST", f"{refusal}.")

    def _dispatch(self, route: Route, call: Call, caller: Caller) -> Reply:
        state = self._accounts.of(caller.account).state
        match route.operation.id:
            case "createIntegration":
                return state.create(*parse_create(call.content_type, call.body))
            case "disconnectIntegration":
                return state.disconnect(route.resource_id)
            case "reactivateIntegration":
                return state.reactivate(route.resource_id)
            case "getAccountingRecord":
                return state.get(route.resource_id, single_entry=parse_single_entry(call.query))
            case "queryAccountingRecords":
                return state.query(parse_query(call.query))
            case _:
                return state.report(parse_results(call.content_type, call.body))


def _canonical(body: bytes) -> bytes:
    """Return the same bytes for bodies that mean the same, since Brex asks for a semantically identical resend."""
    try:
        return json.dumps(parse_json(body), sort_keys=True).encode()
    except InvalidRequestError:
        return body
