from __future__ import annotations

from attrs import define as _attrs_define

from ..types import Model


@_attrs_define(kw_only=True, eq=False, repr=False, weakref_slot=False, getstate_setstate=False)
class AccountingRecordsResponse(Model):
    """One page of accounting records.

    Attributes:
        items: The records on this page
        total_count: How many records match in all, a whole number, where Brex counts them
        next_cursor: The `cursor` of the next page, if there is one
        has_next_page: Whether another page follows
    """

    items: list[AccountingRecordDetailed]
    total_count: int | None = None
    next_cursor: str | None = None
    has_next_page: bool

    def __attrs_pre_init__(self) -> None:
        """Spare msgspec the search for what did not come, which takes longer than the reading of what came."""
        self.total_count = None
        self.next_cursor = None


from ..models.accounting_record_detailed import AccountingRecordDetailed
