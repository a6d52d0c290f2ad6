"""Connect an accounting system to a Brex account, pause it, resume it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from brex_accounting_api.api.accounting_integrations import (
    create_integration,
    disconnect_integration,
    reactivate_integration,
)
from brex_accounting_api.models import CreateIntegrationRequest

from ._arguments import check_id, check_text
from ._verdict import Operation
from .errors import (
    BrexError,
    IntegrationExistsError,
    IntegrationNotActiveError,
    Outcome,
    VendorAccountMismatchError,
)
from .models import Integration, IntegrationStatus, read_integration

if TYPE_CHECKING:
    from ._call import Engine
    from ._clock import Deadline

CREATE = Operation("createIntegration", read_integration)
DISCONNECT = Operation("disconnectIntegration", read_integration)
REACTIVATE = Operation("reactivateIntegration", read_integration)


class Integrations:
    """The integrations of the account that the token belongs to. At most one of them is active.

    Each method raises ConfigurationError for arguments that cannot be right, before anything is sent, and otherwise
    what the tree in `brex_accounting.errors` says.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def create(self, vendor: str, vendor_account_id: str, *, idempotency_key: str | None = None) -> Integration:
        """Register an accounting system, or return the active integration that already has this vendor and account.

        Args:
            vendor: The vendor id that Brex assigned to the accounting system.
            vendor_account_id: The customer's account in the accounting system.
            idempotency_key: 1 to 255 printable ASCII characters; without one, each call makes its own.

        Raises:
            IntegrationExistsError: An integration of another vendor is active.
            VendorAccountMismatchError: The active integration has this vendor and another vendor account.
        """
        return await self._create(vendor, vendor_account_id, idempotency_key=idempotency_key)

    async def disconnect(self, integration_id: str, *, idempotency_key: str | None = None) -> Integration:
        """Disable an active integration; `reactivate` brings it back.

        Raises:
            NotFoundError: There is no such integration.
            IntegrationNotActiveError: It is not active. With `outcome` UNKNOWN an earlier attempt of this very call may
                have disabled it.
        """
        return await self._disconnect(integration_id, idempotency_key=idempotency_key)

    async def reactivate(self, integration_id: str, *, idempotency_key: str | None = None) -> Integration:
        """Make a disabled integration active again.

        Raises:
            NotFoundError: There is no such integration.
            IntegrationExistsError: An integration is active. Where `existing_integration_id` is this one and `outcome`
                is UNKNOWN, an earlier attempt of this very call may have done it.
        """
        return await self._reactivate(integration_id, idempotency_key=idempotency_key)

    async def ensure(self, vendor: str, vendor_account_id: str, *, replace: bool = False) -> Integration:
        """Make sure that this vendor and account is the active integration.

        With `replace`, the active integration that stands in the way is disconnected first, once: when the create after
        it fails too, the error says so in `disconnected_integration_id`. All steps share one deadline.
        """
        deadline = self._engine.deadline()
        conflict = None
        try:
            return await self._create(vendor, vendor_account_id, deadline=deadline)
        except (IntegrationExistsError, VendorAccountMismatchError) as error:
            if not replace or error.existing_integration_id is None:
                raise
            conflict = error.existing_integration_id
        disconnected = await self._clear_the_way(conflict, deadline)
        try:
            return await self._create(vendor, vendor_account_id, deadline=deadline)
        except BrexError as error:
            if disconnected:
                error.disconnected_integration_id = conflict
                error.outcome = Outcome.UNKNOWN
                error.args = (f"{error} Before it, ensure had disconnected integration {conflict}.",)
            raise

    async def ensure_disconnected(self, integration_id: str) -> None:
        """Make sure that an integration is disabled, whoever disabled it. Raises NotFoundError where there is none."""
        await self._clear_the_way(integration_id, self._engine.deadline())

    async def ensure_active(self, integration_id: str) -> None:
        """Make sure that an integration is active, whoever made it so.

        Raises:
            NotFoundError: There is no such integration.
            IntegrationExistsError: Another one is active.
        """
        try:
            await self._reactivate(integration_id)
        except IntegrationExistsError as error:
            if error.existing_integration_id != integration_id:
                raise

    async def _clear_the_way(self, integration_id: str, deadline: Deadline) -> bool:
        """Disconnect; say whether it was, or may have been, this call that did it."""
        try:
            await self._disconnect(integration_id, deadline=deadline)
        except IntegrationNotActiveError as error:
            if error.current_status != IntegrationStatus.DISABLED:
                raise
            return error.outcome is Outcome.UNKNOWN
        return True

    async def _create(
        self,
        vendor: str,
        vendor_account_id: str,
        *,
        idempotency_key: str | None = None,
        deadline: Deadline | None = None,
    ) -> Integration:
        body = CreateIntegrationRequest(
            vendor=check_text(vendor, "vendor"),
            vendor_account_id=check_text(vendor_account_id, "vendor_account_id"),
        )
        request = create_integration.get_kwargs(body=body)
        return await self._engine.call(CREATE, request, idempotency_key=idempotency_key, deadline=deadline)

    async def _disconnect(
        self, integration_id: str, *, idempotency_key: str | None = None, deadline: Deadline | None = None
    ) -> Integration:
        request = disconnect_integration.get_kwargs(check_id(integration_id, "integration_id"))
        return await self._engine.call(DISCONNECT, request, idempotency_key=idempotency_key, deadline=deadline)

    async def _reactivate(self, integration_id: str, *, idempotency_key: str | None = None) -> Integration:
        request = reactivate_integration.get_kwargs(check_id(integration_id, "integration_id"))
        return await self._engine.call(REACTIVATE, request, idempotency_key=idempotency_key)
