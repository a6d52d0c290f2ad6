from __future__ import annotations

from attrs import define as _attrs_define

from ..types import Model


@_attrs_define(kw_only=True, eq=False, repr=False, weakref_slot=False, getstate_setstate=False)
class ExportSuccessDetails(Model):
    """Where an exported record is found in the accounting system.

    Attributes:
        reference_id: The accounting system's id of the entry
        deep_link_url: A link that opens the entry in the accounting system; may be left out but not be null
    """

    reference_id: str | None = None
    deep_link_url: str | None = None

    def __attrs_pre_init__(self) -> None:
        """Spare msgspec the search for what did not come, which takes longer than the reading of what came."""
        self.reference_id = None
        self.deep_link_url = None
