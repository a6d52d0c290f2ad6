"""An async Python SDK for the Brex Accounting API: every call ends in a known outcome.

Names are loaded when they are first used, so that importing the package costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from ._version import __version__ as __version__

if TYPE_CHECKING:
    from ._auth.consent import Consent as Consent
    from ._auth.consent import begin_consent as begin_consent
    from ._auth.memory_store import MemoryTokenStore as MemoryTokenStore
    from ._auth.oauth2 import (
        PRODUCTION_TOKEN_URL as PRODUCTION_TOKEN_URL,
    )
    from ._auth.oauth2 import (
        STAGING_TOKEN_URL as STAGING_TOKEN_URL,
    )
    from ._auth.oauth2 import (
        OAuth2 as OAuth2,
    )
    from ._auth.onboarding import save_grant as save_grant
    from ._auth.redemption import finish_consent as finish_consent
    from ._auth.sqlite_store import SQLiteTokenStore as SQLiteTokenStore
    from ._auth.tokens import StoredToken as StoredToken
    from ._auth.tokens import Token as Token
    from ._auth.tokens import TokenStore as TokenStore
    from ._engine.attempt import Attempt as Attempt
    from ._engine.limits import RateLimit as RateLimit
    from ._http.aiohttp import aiohttp_transport as aiohttp_transport
    from ._retry import RetryPolicy as RetryPolicy
    from .auth import UserToken as UserToken
    from .client import PRODUCTION as PRODUCTION
    from .client import STAGING as STAGING
    from .client import BrexAccounting as BrexAccounting
    from .errors import (
        APIError as APIError,
    )
    from .errors import (
        BadRequestError as BadRequestError,
    )
    from .errors import (
        BrexError as BrexError,
    )
    from .errors import (
        CallTimeoutError as CallTimeoutError,
    )
    from .errors import (
        ConfigurationError as ConfigurationError,
    )
    from .errors import (
        ConflictError as ConflictError,
    )
    from .errors import (
        ConnectionFailedError as ConnectionFailedError,
    )
    from .errors import (
        DuplicateRecordsError as DuplicateRecordsError,
    )
    from .errors import (
        ForbiddenError as ForbiddenError,
    )
    from .errors import (
        IntegrationExistsError as IntegrationExistsError,
    )
    from .errors import (
        IntegrationNotActiveError as IntegrationNotActiveError,
    )
    from .errors import (
        InvalidResponseError as InvalidResponseError,
    )
    from .errors import (
        NotFoundError as NotFoundError,
    )
    from .errors import (
        Outcome as Outcome,
    )
    from .errors import (
        RateLimitedError as RateLimitedError,
    )
    from .errors import (
        ReauthorizationRequiredError as ReauthorizationRequiredError,
    )
    from .errors import (
        RecordsNotReadyError as RecordsNotReadyError,
    )
    from .errors import (
        ServerError as ServerError,
    )
    from .errors import (
        TokenRefreshError as TokenRefreshError,
    )
    from .errors import (
        UnauthorizedError as UnauthorizedError,
    )
    from .errors import (
        UnprocessableError as UnprocessableError,
    )
    from .errors import (
        VendorAccountMismatchError as VendorAccountMismatchError,
    )
    from .errors import (
        WebhookVerificationError as WebhookVerificationError,
    )
    from .integrations import Integrations as Integrations
    from .models import (
        AccountingFieldValue as AccountingFieldValue,
    )
    from .models import (
        AccountingRecord as AccountingRecord,
    )
    from .models import (
        ExportFailed as ExportFailed,
    )
    from .models import (
        ExportResult as ExportResult,
    )
    from .models import (
        ExportSucceeded as ExportSucceeded,
    )
    from .models import (
        Integration as Integration,
    )
    from .models import (
        IntegrationStatus as IntegrationStatus,
    )
    from .models import (
        InvalidRecord as InvalidRecord,
    )
    from .models import (
        LineItem as LineItem,
    )
    from .models import (
        LineItemType as LineItemType,
    )
    from .models import (
        Money as Money,
    )
    from .models import (
        Receipt as Receipt,
    )
    from .models import (
        RecordPage as RecordPage,
    )
    from .models import (
        RecordType as RecordType,
    )
    from .models import (
        ReportOutcome as ReportOutcome,
    )
    from .models import (
        ReviewStatus as ReviewStatus,
    )
    from .models import (
        SourceType as SourceType,
    )
    from .models import (
        User as User,
    )
    from .models import (
        Vendor as Vendor,
    )
    from .records import Records as Records
    from .records import RecordStream as RecordStream
    from .webhooks import (
        RecordsReadyForExport as RecordsReadyForExport,
    )
    from .webhooks import (
        UnknownEvent as UnknownEvent,
    )
    from .webhooks import (
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
