from __future__ import annotations

from ..types import Model


class ExportResultsResponse(Model, kw_only=True):
    """The outcome of a report of export results.

    Attributes:
        updated_accounting_record_ids: The records whose result Brex recorded
    """

    updated_accounting_record_ids: list[str]
