from __future__ import annotations

from attrs import define as _attrs_define

from ..types import Model


@_attrs_define(kw_only=True, eq=False, repr=False, weakref_slot=False, getstate_setstate=False)
class AccountingErrorDetails(Model):
    """The ids and values an error is about. Which of them are present depends on the error code, and Brex
    may send others that are not listed here.

    Attributes:
        existing_integration_id: The integration that is active now
        existing_vendor: The vendor of the integration that is active now
        requested_vendor: The vendor of the integration that was asked for
        integration_id: The integration the request named
        current_status: The status of the integration the request named
        duplicate_accounting_record_ids: Records named more than once in the request
        not_ready_for_export_accounting_record_ids: Records whose review status is not READY_FOR_EXPORT
        not_found_export_entry_source_ids: Records that Brex does not know
        existing_vendor_account_id: The account in the accounting system that the active integration has
        requested_vendor_account_id: The account in the accounting system that the request asked for
    """

    existing_integration_id: str | None = None
    existing_vendor: str | None = None
    requested_vendor: str | None = None
    integration_id: str | None = None
    current_status: str | None = None
    duplicate_accounting_record_ids: list[str] | None = None
    not_ready_for_export_accounting_record_ids: list[str] | None = None
    not_found_export_entry_source_ids: list[str] | None = None
    existing_vendor_account_id: str | None = None
    requested_vendor_account_id: str | None = None

    def __attrs_pre_init__(self) -> None:
        """Spare msgspec the search for what did not come, which takes longer than the reading of what came."""
        self.existing_integration_id = None
        self.existing_vendor = None
        self.requested_vendor = None
        self.integration_id = None
        self.current_status = None
        self.duplicate_accounting_record_ids = None
        self.not_ready_for_export_accounting_record_ids = None
        self.not_found_export_entry_source_ids = None
        self.existing_vendor_account_id = None
        self.requested_vendor_account_id = None
