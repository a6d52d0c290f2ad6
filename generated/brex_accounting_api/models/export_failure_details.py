from __future__ import annotations

from ..types import Model


class ExportFailureDetails(Model, kw_only=True):
    """Why the accounting system did not take a record.

    Attributes:
        error_message: The reason, for the customer to read and act on
    """

    error_message: str
