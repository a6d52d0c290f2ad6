from __future__ import annotations

from attrs import define as _attrs_define

from ..models.integration_status import IntegrationStatus
from ..types import AwareDatetime, Model


@_attrs_define(kw_only=True, eq=False, repr=False, weakref_slot=False, getstate_setstate=False)
class Integration(Model):
    """A connection between a Brex account and an accounting system.

    Attributes:
        integration_id: Brex's id of the integration
        vendor: The accounting system, by the vendor id that Brex assigned to it
        vendor_account_id: The customer's account in the accounting system
        status: Whether the integration is in use
        created_at: When the integration was made
        id: The integration's id, where the server does not send it as integration_id
    """

    integration_id: str | None = None
    vendor: str
    vendor_account_id: str
    status: IntegrationStatus
    created_at: AwareDatetime
    id: str | None = None

    def __attrs_pre_init__(self) -> None:
        """Spare msgspec the search for what did not come, which takes longer than the reading of what came."""
        self.integration_id = None
        self.id = None
