"""What the engine offers to those who make calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from brex_accounting._arguments import check_idempotency_key
from brex_accounting._clock import Deadline, check_asyncio
from brex_accounting._http.exchange import Timeout
from brex_accounting._retry import RetryPolicy, RetryQuota

from .call import Call, Shared
from .classify import Operation
from .failure import make_error

T = TypeVar("T")


class Engine:
    """Runs calls, with the options of one client or of one view of it."""

    def __init__(self, shared: Shared, timeout: Timeout, retry: RetryPolicy) -> None:
        self.shared = shared
        self._timeout = timeout
        self._retry = retry

    def with_options(self, timeout: Timeout | None, retry: RetryPolicy | None) -> Engine:
        return Engine(self.shared, timeout or self._timeout, retry or self._retry)

    def deadline(self) -> Deadline:
        """Make a deadline for calls that share one."""
        return Deadline(self._retry.deadline, self.shared.clock)

    async def call(
        self,
        operation: Operation[T],
        request: Mapping[str, Any],
        *,
        idempotency_key: str | None = None,
        deadline: Deadline | None = None,
        check: Callable[[T], str | None] | None = None,
    ) -> T:
        """Run a call to its end.

        Args:
            operation: What to do.
            request: What the generated `get_kwargs` gave.
            idempotency_key: The caller's, for a write; None: a new one.
            deadline: One that several calls share; None: one of its own.
            check: Returns why a success does not answer this request (another id, another state); None: it does.

        Raises:
            BrexError: From a frame that never saw the token.
        """
        check_asyncio()
        key = None if operation.safe else check_idempotency_key(idempotency_key)
        call = Call(
            self.shared, self._timeout, self._retry, operation, request, key, deadline or self.deadline(), check
        )
        outcome = await call.run()
        if outcome.error is None:
            return outcome.value  # type: ignore[return-value]  # of the operation's type
        raise make_error(operation, outcome, attempts=call.attempts, key=key, doubt=call.doubt)

    async def pause(self, retries: int, deadline: Deadline) -> bool:
        """Wait as before a retry, for a caller that repeats its calls itself; False: it has had its last attempt."""
        wait = self._retry.backoff(retries, self.shared.clock)
        if retries + 1 >= self._retry.max_attempts or wait >= deadline.remaining():
            return False
        if not self.shared.quota.draw(RetryQuota.RETRY_COST):
            return False
        try:
            await self.shared.clock.sleep(wait)
        except BaseException:
            self.repay(1)
            raise
        return True

    def repay(self, pauses: int) -> None:
        """Give the quota back what so many pauses drew: the retries after them succeeded."""
        self.shared.quota.give_back(pauses * RetryQuota.RETRY_COST)
