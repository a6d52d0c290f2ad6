from __future__ import annotations

from ..types import Model


class SuccessfulExportResult(Model, kw_only=True):
    """A record that the accounting system took.

    Attributes:
        accounting_record_id: Brex's id of the record
        success: Where an exported record is found in the accounting system.
    """

    accounting_record_id: str
    success: ExportSuccessDetails


from ..models.export_success_details import ExportSuccessDetails
