"""The call: attempts until it succeeds, fails, or runs out of time.

Each attempt waits for the end of an outage, for a slot and for the limiter, takes a token, sends, and is classified.
What an answer means is decided in `classify`; this is the loop around it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, TypeVar

from brex_accounting import errors
from brex_accounting._clock import Clock, Deadline, TimeLimit
from brex_accounting._http.exchange import Timeout
from brex_accounting._http.network import Network
from brex_accounting._http.pool import CLOSED, Slot
from brex_accounting._http.response import Response, TransportFailure
from brex_accounting._retry import RetryPolicy, RetryQuota
from brex_accounting._text import Secret

from .attempt import Attempt, report
from .authorizer import Authorizer
from .classify import AttemptOutcome, Operation, Reach, Retry, classify
from .limits import RateLimiter
from .outage import Outage, Turn
from .refusals import Advice

T = TypeVar("T")


@dataclass(slots=True)
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
        self.outage = Outage(self.clock)


class _End(Exception):  # noqa: N818 - not an error: it never leaves the call
    """The call ends without another attempt."""

    def __init__(self, outcome: AttemptOutcome[Any]) -> None:
        self.outcome = outcome


@dataclass(slots=True)
class Call:
    """A call, and how far it has come."""

    shared: Shared
    timeout: Timeout
    policy: RetryPolicy
    operation: Operation[Any]
    request: Mapping[str, Any]
    key: str | None
    deadline: Deadline
    check: Callable[[Any], str | None] | None
    attempts: int = 0
    retries: int = 0
    missed: int = 0
    """Probes of other calls that failed while this one waited: they count as attempts."""
    doubt: bool = False
    replayed: bool = False
    """Whether a token was refused and replaced."""
    retried: set[Retry] = field(default_factory=set)
    """The kinds of retries that were made."""
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

    async def run(self) -> AttemptOutcome[Any]:
        """Return what the call comes to. A client that is closed meanwhile breaks its connection."""
        try:
            return await self._make_attempts()
        except _End as end:
            return end.outcome
        except errors.BrexError as error:
            if self.attempts and isinstance(error, errors.ConfigurationError) and str(error) == CLOSED:
                return AttemptOutcome(error=errors.ConnectionFailedError, text=CLOSED, advice=Advice.CHECK_THE_NETWORK)
            return AttemptOutcome(error=type(error), failure=error)
        finally:
            if self.probing:
                self.shared.outage.abandon()
            self.shared.quota.give_back(self.owed)

    async def _make_attempts(self) -> AttemptOutcome[Any]:
        shared = self.shared
        while True:
            slot = await self._admit()
            try:
                slot.pool.check_open()
                token = Secret(await self._in_time(shared.auth.token(), "waiting for an access token"))
                sent_at = shared.clock.monotonic()
                outcome = await self._attempt(slot, token)
                seconds = shared.clock.monotonic() - sent_at
            finally:
                self._leave(slot)
            self.last = outcome
            self.doubt = self.doubt or outcome.doubt
            shared.outage.observe(outcome, sent_at, probe=self.probing, retries=self.retries, policy=self.policy)
            self.probing = False
            wait = None
            try:
                wait = await self._renew(outcome, token)
                if wait is None:
                    wait = self._wait_before_retry(outcome)
            finally:
                report(
                    shared.on_attempt,
                    outcome,
                    operation=self.operation.name,
                    number=self.attempts,
                    seconds=seconds,
                    retry_in=wait,
                    idempotency_key=self.key,
                )
            if outcome.error is None:
                shared.auth.accepted(token)
                shared.quota.give_back(self.cost or RetryQuota.CLEAN_SUCCESS)
            if wait is None:
                return outcome
            if wait > 0 and not shared.outage.active:  # an outage has a wait of its own
                await shared.clock.sleep(wait)

    async def _in_time(self, awaitable: Awaitable[T], doing: str) -> T:
        """Await something until the deadline."""
        try:
            with TimeLimit(self.deadline.remaining()):
                return await awaitable
        except TimeoutError:
            pass
        raise _out_of_time(doing)

    async def _admit(self) -> Slot:
        """Wait for the end of an outage, for a slot and for the limiter."""
        while True:
            if self.shared.outage.active:
                await self._wait_out()
            slot = await self._in_time(self._take_place(again=self.deadline.started), "waiting for its turn")
            if self.probing or not self.shared.outage.active:
                self.deadline.start()
                return slot
            self._leave(slot, used=False)

    async def _take_place(self, *, again: bool) -> Slot:
        slot = await self.shared.network.acquire(again=again)
        try:
            await self.shared.limiter.acquire(again=again)
        except BaseException:
            slot.pool.release(slot)
            raise
        return slot

    def _leave(self, slot: Slot, *, used: bool = True) -> None:
        self.shared.limiter.release(slot.pool.loop, used=used)
        slot.pool.release(slot)

    async def _wait_out(self) -> None:
        """Wait until the outage is over or it is this call's turn to probe."""
        self.deadline.start()
        while True:
            turn = await self._in_time(self.shared.outage.turn(), "waiting for the API to come back")
            if turn is Turn.GO:
                return
            if turn is Turn.PROBE:
                self.probing = True
                if self.last is None or self.owed or self._draw(self.last):
                    return
                raise _End(self.last)
            self.missed += 1
            self.retries += 1
            self.last = turn if self.attempts else replace(turn, text=f"not sent, since {turn.text}")
            if self.counted >= self.policy.max_attempts:
                raise _End(self.last)

    async def _attempt(self, slot: Slot, token: Secret) -> AttemptOutcome[Any]:
        remaining = self.deadline.remaining()
        if remaining <= 0:
            raise _out_of_time("waiting for an access token")
        headers: dict[str, str] = {"Authorization": Secret(f"Bearer {token}")}
        if self.key is not None:
            headers["Idempotency-Key"] = self.key
        self.attempts += 1
        self.owed = 0
        received = await self.shared.network.exchange(slot, self.request, headers, self.timeout.within(remaining))
        outcome = self._classify(received)
        if outcome.error is not None:  # what was received may repeat the token
            outcome = self._classify(received.without(token))
        if outcome.error is errors.InvalidResponseError:
            slot.broken = True  # what comes next on this connection may belong to this answer
        return outcome

    def _classify(self, received: Response | TransportFailure) -> AttemptOutcome[Any]:
        return classify(self.operation, received, doubt=self.doubt, now=self.shared.clock.wall(), check=self.check)

    async def _renew(self, outcome: AttemptOutcome[Any], token: Secret) -> float | None:
        """Ask, once in a call, for another token than a refused one; return the seconds until the replay with it."""
        if outcome.status != HTTPStatus.UNAUTHORIZED or self.replayed:
            return None
        self.replayed = await self._in_time(
            self.shared.auth.rejected(token), "waiting for another access token, after the API refused one (401)"
        )
        return 0.0 if self.replayed else None

    def _wait_before_retry(self, outcome: AttemptOutcome[Any]) -> float | None:
        """Seconds to wait before another attempt, or None: this was the last. Draws on the quota, or an outage does."""
        policy, shared, after = self.policy, self.shared, outcome.retry_after
        if after is not None and outcome.retry is Retry.THROTTLED:
            shared.limiter.pause(min(after, policy.max_retry_after))
        if outcome.retry is Retry.NO or (outcome.doubt and not self.operation.resend):
            return None
        if self.counted >= policy.max_attempts or (after is not None and after > policy.max_retry_after):
            return None
        first = outcome.retry not in self.retried
        self.retried.add(outcome.retry)
        if outcome.retry is Retry.ONCE and not first:
            return None
        if outcome.retry is Retry.AT_ONCE and first:
            return 0.0
        if shared.outage.active:
            wait = shared.outage.remaining()
        elif outcome.reach is Reach.AWAY:
            wait = max(policy.pause(self.retries, shared.clock), after or 0.0)
        else:
            wait = max(policy.backoff(self.retries, shared.clock), after or 0.0)
        if wait >= self.deadline.remaining() or not (shared.outage.active or self._draw(outcome)):
            return None
        self.retries += 1
        return wait

    def _draw(self, outcome: AttemptOutcome[Any]) -> bool:
        """Draw what a retry costs from the quota."""
        cost = RetryQuota.THROTTLED_COST if outcome.retry is Retry.THROTTLED else RetryQuota.RETRY_COST
        if not self.shared.quota.draw(cost):
            return False
        self.cost = self.owed = cost
        return True


def _out_of_time(doing: str) -> _End:
    text = f"the deadline has passed while {doing}"
    return _End(AttemptOutcome(error=errors.CallTimeoutError, text=text, advice=Advice.ALLOW_MORE_TIME))
