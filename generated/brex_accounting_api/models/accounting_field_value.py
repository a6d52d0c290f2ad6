from __future__ import annotations

from ..types import Model


class AccountingFieldValue(Model, kw_only=True):
    """The value of one accounting field, such as a ledger account, on a line item.

    Attributes:
        brex_field_id: Brex's id of the field
        brex_field_value_id: Brex's id of the value
        remote_field_id: The accounting system's id of the field; null when Brex has none
        remote_field_value_id: The accounting system's id of the value; null when Brex has none
    """

    brex_field_id: str
    brex_field_value_id: str
    remote_field_id: str | None = None
    remote_field_value_id: str | None = None
