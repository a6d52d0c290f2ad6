from __future__ import annotations

from attrs import define as _attrs_define

from ..types import Model


@_attrs_define(kw_only=True, eq=False, repr=False, weakref_slot=False, getstate_setstate=False)
class FailedExportResult(Model):
    """A record that the accounting system did not take.

    Attributes:
        accounting_record_id: Brex's id of the record
        failure: Why the accounting system did not take a record.
    """

    accounting_record_id: str
    failure: ExportFailureDetails


from ..models.export_failure_details import ExportFailureDetails
