"""webhook verify: check that a delivery is genuine, and show what it says."""

from __future__ import annotations

import os
import sys
from getpass import getpass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from brex_accounting.webhooks import READY_FOR_EXPORT, RecordsReadyForExport, UnknownEvent, verify_webhook

from .exit_codes import Code, sentence, stop
from .options import Flag, Texts
from .output import write_fields, write_json

SECRET = "BREX_WEBHOOK_SECRETS"  # noqa: S105 - its name


def verify(
    body: Annotated[Path | None, Parameter(allow_leading_hyphen=True)] = None,
    /,
    *,
    headers: Annotated[
        Texts,
        Parameter(name=["--header", "-H"], help='A header, "Name: value"; repeat it for more.'),
    ] = (),
    id: str | None = None,  # noqa: A002 - the option's name
    timestamp: str | None = None,
    signature: str | None = None,
    tolerance: float = 300.0,
    json: Flag = False,
) -> None:
    """Verify a webhook's delivery, and print what it says.

    The secret comes from BREX_WEBHOOK_SECRETS (several with spaces between them while it is rotated), or the command
    asks for it.

    Args:
        body: The file that holds the body, byte for byte; stdin without it, or with -.
        id: The header Webhook-Id.
        timestamp: The header Webhook-Timestamp.
        signature: The header Webhook-Signature.
        tolerance: How many seconds old or early a delivery may be.
        json: Print JSON.
    """
    given = dict(_header(each) for each in headers)
    named = {"Webhook-Id": id, "Webhook-Timestamp": timestamp, "Webhook-Signature": signature}
    given |= {name: value for name, value in named.items() if value is not None}
    secrets, content = _secrets(), _read(body)
    _show(verify_webhook(content, given, secrets, tolerance=tolerance), json=json)


def _header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or not name.strip():
        stop('--header takes "Name: value", such as "Webhook-Id: msg_1".', Code.USAGE)
    return name.strip(), value.strip()


def _secrets() -> list[str]:
    secrets = os.environ.get(SECRET, "").split()
    if not secrets and sys.stdin is not None and sys.stdin.isatty():
        secrets = getpass("Webhook secret: ").split()
    return secrets or stop(f"the secret is missing: set {SECRET}.", Code.USAGE)


def _read(body: Path | None) -> bytes:
    if body is None or str(body) == "-":
        if sys.stdin is None or sys.stdin.isatty():
            stop("the body is missing: name its file, or pipe it in.", Code.USAGE)
        return sys.stdin.buffer.read()
    try:
        return body.read_bytes()
    except OSError as error:
        problem = sentence(error)
    return stop(f"cannot read {body}: {problem}", Code.USAGE)


def _show(event: RecordsReadyForExport | UnknownEvent, *, json: bool) -> None:
    if isinstance(event, UnknownEvent):
        fields = {"webhook_id": event.webhook_id, "event_type": event.event_type}
        if json:
            write_json(fields | {"payload": event.payload})
        else:
            write_fields(fields)
        return
    of_event = {"webhook_id": event.webhook_id, "event_type": READY_FOR_EXPORT, "company_id": event.company_id}
    if json:
        write_json(of_event | {"record_ids": list(event.record_ids)})
        return
    write_fields(of_event)
    for record_id in event.record_ids:
        write_fields({"record_id": record_id})
