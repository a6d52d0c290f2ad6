"""Tokens that survive tasks, processes and crashes, against a strict authorization server."""

from __future__ import annotations

import asyncio
import copy
import pickle
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from brex_accounting import (
    BrexAccounting,
    ConfigurationError,
    MemoryTokenStore,
    OAuth2,
    ReauthorizationRequiredError,
    RetryPolicy,
    SQLiteTokenStore,
    TokenRefreshError,
    UnauthorizedError,
)
from brex_accounting._clock import Clock
from brex_accounting._tokens import StoredToken, TokenStore, store_key
from brex_accounting.sandbox import AuthorizationOptions, Fault, Sandbox

TRANSIENT = RetryPolicy(initial_backoff=0.0)


class World:
    """A sandbox with one grant, a store, and a clock that can be moved."""

    def __init__(self, sandbox: Sandbox, store: TokenStore) -> None:
        self.sandbox = sandbox
        self.server = sandbox.authorization
        self.store = store
        self.seed = self.server.new_grant()
        self.ahead = 0.0
        self.jump = 0.0
        self.clients: list[BrexAccounting] = []

    def oauth2(self, **options: Any) -> OAuth2:
        given = {
            "account": "acme",
            "store": self.store,
            "refresh_token": self.seed,
            "token_url": self.sandbox.token_url,
            "transport": self.sandbox.transport,
        }
        auth = OAuth2(self.server.client_id, self.server.client_secret, **given | options)
        time = Clock()

        async def sleep(seconds: float) -> None:
            self.ahead += seconds
            await asyncio.sleep(0)

        auth._clock = Clock(
            monotonic=lambda: time.monotonic() + self.ahead,
            wall=lambda: time.wall() + self.ahead + self.jump,
            sleep=sleep,
            uniform=lambda low, high: high,
        )
        return auth

    def client(self, auth: OAuth2 | None = None, **options: Any) -> BrexAccounting:
        connection = {"base_url": self.sandbox.url, "transport": self.sandbox.transport}
        client = BrexAccounting(auth or self.oauth2(), retry=TRANSIENT, rate_limit=None, **connection, **options)
        self.clients.append(client)
        return client

    @property
    def posts(self) -> int:
        return len(self.server.requests)

    async def stored(self) -> StoredToken:
        stored = await self.store.load(store_key(self.sandbox.token_url, self.server.client_id, "acme"))
        assert stored is not None
        return stored


@asynccontextmanager
async def new_world(store: TokenStore | None = None, **options: Any) -> AsyncIterator[World]:
    async with Sandbox(rate_limit=None, authorization=AuthorizationOptions(**options)) as sandbox:
        world = World(sandbox, store or MemoryTokenStore())
        yield world
        for client in world.clients:
            await client.aclose()


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with new_world() as world:
        yield world


async def create(client: BrexAccounting) -> None:
    await client.integrations.create("ERP_A", "acct-42")


async def test_a_thousand_tasks_ask_once(world: World) -> None:
    client = world.client()
    await asyncio.gather(*(create(client) for _ in range(1000)))
    assert (world.posts, world.server.reuse_events) == (1, 0)


async def test_two_clients_on_one_store_ask_once(world: World) -> None:
    await asyncio.gather(*(create(world.client()) for _ in range(2)))
    assert (world.posts, world.server.reuse_events) == (1, 0)


async def test_what_is_rotated_is_stored(world: World) -> None:
    await create(world.client())
    stored = await world.stored()
    assert stored.token.refresh_token is not None
    assert world.server.is_live(stored.token.refresh_token)
    assert not world.server.is_live(world.seed)


async def test_a_second_process_goes_on_with_what_is_stored(world: World) -> None:
    await create(world.client())
    await create(world.client())
    assert world.posts == 1


async def test_cancelling_all_callers_loses_nothing(world: World) -> None:
    world.sandbox.fault(Fault("delay", operation="token", seconds=0.2))
    client = world.client()
    calls = [asyncio.create_task(create(client)) for _ in range(10)]
    while not world.posts:
        await asyncio.sleep(0)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    await client.aclose()
    assert world.server.is_live((await world.stored()).token.refresh_token or "")
    await create(world.client())
    assert (world.posts, world.server.reuse_events) == (1, 0)


async def test_early_in_the_background(world: World) -> None:
    auth = world.oauth2()
    client = world.client(auth)
    await create(client)
    world.ahead += 3600 - 200
    await create(client)
    assert auth._task is not None
    await auth._task
    assert world.posts == 2
    await create(client)
    assert world.posts == 2


async def test_a_failed_early_refresh_is_nobodys_problem(world: World) -> None:
    client = world.client()
    await create(client)
    world.ahead += 3600 - 200
    world.sandbox.fault(Fault("status", operation="token", status=400, json={"error": "invalid_request"}, times=9))
    for _ in range(20):
        await create(client)
    assert world.posts == 2


async def test_needed_now(world: World) -> None:
    client = world.client()
    await create(client)
    world.ahead += 3600 - 20
    await create(client)
    assert world.posts == 2


@pytest.mark.parametrize("jump", [3600.0, -3600.0, 86400.0])
async def test_a_jump_of_the_wall_clock_is_no_storm(world: World, jump: float) -> None:
    client = world.client()
    await create(client)
    world.jump += jump
    for _ in range(50):
        await create(client)
    assert world.posts == 1


@pytest.mark.parametrize("expires_in", ["soon", 0, -1, 10**30, None, True, [], "3600", 3600.5])
async def test_odd_lifetimes(world: World, expires_in: object) -> None:
    world.sandbox.fault(Fault("merge_json", operation="token", json={"expires_in": expires_in}))
    client = world.client()
    for _ in range(20):
        await create(client)
    assert world.posts == 1


async def test_a_short_life_makes_no_loop() -> None:
    async with new_world(expires_in=20) as world:
        client = world.client()
        for _ in range(20):
            await create(client)
        assert world.posts <= 2


async def test_no_refresh_token_keeps_the_old_one() -> None:
    async with new_world(rotation="omit") as world:
        await create(world.client())
        assert (await world.stored()).token.refresh_token == world.seed


@pytest.mark.parametrize(
    "fault",
    [
        Fault("json", operation="token", json={}),
        Fault("json", operation="token", json=[]),
        Fault("json", operation="token", json={"error": "server_error"}),
        Fault("html", operation="token"),
        Fault("status", operation="token", status=400, json={"error": "invalid_client"}),
    ],
)
async def test_nonsense_leaves_the_stored_token_and_is_asked_once(world: World, fault: Fault) -> None:
    auth = world.oauth2()
    client = world.client(auth)
    await create(client)
    before = await world.stored()
    world.ahead += 3600
    world.sandbox.fault(*[replace(fault)] * 5)
    for _ in range(3):
        with pytest.raises(TokenRefreshError):
            await create(client)
    assert await world.stored() == before
    assert world.posts == 2
    world.sandbox.clear_faults()
    world.ahead += 31
    await create(client)


@pytest.mark.parametrize(
    "fault",
    [Fault("status", operation="token", status=429, retry_after="2"), Fault("status", operation="token", status=503)],
)
async def test_what_may_pass_is_tried_again(world: World, fault: Fault) -> None:
    world.sandbox.fault(*[fault] * 3)
    await create(world.client())
    assert world.posts == 4


async def test_an_outage_ends_within_the_deadline(world: World) -> None:
    world.sandbox.fault(Fault("status", operation="token", status=503, times=1000))
    with pytest.raises(TokenRefreshError) as caught:
        await create(world.client())
    assert type(caught.value) is TokenRefreshError
    assert world.ahead <= 30
    assert caught.value.operation == "createIntegration"
    assert caught.value.attempts == 0


async def test_a_lost_answer_is_asked_for_once_more(world: World) -> None:
    world.sandbox.fault(Fault("reset_before", operation="token"))
    await create(world.client())
    assert (world.posts, world.server.reuse_events) == (2, 0)


async def test_a_lost_answer_and_no_grace_end_the_grant_and_say_so(world: World) -> None:
    world.sandbox.fault(Fault("reset_after", operation="token"))
    for _ in range(3):
        with pytest.raises(ReauthorizationRequiredError):
            await create(world.client())
    assert (world.posts, world.server.reuse_events) == (2, 1)
    assert (await world.stored()).dead


async def test_a_lost_answer_and_a_grace() -> None:
    async with new_world(grace=30.0) as world:
        world.sandbox.fault(Fault("reset_after", operation="token"))
        await create(world.client())
        assert (world.posts, world.server.reuse_events) == (2, 0)


async def test_a_dead_grant_is_known_to_all_and_a_new_seed_replaces_it(world: World) -> None:
    world.server.revoke()
    for _ in range(3):
        with pytest.raises(ReauthorizationRequiredError):
            await create(world.client())
    assert world.posts == 1
    await create(world.client(world.oauth2(refresh_token=world.server.new_grant())))
    assert world.posts == 2


async def test_no_grant_at_all(world: World) -> None:
    with pytest.raises(ReauthorizationRequiredError, match="consent"):
        await create(world.client(world.oauth2(refresh_token=None)))
    assert world.posts == 0


async def test_accounts_do_not_see_each_other(world: World) -> None:
    await create(world.client())
    await create(world.client(world.oauth2(account="umbrella", refresh_token=world.server.new_grant())))
    assert world.posts == 2


async def test_a_refused_token_is_replaced_once_for_all(world: World) -> None:
    client = world.client()
    await create(client)
    world.server.expire_access_tokens()
    world.ahead += 61
    await asyncio.gather(*(create(client) for _ in range(50)))
    assert (world.posts, world.server.reuse_events) == (2, 0)


async def test_a_fresh_token_that_is_refused_is_not_replaced(world: World) -> None:
    client = world.client()
    await create(client)
    world.sandbox.fault(Fault("status", status=401, times=5000))
    for _ in range(1000):
        with pytest.raises(UnauthorizedError):
            await create(client)
    assert world.posts <= 2


class BrokenStore(MemoryTokenStore):
    broken = 0

    async def save(self, key: str, stored: StoredToken, *, expected_version: int | None) -> bool:
        if self.broken:
            self.broken -= 1
            raise OSError("canary")
        return await super().save(key, stored, expected_version=expected_version)


async def test_what_cannot_be_saved_is_not_used_and_saved_later() -> None:
    store = BrokenStore()
    async with new_world(store) as world:
        store.broken = 3
        client = world.client()
        with pytest.raises(TokenRefreshError, match="could not be saved"):
            await create(client)
        assert not [request for request in world.sandbox.requests if request.path.startswith("/v3")]
        await create(client)
        assert (world.posts, world.server.reuse_events) == (1, 0)


class LockedStore(MemoryTokenStore):
    @asynccontextmanager
    async def lock(self, key: str) -> AsyncIterator[None]:
        raise TimeoutError(key)
        yield


async def test_without_the_lock_nothing_is_asked() -> None:
    async with new_world(LockedStore()) as world:
        with pytest.raises(TokenRefreshError, match="store cannot be had"):
            await create(world.client())
        assert world.posts == 0


async def test_on_sqlite(tmp_path: Any) -> None:
    async with new_world(SQLiteTokenStore(tmp_path / "tokens.db")) as world:
        await asyncio.gather(*(create(world.client()) for _ in range(5)))
        assert (world.posts, world.server.reuse_events) == (1, 0)


def test_shows_no_secret_and_is_not_copied() -> None:
    auth = OAuth2("client", "canary-secret", account="acme", store=MemoryTokenStore(), refresh_token="canary-refresh")
    assert "canary" not in repr(auth)
    for operation in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            operation(auth)  # type: ignore[operator]


@pytest.mark.parametrize(
    "wrong",
    [
        {"client_id": ""},
        {"client_secret": ""},
        {"account": " "},
        {"store": None},
        {"refresh_token": "a b"},
        {"token_url": "http://example.com"},
        {"token_url": "https://user:hunter2@example.com"},
        {"client_auth": "digest"},
    ],
)
def test_arguments_are_checked(wrong: dict[str, Any]) -> None:
    given = {"client_id": "c", "client_secret": "s", "account": "a", "store": MemoryTokenStore()} | wrong
    with pytest.raises(ConfigurationError) as caught:
        OAuth2(given.pop("client_id"), given.pop("client_secret"), **given)
    assert "hunter2" not in str(caught.value)
