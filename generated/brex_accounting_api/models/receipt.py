from __future__ import annotations

from ..types import Model


class Receipt(Model, kw_only=True):
    """A receipt attached to a record.

    Attributes:
        id: Brex's id of the receipt
        download_uris: Links to the receipt's files; they work for 15 minutes and need no token
    """

    id: str
    download_uris: list[str] | None = None
