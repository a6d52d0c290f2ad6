"""OAuth2 as users write it; type checkers read this file, nobody runs it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import assert_type

from brex_accounting import (
    PRODUCTION_TOKEN_URL,
    STAGING_TOKEN_URL,
    BrexAccounting,
    BrexError,
    Consent,
    MemoryTokenStore,
    OAuth2,
    Outcome,
    ReauthorizationRequiredError,
    SQLiteTokenStore,
    StoredToken,
    Token,
    TokenRefreshError,
    TokenStore,
    begin_consent,
    finish_consent,
)


class DatabaseStore:
    """A store of the user's own fits the protocol."""

    async def load(self, key: str) -> StoredToken | None:
        return None

    async def save(self, key: str, stored: StoredToken, *, expected_version: int | None) -> bool:
        return expected_version is None

    @asynccontextmanager
    async def lock(self, key: str) -> AsyncIterator[None]:
        yield


async def connect(store: TokenStore) -> None:
    auth = OAuth2("client", "secret", account="acme", store=store, refresh_token="first", client_auth="body")
    async with BrexAccounting(auth) as brex:
        try:
            await brex.integrations.create("ERP_A", "acct-42")
        except ReauthorizationRequiredError as error:
            assert_type(error.outcome, Outcome)
            is_error: BrexError = error
            raise is_error from None
        except TokenRefreshError as error:
            assert_type(error.attempts, int)


async def stores() -> None:
    for store in (
        MemoryTokenStore(),
        SQLiteTokenStore("tokens.db"),
        SQLiteTokenStore(Path("tokens.db")),
        DatabaseStore(),
    ):
        await connect(store)
    stored = await MemoryTokenStore().load("key")
    assert_type(stored, StoredToken | None)
    if stored is not None:
        assert_type(stored.token, Token)
        assert_type(stored.token.expires_at, datetime | None)
        assert_type(stored.version, int)
        assert_type(stored.dead, bool)
    OAuth2("client", "secret", account="acme", store=DatabaseStore(), token_url=PRODUCTION_TOKEN_URL)
    OAuth2("client", "secret", account="acme", store=DatabaseStore(), token_url=STAGING_TOKEN_URL)


async def consent(session: dict[str, Consent], callback_url: str, store: TokenStore) -> str:
    session["brex"] = await begin_consent("client", "https://example.com/callback", scopes=["openid", "offline_access"])
    assert_type(session["brex"].state, str)
    assert_type(session["brex"].code_verifier, str)
    assert_type(session["brex"].redirect_uri, str)
    await finish_consent(
        session["brex"], callback_url, client_id="client", client_secret="secret", account="acme", store=store
    )
    return session["brex"].url


def wrong() -> None:
    OAuth2("client", "secret", store=MemoryTokenStore())  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    OAuth2("client", "secret", account="acme", store=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
