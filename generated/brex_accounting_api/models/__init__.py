"""Contains all the data models used in inputs/outputs"""

from .accounting_error_details import AccountingErrorDetails
from .accounting_error_response import AccountingErrorResponse
from .accounting_error_response_error_code import AccountingErrorResponseErrorCode
from .accounting_field_value import AccountingFieldValue
from .accounting_record_detailed import AccountingRecordDetailed
from .accounting_records_response import AccountingRecordsResponse
from .create_integration_request import CreateIntegrationRequest
from .export_failure_details import ExportFailureDetails
from .export_results_response import ExportResultsResponse
from .export_success_details import ExportSuccessDetails
from .failed_export_result import FailedExportResult
from .integration import Integration
from .integration_status import IntegrationStatus
from .line_item import LineItem
from .line_item_type import LineItemType
from .money import Money
from .query_accounting_records_review_status import QueryAccountingRecordsReviewStatus
from .query_accounting_records_source_type import QueryAccountingRecordsSourceType
from .receipt import Receipt
from .record_type import RecordType
from .report_export_results_request import ReportExportResultsRequest
from .review_status import ReviewStatus
from .source_type import SourceType
from .successful_export_result import SuccessfulExportResult
from .user import User
from .user_role import UserRole
from .user_status import UserStatus
from .vendor import Vendor

__all__ = (
    "AccountingErrorDetails",
    "AccountingErrorResponse",
    "AccountingErrorResponseErrorCode",
    "AccountingFieldValue",
    "AccountingRecordDetailed",
    "AccountingRecordsResponse",
    "CreateIntegrationRequest",
    "ExportFailureDetails",
    "ExportResultsResponse",
    "ExportSuccessDetails",
    "FailedExportResult",
    "Integration",
    "IntegrationStatus",
    "LineItem",
    "LineItemType",
    "Money",
    "QueryAccountingRecordsReviewStatus",
    "QueryAccountingRecordsSourceType",
    "Receipt",
    "RecordType",
    "ReportExportResultsRequest",
    "ReviewStatus",
    "SourceType",
    "SuccessfulExportResult",
    "User",
    "UserRole",
    "UserStatus",
    "Vendor",
)
