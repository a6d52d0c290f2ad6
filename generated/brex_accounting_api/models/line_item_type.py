from ..types import OpenStrEnum


class LineItemType(OpenStrEnum):
    CREDIT = "CREDIT"
    DEBIT = "DEBIT"
