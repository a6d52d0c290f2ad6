from __future__ import annotations

from ..types import Model, WholeNumber


class AccountingRecordsResponse(Model, kw_only=True):
    """One page of accounting records.

    Attributes:
        items: The records on this page
        has_next_page: Whether another page follows
        total_count: How many records match in all, a whole number, where Brex counts them
        next_cursor: The `cursor` of the next page, if there is one
    """

    items: list[AccountingRecordDetailed]
    has_next_page: bool
    total_count: WholeNumber | None = None
    next_cursor: str | None = None


from ..models.accounting_record_detailed import AccountingRecordDetailed
