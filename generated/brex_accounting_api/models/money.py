from __future__ import annotations

from decimal import Decimal

from attrs import define as _attrs_define

from ..types import Model
from ..types import refuse_number as _refuse_number


@_attrs_define(kw_only=True, eq=False, repr=False, weakref_slot=False, getstate_setstate=False)
class Money(Model):
    """A sum of money in one currency.

    Attributes:
        amount: The sum in major currency units, 100.5 for a hundred dollars and fifty cents
        currency: The currency's code, such as USD
    """

    amount: Decimal
    currency: str

    def __attrs_post_init__(self) -> None:
        if isinstance(self.amount, Decimal) and not self.amount.is_finite():
            _refuse_number("amount")
