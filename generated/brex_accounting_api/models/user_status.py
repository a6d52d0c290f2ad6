from ..types import OpenStrEnum


class UserStatus(OpenStrEnum):
    ACTIVE = "ACTIVE"
    ARCHIVED = "ARCHIVED"
    DELETED = "DELETED"
    DISABLED = "DISABLED"
    INACTIVE = "INACTIVE"
    INVITED = "INVITED"
    PENDING_ACTIVATION = "PENDING_ACTIVATION"

    def __str__(self) -> str:
        return str(self.value)
