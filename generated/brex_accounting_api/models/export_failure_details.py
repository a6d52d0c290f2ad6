from __future__ import annotations

from attrs import define as _attrs_define

from ..types import Model


@_attrs_define(kw_only=True, eq=False, repr=False, weakref_slot=False, getstate_setstate=False)
class ExportFailureDetails(Model):
    """Why the accounting system did not take a record.

    Attributes:
        error_message: The reason, for the customer to read and act on
    """

    error_message: str
