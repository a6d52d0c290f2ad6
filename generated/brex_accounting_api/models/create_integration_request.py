from __future__ import annotations

from attrs import define as _attrs_define

from ..types import Model


@_attrs_define(kw_only=True, eq=False, repr=False, weakref_slot=False, getstate_setstate=False)
class CreateIntegrationRequest(Model):
    """The accounting system to register with the account.

    Attributes:
        vendor: The accounting system, by the vendor id that Brex assigned to it on request
        vendor_account_id: The customer's account in the accounting system
    """

    vendor: str
    vendor_account_id: str
