"""An async Python SDK for the Brex Accounting API: every call ends in a known outcome.

Names are loaded when they are first used, so that importing the package costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from ._version import __version__ as __version__

if TYPE_CHECKING:
    from ._auth.consent import Consent as Consent, begin_consent as begin_consent  # noqa: I001 - or one statement a name
    from ._auth.memory_store import MemoryTokenStore as MemoryTokenStore
    from ._auth.oauth2 import (
        PRODUCTION_TOKEN_URL as PRODUCTION_TOKEN_URL,
        STAGING_TOKEN_URL as STAGING_TOKEN_URL,
        OAuth2 as OAuth2,
    )
    from ._auth.onboarding import save_grant as save_grant
    from ._auth.redemption import finish_consent as finish_consent
    from ._auth.sqlite_store import SQLiteTokenStore as SQLiteTokenStore
    from ._auth.tokens import StoredToken as StoredToken, Token as Token, TokenStore as TokenStore
    from ._engine.attempt import Attempt as Attempt
    from ._engine.limits import RateLimit as RateLimit
    from ._http.aiohttp import aiohttp_transport as aiohttp_transport
    from ._retry import RetryPolicy as RetryPolicy
    from .auth import UserToken as UserToken
    from .client import PRODUCTION as PRODUCTION, STAGING as STAGING, BrexAccounting as BrexAccounting
    from .errors import (
        APIError as APIError,
        BadRequestError as BadRequestError,
        BrexError as BrexError,
        CallTimeoutError as CallTimeoutError,
        ConfigurationError as ConfigurationError,
        ConflictError as ConflictError,
        ConnectionFailedError as ConnectionFailedError,
        DuplicateRecordsError as DuplicateRecordsError,
        ForbiddenError as ForbiddenError,
        IntegrationExistsError as IntegrationExistsError,
        IntegrationNotActiveError as IntegrationNotActiveError,
        InvalidResponseError as InvalidResponseError,
        NotFoundError as NotFoundError,
        Outcome as Outcome,
        RateLimitedError as RateLimitedError,
        ReauthorizationRequiredError as ReauthorizationRequiredError,
        RecordsNotReadyError as RecordsNotReadyError,
        ServerError as ServerError,
        TokenRefreshError as TokenRefreshError,
        UnauthorizedError as UnauthorizedError,
        UnprocessableError as UnprocessableError,
        VendorAccountMismatchError as VendorAccountMismatchError,
        WebhookVerificationError as WebhookVerificationError,
    )
    from .integrations import Integrations as Integrations
    from .models import (
        AccountingFieldValue as AccountingFieldValue,
        AccountingRecord as AccountingRecord,
        ExportFailed as ExportFailed,
        ExportResult as ExportResult,
        ExportSucceeded as ExportSucceeded,
        Integration as Integration,
        IntegrationStatus as IntegrationStatus,
        InvalidRecord as InvalidRecord,
        LineItem as LineItem,
        LineItemType as LineItemType,
        Money as Money,
        Receipt as Receipt,
        RecordPage as RecordPage,
        RecordType as RecordType,
        ReportOutcome as ReportOutcome,
        ReviewStatus as ReviewStatus,
        SourceType as SourceType,
        User as User,
        Vendor as Vendor,
    )
    from .records import Records as Records, RecordStream as RecordStream
    from .webhooks import (
        RecordsReadyForExport as RecordsReadyForExport,
        UnknownEvent as UnknownEvent,
        verify_webhook as verify_webhook,
    )
else:
    # The same names once more, for the run; a test holds the two together. Type checkers must not see __getattr__, or
    # they would believe any name.
    _HOMES = {
        "_auth.consent": "Consent begin_consent",
        "_auth.onboarding": "save_grant",
        "_auth.memory_store": "MemoryTokenStore",
        "_auth.oauth2": "PRODUCTION_TOKEN_URL STAGING_TOKEN_URL OAuth2",
        "_auth.redemption": "finish_consent",
        "_auth.sqlite_store": "SQLiteTokenStore",
        "_auth.tokens": "StoredToken Token TokenStore",
        "_engine.attempt": "Attempt",
        "_engine.limits": "RateLimit",
        "_http.aiohttp": "aiohttp_transport",
        "_retry": "RetryPolicy",
        "auth": "UserToken",
        "client": "PRODUCTION STAGING BrexAccounting",
        "errors": (
            "APIError BadRequestError BrexError CallTimeoutError ConfigurationError ConflictError "
            "ConnectionFailedError DuplicateRecordsError ForbiddenError IntegrationExistsError "
            "IntegrationNotActiveError InvalidResponseError NotFoundError Outcome RateLimitedError "
            "ReauthorizationRequiredError RecordsNotReadyError ServerError TokenRefreshError UnauthorizedError "
            "UnprocessableError VendorAccountMismatchError WebhookVerificationError"
        ),
        "integrations": "Integrations",
        "models": (
            "AccountingFieldValue AccountingRecord ExportFailed ExportResult ExportSucceeded Integration "
            "IntegrationStatus InvalidRecord LineItem LineItemType Money Receipt RecordPage RecordType "
            "ReportOutcome ReviewStatus SourceType User Vendor"
        ),
        "records": "Records RecordStream",
        "webhooks": "RecordsReadyForExport UnknownEvent verify_webhook",
    }
    _HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}
    _MODULES = {"auth", "client", "errors", "integrations", "models", "records", "webhooks"}
    __all__ = [*_HOME_OF]  # noqa: PLE0604 - they are strings

    def __getattr__(name: str) -> object:
        if name in _MODULES:
            return import_module(f".{name}", __name__)
        if name not in _HOME_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value: object = getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*__all__, *_MODULES, "__version__"})
