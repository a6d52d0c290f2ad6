from __future__ import annotations

from decimal import Decimal

from ..types import Model


class Money(Model, kw_only=True):
    """A sum of money in one currency.

    Attributes:
        amount: The sum in major currency units, 100.5 for a hundred dollars and fifty cents
        currency: The currency's code, such as USD
    """

    amount: Decimal
    currency: str
