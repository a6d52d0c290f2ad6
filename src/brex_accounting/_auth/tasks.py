"""Tasks that go on when nobody waits for them any more, for what they bring comes only once."""

from __future__ import annotations

import asyncio
from typing import Any

from brex_accounting.errors import BrexError


class ShieldedTask(asyncio.Task[BrexError | None]):
    """A task that ends with an error as its result, and that only its own timeouts can cancel.

    They do so from a callback of the loop, or from the task itself. Other tasks, and asyncio.run after the loop,
    cannot: it would cost the token that is on its way. asyncio.run waits for it. A loop that is closed without ending
    its tasks takes an unsaved token with it.
    """

    def cancel(self, msg: Any | None = None) -> bool:
        loop = self.get_loop()
        ours = loop.is_running() and asyncio.current_task(loop) in {None, self}
        return ours and super().cancel(msg)
