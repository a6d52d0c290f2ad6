"""Faults on request: how an answer goes wrong, and the queue they wait in."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

from ._gateway import OPERATIONS
from ._oauth import ENDPOINT_IDS
from ._wire import Headers, Number, Reply, gateway_error, html, to_json

FaultKind = Literal["status", "delay", "reset_before", "reset_after", "cut_body", "html", "json", "merge_json"]
FaultBody = Literal["json", "html", "empty"]
_OPERATION_IDS = tuple(operation.id for operation in OPERATIONS)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something to go wrong with the next requests of an operation; ValueError when it makes no sense.

    The kinds: `status` answers with `status`, the gateway's envelope (or HTML, or nothing: `body`) and
    `retry_after`; `delay` answers after `seconds`; `html` answers 200 with HTML; `reset_before` and
    `reset_after` reset the connection before or after the change is applied; `cut_body` applies it,
    announces the whole answer, sends half of it and closes the connection; `json` answers 200 with `json`;
    `merge_json` changes the real answer by `json`, a JSON Merge Patch (RFC 7396), in which null removes.

    `applied`: whether the change is made first; for `status`, `html`, `json` and `delay`.
    `json`: for `json` and `merge_json`; for `status`, what the body is in place of the gateway's envelope.
    `operation`: an operationId, or None for any; `token`, `authorize` or `discovery` for the authorization
    server's, which None does not mean. `times`: how many requests it befalls.
    """

    kind: FaultKind
    operation: str | None = None
    times: int = 1
    applied: bool = False
    status: int = 503
    body: FaultBody = "json"
    retry_after: str | None = None
    seconds: float = 0.0
    json: Any = field(default=None, hash=False)

    def __post_init__(self) -> None:
        """Check each field: faults also arrive as JSON."""
        _check("kind", self.kind, one_of=get_args(FaultKind))
        _check("operation", self.operation, one_of=(None, *_OPERATION_IDS, *ENDPOINT_IDS))
        _check("body", self.body, one_of=get_args(FaultBody))
        _check("applied", self.applied, one_of=(True, False))
        _check_range("times", self.times, 1, 1_000_000, types=(int,))
        _check_range("status", self.status, 200, 599, types=(int,))
        _check_range("seconds", self.seconds, 0, 3600, types=(int, float))
        if self.retry_after is not None and not (
            isinstance(self.retry_after, str) and self.retry_after.isascii() and self.retry_after.isprintable()
        ):
            raise ValueError("retry_after must be printable ASCII text")
        try:
            to_json(self.json)
        except TypeError:
            raise ValueError("json must be a JSON value") from None

    @property
    def replaces_reply(self) -> bool:
        """Whether the fault has an answer of its own."""
        return self.kind in {"status", "html", "json"}

    @property
    def lets_through(self) -> bool:
        """Whether the request reaches the state machine."""
        return self.applied if self.replaces_reply else self.kind != "reset_before"

    def reply(self) -> Reply:
        """Return what `status`, `html` and `json` answer with."""
        if self.kind == "html":
            return html(200)
        if self.kind == "json":
            return Reply(200, to_json(self.json).encode())
        headers: Headers = () if self.retry_after is None else (("Retry-After", self.retry_after),)
        if self.body == "html":
            return html(self.status, headers=headers)
        if self.body == "empty" or self.status in {204, 304}:
            return Reply(self.status, b"", headers)
        if self.json is not None:
            return Reply(self.status, to_json(self.json).encode(), headers)
        return gateway_error(self.status, headers=headers)

    def alter(self, performed: Reply) -> Reply:
        """Return what goes out in place of the real answer."""
        if self.replaces_reply:
            return self.reply()
        if self.kind != "merge_json" or performed.media_type != "application/json":
            return performed
        # Number keeps each amount's digits.
        answer = json.loads(performed.body, parse_float=Number, parse_int=Number)
        return replace(performed, body=to_json(_merge(answer, self.json)).encode())


class FaultQueue:
    """The faults that are still to come; the first that matches a request is taken."""

    def __init__(self) -> None:
        self._pending: list[tuple[Fault, int]] = []

    @property
    def pending(self) -> list[tuple[Fault, int]]:
        """Each fault, and how many times it is still to come."""
        return list(self._pending)

    def add(self, fault: Fault) -> None:
        """Put a fault at the end."""
        self._pending.append((fault, fault.times))

    def clear(self) -> None:
        """Forget all faults."""
        self._pending.clear()

    def take(self, operation_id: str) -> Fault | None:
        """Return the fault that befalls a request of this operation."""
        for position, (fault, times) in enumerate(self._pending):
            if operation_id == fault.operation or (fault.operation is None and operation_id in _OPERATION_IDS):
                self._pending[position : position + 1] = [(fault, times - 1)] if times > 1 else []
                return fault
        return None


def fault_from_json(value: Mapping[str, Any]) -> Fault:
    """Make a fault from its fields; ValueError or TypeError when they make none."""
    return Fault(**value)


def _merge(value: Any, patch: Any) -> Any:
    """Apply a JSON Merge Patch."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(value) if isinstance(value, dict) else {}
    for name, change in patch.items():
        if change is None:
            merged.pop(name, None)
        else:
            merged[name] = _merge(merged.get(name), change)
    return merged


def _check(name: str, value: object, *, one_of: tuple[object, ...]) -> None:
    if not any(value is choice or (isinstance(choice, str) and value == choice) for choice in one_of):
        raise ValueError(f"{name} must be one of {', '.join(map(str, one_of))}")


def _check_range(name: str, value: object, low: int, high: int, *, types: tuple[type, ...]) -> None:
    if type(value) not in types or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(f"{name} must be a number from {low} to {high}")
