from __future__ import annotations

from attrs import define as _attrs_define

from ..types import Model


@_attrs_define(kw_only=True, eq=False, repr=False, weakref_slot=False, getstate_setstate=False)
class Receipt(Model):
    """A receipt attached to a record.

    Attributes:
        id: Brex's id of the receipt
        download_uris: Links to the receipt's files; they work for 15 minutes and need no token
    """

    id: str
    download_uris: list[str] | None = None

    def __attrs_pre_init__(self) -> None:
        """Spare msgspec the search for what did not come, which takes longer than the reading of what came."""
        self.download_uris = None
