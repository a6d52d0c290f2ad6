"""The call: attempts until it succeeds, fails, or runs out of time.

Each attempt waits for the end of an outage, for a slot and for the limiter, takes a token, sends, and is classified.
What an answer means is decided in `classify`; this is the loop around it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, TypeVar

from brex_accounting import errors
from brex_accounting._arguments import check_idempotency_key
from brex_accounting._clock import Clock, Deadline, TimeLimit
from brex_accounting._http.exchange import Timeout
from brex_accounting._http.network import CLOSED, Network, Slot
from brex_accounting._http.response import Response, TransportFailure
from brex_accounting._retry import RetryPolicy, RetryQuota
from brex_accounting._text import Secret

from .attempt import Attempt, report
from .authorizer import Authorizer
from .classify import AttemptOutcome, Operation, Reach, Retry, classify
from .failure import make_error
from .limits import RateLimiter
from .outage import Outage, Turn
from .refusals import Advice

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Shared:
    """What a client and its views have in common."""

    network: Network
    auth: Authorizer
    limiter: RateLimiter
    quota: RetryQuota
    clock: Clock
    on_attempt: Callable[[Attempt], None] | None
    outage: Outage = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "outage", Outage(self.clock))


@dataclass(slots=True)
class _Progress:
    """How far a call has come."""

    operation: Operation[Any]
    request: Mapping[str, Any]
    key: str | None
    deadline: Deadline
    check: Callable[[Any], str | None] | None = None
    """Says why a success does not answer the request, if it does not."""
    attempts: int = 0
    retries: int = 0
    missed: int = 0
    """Probes of other calls that failed while this one waited: they count as attempts."""
    doubt: bool = False
    replayed: bool = False
    asked_again: bool = False
    resent_at_once: bool = False
    probing: bool = False
    cost: int = 0
    """What the last retry drew from the quota."""
    owed: int = 0
    """The same, until the retry is sent."""
    last: AttemptOutcome[Any] | None = None
    """What the last attempt came to, or the last probe that this call waited for."""

    @property
    def counted(self) -> int:
        """The attempts that `max_attempts` bounds: the replay after a 401 is not one of them."""
        return self.attempts - self.replayed + self.missed


@dataclass(frozen=True, slots=True)
class _Attempted:
    """What an attempt came to, and with which token; without `seconds`, none was made."""

    outcome: AttemptOutcome[Any]
    sent_at: float = 0.0
    seconds: float | None = None
    token: str = Secret()


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
        key = None if operation.safe else check_idempotency_key(idempotency_key)
        call = _Progress(operation, request, key, deadline or self.deadline(), check)
        try:
            outcome = await self._run(call)
        finally:
            if call.probing:
                self.shared.outage.abandon()
            self.shared.quota.give_back(call.owed)
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

    async def _run(self, call: _Progress) -> AttemptOutcome[Any]:
        shared = self.shared
        while True:
            slot = await self._admit(call)
            if isinstance(slot, AttemptOutcome):
                return slot
            try:
                attempted = await self._attempt(call, slot)
            finally:
                shared.limiter.release(slot.pool.loop)
                slot.pool.release(slot)
            outcome = attempted.outcome
            if attempted.seconds is None:
                return outcome
            call.last = outcome
            call.doubt = call.doubt or outcome.doubt
            shared.outage.observe(
                outcome, attempted.sent_at, probe=call.probing, retries=call.retries, policy=self._retry
            )
            call.probing = replay = False
            if outcome.status == HTTPStatus.UNAUTHORIZED and not call.replayed:
                outcome = await self._renew(call, attempted)
                replay = call.replayed
            wait = 0.0 if replay else self._wait_before_retry(call, outcome)
            report(
                shared.on_attempt,
                Attempt(
                    operation=call.operation.name,
                    number=call.attempts,
                    status=attempted.outcome.status,
                    error=None if attempted.outcome.error is None else attempted.outcome.error.__name__,
                    seconds=attempted.seconds,
                    retry_in=wait,
                    idempotency_key=call.key,
                    trace_id=attempted.outcome.trace_id,
                ),
            )
            if outcome.error is None:
                shared.auth.accepted(attempted.token)
                shared.quota.give_back(call.cost or RetryQuota.CLEAN_SUCCESS)
            if wait is None:
                return outcome
            if wait > 0 and not shared.outage.active:  # an outage has a wait of its own
                await shared.clock.sleep(wait)

    async def _admit(self, call: _Progress) -> Slot | AttemptOutcome[Any]:
        """Wait for the end of an outage, for a slot and for the limiter; or return why there is no attempt."""
        shared = self.shared
        while True:
            if shared.outage.active and (end := await self._wait_out(call)) is not None:
                return end
            again = call.deadline.started
            try:
                with TimeLimit(call.deadline.remaining()):
                    slot = await shared.network.acquire(again=again)
                    try:
                        await shared.limiter.acquire(again=again)
                    except BaseException:
                        slot.pool.release(slot)
                        raise
            except TimeoutError:
                return _out_of_time("waiting for its turn")
            except errors.BrexError as error:
                return _stopped(call, error)
            if call.probing or not shared.outage.active:
                call.deadline.start()
                return slot
            shared.limiter.release(slot.pool.loop, used=False)
            slot.pool.release(slot)

    async def _wait_out(self, call: _Progress) -> AttemptOutcome[Any] | None:
        """Wait until the outage is over or it is this call's turn to probe; or return why the call ends."""
        call.deadline.start()
        while True:
            try:
                with TimeLimit(call.deadline.remaining()):
                    turn = await self.shared.outage.turn()
            except TimeoutError:
                return _out_of_time("waiting for the API to come back")
            if turn is Turn.GO:
                return None
            if turn is Turn.PROBE:
                call.probing = True
                if call.last is None or call.owed:
                    return None
                return None if self._draw(call, call.last) else call.last
            call.missed += 1
            call.retries += 1
            call.last = turn if call.attempts else replace(turn, text=f"not sent, since {turn.text}")
            if call.counted >= self._retry.max_attempts:
                return call.last

    async def _attempt(self, call: _Progress, slot: Slot) -> _Attempted:
        shared = self.shared
        try:
            slot.pool.check_open()
            with TimeLimit(call.deadline.remaining()):
                token = Secret(await shared.auth.token())
        except TimeoutError:
            return _Attempted(_out_of_time("waiting for an access token"))
        except errors.BrexError as error:
            return _Attempted(_stopped(call, error))
        remaining = call.deadline.remaining()
        if remaining <= 0:
            return _Attempted(_out_of_time("waiting for an access token"))
        headers: dict[str, str] = {"Authorization": Secret(f"Bearer {token}")}
        if call.key is not None:
            headers["Idempotency-Key"] = call.key
        call.attempts += 1
        call.owed = 0
        sent_at = shared.clock.monotonic()
        received = await shared.network.exchange(slot, call.request, headers, self._timeout.within(remaining))
        seconds = shared.clock.monotonic() - sent_at
        if isinstance(received, TransportFailure) or not HTTPStatus.OK <= received.status < HTTPStatus.MULTIPLE_CHOICES:
            received = received.without(token)
        outcome = self._classify(call, received)
        if outcome.error is errors.InvalidResponseError:
            outcome = self._classify(call, received.without(token))
            slot.broken = True  # what comes next on this connection may belong to this answer
        return _Attempted(outcome, sent_at, seconds, token)

    def _classify(self, call: _Progress, received: Response | TransportFailure) -> AttemptOutcome[Any]:
        return classify(call.operation, received, doubt=call.doubt, now=self.shared.clock.wall(), check=call.check)

    async def _renew(self, call: _Progress, attempted: _Attempted) -> AttemptOutcome[Any]:
        """Ask, once in a call, for another token than the refused one; return what to end with if there is none."""
        try:
            with TimeLimit(call.deadline.remaining()):
                call.replayed = await self.shared.auth.rejected(attempted.token)
        except errors.BrexError as error:
            return _stopped(call, error)
        except TimeoutError:
            return _out_of_time("waiting for another access token, after the API refused one (401)")
        return attempted.outcome

    def _wait_before_retry(self, call: _Progress, outcome: AttemptOutcome[Any]) -> float | None:
        """Seconds to wait before another attempt, or None: this was the last. Draws on the quota, or an outage does."""
        policy, shared, after = self._retry, self.shared, outcome.retry_after
        if after is not None and outcome.retry is Retry.THROTTLED:
            shared.limiter.pause(min(after, policy.max_retry_after))
        if outcome.retry is Retry.NO or (outcome.doubt and not call.operation.resend):
            return None
        if after is not None and after > policy.max_retry_after:
            return None
        if call.counted >= policy.max_attempts or (outcome.retry is Retry.ONCE and call.asked_again):
            return None
        if outcome.retry is Retry.AT_ONCE and not call.resent_at_once:
            call.resent_at_once = True
            return 0.0
        if shared.outage.active:
            wait = shared.outage.remaining()
        elif outcome.reach is Reach.AWAY:
            wait = max(policy.pause(call.retries, shared.clock), after or 0.0)
        else:
            wait = max(policy.backoff(call.retries, shared.clock), after or 0.0)
        if wait >= call.deadline.remaining() or not (shared.outage.active or self._draw(call, outcome)):
            return None
        call.retries += 1
        call.asked_again = call.asked_again or outcome.retry is Retry.ONCE
        return wait

    def _draw(self, call: _Progress, outcome: AttemptOutcome[Any]) -> bool:
        """Draw what a retry costs from the quota."""
        cost = RetryQuota.THROTTLED_COST if outcome.retry is Retry.THROTTLED else RetryQuota.RETRY_COST
        if not self.shared.quota.draw(cost):
            return False
        call.cost = call.owed = cost
        return True


def _out_of_time(doing: str) -> AttemptOutcome[Any]:
    return AttemptOutcome(
        error=errors.CallTimeoutError, text=f"the deadline has passed while {doing}", advice=Advice.ALLOW_MORE_TIME
    )


def _stopped(call: _Progress, error: errors.BrexError) -> AttemptOutcome[Any]:
    """End a call with an error from elsewhere; a client that is closed during a call lost its connection."""
    if isinstance(error, errors.ConfigurationError) and call.attempts and str(error) == CLOSED:
        return AttemptOutcome(error=errors.ConnectionFailedError, text=str(error), advice=Advice.CHECK_THE_NETWORK)
    return AttemptOutcome(error=type(error), failure=error)
