"""The public names of what the API sends."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec

from brex_accounting_api.models import Integration as WireIntegration
from brex_accounting_api.models import IntegrationStatus
from brex_accounting_api.types import decode

__all__ = ["Integration", "IntegrationStatus", "read_integration"]

# What `Integration` holds. A property that Brex adds is unknown to it also when the generated model knows it already.
_KNOWN = {"integration_id", "id", "vendor", "vendor_account_id", "status", "created_at"}


class Integration(msgspec.Struct, kw_only=True, frozen=True):
    """A connection between a Brex account and an accounting system."""

    id: str
    """Brex's id of it, ``int_…``."""
    vendor: str
    """The vendor id that Brex assigned to the accounting system."""
    vendor_account_id: str
    """The customer's account in the accounting system."""
    status: IntegrationStatus
    """ACTIVE or DISABLED; a value that this version does not know is kept, and equals its string."""
    created_at: datetime
    """With its offset."""
    unknown_fields: Mapping[str, Any] = {}
    """What the API sent that this version does not know."""

    def __hash__(self) -> int:
        return hash(self.id)


def read_integration(body: bytes) -> Integration:
    """Read an integration. Its id comes as `integration_id` or as `id`: Brex publishes both (contract, trap 1)."""
    wire: WireIntegration = decode(WireIntegration, body)
    integration_id = wire.integration_id or wire.id
    if not integration_id:
        message = "Object missing both `integration_id` and `id`"
        raise ValueError(message)
    return Integration(
        id=integration_id,
        vendor=wire.vendor,
        vendor_account_id=wire.vendor_account_id,
        status=wire.status,
        created_at=wire.created_at,
        unknown_fields={name: value for name, value in wire.to_dict().items() if name not in _KNOWN},
    )
