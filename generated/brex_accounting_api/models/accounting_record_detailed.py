from __future__ import annotations

from ..models.record_type import RecordType
from ..models.review_status import ReviewStatus
from ..models.source_type import SourceType
from ..types import AwareDatetime, Model, WholeNumber


class AccountingRecordDetailed(Model, kw_only=True):
    """A financial event on the account, with all that an accounting system needs to book it.

    Attributes:
        id: Brex's id of the record
        amount: A sum of money in one currency.
        type: What happened, such as a card expense that settled or a bill that was paid
        review_status: How far the record is on its way to the accounting system
        source_type: The kind of source behind the record
        erp_posting_date: The date to book the record under in the accounting system
        updated_at: When the record last changed
        version: The revision of the record, a whole number
        posted_at: When the event was posted at Brex; this is not the date of purchase
        line_items: The lines to book
        original_amount: The sum in its original currency
        source_id: Brex's id of the expense, reimbursement or bill behind the record
        receipts: The receipts attached to the record
        user: The user who spent or claimed the money
        vendor: The other party
        memo: A note on the record
        due_at: When payment is due
        invoice_number: The number on the vendor's invoice
    """

    id: str
    amount: Money
    type: RecordType
    review_status: ReviewStatus
    source_type: SourceType
    erp_posting_date: AwareDatetime
    updated_at: AwareDatetime
    version: WholeNumber
    posted_at: AwareDatetime
    line_items: list[LineItem]
    original_amount: Money | None = None
    source_id: str | None = None
    receipts: list[Receipt] | None = None
    user: User | None = None
    vendor: Vendor | None = None
    memo: str | None = None
    due_at: AwareDatetime | None = None
    invoice_number: str | None = None


from ..models.line_item import LineItem
from ..models.money import Money
from ..models.receipt import Receipt
from ..models.user import User
from ..models.vendor import Vendor
