"""When to try again: full jitter, Retry-After, the number of attempts, and the quota of all calls of a client."""

import asyncio
from datetime import UTC, datetime
from email.utils import format_datetime
from math import inf

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from brex_accounting import ConfigurationError, Outcome, RetryPolicy, errors
from brex_accounting._clock import Clock
from brex_accounting._retry import RetryQuota
from tests.support.calls import CASES, GET, OK, REFUSED, RESET, THROTTLED, UNAVAILABLE, Case, Rig, Step, hang, refuse
from tests.support.virtual_time import EPOCH, now

pytestmark = pytest.mark.virtual_time

# -- backoff -----------------------------------------------------------------------------------------------------------


@given(
    retries=st.integers(0, 60),
    initial=st.floats(0, 1e6),
    most=st.floats(0, 1e6),
    share=st.floats(0, 1),
)
def test_full_jitter(retries: int, initial: float, most: float, share: float) -> None:
    asked: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        asked.append((low, high))
        return low + share * (high - low)

    policy = RetryPolicy(initial_backoff=initial, max_backoff=most)
    wait = policy.backoff(retries, Clock(uniform=uniform))
    assert asked == [(0.0, min(most, initial * 2.0**retries))]
    assert 0.0 <= wait <= most


def test_no_number_of_retries_is_too_large() -> None:
    assert RetryPolicy().backoff(10**9, Clock(uniform=lambda _low, high: high)) == 8.0


def test_the_real_jitter_fills_the_whole_range() -> None:
    policy = RetryPolicy(initial_backoff=0.5, max_backoff=8.0)
    for retries, top in enumerate([0.5, 1.0, 2.0, 4.0, 8.0, 8.0]):
        waits = [policy.backoff(retries, Clock()) for _ in range(1000)]
        assert 0.0 <= min(waits) < 0.05 * top
        assert 0.95 * top < max(waits) <= top


@pytest.mark.parametrize("step", [refuse(500), UNAVAILABLE, RESET, REFUSED])
async def test_the_waits_of_a_call(step: Step) -> None:
    rig = Rig(step, retry=RetryPolicy(max_attempts=7))
    began = now()
    await rig.error()
    assert [time - began for time in rig.times] == [0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 23.5]


async def test_the_waits_of_a_throttled_call() -> None:
    rig = Rig(THROTTLED, retry=RetryPolicy(max_attempts=5))
    began = now()
    await rig.error()
    assert [time - began for time in rig.times] == [0.0, 2.0, 6.0, 14.0, 22.0]


@pytest.mark.parametrize("step", [UNAVAILABLE, RESET, REFUSED])
async def test_after_an_attempt_that_did_not_get_through_no_wait_is_next_to_nothing(step: Step) -> None:
    rig = Rig(step, uniform=lambda low, _high: low)
    began = now()
    await rig.error()
    assert [time - began for time in rig.times] == [0.0, 0.25, 0.75, 1.75]


async def test_a_wait_of_nothing_is_none() -> None:
    rig = Rig(refuse(500), uniform=lambda low, _high: low)
    assert (await rig.error()).attempts == 4
    assert rig.waits == []


# -- how many attempts -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("step", [UNAVAILABLE, THROTTLED, RESET, REFUSED, hang])
@pytest.mark.parametrize("most", [1, 2, 5])
async def test_max_attempts(most: int, step: Step, case: Case) -> None:
    rig = Rig(step, retry=RetryPolicy(max_attempts=most, deadline=1000.0))
    assert (await rig.error(case)).attempts == len(rig.requests) == most


async def test_no_retry() -> None:
    rig = Rig(UNAVAILABLE, retry=RetryPolicy.none())
    assert (await rig.error()).attempts == 1
    assert rig.quota.left == RetryQuota.CAPACITY


@pytest.mark.parametrize("value", [0, 0.0, -1.0, inf, float("nan")])
def test_a_deadline_that_makes_no_sense(value: float) -> None:
    with pytest.raises(ConfigurationError, match="deadline"):
        RetryPolicy(deadline=value)


# -- Retry-After -------------------------------------------------------------------------------------------------------


def at(seconds: float, form: str) -> str:
    """An HTTP-date so many seconds from now, in one of the three forms of RFC 9110 5.6.7."""
    return datetime.fromtimestamp(EPOCH + now() + seconds, UTC).strftime(form)


IMF, RFC_850, ASCTIME = "%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"


@pytest.mark.parametrize("step", [429, 503, 500, 408, 520])
@pytest.mark.parametrize(
    ("value", "wait"), [("0", 0.5), ("3", 3.0), ("007", 7.0), ("2.0", 2.0), ("2.75", 2.75), ("60", 60.0), (" 3 ", 3.0)]
)
async def test_retry_after_in_seconds_raises_the_wait(step: int, value: str, wait: float) -> None:
    rig = Rig(refuse(step, retry_after=value), OK)
    began = now()
    await rig.call()
    assert [time - began for time in rig.times] == [0.0, wait]
    assert rig.attempts[0].retry_in == wait


@pytest.mark.parametrize("form", [IMF, RFC_850, ASCTIME])
@pytest.mark.parametrize(("seconds", "wait"), [(20.0, 20.0), (-20.0, 0.5), (0.0, 0.5)])
async def test_retry_after_as_a_date_raises_the_wait(form: str, seconds: float, wait: float) -> None:
    rig = Rig(refuse(429, retry_after=at(seconds, form)), OK)
    await rig.call()
    assert rig.waits[0] == pytest.approx(wait, abs=1.0)  # a date has no fractions of a second


@pytest.mark.parametrize(
    "value",
    [
        *[
            "-1",
            "-0",
            "+3",
            "nan",
            "inf",
            "Infinity",
            "1e3",
            "1.5.2",
            ".5",
            "3,",
            "3, 3",
            "3 s",
            "0x3",
            "",
            "٣",
            "3" * 30,
        ],
        *["soon", "Sun", "Sun, 32 Nov 2094 08:49:37 GMT", "Sun, 06 Nov 99999 08:49:37 GMT", "2094-11-06T08:49:37Z"],
        *["Sun, 06 Nov 2094", "Sun, 06 Nov 2094 08:49:37 GMT; x", "Sun, 06 Nov 2094 25:61:61 GMT", "\x00"],
    ],
)
@pytest.mark.parametrize("status", [429, 503])
async def test_any_other_retry_after_is_ignored(status: int, value: str) -> None:
    async def step(_request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, headers=[(b"Retry-After", value.encode())])

    rig = Rig(step)
    began = now()
    error = await rig.error()
    assert isinstance(error, errors.APIError)
    assert error.retry_after is None
    assert [time - began for time in rig.times] == ([0.0, 2.0, 6.0, 14.0] if status == 429 else [0.0, 0.5, 1.5, 3.5])


@given(value=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40))
@settings(deadline=None)
async def test_no_retry_after_breaks_a_call(value: str) -> None:
    rig = Rig(refuse(503, retry_after=value), OK, retry=RetryPolicy(max_attempts=2))
    result = await rig.end()
    if isinstance(result, errors.ServerError):
        assert result.retry_after is not None
        assert result.retry_after > 60.0
    else:
        assert result.id == "int_1"


@pytest.mark.parametrize(("status", "kind"), [(429, errors.RateLimitedError), (503, errors.ServerError)])
@pytest.mark.parametrize(
    ("policy", "retry_after"),
    [
        (RetryPolicy(), 61.0),
        (RetryPolicy(), 999_999_999.0),
        (RetryPolicy(max_retry_after=5.0), 6.0),
        (RetryPolicy(max_retry_after=0.0), 1.0),
        (RetryPolicy(deadline=10.0), 10.0),
        (RetryPolicy(deadline=10.0), 11.0),
    ],
)
async def test_a_retry_after_that_is_too_long_ends_the_call_at_once(
    status: int, kind: type[errors.APIError], policy: RetryPolicy, retry_after: float
) -> None:
    rig = Rig(refuse(status, retry_after=f"{retry_after:.0f}"), OK, retry=policy)
    began = now()
    error = await rig.error()
    assert isinstance(error, kind)
    assert (error.retry_after, error.attempts, now()) == (retry_after, 1, began)
    assert error.outcome is (Outcome.NOT_APPLIED if status == 429 else Outcome.UNKNOWN)
    assert rig.quota.left == RetryQuota.CAPACITY


@pytest.mark.parametrize("status", [400, 403, 404, 422])
async def test_a_retry_after_makes_no_retry_of_a_definite_answer(status: int) -> None:
    rig = Rig(refuse(status, retry_after="1"), OK)
    error = await rig.error()
    assert isinstance(error, errors.APIError)
    assert (error.attempts, error.retry_after) == (1, 1.0)


async def test_the_wall_clock_may_jump() -> None:
    date = format_datetime(datetime.fromtimestamp(EPOCH + now() + 30.0, UTC), usegmt=True)
    rig = Rig(refuse(429, retry_after=date), OK, wall=lambda: EPOCH + now() - 7 * 86_400)
    error = await rig.error()  # by its wall clock of last week, the wait is a week
    assert isinstance(error, errors.RateLimitedError)
    rig = Rig(refuse(429, retry_after=date), OK, wall=lambda: EPOCH + now() + 7 * 86_400)
    await rig.call()
    assert rig.waits == [0.5]


# -- the quota ---------------------------------------------------------------------------------------------------------


async def test_a_date_in_the_past_is_no_negative_wait() -> None:
    rig = Rig(refuse(429, retry_after=at(-3600.0, IMF)))
    error = await rig.error()
    assert isinstance(error, errors.RateLimitedError)
    assert error.retry_after == 0.0


@pytest.mark.parametrize(
    ("steps", "left"),
    [
        ([OK], 101),
        ([UNAVAILABLE, OK], 100),
        ([THROTTLED, OK], 100),
        ([THROTTLED, UNAVAILABLE, OK], 95),
        ([UNAVAILABLE, THROTTLED, OK], 86),
        ([UNAVAILABLE, UNAVAILABLE, OK], 86),
        ([UNAVAILABLE], 58),
        ([THROTTLED], 85),
        ([UNAVAILABLE, refuse(400)], 86),
        ([refuse(400)], 100),
    ],
)
@pytest.mark.parametrize("case", CASES, ids=str)
async def test_what_a_call_costs(steps: list[Step], left: int, case: Case) -> None:
    rig = Rig(*steps)
    rig.quota.left = 100
    await asyncio.gather(rig.call(case), return_exceptions=True)
    assert rig.quota.left == left


async def test_a_retry_that_is_not_sent_costs_nothing() -> None:
    rig = Rig(UNAVAILABLE, retry=RetryPolicy(initial_backoff=8.0))
    for _ in range(100):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(rig.call(), 1.0)
    assert rig.quota.left == RetryQuota.CAPACITY


async def test_successes_fill_an_empty_quota() -> None:
    rig = Rig(UNAVAILABLE)
    while rig.quota.left >= RetryQuota.RETRY_COST:
        await rig.error()
    assert (await rig.error()).attempts == 1
    rig.transport.go_on_with(OK)
    for _ in range(RetryQuota.RETRY_COST):
        await rig.call(GET)
    rig.transport.go_on_with(UNAVAILABLE)
    assert (await rig.error()).attempts == 2


class QuotaMachine(RuleBasedStateMachine):
    """What is drawn and given back, against a sum."""

    def __init__(self) -> None:
        super().__init__()
        self.quota = RetryQuota()
        self.sum = 500

    @rule(cost=st.sampled_from([RetryQuota.RETRY_COST, RetryQuota.THROTTLED_COST]))
    def draw(self, cost: int) -> None:
        assert self.quota.draw(cost) is (cost <= self.sum)
        if cost <= self.sum:
            self.sum -= cost

    @precondition(lambda self: self.sum < 500)
    @rule(amount=st.sampled_from([0, 1, 5, 14]))
    def give_back(self, amount: int) -> None:
        self.quota.give_back(amount)
        self.sum = min(500, self.sum + amount)

    @invariant()
    def is_the_sum(self) -> None:
        assert 0 <= self.quota.left == self.sum <= 500


TestQuota = QuotaMachine.TestCase
