from __future__ import annotations

from ..models.integration_status import IntegrationStatus
from ..types import AwareDatetime, Model


class Integration(Model, kw_only=True):
    """A connection between a Brex account and an accounting system.

    Attributes:
        vendor: The accounting system, by the vendor id that Brex assigned to it
        vendor_account_id: The customer's account in the accounting system
        status: Whether the integration is in use
        created_at: When the integration was made
        integration_id: Brex's id of the integration
        id: The integration's id, where the server does not send it as integration_id
    """

    vendor: str
    vendor_account_id: str
    status: IntegrationStatus
    created_at: AwareDatetime
    integration_id: str | None = None
    id: str | None = None
