"""An async Python SDK for the Brex Accounting API: every call ends in a known outcome."""

from ._call import Attempt
from ._limits import RateLimit
from ._retry import RetryPolicy
from .auth import UserToken
from .client import PRODUCTION, STAGING, BrexAccounting
from .errors import (
    APIError,
    BadRequestError,
    BrexError,
    CallTimeoutError,
    ConfigurationError,
    ConflictError,
    ConnectionFailedError,
    DuplicateRecordsError,
    ForbiddenError,
    IntegrationExistsError,
    IntegrationNotActiveError,
    InvalidResponseError,
    NotFoundError,
    Outcome,
    RateLimitedError,
    RecordsNotReadyError,
    ServerError,
    UnauthorizedError,
    UnprocessableError,
    VendorAccountMismatchError,
)
from .integrations import Integrations
from .models import Integration, IntegrationStatus

__all__ = [
    "PRODUCTION",
    "STAGING",
    "APIError",
    "Attempt",
    "BadRequestError",
    "BrexAccounting",
    "BrexError",
    "CallTimeoutError",
    "ConfigurationError",
    "ConflictError",
    "ConnectionFailedError",
    "DuplicateRecordsError",
    "ForbiddenError",
    "Integration",
    "IntegrationExistsError",
    "IntegrationNotActiveError",
    "IntegrationStatus",
    "Integrations",
    "InvalidResponseError",
    "NotFoundError",
    "Outcome",
    "RateLimit",
    "RateLimitedError",
    "RecordsNotReadyError",
    "RetryPolicy",
    "ServerError",
    "UnauthorizedError",
    "UnprocessableError",
    "UserToken",
    "VendorAccountMismatchError",
]
