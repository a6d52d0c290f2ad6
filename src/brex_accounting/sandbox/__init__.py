"""A sandbox for the Brex Accounting API, which has none: in-process or as a server (extra: `sandbox`)."""

from ._app import ReceivedRequest
from ._faults import Fault
from ._sandbox import Sandbox

__all__ = ["Fault", "ReceivedRequest", "Sandbox"]
