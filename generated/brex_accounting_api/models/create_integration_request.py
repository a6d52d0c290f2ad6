from __future__ import annotations

from ..types import Model


class CreateIntegrationRequest(Model, kw_only=True):
    """The accounting system to register with the account.

    Attributes:
        vendor: The accounting system, by the vendor id that Brex assigned to it on request
        vendor_account_id: The customer's account in the accounting system
    """

    vendor: str
    vendor_account_id: str
