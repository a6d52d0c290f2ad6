"""An async Python SDK for the Brex Accounting API: every call ends in a known outcome.

Names are loaded when they are first used, so that importing the package costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._auth.consent import Consent, begin_consent, finish_consent
    from ._auth.memory_store import MemoryTokenStore
    from ._auth.oauth2 import PRODUCTION_TOKEN_URL, STAGING_TOKEN_URL, OAuth2
    from ._auth.sqlite_store import SQLiteTokenStore
    from ._auth.tokens import StoredToken, Token, TokenStore
    from ._engine.attempt import Attempt
    from ._engine.limits import RateLimit
    from ._http.aiohttp import aiohttp_transport
    from ._retry import RetryPolicy
    from ._version import __version__ as __version__
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
        ReauthorizationRequiredError,
        RecordsNotReadyError,
        ServerError,
        TokenRefreshError,
        UnauthorizedError,
        UnprocessableError,
        VendorAccountMismatchError,
        WebhookVerificationError,
    )
    from .integrations import Integrations
    from .models import (
        AccountingFieldValue,
        AccountingRecord,
        ExportFailed,
        ExportResult,
        ExportSucceeded,
        Integration,
        IntegrationStatus,
        InvalidRecord,
        LineItem,
        LineItemType,
        Money,
        Receipt,
        RecordPage,
        RecordType,
        ReportOutcome,
        ReviewStatus,
        SourceType,
        User,
        Vendor,
    )
    from .records import Records, RecordStream
    from .webhooks import RecordsReadyForExport, UnknownEvent, verify_webhook

__all__ = [
    "PRODUCTION",
    "PRODUCTION_TOKEN_URL",
    "STAGING",
    "STAGING_TOKEN_URL",
    "APIError",
    "AccountingFieldValue",
    "AccountingRecord",
    "Attempt",
    "BadRequestError",
    "BrexAccounting",
    "BrexError",
    "CallTimeoutError",
    "ConfigurationError",
    "ConflictError",
    "ConnectionFailedError",
    "Consent",
    "DuplicateRecordsError",
    "ExportFailed",
    "ExportResult",
    "ExportSucceeded",
    "ForbiddenError",
    "Integration",
    "IntegrationExistsError",
    "IntegrationNotActiveError",
    "IntegrationStatus",
    "Integrations",
    "InvalidRecord",
    "InvalidResponseError",
    "LineItem",
    "LineItemType",
    "MemoryTokenStore",
    "Money",
    "NotFoundError",
    "OAuth2",
    "Outcome",
    "RateLimit",
    "RateLimitedError",
    "ReauthorizationRequiredError",
    "Receipt",
    "RecordPage",
    "RecordStream",
    "RecordType",
    "Records",
    "RecordsNotReadyError",
    "RecordsReadyForExport",
    "ReportOutcome",
    "RetryPolicy",
    "ReviewStatus",
    "SQLiteTokenStore",
    "ServerError",
    "SourceType",
    "StoredToken",
    "Token",
    "TokenRefreshError",
    "TokenStore",
    "UnauthorizedError",
    "UnknownEvent",
    "UnprocessableError",
    "User",
    "UserToken",
    "Vendor",
    "VendorAccountMismatchError",
    "WebhookVerificationError",
    "aiohttp_transport",
    "begin_consent",
    "finish_consent",
    "verify_webhook",
]

_HOMES = {
    "PRODUCTION": "client",
    "STAGING": "client",
    "RecordStream": "records",
    "Records": "records",
    "Vendor": "models",
    "User": "models",
    "SourceType": "models",
    "ReviewStatus": "models",
    "ReportOutcome": "models",
    "RecordType": "models",
    "RecordPage": "models",
    "Receipt": "models",
    "Money": "models",
    "LineItemType": "models",
    "LineItem": "models",
    "InvalidRecord": "models",
    "ExportSucceeded": "models",
    "ExportResult": "models",
    "ExportFailed": "models",
    "AccountingRecord": "models",
    "AccountingFieldValue": "models",
    "Attempt": "_engine.attempt",
    "BrexAccounting": "client",
    "Consent": "_auth.consent",
    "Integration": "models",
    "IntegrationStatus": "models",
    "Integrations": "integrations",
    "MemoryTokenStore": "_auth.memory_store",
    "OAuth2": "_auth.oauth2",
    "PRODUCTION_TOKEN_URL": "_auth.oauth2",
    "RateLimit": "_engine.limits",
    "RecordsReadyForExport": "webhooks",
    "RetryPolicy": "_retry",
    "SQLiteTokenStore": "_auth.sqlite_store",
    "STAGING_TOKEN_URL": "_auth.oauth2",
    "StoredToken": "_auth.tokens",
    "Token": "_auth.tokens",
    "TokenStore": "_auth.tokens",
    "UnknownEvent": "webhooks",
    "UserToken": "auth",
    "__version__": "_version",
    "aiohttp_transport": "_http.aiohttp",
    "begin_consent": "_auth.consent",
    "finish_consent": "_auth.consent",
    "verify_webhook": "webhooks",
}
_MODULES = {"auth", "client", "errors", "integrations", "models", "records", "webhooks"}


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return import_module(f".{name}", __name__)
    if name not in _HOMES and name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f".{_HOMES.get(name, 'errors')}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, *_MODULES, "__version__"})
