"""Connect an accounting system to a Brex account, pause it, resume it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

import msgspec

from brex_accounting_api.api.accounting_integrations import (
    create_integration,
    disconnect_integration,
    reactivate_integration,
)
from brex_accounting_api.models import CreateIntegrationRequest
from brex_accounting_api.models import Integration as WireIntegration
from brex_accounting_api.types import Anything, decode, decode_known, decoder

from ._arguments import check_id, check_text, is_id
from ._engine.classify import Operation
from ._engine.failure import add_obstacle, reword_error
from ._text import printable
from .errors import BrexError, IntegrationExistsError, IntegrationNotActiveError, Outcome, VendorAccountMismatchError
from .models import Integration, IntegrationStatus

if TYPE_CHECKING:
    from ._clock import Deadline
    from ._engine.engine import Engine

# A property that Brex adds is unknown to `Integration` also when the generated model knows it already.
_OF_INTEGRATION = {"integration_id", "id", "vendor", "vendor_account_id", "status", "created_at"}


def read_integration(body: bytes) -> Integration:
    """Read an integration. Its id comes as `integration_id` or as `id`: Brex publishes both."""
    try:
        wire: WireIntegration = decode_known(WireIntegration, body)
    except (ValueError, RecursionError):
        wire = decode(WireIntegration, body)  # for the reason, without values
    integration_id = wire.integration_id or wire.id
    if not integration_id:
        message = "Object missing both `integration_id` and `id`"
        raise ValueError(message)
    return Integration(
        id=integration_id,
        vendor=wire.vendor,
        vendor_account_id=wire.vendor_account_id,
        status=wire.status,
        created_at=wire.created_at,
        unknown_fields=_read_unknown(body),
    )


def _read_unknown(body: bytes) -> dict[str, Any]:
    """Read the properties that `Integration` does not know. As a rule there are none, and only names are read."""
    if decoder(dict[str, msgspec.Raw]).decode(body).keys() <= _OF_INTEGRATION:
        return {}
    properties: dict[str, Any] = decode(dict[str, Anything], body)
    return {name: value for name, value in properties.items() if name not in _OF_INTEGRATION}


CREATE = Operation("createIntegration", read_integration)
DISCONNECT = Operation("disconnectIntegration", read_integration)
REACTIVATE = Operation("reactivateIntegration", read_integration)


class Integrations:
    """The integrations of the account that the token belongs to. At most one of them is active.

    The API has no call that lists or reads integrations: keep the id that `create` or `ensure` returned.

    Every method raises ConfigurationError for invalid arguments, before anything is sent, and can raise any error of
    the tree in `brex_accounting.errors`. Each method lists the errors that have a special meaning for it.

    An `idempotency_key` is 1 to 255 printable ASCII characters; without one, each call makes its own (a UUIDv4), and
    all its attempts carry it. Pass one if you want to repeat the very same request later, such as after a
    cancelled call, whose outcome is unknown. A new request needs a new key: with an old one the API may repeat an old
    answer.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __reduce__(self) -> NoReturn:
        message = "a client's integrations belong to it: pickle or copy neither"
        raise TypeError(message)

    async def create(self, vendor: str, vendor_account_id: str, *, idempotency_key: str | None = None) -> Integration:
        """Connect an accounting system, or return the active integration that already has this vendor and account.

        Nothing in the answer tells the two apart. A disconnected integration is not brought back: that is `reactivate`.

        Args:
            vendor: The vendor id that Brex assigned to the accounting system.
            vendor_account_id: The customer's account in the accounting system.
            idempotency_key: See the class.

        Raises:
            IntegrationExistsError: An integration of another vendor is active.
            VendorAccountMismatchError: The active integration has this vendor and another vendor account.
        """
        return await self._create(vendor, vendor_account_id, idempotency_key=idempotency_key)

    async def disconnect(self, integration_id: str, *, idempotency_key: str | None = None) -> Integration:
        """Disable an active integration; `reactivate` brings it back.

        Args:
            integration_id: The `Integration.id`.
            idempotency_key: See the class.

        Raises:
            NotFoundError: There is no such integration.
            IntegrationNotActiveError: It is not active. With `outcome` UNKNOWN an earlier attempt of this very call may
                have disabled it.
        """
        return await self._disconnect(integration_id, idempotency_key=idempotency_key)

    async def reactivate(self, integration_id: str, *, idempotency_key: str | None = None) -> Integration:
        """Make a disabled integration active again.

        Args:
            integration_id: The `Integration.id`.
            idempotency_key: See the class.

        Raises:
            NotFoundError: There is no such integration.
            IntegrationExistsError: An integration is active. If `existing_integration_id` is this one and `outcome`
                is UNKNOWN, an earlier attempt of this very call may have done it.
        """
        return await self._reactivate(integration_id, idempotency_key=idempotency_key)

    async def ensure(self, vendor: str, vendor_account_id: str, *, replace: bool = False) -> Integration:
        """Make sure that this vendor and account is the active integration, and return it.

        With `replace`, the active integration that stands in the way is disconnected, once, and the create is sent once
        more. When one of these steps fails, its error says in `disconnected_integration_id` which one was, or may have
        been, disconnected; its `outcome` then is UNKNOWN. All steps share one deadline.

        Args:
            vendor: The vendor id that Brex assigned to the accounting system.
            vendor_account_id: The customer's account in the accounting system.
            replace: Whether to disconnect what stands in the way.

        Raises:
            IntegrationExistsError: An integration of another vendor is active; with `replace`, somebody made another
                one active meanwhile.
            VendorAccountMismatchError: The same, with another account of this vendor.
        """
        deadline = self._engine.deadline()
        try:
            return await self._create(vendor, vendor_account_id, deadline=deadline)
        except (IntegrationExistsError, VendorAccountMismatchError) as error:
            obstacle, doubt = error.existing_integration_id, error.outcome
            if not replace or not is_id(obstacle):
                raise
        disconnected = False
        try:
            disconnected = await self._make_disabled(obstacle, deadline)
            return await self._create(vendor, vendor_account_id, deadline=deadline)
        except BrexError as error:
            _add_earlier_steps(error, obstacle, disconnected=disconnected, doubt=doubt is Outcome.UNKNOWN)
            raise

    async def ensure_disconnected(self, integration_id: str) -> None:
        """Make sure that an integration is disabled, whoever disabled it.

        Args:
            integration_id: The `Integration.id`.

        Raises:
            NotFoundError: There is no such integration.
            IntegrationNotActiveError: It is in a state that this version does not know.
        """
        await self._make_disabled(integration_id, self._engine.deadline())

    async def ensure_active(self, integration_id: str) -> None:
        """Make sure that an integration is active, whoever made it so.

        Args:
            integration_id: The `Integration.id`.

        Raises:
            NotFoundError: There is no such integration.
            IntegrationExistsError: Another one is active.
        """
        try:
            await self._reactivate(integration_id)
        except IntegrationExistsError as error:
            if error.existing_integration_id != integration_id:
                raise

    async def _make_disabled(self, integration_id: str, deadline: Deadline) -> bool:
        """Disconnect; return whether this call did it, or may have."""
        try:
            await self._disconnect(integration_id, deadline=deadline)
        except IntegrationNotActiveError as error:
            elsewhere = error.integration_id not in {None, integration_id}
            if elsewhere or error.current_status != IntegrationStatus.DISABLED:
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

        def check(answer: Integration) -> str | None:
            asked, got = (body.vendor, body.vendor_account_id), (answer.vendor, answer.vendor_account_id)
            if [text.strip().casefold() for text in asked] != [text.strip().casefold() for text in got]:
                return "its vendor or vendor account is not the one that was asked for"
            return _check_status(answer, IntegrationStatus.ACTIVE)

        return await self._engine.call(CREATE, request, idempotency_key=idempotency_key, deadline=deadline, check=check)

    async def _disconnect(
        self, integration_id: str, *, idempotency_key: str | None = None, deadline: Deadline | None = None
    ) -> Integration:
        request = disconnect_integration.get_kwargs(check_id(integration_id, "integration_id"))
        check = _expect(integration_id, IntegrationStatus.DISABLED)
        return await self._engine.call(
            DISCONNECT, request, idempotency_key=idempotency_key, deadline=deadline, check=check
        )

    async def _reactivate(self, integration_id: str, *, idempotency_key: str | None = None) -> Integration:
        request = reactivate_integration.get_kwargs(check_id(integration_id, "integration_id"))
        check = _expect(integration_id, IntegrationStatus.ACTIVE)
        return await self._engine.call(REACTIVATE, request, idempotency_key=idempotency_key, check=check)


def _expect(integration_id: str, status: IntegrationStatus) -> Callable[[Integration], str | None]:
    """Check that an answer is about this integration, and that it is in the state that was asked for."""

    def check(answer: Integration) -> str | None:
        if answer.id != integration_id:
            return "its id is not the one that was asked for"
        return _check_status(answer, status)

    return check


def _check_status(answer: Integration, status: IntegrationStatus) -> str | None:
    """Only the opposite state contradicts: Brex may have states that this version does not know."""
    opposite = {IntegrationStatus.ACTIVE, IntegrationStatus.DISABLED} - {status}
    return f"its status is {answer.status}, not {status}" if answer.status in opposite else None


def _add_earlier_steps(error: BrexError, obstacle: str, *, disconnected: bool, doubt: bool) -> None:
    """Put into the error of a later step of `ensure` what the steps before it did, or may have done."""
    if disconnected or (error.operation == DISCONNECT.name and error.outcome is Outcome.UNKNOWN):
        error.amend(disconnected_integration_id=obstacle)
    if disconnected or doubt:
        error.amend(outcome=Outcome.UNKNOWN)
    if disconnected or error.operation == DISCONNECT.name:
        add_obstacle(error, printable(obstacle), disconnected=disconnected)
    else:
        reword_error(error)
