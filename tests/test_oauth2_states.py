"""Several objects on one store and a strict authorization server: faults, clocks that jump, cancellations."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from brex_accounting import MemoryTokenStore, OAuth2, TokenRefreshError
from brex_accounting._auth.tokens import decode, encode, store_key
from brex_accounting._clock import Clock
from brex_accounting.sandbox import Fault, Sandbox
from tests.support.marks import examples
from tests.support.virtual_time import VirtualTimeLoop

START = 1_800_000_000.0
HARMLESS = (
    Fault("reset_before", operation="token"),
    Fault("delay", operation="token", seconds=3.0),
    Fault("status", operation="token", status=429, retry_after="2"),
    Fault("status", operation="token", status=503),
    Fault("status", operation="token", status=400, json={"error": "invalid_client"}),
    Fault("html", operation="token"),
    Fault("json", operation="token", json={}),
    Fault("merge_json", operation="token", json={"expires_in": 45}),
    Fault("merge_json", operation="token", json={"expires_in": None}),
)
LOSSY = (
    Fault("reset_after", operation="token"),
    Fault("cut_body", operation="token"),
    Fault("status", operation="token", status=502, applied=True),
)


class Grants(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner(loop_factory=VirtualTimeLoop)
        self.loop = self.runner.get_loop()
        self.jump = 0.0
        self.sandbox = Sandbox(rate_limit=None, clock=self.now)
        self.server = self.sandbox.authorization
        self.store = MemoryTokenStore()
        self.store._clock = Clock(monotonic=self.loop.time)  # type: ignore[misc]
        self.seed = self.server.new_grant("1")
        self.lossy = False
        self.objects: list[OAuth2] = []
        self.tasks: set[asyncio.Task[Any]] = set()
        self.strange: list[BaseException] = []
        for _ in range(3):
            self.add()

    def now(self) -> float:
        return START + self.loop.time()

    def run(self, seconds: float) -> None:
        self.runner.run(asyncio.sleep(seconds))

    def begin(self, work: Callable[[], Awaitable[object]]) -> None:
        async def noted() -> None:
            try:
                await work()
            except TokenRefreshError:
                pass
            except Exception as error:  # noqa: BLE001 - that is what is looked for
                self.strange.append(error)

        task = self.loop.create_task(noted())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    @precondition(lambda self: len(self.objects) < 5)
    @rule()
    def add(self) -> None:
        auth = OAuth2(
            self.server.client_id,
            self.server.client_secret,
            account="acme",
            store=self.store,
            refresh_token=self.seed,
            token_url=self.sandbox.token_url,
            transport=self.sandbox.transport,
        )
        auth._refresher.clock = auth._refresher.grant.clock = auth._clock = Clock(
            monotonic=self.loop.time, wall=lambda: self.now() + self.jump
        )
        self.objects.append(auth)

    @rule(number=st.integers(0, 4), tasks=st.integers(1, 20))
    def ask(self, number: int, tasks: int) -> None:
        for _ in range(tasks):
            self.begin(self.objects[number % len(self.objects)].token)

    @rule(seconds=st.sampled_from([0.0, 0.01, 40.0]))
    def ask_all(self, seconds: float) -> None:
        for auth in self.objects:
            self.begin(auth.token)
        self.run(seconds)

    @rule(number=st.integers(0, 4), tasks=st.integers(1, 3))
    def reject(self, number: int, tasks: int) -> None:
        auth = self.objects[number % len(self.objects)]
        token = auth._access_token()
        if token:
            for _ in range(tasks):
                self.begin(partial(auth.rejected, token))

    @rule(count=st.integers(1, 20))
    def cancel(self, count: int) -> None:
        for task in list(self.tasks)[:count]:
            task.cancel()

    @rule(number=st.integers(0, 4))
    def close(self, number: int) -> None:
        self.begin(self.objects[number % len(self.objects)].aclose)

    @rule(fault=st.sampled_from(HARMLESS), times=st.integers(1, 3))
    def befall(self, fault: Fault, times: int) -> None:
        self.sandbox.fault(*[fault] * times)

    @rule(fault=st.sampled_from(LOSSY))
    def lose(self, fault: Fault) -> None:
        self.sandbox.fault(fault)

    @rule(seconds=st.sampled_from([0.0, 0.001, 0.01, 1.0, 5.0]))
    def wait_a_little(self, seconds: float) -> None:
        self.run(seconds)

    @rule(seconds=st.sampled_from([31.0, 61.0, 400.0, 3250.0, 3320.0, 3550.0, 3590.0, 3601.0]))
    def wait_long(self, seconds: float) -> None:
        self.run(seconds)

    @rule(jump=st.sampled_from([-86400.0, -3600.0, 0.0, 3600.0, 86400.0]))
    def jump_wall_clock(self, jump: float) -> None:
        self.jump = jump

    @rule()
    def revoke(self) -> None:
        self.server.revoke()

    @rule()
    def consent(self) -> None:
        self.seed = self.server.new_grant(str(len(self.server.grants) + 1))
        self.objects.pop(0)
        self.add()

    @invariant()
    def nothing_strange(self) -> None:
        assert not self.strange

    @invariant()
    def a_token_is_reused_only_after_a_lost_answer(self) -> None:
        for grant in self.server.grants:
            lost = [line for line in self.server.requests if line.grant is grant and self.is_lost(line)]
            assert grant.reuse_events <= len(lost), (grant, lost)

    def is_lost(self, line: Any) -> bool:
        return line.fault in {"reset_after", "cut_body", "status"} and line.outcome is not None

    @invariant()
    def one_refresh_at_a_time(self) -> None:
        assert all(grant.in_flight_max <= 1 for grant in self.server.grants)

    @invariant()
    def what_is_heard_to_be_dead_is_not_asked_again(self) -> None:
        heard = [
            line.fingerprint for line in self.server.requests if line.outcome == "invalid_grant" and line.fault is None
        ]
        assert len(heard) == len(set(heard))

    @invariant()
    def the_store_parses_and_its_token_is_the_last_one(self) -> None:
        for key, stored in self.store._stored.items():
            assert key == store_key(self.sandbox.token_url, self.server.client_id, "acme")
            assert decode(encode(stored)) == stored
            token = stored.token.refresh_token
            assert token is not None
            if stored.dead:
                assert stored.token.access_token is None
                continue
            grant = None if token is None else self.server.grant_of(token)
            if grant is None or token is None or grant.revoked or grant.in_flight:
                continue
            lost = any(self.is_lost(line) for line in self.server.requests if line.grant is grant)
            busy = any(not task.done() for auth in self.objects for task in auth._tasks.values())
            assert self.server.is_live(token) or lost or busy or self.tasks

    def teardown(self) -> None:
        try:
            self.run(100.0)  # a refresh ends within its deadline, whatever happens
            assert not self.tasks
            assert not any(not task.done() for auth in self.objects for task in auth._tasks.values())
            self.nothing_strange()
            self.what_is_heard_to_be_dead_is_not_asked_again()
            self.the_store_parses_and_its_token_is_the_last_one()
            self.a_token_is_reused_only_after_a_lost_answer()
            self.one_refresh_at_a_time()
        finally:
            self.runner.close()


TestGrants = Grants.TestCase
TestGrants.settings = settings(max_examples=examples(120), stateful_step_count=30, deadline=None)
