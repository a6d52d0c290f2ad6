"""The API's scopes."""

from typing import Final

INTEGRATION_WRITE: Final = "accounting.integration.write"
RECORD_READ: Final = "accounting.record.read"
RECORD_WRITE: Final = "accounting.record.write"
ALL_SCOPES: Final = frozenset({"accounting.integration.read", INTEGRATION_WRITE, RECORD_READ, RECORD_WRITE})
