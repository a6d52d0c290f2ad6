"""Faults: a table of what can go wrong with an answer, and the queue in which they wait."""

import gzip
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, get_args

from ._gateway import OPERATIONS
from ._oauth import ENDPOINT_IDS
from ._wire import Headers, Number, Reply, gateway_error, html, to_json

FaultKind = Literal[
    "status",
    "html",
    "json",
    "delay",
    "reset_before",
    "reset_after",
    "cut_body",
    "merge_json",
    "replace_status",
    "bom",
    "encode",
    "surplus",
]
FaultBody = Literal["json", "html", "empty"]
_OPERATION_IDS: Final = tuple(operation.id for operation in OPERATIONS)
_NO_BODY: Final = {204, 304}


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong with the next requests for an operation; ValueError when a field is invalid.

    These answer instead of the API, which applies the change only with `applied`:

    - `status`: answers `status` with the gateway's error, or with `json`, HTML or nothing (`body`), and `retry_after`
    - `html`, `json`: answers 200 with an HTML page, or with `json`

    These apply the change, except for `reset_before`, and alter the answer:

    - `delay`: waits `seconds` before the change is applied; with `applied`, after it

    - `reset_before`, `reset_after`: resets the connection
    - `cut_body`: announces the whole answer, sends half of it and closes the connection
    - `merge_json`: changes the answer by `json`, a JSON Merge Patch (RFC 7396), in which null removes
    - `replace_status`: sends the answer with `status`
    - `bom`: sends a byte order mark before the answer
    - `encode`: sends `encoding` as the Content-Encoding; gzip and x-gzip compress the answer, into `members` members
    - `surplus`: sends a second answer that nobody asked for right behind the first: `json`, or the first again

    Attributes:
        operation: an operationId, or None for any. The authorization server's `token`, `authorize` and `discovery` are
            matched by name only.
        times: the number of requests it applies to.
        seconds: how long the answer is held back; for every kind.
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
    encoding: str = "gzip"
    members: int = 1

    def __post_init__(self) -> None:
        """Check each field, since faults also arrive as JSON."""
        _check("kind", self.kind, one_of=get_args(FaultKind))
        _check("operation", self.operation, one_of=(None, *_OPERATION_IDS, *ENDPOINT_IDS))
        _check("body", self.body, one_of=get_args(FaultBody))
        _check("applied", self.applied, one_of=(True, False))
        _check_range("times", self.times, 1, 1_000_000, types=(int,))
        _check_range("status", self.status, 200, 599, types=(int,))
        _check_range("seconds", self.seconds, 0, 3600, types=(int, float))
        _check_range("members", self.members, 1, 1000, types=(int,))
        _check_text("encoding", self.encoding)
        if self.retry_after is not None:
            _check_text("retry_after", self.retry_after)
        try:
            to_json(self.json)
        except (TypeError, ValueError):
            raise ValueError("json must be a JSON value") from None

    @property
    def effect(self) -> "Effect":
        """What the fault does: its entry in the table."""
        return _EFFECTS[self.kind]

    @property
    def lets_through(self) -> bool:
        """Whether the request is performed."""
        return self.applied if self.effect.applies is None else self.effect.applies

    def alter(self, reply: Reply) -> Reply:
        """Return the answer to send."""
        return self.effect.alter(self, reply)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What a kind of fault does. `applies` None means that the fault decides."""

    applies: bool | None = True
    alter: Callable[[Fault, Reply], Reply] = lambda _, reply: reply
    ending: Literal["reply", "reset", "cut", "surplus"] = "reply"


def _status(fault: Fault, _: Reply) -> Reply:
    headers: Headers = () if fault.retry_after is None else (("Retry-After", fault.retry_after),)
    if fault.body == "html":
        return html(fault.status, headers=headers)
    if fault.body == "empty" or fault.status in _NO_BODY:
        return Reply(fault.status, b"", headers)
    if fault.json is not None:
        return Reply(fault.status, to_json(fault.json).encode(), headers)
    return gateway_error(fault.status, headers=headers)


def _merge_json(fault: Fault, reply: Reply) -> Reply:
    if reply.media_type != "application/json":
        return reply
    # Number keeps the digits of amounts.
    answer = json.loads(reply.body, parse_float=Number, parse_int=Number)
    return replace(reply, body=to_json(_merge(answer, fault.json)).encode())


def _encode(fault: Fault, reply: Reply) -> Reply:
    body, size = reply.body, -(-len(reply.body) // fault.members) or 1
    if fault.encoding.lower() in {"gzip", "x-gzip"}:
        parts = [body[start : start + size] for start in range(0, size * fault.members, size)]
        body = b"".join(gzip.compress(part) for part in parts)
    return replace(reply, body=body, headers=(*reply.headers, ("Content-Encoding", fault.encoding)))


_EFFECTS: Final[Mapping[FaultKind, Effect]] = {
    "status": Effect(applies=None, alter=_status),
    "html": Effect(applies=None, alter=lambda _, __: html(200)),
    "json": Effect(applies=None, alter=lambda fault, _: Reply(200, to_json(fault.json).encode())),
    "delay": Effect(),
    "reset_before": Effect(applies=False, ending="reset"),
    "reset_after": Effect(ending="reset"),
    "cut_body": Effect(ending="cut"),
    "merge_json": Effect(alter=_merge_json),
    "replace_status": Effect(alter=lambda fault, reply: replace(reply, status=fault.status)),
    "bom": Effect(alter=lambda _, reply: replace(reply, body=b"\xef\xbb\xbf" + reply.body)),
    "encode": Effect(alter=_encode),
    "surplus": Effect(ending="surplus"),
}


class FaultQueue:
    """Queued faults; a request takes the first one that matches."""

    def __init__(self) -> None:
        self._pending: list[tuple[Fault, int]] = []

    @property
    def pending(self) -> list[tuple[Fault, int]]:
        """Each fault, and how many times it is left."""
        return list(self._pending)

    def add(self, fault: Fault) -> None:
        """Append a fault."""
        self._pending.append((fault, fault.times))

    def clear(self) -> None:
        """Remove all faults."""
        self._pending.clear()

    def take(self, operation_id: str) -> Fault | None:
        """Return the fault for a request of this operation, if any."""
        for position, (fault, times) in enumerate(self._pending):
            if operation_id == fault.operation or (fault.operation is None and operation_id in _OPERATION_IDS):
                self._pending[position : position + 1] = [(fault, times - 1)] if times > 1 else []
                return fault
        return None


def fault_from_json(value: Mapping[str, Any]) -> Fault:
    """Make a fault from its fields; ValueError or TypeError when they are invalid."""
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


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        raise ValueError(f"{name} must be printable ASCII text")
