"""Tokens show nothing, and each of our stores keeps what the protocol promises."""

from __future__ import annotations

import asyncio
import copy
import itertools
import logging
import pickle
import tempfile
import threading
import time
import traceback
import typing
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from rich.pretty import pretty_repr

from brex_accounting import ConfigurationError
from brex_accounting._auth.memory_store import MemoryTokenStore
from brex_accounting._auth.sqlite_store import SQLiteTokenStore
from brex_accounting._auth.tokens import StoredToken, Token, TokenStore, decode, encode, fingerprint
from brex_accounting._auth.tokens import store_key as key_of
from brex_accounting._clock import Clock
from brex_accounting.postgres import PostgresStores
from tests.support.postgres import forget_tokens

CANARY = "hunter2"
KEY = key_of("https://accounts-api.brex.com/oauth2/default/v1/token", "client", "account")
EXPIRY = datetime(2026, 5, 1, 12, 0, 0, 123456, tzinfo=UTC)
TOKEN = Token(f"access {CANARY}", f"refresh {CANARY}", EXPIRY, "openid offline_access")


def numbered(version: int) -> StoredToken:
    return StoredToken(Token(f"a{version}", f"r{version}"), version)


def impatient() -> Clock:
    """A clock on which every wait is too long."""
    return Clock(monotonic=map(float, itertools.count(step=100)).__next__)


@pytest.fixture(params=["memory", "sqlite"])
def store_of_threads(request: pytest.FixtureRequest, tmp_path: Path) -> TokenStore:
    return MemoryTokenStore() if request.param == "memory" else SQLiteTokenStore(tmp_path / "tokens.db")


Open: TypeAlias = Callable[[], Awaitable[TokenStore]]
"""Opens the one store of a test, once more each time, as another process would."""


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Open]:
    memory = MemoryTokenStore()
    url = forget_tokens() if request.param == "postgres" else ""
    async with AsyncExitStack() as stack:

        async def open_it() -> TokenStore:
            if url:
                return (await stack.enter_async_context(PostgresStores(url))).tokens
            return memory if request.param == "memory" else SQLiteTokenStore(tmp_path / "tokens.db")

        yield open_it


@pytest.fixture
async def store(open_store: Open) -> TokenStore:
    return await open_store()


# -- tokens --


def test_a_token_shows_no_secret() -> None:
    stored = StoredToken(TOKEN, 3, seed_fingerprint=f"print {CANARY}")
    assert repr(TOKEN) == f"Token(access_token=…, refresh_token=…, expires_at={EXPIRY!r}, scope=…)"
    assert repr(stored) == f"StoredToken(token={TOKEN!r}, version=3, dead=False, seed_fingerprint=…, former_seeds=…)"
    assert repr(Token()) == "Token(access_token=None, refresh_token=None, expires_at=None, scope=None)"
    assert CANARY not in str(stored) + f"{stored}" + repr([stored]) + pretty_repr(stored)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda stored: pickle.loads(pickle.dumps(stored))])
def test_a_copy_of_a_token_equals_it(copied: Callable[[StoredToken], StoredToken]) -> None:
    stored = StoredToken(TOKEN, 3, dead=True, seed_fingerprint=fingerprint("seed"))
    assert copied(stored) == stored
    assert hash(copied(stored)) == hash(stored)
    assert copied(stored) != msgspec.structs.replace(stored, version=4)


def test_a_pickle_names_the_public_place() -> None:
    pickled = pickle.dumps(StoredToken(TOKEN, 3))
    assert b"brex_accounting" in pickled
    assert b"_auth" not in pickled
    assert typing.get_type_hints(Token)["expires_at"] == datetime | None


def test_a_token_does_not_change() -> None:
    with pytest.raises(AttributeError):
        TOKEN.access_token = "other"  # type: ignore[misc]
    assert not hasattr(TOKEN, "__dict__")


def test_the_expiry_is_kept_in_utc() -> None:
    before_the_clock_goes_back = datetime(2026, 10, 25, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"), fold=0)
    assert Token(expires_at=before_the_clock_goes_back).expires_at == datetime(2026, 10, 25, 0, 30, tzinfo=UTC)
    odd = datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=5, seconds=7, microseconds=9)))
    assert Token(expires_at=odd).expires_at == odd


class OtherDatetime(datetime):
    """As freezegun's, which tests of users make."""


def test_a_subclass_of_datetime_can_be_stored() -> None:
    stored = StoredToken(Token(expires_at=OtherDatetime(2026, 5, 1, tzinfo=UTC)), 1)
    assert decode(encode(stored)) == stored


class Text(str):
    __slots__ = ()


WRONG = f"\ud800{CANARY}"
WRONG_TOKENS: list[dict[str, Any]] = [
    {"access_token": WRONG},
    {"refresh_token": CANARY.encode()},
    {"scope": WRONG},
    {"access_token": Text(CANARY)},
    {"expires_at": datetime(2026, 5, 1)},  # noqa: DTZ001
    {"expires_at": CANARY},
    {"expires_at": datetime.max.replace(tzinfo=timezone(timedelta(hours=-1)))},
]
WRONG_STORED: list[dict[str, Any]] = [
    {"token": CANARY, "version": 1},
    {"token": TOKEN, "version": "1"},
    {"token": TOKEN, "version": True},
    {"token": TOKEN, "version": -1},
    {"token": TOKEN, "version": 2**63},
    {"token": TOKEN, "version": 1, "dead": None},
    {"token": TOKEN, "version": 1, "seed_fingerprint": WRONG},
]


@pytest.mark.parametrize(
    ("make", "fields"),
    [*((Token, fields) for fields in WRONG_TOKENS), *((StoredToken, fields) for fields in WRONG_STORED)],
)
def test_what_is_no_token(make: Callable[..., object], fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make(**fields)
    # From the frame of this package on: no value is a local variable of one of them.
    shown = traceback.TracebackException(
        type(caught.value), caught.value, caught.tb.tb_next, capture_locals=True, compact=True
    )
    assert CANARY not in "".join(shown.format()).replace("make(**fields)", "")
    assert caught.value.__context__ is None


def test_the_digests_never_change() -> None:
    assert KEY == "cad5d96ff6c4cf2ee9967a6a364af61ec6ae21c81a0587771ecb55de9118876e"
    assert fingerprint("refresh") == "d6cc0a088c07683c65cd266860cab8d94b3a1937b17420d9da30ca299c09fb77"
    assert len(fingerprint("\ud800")) == 64


def test_no_two_grants_share_a_key() -> None:
    grants = [("u", "c", "a"), ("uc", "", "a"), ("u", "ca", ""), ("u", '","', "a"), ("u", "c", "A"), ("ü", "c", "a")]
    assert len({key_of(*grant) for grant in grants}) == len(grants)


TEXTS = st.none() | st.text() | st.text(min_size=5000, max_size=5100)
OFFSETS = st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(timezone)
EXPIRIES = st.none() | st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=OFFSETS)  # noqa: DTZ001
TOKENS = st.builds(Token, TEXTS, TEXTS, EXPIRIES, TEXTS)


@settings(max_examples=50, deadline=None)
@given(st.builds(StoredToken, TOKENS, st.integers(0, 2**63 - 1), st.booleans(), TEXTS))
def test_what_is_written_can_be_read(stored: StoredToken) -> None:
    assert decode(encode(stored)) == stored
    assert CANARY not in repr(msgspec.structs.replace(stored, token=TOKEN))


@pytest.mark.parametrize(
    "document", [b"", b"{", b"[]", b'{"token":{"access_token":"\xff"},"version":1}', b'{"token":{},"version":"1"}']
)
def test_what_is_damaged_reads_as_nothing(document: bytes) -> None:
    assert decode(document) is None


def test_what_a_later_version_adds_is_passed_over() -> None:
    assert decode(b'{"token":{"new":1},"version":1,"new":1}') == StoredToken(Token(), 1)


# -- compare and swap --


async def test_a_save_needs_the_version_that_is_there(store: TokenStore) -> None:
    assert await store.load(KEY) is None
    assert not await store.save(KEY, numbered(2), expected_version=1)
    assert await store.load(KEY) is None
    assert await store.save(KEY, numbered(1), expected_version=None)
    assert not await store.save(KEY, numbered(7), expected_version=None)
    assert await store.save(KEY, numbered(2), expected_version=1)
    assert not await store.save(KEY, numbered(7), expected_version=1)
    assert await store.load(KEY) == numbered(2)
    assert await store.load("other") is None


async def test_one_of_many_processes_saves(open_store: Open) -> None:
    first, second = await open_store(), await open_store()
    assert await first.save(KEY, numbered(1), expected_version=None)
    saves = (each.save(KEY, numbered(2), expected_version=1) for each in (first, second) * 10)
    assert sorted(await asyncio.gather(*saves)) == [False] * 19 + [True]
    assert await second.load(KEY) == numbered(2)


async def test_a_save_that_is_cancelled_goes_on(store: TokenStore) -> None:
    task = asyncio.create_task(store.save(KEY, numbered(1), expected_version=None))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert await store.load(KEY) == numbered(1)


async def test_a_stored_token_is_whole(store: TokenStore) -> None:
    stored = StoredToken(TOKEN, 0, dead=True, seed_fingerprint=fingerprint("seed"))
    assert await store.save(KEY, stored, expected_version=None)
    assert await store.load(KEY) == stored
    assert CANARY not in repr(store)


def in_threads(work: Callable[[int], Any], number: int) -> list[Any]:
    """What work in threads gives, all of them at once, with an event loop each."""
    results: list[Any] = []
    start = threading.Barrier(number)

    def run(index: int) -> None:
        start.wait()
        results.append(asyncio.run(work(index)))

    threads = [threading.Thread(target=run, args=(index,)) for index in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def test_one_of_many_threads_saves(store_of_threads: TokenStore) -> None:
    async def save(index: int) -> bool:
        return await store_of_threads.save(KEY, numbered(index), expected_version=None)

    assert sorted(in_threads(save, 8)) == [False] * 7 + [True]


class SlowDict(dict[str, StoredToken]):
    def get(self, key: str, default: Any = None) -> Any:
        before = super().get(key, default)
        time.sleep(0.002)
        return before


def test_a_save_to_memory_is_not_interrupted() -> None:
    store = MemoryTokenStore()
    store._stored = SlowDict()

    async def save(index: int) -> bool:
        return await store.save(KEY, numbered(index), expected_version=None)

    assert sorted(in_threads(save, 4)) == [False] * 3 + [True]


# -- locks --


async def hold_alone(store: TokenStore, holders: list[str]) -> None:
    async with store.lock(KEY):
        holders.append(KEY)
        assert holders == [KEY]
        await asyncio.sleep(0.001)
        holders.clear()


def test_one_of_many_threads_and_tasks_holds_the_lock(store_of_threads: TokenStore) -> None:
    holders: list[str] = []

    async def work(index: int) -> int:
        await asyncio.gather(*(hold_alone(store_of_threads, holders) for _ in range(3)))
        return 1

    assert in_threads(work, 3) == [1, 1, 1]


async def test_one_of_many_processes_holds_the_lock(open_store: Open) -> None:
    first, second = await open_store(), await open_store()
    holders: list[str] = []
    await asyncio.gather(*(hold_alone(each, holders) for each in (first, first, second, second)))


async def test_locks_of_different_keys_are_different(store: TokenStore) -> None:
    async with asyncio.timeout(5), store.lock(KEY), store.lock("other"):
        pass


async def test_whoever_waits_for_the_lock_blocks_nobody_and_can_be_cancelled(store: TokenStore) -> None:
    async def wait() -> None:
        async with store.lock(KEY):
            pass

    async with store.lock(KEY):
        waiting = [asyncio.create_task(wait()) for _ in range(20)]
        for _ in range(10):
            await asyncio.sleep(0.002)
        for task in waiting[1:]:
            task.cancel()
        _, *rest = await asyncio.gather(asyncio.sleep(0), *waiting[1:], return_exceptions=True)
        assert {type(error) for error in rest} == {asyncio.CancelledError}
        assert not waiting[0].done()
    async with asyncio.timeout(5):
        await waiting[0]
        await wait()


async def test_a_lock_that_is_not_free_in_time(store: TokenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    async with store.lock(KEY):
        monkeypatch.setattr(type(store), "_clock", impatient())
        with pytest.raises(TimeoutError, match="Could not acquire the lock of a token within 30 s"):
            async with store.lock(KEY):
                pass
    async with store.lock(KEY):
        pass


async def test_a_holder_that_fails_frees_the_lock(store: TokenStore) -> None:
    with pytest.raises(ZeroDivisionError):
        async with store.lock(KEY):
            raise ZeroDivisionError
    async with asyncio.timeout(5), store.lock(KEY):
        pass


def test_a_holder_whose_loop_was_closed_frees_the_lock(
    store_of_threads: TokenStore, caplog: pytest.LogCaptureFixture
) -> None:
    async def hold() -> None:
        async with store_of_threads.lock(KEY):
            await asyncio.sleep(100)

    loop = asyncio.new_event_loop()
    task = loop.create_task(hold())
    loop.run_until_complete(asyncio.sleep(0.01))
    loop.close()
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    task.get_coro().close()  # type: ignore[union-attr]

    async def take() -> None:
        async with asyncio.timeout(5), store_of_threads.lock(KEY):
            pass

    asyncio.run(take())


# -- all behave alike --


class AllStores(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.stores: list[TokenStore] = [MemoryTokenStore(), SQLiteTokenStore(Path(self.folder.name) / "tokens.db")]
        self.held: dict[str, list[Any]] = {}
        self.runner = asyncio.Runner()
        self.postgres = PostgresStores(forget_tokens())
        self.stores.append(self.runner.run(self.postgres.__aenter__()).tokens)
        for store in self.stores:
            store._clock = impatient()  # type: ignore[attr-defined]

    def alike(self, ask: Callable[[TokenStore], Any]) -> Any:
        async def answer(store: TokenStore) -> Any:
            try:
                return await ask(store)
            except TimeoutError as error:
                return str(error)

        first, *others = (self.runner.run(answer(store)) for store in self.stores)
        assert others == [first] * len(others)
        return first

    @rule(key=st.sampled_from("ab"), token=TOKENS, version=st.integers(0, 3), dead=st.booleans())
    def save(self, key: str, token: Token, version: int, dead: bool) -> None:
        before = self.alike(lambda store: store.load(key))
        expected = None if before is None else before.version
        stored = StoredToken(token, version, dead)
        assert self.alike(lambda store: store.save(key, stored, expected_version=expected))

    @rule(key=st.sampled_from("ab"), version=st.integers(0, 3), expected=st.none() | st.integers(0, 3))
    def save_perhaps(self, key: str, version: int, expected: int | None) -> None:
        self.alike(lambda store: store.save(key, numbered(version), expected_version=expected))

    @rule(key=st.sampled_from("ab"))
    def load(self, key: str) -> None:
        self.alike(lambda store: store.load(key))

    @rule(key=st.sampled_from("ab"))
    def lock(self, key: str) -> None:
        locks = {id(store): store.lock(key) for store in self.stores}
        refusal = self.alike(lambda store: locks[id(store)].__aenter__())
        assert (refusal is not None) == (key in self.held)
        if refusal is None:
            self.held[key] = list(locks.values())

    @precondition(lambda self: self.held)
    @rule()
    def unlock(self) -> None:
        _, locks = self.held.popitem()
        for lock in locks:
            self.runner.run(lock.__aexit__(None, None, None))

    def teardown(self) -> None:
        while self.held:
            self.unlock()
        self.runner.run(self.postgres.__aexit__())
        self.runner.close()
        self.folder.cleanup()


AllStores.TestCase.settings = settings(
    max_examples=15, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
)
TestAllStores = AllStores.TestCase


async def test_nothing_is_logged(store: TokenStore, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        await store.save(KEY, StoredToken(TOKEN, 1), expected_version=None)
        await store.load(KEY)
        async with store.lock(KEY):
            pass
    assert not [record for record in caplog.records if record.name != "asyncio"]
