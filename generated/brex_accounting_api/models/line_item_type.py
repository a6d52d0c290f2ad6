from ..types import OpenStrEnum


class LineItemType(OpenStrEnum):
    CREDIT = "CREDIT"
    DEBIT = "DEBIT"

    def __str__(self) -> str:
        return str(self.value)
