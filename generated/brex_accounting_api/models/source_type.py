from ..types import OpenStrEnum


class SourceType(OpenStrEnum):
    BILL = "BILL"
    CARD = "CARD"
    REIMBURSEMENT = "REIMBURSEMENT"

    def __str__(self) -> str:
        return str(self.value)
