from ..types import OpenStrEnum


class QueryAccountingRecordsReviewStatus(OpenStrEnum):
    PREPARE = "PREPARE"
    REVIEW = "REVIEW"
    EXPORTED = "EXPORTED"
    READY_FOR_EXPORT = "READY_FOR_EXPORT"
