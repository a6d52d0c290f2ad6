from ..types import OpenStrEnum


class IntegrationStatus(OpenStrEnum):
    ACTIVE = "ACTIVE"
    DISABLED = "DISABLED"

    def __str__(self) -> str:
        return str(self.value)
