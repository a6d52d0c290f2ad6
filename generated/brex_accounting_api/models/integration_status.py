from ..types import OpenStrEnum


class IntegrationStatus(OpenStrEnum):
    ACTIVE = "ACTIVE"
    DISABLED = "DISABLED"
