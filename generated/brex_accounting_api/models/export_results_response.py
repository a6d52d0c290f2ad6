from __future__ import annotations

from attrs import define as _attrs_define

from ..types import Model


@_attrs_define(kw_only=True, eq=False, repr=False, weakref_slot=False, getstate_setstate=False)
class ExportResultsResponse(Model):
    """The outcome of a report of export results.

    Attributes:
        updated_accounting_record_ids: The records whose result Brex recorded
    """

    updated_accounting_record_ids: list[str]
