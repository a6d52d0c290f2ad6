"""No frame that a cancellation or an error leaves behind shows a token, a code or a secret, even with its locals."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from brex_accounting import (
    BrexAccounting,
    ConfigurationError,
    MemoryTokenStore,
    OAuth2,
    StoredToken,
    Token,
    UserToken,
    begin_consent,
    finish_consent,
    save_grant,
)
from brex_accounting._auth import redemption
from tests.support.leaks import assert_holds_no

CANARY = "canary"
SECRET, REFRESH, ACCESS, CODE, PASSWORD = (f"{CANARY}-{number}" for number in range(5))
ISSUER = "https://issuer.example/oauth2"
DOCUMENT = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
}
GRANT = {"access_token": ACCESS, "refresh_token": f"{REFRESH}-2", "expires_in": 3600, "token_type": "Bearer"}


class Server(httpx.AsyncBaseTransport):
    """Answers, after it was let go."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.go = asyncio.Event()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.asked.set()
        await self.go.wait()
        return httpx.Response(200, json=GRANT if request.method == "POST" else DOCUMENT)


class Hanging(MemoryTokenStore):
    """Does not come back from what it is told to hang in."""

    hangs = ""

    async def load(self, key: str) -> StoredToken | None:
        await self._hang("load")
        return await super().load(key)

    async def save(self, key: str, stored: StoredToken, *, expected_version: int | None) -> bool:
        await self._hang("save")
        return await super().save(key, stored, expected_version=expected_version)

    async def _hang(self, where: str) -> None:
        if where == self.hangs:
            await asyncio.Event().wait()


def oauth2(server: Server, store: Any = None, **options: Any) -> OAuth2:
    given = {"account": "acme", "refresh_token": REFRESH, "token_url": f"{ISSUER}/token", "transport": server}
    return OAuth2("client", SECRET, store=store or MemoryTokenStore(), **given | options)


async def cancel(work: Callable[[], Awaitable[object]], when: asyncio.Event | None = None) -> None:
    """Cancel this as a caller would, and as asyncio.timeout does; nothing shows."""
    task = asyncio.ensure_future(work())
    if when is not None:
        await when.wait()
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as cancelled:
        await task
    assert_holds_no(CANARY, cancelled.value)
    with pytest.raises(TimeoutError) as late:
        async with asyncio.timeout(0.01):
            await work()
    assert_holds_no(CANARY, late.value)


async def test_whoever_waits_for_a_token() -> None:
    server = Server()
    auth = oauth2(server)
    await cancel(auth.token, server.asked)
    server.go.set()
    assert await auth.token() == ACCESS
    server.go.clear()
    auth.accepted(ACCESS)
    auth._renewed_at = auth._replaced_at = float("-inf")
    await cancel(lambda: auth.rejected(ACCESS))
    server.go.set()
    await auth.aclose()


@pytest.mark.parametrize("step", ["load", "save"])
async def test_a_grant_that_is_being_saved(step: str) -> None:
    store = Hanging()
    store.hangs = step
    await cancel(lambda: save_grant(store, client_id="client", account="acme", refresh_token=REFRESH))


async def test_a_consent() -> None:
    server = Server()
    options: Any = {"issuer": ISSUER, "transport": server}
    await cancel(lambda: begin_consent("client", "https://partner.example/brex", **options), server.asked)
    server.go.set()
    consent = await begin_consent("client", "https://partner.example/brex", **options)
    callback = f"https://partner.example/brex?state={consent.state}&code={CODE}"
    server.go.clear()
    store = MemoryTokenStore()

    async def finish() -> None:
        await finish_consent(
            consent,
            callback,
            client_id="client",
            client_secret=SECRET,
            account="acme",
            store=store,
            transport=server,
        )

    task = asyncio.ensure_future(finish())
    await server.asked.wait()
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as cancelled:
        await task
    for secret in (CANARY, consent.code_verifier, consent.state):
        assert_holds_no(secret, cancelled.value)
    server.go.set()
    await asyncio.wait(redemption._under_way)
    assert len(store._stored) == 1


@pytest.mark.parametrize("line_end", ["", "\n"])
@pytest.mark.parametrize(
    "make",
    [
        lambda token: UserToken(f"{token} "),
        lambda token: BrexAccounting(f"{token} "),
        lambda token: BrexAccounting(token, rate_limit=5),
        lambda token: OAuth2("c", token, account="", store=MemoryTokenStore()),
        lambda token: OAuth2("c", "s", account="a", store=MemoryTokenStore(), refresh_token=f"{token} "),
        lambda token: BrexAccounting("bxt_1", proxy=f"ftp://user:{token}@proxy"),
        lambda token: OAuth2("c", "s", account="a", store=None, refresh_token=token),  # type: ignore[arg-type]
        lambda token: OAuth2("c", "s", account="a", store=None, proxy=f"http://user:{token}@proxy"),  # type: ignore[arg-type]
        lambda token: Token(token, expires_at=5),  # type: ignore[arg-type]
    ],
)
def test_arguments_that_are_refused(make: Callable[[str], object], line_end: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        make(PASSWORD + line_end)
    assert_holds_no(CANARY, refused.value)
