from __future__ import annotations

from ..types import Model


class Vendor(Model, kw_only=True):
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
