from ..types import OpenStrEnum


class QueryAccountingRecordsSourceType(OpenStrEnum):
    CARD = "CARD"
    REIMBURSEMENT = "REIMBURSEMENT"
    BILL = "BILL"
