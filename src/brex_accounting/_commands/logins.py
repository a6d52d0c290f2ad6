"""Where accounts logged in: noted beside their tokens, so that every command finds them again."""

from __future__ import annotations

import os
from typing import NamedTuple

from brex_accounting._auth.grant_store import GrantStore, StoreFailure
from brex_accounting._auth.sqlite_store import SQLiteTokenStore
from brex_accounting._auth.tokens import StoredToken, Token, TokenStore, store_key
from brex_accounting._clock import Clock
from brex_accounting.errors import TokenRefreshError

from .signals import run


class Login(NamedTuple):
    """An authorization server, and how its client authenticates."""

    issuer: str
    token_url: str
    client_auth: str


async def note_login(store: TokenStore, client_id: str, account: str, login: Login) -> None:
    """Note where an account logged in. Raises StoreFailure, ConfigurationError."""
    # A store holds grants and nothing else: the note is one without tokens, and stands where their scopes do.
    note = StoredToken(Token(scope=" ".join(login)), 0)
    await _entry(store, client_id, account).update(lambda _: note)


async def find_login(store: TokenStore, client_id: str, account: str) -> Login | None:
    """Return where an account logged in last; None: nowhere. Raises TokenRefreshError, ConfigurationError."""
    try:
        noted = await _entry(store, client_id, account).load()
    except StoreFailure as failure:
        problem = str(failure)
    else:
        words = [] if noted is None else (noted.token.scope or "").split()
        return Login(*words) if len(words) == len(Login._fields) else None
    raise TokenRefreshError(f"Cannot find out where {account!r} logged in: {problem}. Repeat the command.")


def variables_of_login(account: str | None) -> dict[str, str]:
    """Return what a login found out and the environment does not say, as the environment would."""
    names = ("BREX_CLIENT_ID", "BREX_ACCOUNT", "BREX_TOKEN_STORE")
    client_id, named, path = (os.environ.get(name, "") for name in names)
    account = account or named
    if os.environ.get("BREX_TOKEN") or not (client_id and account and path):
        return {}
    login = run(find_login(SQLiteTokenStore(path), client_id, account))
    if login is None or (os.environ.get("BREX_TOKEN_URL") or login.token_url) != login.token_url:
        return {}
    client_auth = os.environ.get("BREX_CLIENT_AUTH") or login.client_auth
    return {"BREX_TOKEN_URL": login.token_url, "BREX_CLIENT_AUTH": client_auth}


def _entry(store: TokenStore, client_id: str, account: str) -> GrantStore:
    return GrantStore(store, store_key("login", client_id, account), Clock())
