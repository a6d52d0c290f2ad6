"""A sandbox for the Brex Accounting API, which has none: in-process or as a server (extra: `sandbox`)."""
# ruff: noqa: E402  # what is missing is said before it is imported

from importlib.util import find_spec

for _module in ("starlette", "uvicorn"):
    if find_spec(_module) is None:
        raise ModuleNotFoundError(
            f'{_module} is not installed; install what the sandbox needs with: pip install "brex-accounting[sandbox]"',
            name=_module,
        )

from ._accounts import Account
from ._app import ReceivedRequest
from ._authorization import AuthorizationServer
from ._faults import Fault
from ._grants import AuthorizationOptions, Grant, TokenRequest
from ._sandbox import Sandbox
from ._webhooks import Delivery, DeliveryAttempt, WebhookOptions, Webhooks

__all__ = [
    "Account",
    "AuthorizationOptions",
    "AuthorizationServer",
    "Delivery",
    "DeliveryAttempt",
    "Fault",
    "Grant",
    "ReceivedRequest",
    "Sandbox",
    "TokenRequest",
    "WebhookOptions",
    "Webhooks",
]
