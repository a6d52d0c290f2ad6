from __future__ import annotations

from ..models.line_item_type import LineItemType
from ..types import Model


class LineItem(Model, kw_only=True):
    """One line of an accounting record, a debit or a credit.

    Attributes:
        id: Brex's id of the line item
        type: The side the line is on; the amount itself carries no sign
        amount: A sum of money in one currency.
        accounting_field_values: How the line is coded for the ledger
        original_amount: The sum in its original currency
        memo: A note on the line
    """

    id: str
    type: LineItemType
    amount: Money
    accounting_field_values: list[AccountingFieldValue]
    original_amount: Money | None = None
    memo: str | None = None


from ..models.accounting_field_value import AccountingFieldValue
from ..models.money import Money
