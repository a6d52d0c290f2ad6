from __future__ import annotations

from attrs import define as _attrs_define

from ..models.record_type import RecordType
from ..models.review_status import ReviewStatus
from ..models.source_type import SourceType
from ..types import AwareDatetime, Model


@_attrs_define(kw_only=True, eq=False, repr=False, weakref_slot=False, getstate_setstate=False)
class AccountingRecordDetailed(Model):
    """A financial event on the account, with all that an accounting system needs to book it.

    Attributes:
        id: Brex's id of the record
        amount: A sum of money in one currency.
        original_amount: The sum in its original currency
        type: What happened, such as a card expense that settled or a bill that was paid
        review_status: How far the record is on its way to the accounting system
        source_id: Brex's id of the expense, reimbursement or bill behind the record
        source_type: The kind of source behind the record
        erp_posting_date: The date to book the record under in the accounting system
        updated_at: When the record last changed
        version: The revision of the record, a whole number
        receipts: The receipts attached to the record
        user: The user who spent or claimed the money
        vendor: The other party
        memo: A note on the record
        posted_at: When the event was posted at Brex; this is not the date of purchase
        due_at: When payment is due
        invoice_number: The number on the vendor's invoice
        line_items: The lines to book
        billing_amount: The sum in the currency that is billed
        status: How far the expense is at Brex, such as SUBMITTED; review_status says how far the record is
    """

    id: str
    amount: Money
    original_amount: Money | None = None
    type: RecordType
    review_status: ReviewStatus
    source_id: str | None = None
    source_type: SourceType
    erp_posting_date: AwareDatetime
    updated_at: AwareDatetime
    version: int
    receipts: list[Receipt] | None = None
    user: User | None = None
    vendor: Vendor | None = None
    memo: str | None = None
    posted_at: AwareDatetime
    due_at: AwareDatetime | None = None
    invoice_number: str | None = None
    line_items: list[LineItem]
    billing_amount: Money | None = None
    status: str | None = None

    def __attrs_pre_init__(self) -> None:
        """Spare msgspec the search for what did not come, which takes longer than the reading of what came."""
        self.original_amount = None
        self.source_id = None
        self.receipts = None
        self.user = None
        self.vendor = None
        self.memo = None
        self.due_at = None
        self.invoice_number = None
        self.billing_amount = None
        self.status = None


from ..models.line_item import LineItem
from ..models.money import Money
from ..models.receipt import Receipt
from ..models.user import User
from ..models.vendor import Vendor
