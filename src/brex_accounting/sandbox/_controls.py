"""What a sandbox can be told and asked over HTTP, beside the API: everything below /_sandbox/."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from http import HTTPStatus
from typing import Any, Final

from ._faults import FaultQueue, fault_from_json
from ._gateway import INTEGRATION_WRITE, Call, Gateway, not_routed
from ._requests import parse_json
from ._state import State
from ._webhooks import Webhooks
from ._wire import Reply, error

PREFIX: Final = "/_sandbox/"
# Brex has no scope for this; the read-only token is not to have it.
_SCOPES: Final = frozenset({INTEGRATION_WRITE})


class Controls:
    """Answers the requests below /_sandbox/. What can be done to a thing is answered with how it is then."""

    def __init__(self, gateway: Gateway, state: State, faults: FaultQueue, webhooks: Webhooks) -> None:
        self._gateway = gateway
        self._state = state
        self._faults = faults
        self._webhooks = webhooks
        self._actions: dict[tuple[str, str], Callable[[bytes], object]] = {
            ("GET", "requests"): lambda _: None,
            ("POST", "faults"): lambda body: faults.add(fault_from_json(parse_json(body))),
            ("DELETE", "faults"): lambda _: faults.clear(),
            ("POST", "review_status"): lambda body: self._set_review_status(_fields(body, "ids", "review_status")),
            ("GET", "webhooks"): lambda _: None,
            ("POST", "webhooks"): lambda body: self._register(_fields(body, "url", "spelling")),
            ("DELETE", "webhooks"): lambda _: webhooks.forget(),
            ("POST", "webhooks/resend"): lambda body: webhooks.resend(_text(_fields(body, "webhook_id"), "webhook_id")),
            ("POST", "webhooks/rotation"): lambda _: webhooks.rotate(),
            ("DELETE", "webhooks/rotation"): lambda _: webhooks.end_rotation(),
        }

    def answer(self, call: Call, requests: Iterable[Any]) -> Reply:
        """Answer one of them; `requests` is the log."""
        name = call.path.removeprefix(PREFIX)
        action = self._actions.get((call.method, name))
        if action is None:
            return not_routed({method for method, known in self._actions if known == name})
        caller = self._gateway.admit(call, _SCOPES, limited=False)
        if isinstance(caller, Reply):
            return caller
        try:
            action(call.body)
        except LookupError as problem:
            return error(HTTPStatus.NOT_FOUND, "NOT_FOUND", f"{problem.args[0]}.")
        except (TypeError, ValueError) as problem:
            return error(HTTPStatus.BAD_REQUEST, "INVALID_REQUEST", f"{problem}.")
        return Reply(HTTPStatus.OK, json.dumps(self._describe(name, requests)).encode())

    def _describe(self, name: str, requests: Iterable[Any]) -> Mapping[str, object]:
        match name:
            case "requests":
                return {"requests": [asdict(received) for received in requests]}
            case "faults":
                return {"faults": [asdict(fault) | {"times": times} for fault, times in self._faults.pending]}
            case "review_status":
                return {"review_status": Counter(record.review_status for record in self._state.records.values())}
            case _:
                return {
                    "urls": [{"url": each.url, "spelling": each.spelling} for each in self._webhooks.endpoints],
                    "secrets": self._webhooks.secrets,
                    "deliveries": [asdict(each) | {"body": each.body.decode()} for each in self._webhooks.deliveries],
                }

    def _register(self, fields: Mapping[str, Any]) -> None:
        spelling = fields.get("spelling", "snake")
        self._webhooks.register(_text(fields, "url"), spelling=spelling)

    def _set_review_status(self, fields: Mapping[str, Any]) -> None:
        ids = fields.get("ids")
        if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
            raise ValueError("ids must be a list of strings")
        self._state.set_review_status(ids, _text(fields, "review_status"))


def _fields(body: bytes, *names: str) -> Mapping[str, Any]:
    fields = parse_json(body)
    if not isinstance(fields, dict) or not fields.keys() <= set(names):
        raise ValueError(f"the body must be an object of {' and '.join(names)}")
    return fields


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name} must be a string")  # noqa: TRY004  # as all that a request does wrong
    return value
