from __future__ import annotations

from ..types import Model, OneOf


class ReportExportResultsRequest(Model, kw_only=True):
    """The results of an export, each record once.

    Attributes:
        results: A success or a failure for each record
    """

    results: list[OneOf[SuccessfulExportResult, FailedExportResult]]


from ..models.failed_export_result import FailedExportResult
from ..models.successful_export_result import SuccessfulExportResult
