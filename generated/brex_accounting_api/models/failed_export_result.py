from __future__ import annotations

from ..types import Model


class FailedExportResult(Model, kw_only=True):
    """A record that the accounting system did not take.

    Attributes:
        accounting_record_id: Brex's id of the record
        failure: Why the accounting system did not take a record.
    """

    accounting_record_id: str
    failure: ExportFailureDetails


from ..models.export_failure_details import ExportFailureDetails
