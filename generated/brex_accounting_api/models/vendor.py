from __future__ import annotations

from attrs import define as _attrs_define

from ..types import Model


@_attrs_define(kw_only=True, eq=False, repr=False, weakref_slot=False, getstate_setstate=False)
class Vendor(Model):
    """The vendor a record's money went to or came from.

    Attributes:
        id: Brex's id of the vendor
        name: Name of the vendor
        contact_name: The person to contact there
        email: Email address
        website: Address of the website
        phone: Phone number
    """

    id: str
    name: str
    contact_name: str | None = None
    email: str | None = None
    website: str | None = None
    phone: str | None = None

    def __attrs_pre_init__(self) -> None:
        """Spare msgspec the search for what did not come, which takes longer than the reading of what came."""
        self.contact_name = None
        self.email = None
        self.website = None
        self.phone = None
