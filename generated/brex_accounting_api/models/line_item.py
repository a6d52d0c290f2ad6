from __future__ import annotations

from attrs import define as _attrs_define

from ..models.line_item_type import LineItemType
from ..types import Anything, Model


@_attrs_define(kw_only=True, eq=False, repr=False, weakref_slot=False, getstate_setstate=False)
class LineItem(Model):
    """One line of an accounting record, a debit or a credit.

    Attributes:
        id: Brex's id of the line item
        type: The side the line is on; the amount itself carries no sign
        amount: A sum of money in one currency.
        original_amount: The sum in its original currency
        memo: A note on the line
        accounting_field_values: How the line is coded for the ledger
        billing_amount: The sum in the currency that is billed
        amortization: Over which time the line is spread; its form is not published
    """

    id: str
    type: LineItemType
    amount: Money
    original_amount: Money | None = None
    memo: str | None = None
    accounting_field_values: list[AccountingFieldValue]
    billing_amount: Money | None = None
    amortization: Anything | None = None

    def __attrs_pre_init__(self) -> None:
        """Spare msgspec the search for what did not come, which takes longer than the reading of what came."""
        self.original_amount = None
        self.memo = None
        self.billing_amount = None
        self.amortization = None


from ..models.accounting_field_value import AccountingFieldValue
from ..models.money import Money
