from __future__ import annotations

from attrs import define as _attrs_define

from ..types import Model


@_attrs_define(kw_only=True, eq=False, repr=False, weakref_slot=False, getstate_setstate=False)
class SuccessfulExportResult(Model):
    """A record that the accounting system took.

    Attributes:
        accounting_record_id: Brex's id of the record
        success: Where an exported record is found in the accounting system.
    """

    accounting_record_id: str
    success: ExportSuccessDetails


from ..models.export_success_details import ExportSuccessDetails
