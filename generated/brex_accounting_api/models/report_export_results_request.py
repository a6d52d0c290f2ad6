from __future__ import annotations

from attrs import define as _attrs_define

from ..types import Model, OneOf


@_attrs_define(kw_only=True, eq=False, repr=False, weakref_slot=False, getstate_setstate=False)
class ReportExportResultsRequest(Model):
    """The results of an export, each record once.

    Attributes:
        results: A success or a failure for each record
    """

    results: list[OneOf[SuccessfulExportResult, FailedExportResult]]


from ..models.failed_export_result import FailedExportResult
from ..models.successful_export_result import SuccessfulExportResult
