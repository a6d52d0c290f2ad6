"""The control endpoints, everything below /_sandbox/: change and inspect a sandbox over HTTP."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, fields, replace
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import unquote

from ._accounts import Account, Accounts
from ._authorization import AuthorizationServer
from ._faults import FaultQueue, fault_from_json
from ._gateway import Call, Gateway, not_routed
from ._grants import AuthorizationOptions
from ._outage import OutageSwitch
from ._requests import parse_json
from ._scopes import INTEGRATION_WRITE
from ._webhooks import Webhooks
from ._wire import Number, Reply, error, timestamp

PREFIX: Final = "/_sandbox/"
# Brex has no scope for this; the read-only token must not be enough.
_SCOPES: Final = frozenset({INTEGRATION_WRITE})
# A client gets its credentials once.
_AUTHORIZATION_OPTIONS: Final = tuple(
    each.name for each in fields(AuthorizationOptions) if each.name not in {"client_id", "client_secret"}
)
_RECORD: Final = "records/"

Action = Callable[[Account, str, bytes], object]
"""Takes the token's account, the id in the path and the body; returns the answer, or None to show the view."""
View = Callable[[Account], Mapping[str, object]]


class Controls:
    """Answers the control requests; most changes answer with the view of what they changed.

    Records, review_status and exports belong to the token's account, everything else to the whole sandbox.
    """

    def __init__(
        self,
        *,
        gateway: Gateway,
        accounts: Accounts,
        faults: FaultQueue,
        webhooks: Webhooks,
        authorization: AuthorizationServer,
        outages: OutageSwitch,
        log: Iterable[Any],
    ) -> None:
        self._gateway = gateway
        self._accounts = accounts
        self._faults = faults
        self._webhooks = webhooks
        self._authorization = authorization
        self._views: dict[str, View] = {
            "requests": lambda _: {"requests": [asdict(each) for each in log]},
            "faults": lambda _: {"faults": [asdict(fault) | {"times": times} for fault, times in faults.pending]},
            "records": lambda account: {"records": [_summary(each) for each in account.state.records.values()]},
            "exports": lambda account: {"exports": [_export(each) for each in account.state.exports]},
            "review_status": lambda account: {"review_status": _review_statuses(account)},
            "accounts": lambda _: {"accounts": [_account(each) for each in accounts.by_name.values()]},
            "options": lambda _: {"options": self._options()},
            "outage": lambda _: {"outage": None if outages.current is None else asdict(outages.current)},
            "webhooks": lambda _: _webhooks(webhooks),
        }
        self._actions: dict[tuple[str, str], Action] = {
            ("POST", "faults"): lambda *of: faults.add(fault_from_json(parse_json(of[-1]))),
            ("DELETE", "faults"): lambda *_: faults.clear(),
            ("POST", "records"): _add_records,
            ("GET", "records/"): _show_record,
            ("PATCH", "records/"): _edit_record,
            ("POST", "review_status"): _set_review_status,
            ("POST", "accounts"): self._add_account,
            ("POST", "clients"): self._add_client,
            ("POST", "grants"): self._add_grant,
            ("PATCH", "options"): self._set_options,
            ("POST", "outage"): lambda *of: outages.begin(**_fields(of[-1], "seconds", "kind", "status")),
            ("POST", "webhooks"): self._register,
            ("DELETE", "webhooks"): lambda *_: webhooks.forget(),
            ("POST", "webhooks/resend"): self._resend,
            ("POST", "webhooks/rotation"): lambda *_: _done(webhooks.rotate()),
            ("DELETE", "webhooks/rotation"): lambda *_: webhooks.end_rotation(),
        }

    def answer(self, call: Call) -> Reply:
        """Answer a control request."""
        name, record_id = call.path.removeprefix(PREFIX), ""
        if name.startswith(_RECORD):
            name, record_id = _RECORD, unquote(name.removeprefix(_RECORD))
        action = self._actions.get((call.method, name))
        reads = call.method == "GET" and name in self._views
        if action is None and not reads:
            methods = {method for method, known in self._actions if known == name}
            return not_routed(methods | ({"GET"} if name in self._views else set()))
        caller = self._gateway.admit(call, _SCOPES, limited=False)
        if isinstance(caller, Reply):
            return caller
        account = self._accounts.of(caller.account)
        try:
            answer = None if action is None else action(account, record_id, call.body)
        except LookupError as problem:
            return error(HTTPStatus.NOT_FOUND, "NOT_FOUND", f"{problem.args[0]}.")
        except (TypeError, ValueError) as problem:
            return error(HTTPStatus.BAD_REQUEST, "INVALID_REQUEST", f"{problem}.")
        if answer is None:
            answer = self._views[name.partition("/")[0]](account)
        return Reply(HTTPStatus.OK, json.dumps(answer).encode())

    def _options(self) -> Mapping[str, object]:
        options = asdict(self._authorization.options)
        return {"recent_days": self._accounts.recent_days} | {each: options[each] for each in _AUTHORIZATION_OPTIONS}

    def _add_account(self, _: Account, __: str, body: bytes) -> object:
        given = _fields(body, "name", "records", "token", parse_float=Number)
        records = given.get("records", 0)
        if type(records) is not int and not isinstance(records, list):
            raise ValueError("records must be a number or a list of records")
        token = _text(given, "token") if given.get("token") is not None else None
        return _account(self._accounts.add(_text(given, "name"), records, token))

    def _add_client(self, _: Account, __: str, body: bytes) -> object:
        given = _fields(body, "client_id", "client_secret")
        client_id, client_secret = self._authorization.new_client(*(_text(given, each) for each in given))
        return {"client_id": client_id, "client_secret": client_secret}

    def _add_grant(self, account: Account, __: str, body: bytes) -> object:
        given = _fields(body, "account", "scopes", "client_id", "refresh_token")
        name = _text(given, "account") if "account" in given else account.name
        scopes = _texts(given, "scopes") if given.get("scopes") is not None else None
        chosen = {each: _text(given, each) for each in ("client_id", "refresh_token") if given.get(each) is not None}
        return {"account": name, "refresh_token": self._authorization.new_grant(name, scopes, **chosen)}

    def _set_options(self, _: Account, __: str, body: bytes) -> None:
        given = dict(_fields(body, "recent_days", *_AUTHORIZATION_OPTIONS))
        recent_days = given.pop("recent_days", self._accounts.recent_days)
        given |= {name: tuple(_texts(given, name)) for name, value in given.items() if isinstance(value, list)}
        options = replace(self._authorization.options, **given)
        self._accounts.recent_days = recent_days
        self._authorization.options = options

    def _register(self, _: Account, __: str, body: bytes) -> None:
        given = _fields(body, "url", "spelling")
        self._webhooks.register(_text(given, "url"), spelling=given.get("spelling", "snake"))

    def _resend(self, _: Account, __: str, body: bytes) -> None:
        self._webhooks.resend(_text(_fields(body, "webhook_id"), "webhook_id"))


def _done(_: object) -> None:
    """Discard a result, so that the view is the answer."""


def _add_records(account: Account, _: str, body: bytes) -> object:
    given = parse_json(body, parse_float=Number)
    records = given if isinstance(given, list) else [given]
    if not all(isinstance(each, dict) for each in records):
        raise ValueError("the body must be a record or a list of records")
    return {"ids": account.add_records(records)}


def _edit_record(account: Account, record_id: str, body: bytes) -> object:
    given = parse_json(body, parse_float=Number)
    if not isinstance(given, dict):
        raise ValueError("the body must be an object of the fields to change")  # noqa: TRY004  # answered like any invalid body
    account.edit_record(record_id, given)
    return _show_record(account, record_id, body)


def _show_record(account: Account, record_id: str, _: bytes) -> object:
    if record_id not in account.state.records:
        raise LookupError("no accounting record has this id")
    return _summary(account.state.records[record_id])


def _set_review_status(account: Account, _: str, body: bytes) -> None:
    given = _fields(body, "ids", "review_status")
    account.state.set_review_status(_texts(given, "ids"), _text(given, "review_status"))


def _review_statuses(account: Account) -> Mapping[str, int]:
    return Counter(record.review_status for record in account.state.records.values())


def _account(account: Account) -> Mapping[str, object]:
    return {
        "name": account.name,
        "token": account.token,
        "read_only_token": account.read_only_token,
        "review_status": _review_statuses(account),
    }


def _webhooks(webhooks: Webhooks) -> Mapping[str, object]:
    return {
        "urls": [{"url": each.url, "spelling": each.spelling} for each in webhooks.endpoints],
        "secrets": webhooks.secrets,
        "deliveries": [asdict(each) | {"body": each.body.decode()} for each in webhooks.deliveries],
    }


def _summary(record: Any) -> Mapping[str, object]:
    return {
        "id": record.id,
        "source_type": record.source_type,
        "review_status": record.review_status,
        "version": record.version,
        "updated_at": timestamp(record.updated_at),
    }


def _export(export: Any) -> Mapping[str, object]:
    return asdict(export.result) | {"applied_at": timestamp(export.applied_at)}


def _fields(body: bytes, *names: str, parse_float: Callable[[str], object] = float) -> Mapping[str, Any]:
    given = parse_json(body or b"{}", parse_float=parse_float)
    if not isinstance(given, dict) or not given.keys() <= set(names):
        raise ValueError(f"the body must be an object with {', '.join(names)}")
    return given


def _text(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name} must be a string")  # noqa: TRY004  # answered like any invalid body
    return value


def _texts(given: Mapping[str, Any], name: str) -> list[str]:
    values = given.get(name)
    if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
        raise ValueError(f"{name} must be a list of strings")
    return values
