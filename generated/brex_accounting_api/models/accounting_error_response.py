from __future__ import annotations

from ..models.accounting_error_response_error_code import (
    AccountingErrorResponseErrorCode,
)
from ..types import Model


class AccountingErrorResponse(Model, kw_only=True):
    """Why a request failed.

    Attributes:
        error_code: The reason, for programs to act on
        message: The reason, for people to read
        details: What the error is about, where there is more to say
    """

    error_code: AccountingErrorResponseErrorCode
    message: str
    details: AccountingErrorDetails | None = None


from ..models.accounting_error_details import AccountingErrorDetails
