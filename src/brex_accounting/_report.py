"""What goes out to report results, and the operation that takes them. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from brex_accounting_api.api.accounting_records import report_accounting_export_results
from brex_accounting_api.models import (
    ExportFailureDetails,
    ExportSuccessDetails,
    FailedExportResult,
    ReportExportResultsRequest,
    SuccessfulExportResult,
)

from ._answers import printable
from ._arguments import refuse
from ._reading import read_updated_ids
from ._verdict import Operation
from .models import ExportFailed, ExportResult, ExportSucceeded

REPORT = Operation("reportAccountingExportResults", read_updated_ids)


def check_results(results: object) -> list[ExportResult]:
    """Check what a caller passed: results, and none of them for a record that another one is for."""
    if isinstance(results, (str, bytes)) or not isinstance(results, Iterable):
        refuse("results must be several results, such as a list of ExportSucceeded and ExportFailed.")
    checked = list(results)
    seen = set[str]()
    for result in checked:
        if not isinstance(result, (ExportSucceeded, ExportFailed)):
            refuse(f"results must hold ExportSucceeded and ExportFailed, not {type(result).__name__}.")
        if result.record_id in seen:
            refuse(
                f"results holds more than one result for the record {printable(result.record_id)}: report each once."
            )
        seen.add(result.record_id)
    return checked


def report_request(results: Sequence[ExportResult]) -> Mapping[str, Any]:
    """What to send to report these."""
    body = ReportExportResultsRequest(results=[_to_wire(result) for result in results])
    return report_accounting_export_results.get_kwargs(body=body)


def _to_wire(result: ExportResult) -> SuccessfulExportResult | FailedExportResult:
    if isinstance(result, ExportFailed):
        failure = ExportFailureDetails(error_message=result.error_message)
        return FailedExportResult(accounting_record_id=result.record_id, failure=failure)
    success = ExportSuccessDetails(reference_id=result.reference_id, deep_link_url=result.deep_link_url)
    return SuccessfulExportResult(accounting_record_id=result.record_id, success=success)
