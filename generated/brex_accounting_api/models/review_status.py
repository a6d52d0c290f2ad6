from ..types import OpenStrEnum


class ReviewStatus(OpenStrEnum):
    READY_FOR_EXPORT = "READY_FOR_EXPORT"
    PREPARE = "PREPARE"
    REVIEW = "REVIEW"
    EXPORTED = "EXPORTED"
