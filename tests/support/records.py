"""Records as they go over the wire, pages of them, and a server that leads from page to page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import msgspec

from tests.support.calls import Step, answer

Node = dict[str, Any]
Path = tuple[str | int, ...]

USD: Node = {"amount": msgspec.Raw(b"100.50"), "currency": "USD"}
EUR: Node = {"amount": msgspec.Raw(b"93.27"), "currency": "EUR"}
VALUE: Node = {
    "brex_field_id": "ef_1",
    "remote_field_id": "gl",
    "brex_field_value_id": "efo_1",
    "remote_field_value_id": "6000",
    "field_name": "GL Account",
    "field_value_name": "6000 Travel",
    "type": "IDENTIFIER",
}
USER: Node = {"id": "cuuser_1", "first_name": "Ada  ", "last_name": "Okafor ", "email": "ada@example.com"}
USER |= {"role": "BOOKKEEPER", "status": "ACTIVE", "manager_id": "cuuser_2", "department_id": "d_1"}
USER |= {"department_name": "Field ", "location_id": "l_1", "location_name": "Lyon", "title_id": "t_1"}
USER |= {"title_name": "Clerk", "manager_first_name": "Lin ", "manager_last_name": "Sato"}
USER |= {"manager_title_id": "t_2", "manager_title_name": "Head", "account_id": "cuacc_1"}
VENDOR: Node = {"id": "vendor_1", "name": "Paper Ltd ", "contact_name": "Tom", "email": "tom@example.com"}
VENDOR |= {"website": "https://paper.example", "phone": "+1 555 0100"}
RECORD: Node = {
    "id": "accr_1",
    "amount": USD,
    "original_amount": EUR,
    "type": "BILL_EXPENSE",
    "review_status": "READY_FOR_EXPORT",
    "source_id": "exp_1",
    "source_type": "BILL",
    "erp_posting_date": "2025-04-24T00:00:00Z",
    "updated_at": "2025-04-24T16:13:49.959513Z",
    "version": 7,
    "receipts": [{"id": "receipt_1", "download_uris": ["https://files.example/1"]}],
    "user": USER,
    "vendor": VENDOR,
    "memo": "Team lunch",
    "posted_at": "2025-04-24T18:13:49.959513+02:00",
    "due_at": "2025-05-24T00:00:00Z",
    "invoice_number": "INV-1",
    "line_items": [
        {
            "id": "arli_1",
            "type": side,
            "amount": USD,
            "original_amount": EUR,
            "memo": "Pizza",
            "accounting_field_values": [VALUE],
            "billing_amount": USD,
        }
        for side in ("DEBIT", "CREDIT")
    ],
    "billing_amount": USD,
    "status": "SUBMITTED",
}
"""Every field of every model is there, but for the line items' amortization, which may be anything."""

REQUIRED = {
    "record": "id amount type review_status source_type erp_posting_date updated_at version posted_at line_items",
    "money": "amount currency",
    "line": "id type amount accounting_field_values",
    "value": "brex_field_id",
    "receipt": "id",
    "user": "id first_name last_name email role status",
    "vendor": "id name",
}
"""As in the contract, after the overlay."""
KINDS = dict.fromkeys(("amount", "original_amount", "billing_amount"), "money")
KINDS |= {"line_items": "line", "accounting_field_values": "value"}
KINDS |= {"receipts": "receipt", "user": "user", "vendor": "vendor"}

_write = msgspec.json.Encoder(decimal_format="number").encode


def write(value: object) -> bytes:
    """Write JSON; a msgspec.Raw is written as it is."""
    return _write(value)


def record(record_id: str = "accr_1", **changes: object) -> Node:
    return RECORD | {"id": record_id} | changes


def fields(node: Node = RECORD, kind: str = "record", path: Path = ()) -> Iterator[tuple[Path, bool]]:
    """Each field of a record and of what is in it, the first of a list only: where, and whether it is required."""
    for name, value in node.items():
        yield (*path, name), name in REQUIRED[kind].split()
        inner, deeper = (value[0], (name, 0)) if isinstance(value, list) else (value, (name,))
        if isinstance(inner, dict):
            yield from fields(inner, KINDS[name], (*path, *deeper))


def changed(path: Path, value: object = ..., node: Node = RECORD) -> Node:
    """The record with another value there, or without the field."""
    twin = _clone(node)
    place: Any = twin
    for step in path[:-1]:
        place = place[step]
    if value is ...:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return twin


def _clone(value: Any) -> Any:
    """Unlike deepcopy, without the parts that two places share."""
    if isinstance(value, dict):
        return {name: _clone(item) for name, item in value.items()}
    return [_clone(item) for item in value] if isinstance(value, list) else value


def at(thing: object, path: Path) -> object:
    """What a model holds there."""
    for step in path:
        thing = thing[step] if isinstance(thing, list) and isinstance(step, int) else getattr(thing, str(step))
    return thing


def shown(path: Path) -> str:
    """The path as errors write it."""
    return "$" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)


def page(*items: object, cursor: object = None, more: bool | None = None, **others: object) -> bytes:
    has_next = cursor is not None if more is None else more
    return write({"items": items, "next_cursor": cursor, "has_next_page": has_next} | others)


def serve(pages: Mapping[str | None, bytes], after: float = 0.0) -> Step:
    """Answer with the page that the cursor leads to."""

    async def step(request: httpx.Request) -> httpx.Response:
        return await answer(200, pages[request.url.params.get("cursor")], after)(request)

    return step


def chain(*items: list[object]) -> dict[str | None, bytes]:
    """Pages that follow each other: the first without a cursor, then "1", "2", …"""
    last = len(items) - 1
    return {str(n) if n else None: page(*each, cursor=str(n + 1) if n < last else None) for n, each in enumerate(items)}
