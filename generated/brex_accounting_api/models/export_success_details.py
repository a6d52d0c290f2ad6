from __future__ import annotations

from ..types import Model


class ExportSuccessDetails(Model, kw_only=True):
    """Where an exported record is found in the accounting system.

    Attributes:
        reference_id: The accounting system's id of the entry
        deep_link_url: A link that opens the entry in the accounting system; may be left out but not be null
    """

    reference_id: str | None = None
    deep_link_url: str | None = None
