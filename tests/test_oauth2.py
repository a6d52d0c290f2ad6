"""Tokens that survive tasks, processes and crashes, against a strict authorization server."""

from __future__ import annotations

import asyncio
import base64
import copy
import logging
import pickle
import threading
import time
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import httpx
import msgspec
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
    save_grant,
)
from brex_accounting._auth.tokens import StoredToken, Token, TokenStore, fingerprint, store_key
from brex_accounting._clock import Clock
from brex_accounting.sandbox import AuthorizationOptions, Fault, Sandbox
from tests.support.marks import SOAK, many

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

        auth._refresher.clock = auth._refresher.grant.clock = auth._clock = Clock(
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


@many
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
    await asyncio.wait(list(auth._tasks.values()))
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


@pytest.mark.parametrize(
    ("fault", "usable"),
    [
        (Fault("replace_status", status=201), True),
        (Fault("merge_json", json={"error": ""}), True),
        (Fault("merge_json", json={"token_type": ""}), True),
        (Fault("bom"), True),
        *((Fault("encode", encoding=name, members=2), True) for name in ("gzip", "x-gzip")),
        *((Fault("encode", encoding=name), True) for name in ("utf-8", "none", "identity")),
        (Fault("merge_json", json={"token_type": "BearerToken"}), False),
        (Fault("merge_json", json={"token_type": "mac"}), False),
        (Fault("merge_json", json={"access_token": None}), False),
        (Fault("merge_json", json={"access_token": "two words"}), False),
        (Fault("merge_json", json={"error": "server_error"}), True),
        (Fault("merge_json", json={"error": {"code": 1}}), False),
    ],
)
async def test_a_refresh_token_is_saved_whatever_else_comes(world: World, fault: Fault, *, usable: bool) -> None:
    async with world.sandbox.serve() as url:
        auth = world.oauth2(token_url=f"{url}/oauth2/default/v1/token", transport=None)
        world.sandbox.fault(replace(fault, operation="token"))
        if usable:
            await auth.token()
        else:
            with pytest.raises(TokenRefreshError, match="the token endpoint answered 200 with"):
                await auth.token()
        key = store_key(f"{url}/oauth2/default/v1/token", world.server.client_id, "acme")
        stored = await world.store.load(key)
        assert stored is not None
        assert stored.token.refresh_token != world.seed
        assert world.server.is_live(stored.token.refresh_token or "")
        assert world.server.is_live(await auth.token())
        assert world.server.reuse_events == 0


async def test_no_refresh_token_keeps_the_old_one() -> None:
    async with new_world(rotation="omit") as world:
        await create(world.client())
        assert (await world.stored()).token.refresh_token == world.seed


@pytest.mark.parametrize(
    "fault",
    [
        Fault("json", json={}),
        Fault("json", json=[]),
        Fault("json", json={"error": {"code": 7}}),
        Fault("html"),
        Fault("status", status=403, body="html"),
        Fault("status", status=307),
    ],
)
async def test_nonsense_is_not_sent_again_by_this_call_but_by_the_next_after_a_backoff(
    world: World, fault: Fault
) -> None:
    client = world.client()
    await create(client)
    before = await world.stored()
    world.ahead += 3600
    world.sandbox.fault(*[replace(fault, operation="token")] * 6)
    waits = []
    for asked in range(6):
        began = world.ahead
        with pytest.raises(TokenRefreshError):
            await create(client)
        assert world.posts == 2 + asked
        waits.append(world.ahead - began)
    assert waits == pytest.approx([0, 0.5, 1, 2, 4, 8], abs=0.4)
    assert await world.stored() == before
    await create(client)


@pytest.mark.parametrize("error", ["server_error", "temporarily_unavailable"])
@pytest.mark.parametrize("status", [200, 400])
async def test_an_error_that_passes_is_waited_out(world: World, status: int, error: str) -> None:
    world.sandbox.fault(*[Fault("status", operation="token", status=status, json={"error": error})] * 3)
    await create(world.client())
    assert world.posts == 4


@pytest.mark.parametrize("error", ["invalid_client", "unauthorized_client", "invalid_scope"])
async def test_what_was_understood_is_believed_for_a_while(world: World, error: str) -> None:
    client = world.client()
    world.sandbox.fault(Fault("status", operation="token", status=400, json={"error": error}))
    for _ in range(3):
        with pytest.raises(TokenRefreshError, match=error):
            await create(client)
    assert world.posts == 1
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


@pytest.mark.parametrize("restarted", [False, True])
async def test_a_refused_refresh_token_is_kept_and_a_person_can_have_it_tried_again(
    world: World, *, restarted: bool
) -> None:
    client = world.client()
    await create(client)
    token = (await world.stored()).token.refresh_token or ""
    world.ahead += 3600
    world.sandbox.fault(Fault("status", operation="token", status=400, json={"error": "invalid_grant"}))
    for _ in range(3):
        with pytest.raises(ReauthorizationRequiredError):
            await create(client)
    stored = await world.stored()
    assert stored.dead
    assert (stored.token.access_token, stored.token.refresh_token) == (None, token)
    assert world.posts == 2
    grant = {"client_id": world.server.client_id, "account": "acme", "token_url": world.sandbox.token_url}
    await save_grant(world.store, refresh_token=token, **grant)
    await create(world.client() if restarted else client)
    assert (world.posts, world.server.reuse_events) == (3, 0)


class Replicated(MemoryTokenStore):
    """Reads come from a replica, which may lag behind."""

    lagging: dict[str, StoredToken | None] | None = None

    async def load(self, key: str) -> StoredToken | None:
        return await super().load(key) if self.lagging is None else self.lagging.get(key)


async def test_a_store_that_answers_with_what_is_old_does_not_make_it_spend_the_old_token() -> None:
    store = Replicated()
    async with new_world(store) as world:
        client = world.client()
        await create(client)
        store.lagging = dict(store._stored)
        world.ahead += 3600
        store.lagging = None
        await create(client)
        for lagging in ({}, {key: replace_version(stored, 1) for key, stored in store._stored.items()}):
            store.lagging = lagging
            world.ahead += 3600
            with pytest.raises(TokenRefreshError, match="answers with an older version than it did before"):
                await create(client)
            assert (world.posts, world.server.reuse_events) == (2, 0)
        store.lagging = None
        await create(client)
        assert (world.posts, world.server.reuse_events) == (3, 0)


async def test_what_is_old_to_one_object_is_old_to_all_of_this_process() -> None:
    store = Replicated()
    async with new_world(store) as world:
        await create(world.client())
        for lagging in ({}, {key: replace_version(stored, 0) for key, stored in store._stored.items()}):
            store.lagging = lagging
            with pytest.raises(TokenRefreshError, match="answers with an older version than it did before"):
                await create(world.client())  # as a web application makes one for each request
            assert (world.posts, world.server.reuse_events) == (1, 0)
        store.lagging = None
        await create(world.client())
        assert world.posts == 1
        store._stored.clear()
        await create(world.client(world.oauth2(refresh_token=world.server.new_grant())))  # nothing old about this one
        assert (world.posts, world.server.reuse_events) == (2, 0)


async def test_a_store_that_cannot_be_referred_to_weakly() -> None:
    inner = MemoryTokenStore()

    class Slotted:
        __slots__ = ("load", "lock", "save")
        __hash__ = None  # type: ignore[assignment]

        def __init__(self) -> None:
            self.load, self.save, self.lock = inner.load, inner.save, inner.lock

    async with new_world(Slotted()) as world:
        await create(world.client())
        assert world.posts == 1


def replace_version(stored: StoredToken, version: int) -> StoredToken:
    return msgspec.structs.replace(stored, version=version, token=Token("old access", "old refresh"))


async def test_a_replica_that_catches_up_is_waited_for() -> None:
    store = Replicated()
    async with new_world(store) as world:
        client = world.client()
        await create(client)
        old = dict(store._stored)
        world.ahead += 3600
        await create(client)
        world.ahead += 3600

        class CatchingUp(dict[str, StoredToken]):
            looks = 0

            def get(self, key: str, default: Any = None) -> Any:
                self.looks += 1
                return (old if self.looks < 5 else store._stored).get(key, default)

        store.lagging = CatchingUp()
        await create(client)
        assert (world.posts, world.server.reuse_events) == (3, 0)


async def test_a_new_consent_counts_though_somebody_removed_the_row_before(world: World) -> None:
    client = world.client()
    for _ in range(2):
        await create(client)
        world.ahead += 3600
    assert isinstance(world.store, MemoryTokenStore)
    world.store._stored.clear()
    grant = {"client_id": world.server.client_id, "account": "acme", "token_url": world.sandbox.token_url}
    await save_grant(world.store, refresh_token=world.server.new_grant(), **grant)
    await create(client)
    assert world.server.reuse_events == 0


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
    await asyncio.gather(*(create(client) for _ in range(50)))
    assert (world.posts, world.server.reuse_events) == (2, 0)


async def test_a_token_that_was_good_is_replaced_once_in_a_while(world: World) -> None:
    client = world.client()
    await create(client)
    for posts in (2, 3):
        world.server.expire_access_tokens()
        await create(client)
        world.server.expire_access_tokens()
        for _ in range(100):
            with pytest.raises(UnauthorizedError):
                await create(client)
        assert world.posts == posts
        world.ahead += 61


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
        store.broken = 1000
        client = world.client()
        with pytest.raises(TokenRefreshError, match="could not be saved"):
            await create(client)
        assert world.ahead <= 30
        store.broken = 0
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
        with pytest.raises(TokenRefreshError, match="lock of the token store could not be acquired"):
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


async def test_a_refusal_says_what_to_check_and_goes_on_saying_it(world: World) -> None:
    world.sandbox.fault(Fault("status", operation="token", status=401, json={"error": "invalid_client"}))
    client = world.client()
    for _ in range(2):
        with pytest.raises(TokenRefreshError, match=r"invalid_client\. Check client_id, client_secret and token_url"):
            await create(client)
    assert world.posts == 1


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


# -- waiters, cancellations, loops --


MANY = 20_000 if SOAK else 4_000


@many
async def test_many_waiters_wake_at_once_and_without_a_word(world: World, caplog: pytest.LogCaptureFixture) -> None:
    for fault in (Fault("delay", operation="token", seconds=0.1), Fault("status", operation="token", status=400)):
        auth = world.oauth2(account=fault.kind)
        world.sandbox.fault(fault)
        waiters = [asyncio.create_task(auth.token()) for _ in range(MANY)]
        longest, before = 0.0, 0.0
        await asyncio.sleep(0)
        for waiter in waiters[::-2]:
            waiter.cancel()
        while not all(waiter.done() for waiter in waiters[1::-1]):
            before = time.thread_time()  # not the time that a busy machine gives to others
            await asyncio.sleep(0)
            longest = max(longest, time.thread_time() - before)
        ends = await asyncio.gather(*waiters, return_exceptions=True)
        assert longest < 0.5
        assert len({id(end) for end in ends if isinstance(end, TokenRefreshError)}) in {0, MANY // 2}
        world.seed = world.server.new_grant()
    assert world.posts == 2
    assert not caplog.records


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_the_end_of_a_loop_waits_for_the_refresh_and_another_loop_goes_on(tmp_path: Path, kind: str) -> None:
    """asyncio.run cancels all tasks at its end; a token that is on its way must survive that."""
    store: TokenStore = MemoryTokenStore() if kind == "memory" else SQLiteTokenStore(tmp_path / "tokens.db")
    address: list[str] = []
    stop = threading.Event()
    sandbox = Sandbox(rate_limit=None)

    async def serve() -> None:
        async with sandbox.serve() as url:
            address.append(url)
            while not stop.is_set():
                await asyncio.sleep(0.01)

    server = threading.Thread(target=asyncio.run, args=(serve(),))
    server.start()
    try:
        while not address:
            time.sleep(0.01)
        sandbox.fault(Fault("delay", operation="token", seconds=0.3))
        authorization = sandbox.authorization
        auth = OAuth2(
            authorization.client_id,
            authorization.client_secret,
            account="acme",
            store=store,
            refresh_token=authorization.new_grant(),
            token_url=f"{address[0]}/oauth2/default/v1/token",
        )

        async def leave() -> None:
            asyncio.create_task(auth.token())  # noqa: RUF006
            while not authorization.requests:
                await asyncio.sleep(0.01)

        async def shut_down_as_some_do() -> str:
            call = asyncio.create_task(auth.token())
            for task in asyncio.all_tasks() - {asyncio.current_task(), call}:  # type: ignore[arg-type]
                task.cancel()
            return await call

        asyncio.run(leave())
        assert len(authorization.requests) == 1
        token = asyncio.run(shut_down_as_some_do())
        assert authorization.is_live(token)
        assert (len(authorization.requests), authorization.reuse_events) == (1, 0)
    finally:
        stop.set()
        server.join()


async def test_closing_waits_and_saves_at_last() -> None:
    store = BrokenStore()
    async with new_world(store) as world:
        store.broken = 1000
        client = world.client()
        with pytest.raises(TokenRefreshError, match="could not be saved"):
            await create(client)
        store.broken = 0
        await client.aclose()
        assert world.server.is_live((await world.stored()).token.refresh_token or "")


# -- saving --


class DoubtfulStore(MemoryTokenStore):
    """Saves, and says that it did not."""

    doubtful = 0

    async def save(self, key: str, stored: StoredToken, *, expected_version: int | None) -> bool:
        saved = await super().save(key, stored, expected_version=expected_version)
        if self.doubtful:
            self.doubtful -= 1
            raise asyncio.CancelledError if self.doubtful % 2 else RuntimeError
        return saved


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_a_save_that_succeeded_and_failed(times: int) -> None:
    store = DoubtfulStore()
    async with new_world(store) as world:
        store.doubtful = times
        client = world.client()
        await create(client)
        world.ahead += 3600
        await create(client)
        assert (world.posts, world.server.reuse_events) == (2, 0)


async def test_a_token_saved_late_does_not_replace_a_new_consent() -> None:
    store = BrokenStore()
    async with new_world(store) as world:
        store.broken = 1000
        old = world.client()
        with pytest.raises(TokenRefreshError, match="could not be saved"):
            await create(old)
        store.broken = 0
        consent = world.server.new_grant()
        await create(world.client(world.oauth2(refresh_token=consent)))
        kept = await world.stored()
        await create(old)
        assert await world.stored() == kept
        assert (world.posts, world.server.reuse_events) == (2, 0)


class OddStore(MemoryTokenStore):
    odd = False

    async def save(self, key: str, stored: StoredToken, *, expected_version: int | None) -> bool:
        if self.odd:
            raise LookupError("canary")
        return await super().save(key, stored, expected_version=expected_version)


async def test_a_dead_grant_that_cannot_be_marked_is_not_asked_for_again() -> None:
    store = OddStore()
    async with new_world(store) as world:
        world.server.revoke()
        store.odd = True
        client = world.client()
        for _ in range(3):
            with pytest.raises(ReauthorizationRequiredError):
                await create(client)
        store.odd = False
        with pytest.raises(ReauthorizationRequiredError):
            await create(client)
        assert (await world.stored()).dead
        assert world.posts == 1


async def test_another_process_changed_the_store_during_invalid_grant(world: World) -> None:
    consent = world.server.new_grant()
    fresh = Token("access", consent, None, None)
    key = store_key(world.sandbox.token_url, world.server.client_id, "acme")
    auth = world.oauth2()
    world.server.revoke()
    world.sandbox.fault(Fault("delay", operation="token", seconds=0.1))
    waiting = asyncio.create_task(auth.token())
    while not world.posts:
        await asyncio.sleep(0)
    changed = StoredToken(fresh, 7, seed_fingerprint=fingerprint(world.seed))
    await world.store.save(key, changed, expected_version=None)
    assert await waiting == "access"
    assert world.posts == 1


# -- seeds --


async def test_an_older_seed_does_not_come_back_over_a_new_consent(world: World) -> None:
    old = world.client()
    await create(old)
    consent = world.server.new_grant()
    await create(world.client(world.oauth2(refresh_token=consent)))
    world.ahead += 3600
    await create(old)
    await create(world.client(world.oauth2()))
    assert (world.posts, world.server.reuse_events) == (3, 0)
    assert world.server.is_live((await world.stored()).token.refresh_token or "")


async def test_a_dead_seed_leaves_the_grant_that_was_there(world: World) -> None:
    await create(world.client())
    dead = world.server.new_grant("other")
    world.server.revoke("other")
    for _ in range(2):
        await create(world.client(world.oauth2(refresh_token=dead)))
    assert world.posts == 2


# -- early, late, refused --


async def test_a_token_in_hand_is_used_until_it_is_dead(world: World) -> None:
    client = world.client()
    await create(client)
    world.ahead += 3600 - 20
    world.sandbox.fault(Fault("status", operation="token", status=400, json={"error": "invalid_request"}, times=9))
    await create(client)
    world.ahead += 21
    with pytest.raises(TokenRefreshError):
        await create(client)
    assert world.posts == 2


async def test_failed_early_refreshes_back_off(world: World) -> None:
    client = world.client()
    await create(client)
    world.ahead += 3600 - 299
    world.sandbox.fault(Fault("status", operation="token", status=400, json={"error": "invalid_request"}, times=9))
    for _ in range(260):
        await create(client)
        world.ahead += 1
    assert world.posts - 1 <= 3


async def test_a_long_retry_after_is_kept(world: World) -> None:
    world.sandbox.fault(Fault("status", operation="token", status=429, retry_after="120", times=9))
    client = world.client()
    for _ in range(5):
        with pytest.raises(TokenRefreshError):
            await create(client)
    assert world.posts == 1
    world.sandbox.clear_faults()
    world.ahead += 121
    await create(client)


async def test_a_refusal_of_a_loaded_token_that_joins_the_loading_is_heard(world: World) -> None:
    await create(world.client())
    auth = world.oauth2()
    stale = (await world.stored()).token.access_token or ""
    loading = auth._start(None)
    while auth._known is None:
        await asyncio.sleep(0)
    assert await auth.rejected(stale)
    assert loading.done()
    assert world.posts == 2


async def test_a_redirect_is_refused(world: World) -> None:
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(307, headers={"location": "https://elsewhere.example/token"})

    client = world.client(world.oauth2(transport=httpx.MockTransport(answer)))
    for _ in range(3):
        with pytest.raises(TokenRefreshError, match="307"):
            await create(client)
    assert [request.url.host for request in sent] == ["sandbox.invalid"] * 3


async def test_a_timeout_answer_is_sent_once_more(world: World) -> None:
    world.sandbox.fault(Fault("status", operation="token", status=408, times=9))
    with pytest.raises(TokenRefreshError):
        await create(world.client())
    assert world.posts == 2


async def test_credentials_in_the_body(world: World) -> None:
    await create(world.client(world.oauth2(client_auth="body")))
    assert [request.client_auth for request in world.server.requests] == ["body"]


# -- canaries --

SECRET, REFRESH, ACCESS = "canary secret+/=", "canary-refresh/+", "canary-access"
BASIC = base64.b64encode(f"client:{quote_plus(SECRET)}".encode()).decode()


def everything_shown(error: BaseException | None) -> str:
    """Texts, reprs, pickles, notes, and the locals of each frame, along the whole chain."""
    shown = []
    while error is not None:
        shown += [str(error), repr(error), repr(vars(error)), repr(pickle.dumps(error))]
        shown += traceback.format_exception(error)
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if not frame.f_code.co_filename.endswith(("test_oauth2.py",)):
                shown += [f"{name}={value!r}" for name, value in frame.f_locals.items()]
        assert error.__cause__ is None
        error = error.__context__
    return "\n".join(shown)


def echo(request: httpx.Request) -> str:
    return f"{request.headers.get('authorization')} {request.content.decode()} {SECRET} {REFRESH} {BASIC}"


def failing(kind: str, request: httpx.Request) -> httpx.Response:
    match kind:
        case "invalid_grant":
            return httpx.Response(400, json={"error": "invalid_grant", "error_description": echo(request)})
        case "echo":
            return httpx.Response(400, json={"error": "x" * 280 + echo(request)})
        case "refused":
            return httpx.Response(401, text=echo(request))
        case "later":
            return httpx.Response(503, text=echo(request))
        case "reset":
            raise httpx.ReadError(echo(request))
        case "never sent":
            raise httpx.ConnectError(echo(request))
        case "bug":
            raise ZeroDivisionError(echo(request))
        case "nonsense":
            return httpx.Response(200, json={"access_token": f"{ACCESS} \n", "refresh_token": REFRESH})
    return httpx.Response(200, json={"access_token": ACCESS, "refresh_token": REFRESH + "2", "expires_in": 3600})


class CanaryStore(MemoryTokenStore):
    fails = ""

    async def load(self, key: str) -> StoredToken | None:
        if self.fails == "load":
            raise RuntimeError(REFRESH)
        return await super().load(key)

    async def save(self, key: str, stored: StoredToken, *, expected_version: int | None) -> bool:
        if self.fails == "save":
            raise RuntimeError(stored.token.refresh_token)
        return await super().save(key, stored, expected_version=expected_version)


@pytest.mark.parametrize("client_auth", ["basic", "body"])
@pytest.mark.parametrize(
    "kind",
    [
        *("invalid_grant", "echo", "refused", "later", "reset", "never sent", "bug", "nonsense"),
        *("load", "save", "transport", "401"),
    ],
)
async def test_no_secret_is_shown(world: World, kind: str, client_auth: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    store = CanaryStore()
    store.fails = kind

    def broken() -> httpx.AsyncBaseTransport:
        raise RuntimeError(REFRESH)

    transport = broken if kind == "transport" else httpx.MockTransport(lambda request: failing(kind, request))
    auth = world.oauth2(store=store, transport=transport, client_auth=client_auth, refresh_token=REFRESH)
    auth._client_id = "client"
    auth._refresher._endpoint = replace(auth._refresher._endpoint, client_id="client", client_secret=SECRET)
    client = world.client(auth)
    shown = [repr(auth), repr(client), repr(list(auth._tasks.values()))]
    for ask in (lambda: create(client), auth.token, lambda: create(client)):
        if kind == "401" and ask == auth.token:
            continue
        with pytest.raises(Exception) as caught:  # noqa: PT011 - any
            await ask()
        shown.append(everything_shown(caught.value))
    early = auth._start(None)
    await asyncio.wait([early])
    shown += [repr(early), repr(auth._refresher.unsaved), repr(auth._known), caplog.text]
    shown += [repr(vars(record)) for record in caplog.records]
    for text in shown:
        for secret in (SECRET, REFRESH, ACCESS, BASIC, quote_plus(SECRET), quote_plus(REFRESH), "canary"):
            assert secret not in text, (secret, text[:3000])


@pytest.mark.parametrize("wrong", ["\ud800canary", "", 7, None])
def test_a_secret_that_cannot_be_encoded_is_refused_unseen(wrong: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        OAuth2("client", wrong, account="a", store=MemoryTokenStore())
    assert "canary" not in str(caught.value)
