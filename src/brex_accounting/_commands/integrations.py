"""integrations create, ensure, disconnect and reactivate."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

from cyclopts import Parameter

from brex_accounting.client import BrexAccounting
from brex_accounting.errors import IntegrationExistsError, Outcome
from brex_accounting.models import Integration

from .connection import HERE, Connection
from .exit_codes import Code, stop
from .ledger import moment
from .options import Flag
from .output import write_fields, write_json
from .signals import run
from .standard_streams import note

T = TypeVar("T")
KEY = "Repeats an earlier command whose outcome is unknown: the key that it named."


def create(
    vendor: str,
    vendor_account_id: str,
    /,
    *,
    idempotency_key: Annotated[str | None, Parameter(help=KEY)] = None,
    json: Flag = False,
    connection: Connection = HERE,
) -> None:
    """Connect an accounting system, or show the active integration that has the same vendor and account.

    Args:
        vendor: The vendor id that Brex assigned to the accounting system.
        vendor_account_id: The customer's account in the accounting system.
        json: Print JSON.
    """
    key = idempotency_key or str(uuid.uuid4())
    _show(
        _do(connection, lambda brex: brex.integrations.create(vendor, vendor_account_id, idempotency_key=key), key),
        json=json,
    )


def ensure(
    vendor: str,
    vendor_account_id: str,
    /,
    *,
    replace: Flag = False,
    json: Flag = False,
    connection: Connection = HERE,
) -> None:
    """Make sure that this vendor and account is the active integration.

    Args:
        vendor: The vendor id that Brex assigned to the accounting system.
        vendor_account_id: The customer's account in the accounting system.
        replace: Disconnect the active integration that stands in the way.
        json: Print JSON.
    """
    _show(_do(connection, lambda brex: brex.integrations.ensure(vendor, vendor_account_id, replace=replace)), json=json)


def disconnect(
    integration_id: str,
    /,
    *,
    ensure: Flag = False,
    idempotency_key: Annotated[str | None, Parameter(help=KEY)] = None,
    json: Flag = False,
    connection: Connection = HERE,
) -> None:
    """Pause an active integration.

    Args:
        integration_id: The integration's id, ``int_…``.
        ensure: It is fine if it is paused already. Prints nothing.
        json: Print JSON.
    """
    if ensure:
        _refuse_key(idempotency_key)
        _do(connection, lambda brex: brex.integrations.ensure_disconnected(integration_id))
        note(f"{integration_id} is disconnected.")
        return
    key = idempotency_key or str(uuid.uuid4())
    _show(
        _do(connection, lambda brex: brex.integrations.disconnect(integration_id, idempotency_key=key), key), json=json
    )


def reactivate(
    integration_id: str,
    /,
    *,
    ensure: Flag = False,
    idempotency_key: Annotated[str | None, Parameter(help=KEY)] = None,
    json: Flag = False,
    connection: Connection = HERE,
) -> None:
    """Resume a paused integration.

    Args:
        integration_id: The integration's id, ``int_…``.
        ensure: It is fine if it is active already. Prints nothing.
        json: Print JSON.
    """
    if ensure:
        _refuse_key(idempotency_key)
        _do(connection, lambda brex: brex.integrations.ensure_active(integration_id))
        note(f"{integration_id} is active.")
        return
    key = idempotency_key or str(uuid.uuid4())
    integration = None
    try:
        integration = _do(
            connection, lambda brex: brex.integrations.reactivate(integration_id, idempotency_key=key), key
        )
    except IntegrationExistsError as error:
        if error.existing_integration_id != integration_id or error.outcome is Outcome.UNKNOWN:
            raise
    if integration is None:
        stop(f"{integration_id} is active already: use --ensure where all that matters is the end.", Code.REFUSED)
    _show(integration, json=json)


def _do(connection: Connection, call: Callable[[BrexAccounting], Awaitable[T]], key: str | None = None) -> T:
    """Call; where it is interrupted, say how to find out what became of it."""
    client = connection.client()

    async def work() -> T:
        async with client as brex:
            return await call(brex)

    try:
        return run(work())
    except KeyboardInterrupt:
        pass
    again = "repeat the command" if key is None else f"repeat the command with --idempotency-key {key}"
    return stop(f"interrupted: it may have been applied. To find out, {again}.", Code.INTERRUPTED)


def _refuse_key(key: str | None) -> None:
    if key is not None:
        stop(
            "--ensure needs no --idempotency-key: leave it out, and repeat the command as often as you like.",
            Code.USAGE,
        )


def _show(integration: Integration, *, json: bool) -> None:
    fields = {
        "id": integration.id,
        "vendor": integration.vendor,
        "vendor_account_id": integration.vendor_account_id,
        "status": str(integration.status),
        "created_at": moment(integration.created_at),
    }
    if json:
        write_json(fields)
    else:
        write_fields(fields)
