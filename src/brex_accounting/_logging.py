"""The one logger of this package."""

import logging

logger = logging.getLogger("brex_accounting")
