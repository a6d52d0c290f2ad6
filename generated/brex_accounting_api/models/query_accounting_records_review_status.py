from ..types import OpenStrEnum


class QueryAccountingRecordsReviewStatus(OpenStrEnum):
    EXPORTED = "EXPORTED"
    PREPARE = "PREPARE"
    READY_FOR_EXPORT = "READY_FOR_EXPORT"
    REVIEW = "REVIEW"

    def __str__(self) -> str:
        return str(self.value)
