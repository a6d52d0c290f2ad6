from ..types import OpenStrEnum


class SourceType(OpenStrEnum):
    CARD = "CARD"
    REIMBURSEMENT = "REIMBURSEMENT"
    BILL = "BILL"
