"""A sandbox for the Brex Accounting API, which has none: in-process or as a server (extra: `sandbox`)."""

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
