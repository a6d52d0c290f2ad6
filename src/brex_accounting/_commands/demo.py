"""demo: the tour."""

from __future__ import annotations

import asyncio
from importlib import import_module


def demo() -> int:
    """Take a tour with real calls over real sockets, against the sandbox; never a real account."""
    code: int = asyncio.run(import_module("brex_accounting._demo").main())
    return code
