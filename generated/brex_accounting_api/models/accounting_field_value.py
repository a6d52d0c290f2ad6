from __future__ import annotations

from attrs import define as _attrs_define

from ..types import Model


@_attrs_define(kw_only=True, eq=False, repr=False, weakref_slot=False, getstate_setstate=False)
class AccountingFieldValue(Model):
    """The value of one accounting field, such as a ledger account, on a line item.

    Attributes:
        brex_field_id: Brex's id of the field
        remote_field_id: The accounting system's id of the field; null when Brex has none
        brex_field_value_id: Brex's id of the value
        remote_field_value_id: The accounting system's id of the value; null when Brex has none
        field_name: The field's name, such as GL Account
        field_value_name: The value's name, such as the account's number and name
        type: The kind of value, such as IDENTIFIER
    """

    brex_field_id: str
    remote_field_id: str | None = None
    brex_field_value_id: str | None = None
    remote_field_value_id: str | None = None
    field_name: str | None = None
    field_value_name: str | None = None
    type: str | None = None

    def __attrs_pre_init__(self) -> None:
        """Spare msgspec the search for what did not come, which takes longer than the reading of what came."""
        self.remote_field_id = None
        self.brex_field_value_id = None
        self.remote_field_value_id = None
        self.field_name = None
        self.field_value_name = None
        self.type = None
