"""The call engine: every call ends in a known outcome.

A call goes through the gate and the limiter, takes a token, sends, and is judged; then it succeeds, raises, or waits
and goes round again. What the answers mean is decided in `_verdict`; here is only the going round.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Protocol, TypeVar

import attrs

from brex_accounting import errors
from brex_accounting._arguments import check_idempotency_key
from brex_accounting._clock import Clock, Deadline, TimeLimit
from brex_accounting._http.exchange import Timeout
from brex_accounting._http.network import Network, Slot
from brex_accounting._retry import RetryPolicy, RetryQuota
from brex_accounting._version import __version__

from .classify import AttemptOutcome, Operation, Retry, classify
from .failure import make_error
from .limits import RateLimiter

T = TypeVar("T")

logger = logging.getLogger("brex_accounting")

_HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "gzip",
    "User-Agent": f"brex-accounting/{__version__}",
}


@attrs.frozen
class Attempt:
    """One attempt of a call, as `on_attempt` receives it, after the attempt."""

    operation: str
    """The operation's id in the API's description."""
    number: int
    """From 1, in the order of sending."""
    status: int | None
    """The HTTP status, where an answer came."""
    error: str | None
    """The name of the error that this attempt alone would raise; None for a success."""
    seconds: float
    """From the request's start to the end of its answer."""
    retry_in: float | None
    """Seconds until the next attempt; None when this was the last."""
    idempotency_key: str | None
    trace_id: str | None


@dataclass(frozen=True, slots=True)
class Shared:
    """What a client and its views have in common."""

    network: Network
    auth: Authorizer
    limiter: RateLimiter
    quota: RetryQuota
    clock: Clock
    on_attempt: Callable[[Attempt], None] | None


@dataclass(slots=True)
class _Progress:
    """How far a call has come."""

    operation: Operation[Any]
    request: Mapping[str, Any]
    key: str | None
    deadline: Deadline
    attempts: int = 0
    retries: int = 0
    doubt: bool = False
    replayed: bool = False
    asked_again: bool = False
    cost: int = 0
    """What the last retry drew from the quota."""
    owed: int = 0
    """The same, until the retry is sent."""


@dataclass(frozen=True, slots=True)
class _Tried:
    """What an attempt came to, with which token; `seconds` is None where none was made."""

    result: AttemptOutcome[Any]
    seconds: float | None = None
    token: str = field(default="", repr=False)


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
    ) -> T:
        """Run a call to its end. Raises BrexError, from a frame that never saw the token."""
        key = None if operation.safe else check_idempotency_key(idempotency_key)
        call = _Progress(operation, request, key, deadline or self.deadline())
        try:
            result = await self._run(call)
        finally:
            self.shared.quota.give_back(call.owed)
        if result.error is None:
            return result.value  # type: ignore[return-value]  # of the operation's type
        raise make_error(operation, result, attempts=call.attempts, key=key, doubt=call.doubt)

    async def pause(self, retries: int, deadline: Deadline) -> bool:
        """Wait as before a retry, after so many of a call that its caller repeats; False: there is none."""
        wait = self._retry.backoff(retries, self.shared.clock)
        if retries + 1 >= self._retry.max_attempts or wait >= deadline.remaining():
            return False
        if not self.shared.quota.draw(RetryQuota.RETRY_COST):
            return False
        await self.shared.clock.sleep(wait)
        return True

    def repay(self, pauses: int) -> None:
        """Give the quota back what so many pauses drew: the retries after them came to something."""
        self.shared.quota.give_back(pauses * RetryQuota.RETRY_COST)

    async def _run(self, call: _Progress) -> AttemptOutcome[Any]:
        while True:
            slot = await self._admit(call)
            if isinstance(slot, AttemptOutcome):
                return slot
            try:
                tried = await self._attempt(call, slot)
            finally:
                self.shared.limiter.release()
                slot.pool.release(slot)
            result = tried.result
            if tried.seconds is None:
                return result
            call.doubt = call.doubt or result.doubt
            replay = False
            if result.status == HTTPStatus.UNAUTHORIZED and not call.replayed:
                result = await self._renew(call, tried)
                replay = call.replayed
            wait = 0.0 if replay else self._wait_before_retry(call, result)
            self._tell(call, tried.result, tried.seconds, wait)
            if result.error is None:
                self.shared.auth.accepted(tried.token)
                self.shared.quota.give_back(call.cost or RetryQuota.CLEAN_SUCCESS)
            if wait is None:
                return result
            if wait > 0:
                await self.shared.clock.sleep(wait)

    async def _admit(self, call: _Progress) -> Slot | AttemptOutcome[Any]:
        """Wait for a slot and for the limiter, or tell why there is no attempt."""
        again = call.deadline.started
        try:
            with TimeLimit(call.deadline.remaining()):
                slot = await self.shared.network.acquire(again=again)
                try:
                    await self.shared.limiter.acquire(again=again)
                except BaseException:
                    slot.pool.release(slot)
                    raise
        except TimeoutError:
            return _OUT_OF_TIME
        except errors.BrexError as error:
            return _stopped(call, error)
        call.deadline.start()
        return slot

    async def _attempt(self, call: _Progress, slot: Slot) -> _Tried:
        shared = self.shared
        try:
            slot.pool.check_open()
            with TimeLimit(call.deadline.remaining()):
                token = await shared.auth.token()
        except TimeoutError:
            return _Tried(_OUT_OF_TIME)
        except errors.BrexError as error:
            return _Tried(_stopped(call, error))
        remaining = call.deadline.remaining()
        if remaining <= 0:
            return _Tried(_OUT_OF_TIME)
        headers = {**_HEADERS, "Authorization": f"Bearer {token}"}
        if call.key is not None:
            headers["Idempotency-Key"] = call.key
        call.attempts += 1
        call.owed = 0
        began = shared.clock.monotonic()
        came = await shared.network.exchange(slot, call.request, headers, self._timeout.within(remaining))
        seconds = shared.clock.monotonic() - began
        result = classify(call.operation, came, doubt=call.doubt, now=shared.clock.wall())
        if result.error is not None:
            result = classify(call.operation, came.without(token), doubt=call.doubt, now=shared.clock.wall())
        if result.error is errors.InvalidResponseError:
            slot.broken = True  # what comes next on this connection may belong to this answer
        return _Tried(result, seconds, token)

    async def _renew(self, call: _Progress, tried: _Tried) -> AttemptOutcome[Any]:
        """Ask, once in a call, for another token than the refused one; tell what to end with where there is none."""
        try:
            with TimeLimit(call.deadline.remaining()):
                call.replayed = await self.shared.auth.rejected(tried.token)
        except errors.BrexError as error:
            return _stopped(call, error)
        except TimeoutError:
            pass  # the refusal is the answer then
        return tried.result

    def _wait_before_retry(self, call: _Progress, result: AttemptOutcome[Any]) -> float | None:
        """Seconds to wait before another attempt, or None: there is none. Draws on the quota."""
        policy, shared, after = self._retry, self.shared, result.retry_after
        throttled = result.retry is Retry.THROTTLED
        if result.retry is Retry.NO or (result.doubt and not call.operation.resend):
            return None
        wait = policy.backoff(call.retries, shared.clock)
        if after is not None:
            if after > policy.max_retry_after:
                return None
            if throttled:
                shared.limiter.pause(after)
            wait = max(wait, after)
        if call.attempts - call.replayed >= policy.max_attempts or (result.retry is Retry.ONCE and call.asked_again):
            return None
        cost = RetryQuota.THROTTLED_COST if throttled else RetryQuota.RETRY_COST
        if wait >= call.deadline.remaining() or not shared.quota.draw(cost):
            return None
        call.cost = call.owed = cost
        call.retries += 1
        call.asked_again = call.asked_again or result.retry is Retry.ONCE
        return wait

    def _tell(self, call: _Progress, result: AttemptOutcome[Any], seconds: float, wait: float | None) -> None:
        name, number = call.operation.name, call.attempts
        error = None if result.error is None else result.error.__name__
        came = result.status if result.status is not None else error
        logger.debug("%s attempt %d: %s in %.3f s", name, number, came, seconds)
        if wait is not None:
            logger.info("%s: attempt %d came to %s, the next one is in %.3f s", name, number, came, wait)
        if self.shared.on_attempt is not None:
            attempt = Attempt(name, number, result.status, error, seconds, wait, call.key, result.trace_id)
            try:
                self.shared.on_attempt(attempt)
            except Exception:  # a broken hook must not cost the caller the outcome of the call
                logger.warning("on_attempt raised, which is ignored", exc_info=True)


_OUT_OF_TIME: AttemptOutcome[Any] = AttemptOutcome(error=errors.CallTimeoutError, text="the deadline has passed")


def _stopped(call: _Progress, error: errors.BrexError) -> AttemptOutcome[Any]:
    """End a call with an error that somebody else raised; a client that is closed in mid-call lost its connection."""
    if isinstance(error, errors.ConfigurationError) and call.attempts:
        return AttemptOutcome(error=errors.ConnectionFailedError, text=str(error))
    return AttemptOutcome(error=type(error), failure=error)


class Authorizer(Protocol):
    """What the engine asks of an authorization."""

    async def token(self) -> str:
        """Give the access token for the next attempt."""
        ...

    async def rejected(self, token: str) -> bool:
        """Learn that the API answered 401 to this token; say whether to replay the request with a new one."""
        ...

    def accepted(self, token: str) -> None:
        """Learn that the API took this token."""
        ...

    async def aclose(self) -> None:
        """Bring what is under way to its end."""
        ...
