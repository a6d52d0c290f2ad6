from __future__ import annotations

from attrs import define as _attrs_define

from ..models.accounting_error_response_error_code import (
    AccountingErrorResponseErrorCode,
)
from ..types import Model


@_attrs_define(kw_only=True, eq=False, repr=False, weakref_slot=False, getstate_setstate=False)
class AccountingErrorResponse(Model):
    """Why a request failed.

    Attributes:
        error_code: The reason, for programs to act on
        message: The reason, for people to read
        details: What the error is about, where there is more to say
    """

    error_code: AccountingErrorResponseErrorCode
    message: str
    details: AccountingErrorDetails | None = None

    def __attrs_pre_init__(self) -> None:
        """Spare msgspec the search for what did not come, which takes longer than the reading of what came."""
        self.details = None


from ..models.accounting_error_details import AccountingErrorDetails
