"""Where accounts logged in: noted beside their tokens, so that every command finds them again."""

from __future__ import annotations

import os
from typing import NamedTuple

from brex_accounting._auth.grant_store import GrantStore, StoreFailure
from brex_accounting._auth.oauth2 import PRODUCTION_TOKEN_URL
from brex_accounting._auth.sqlite_store import SQLiteTokenStore
from brex_accounting._auth.tokens import StoredToken, Token, TokenStore, store_key
from brex_accounting._clock import Clock
from brex_accounting.errors import TokenRefreshError

from .exit_codes import Code, stop
from .signals import run

_TOKEN_PATH = "/v1/token"  # noqa: S105 - Brex's and the sandbox's, under their issuer


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


def issuer_of(given: str | None) -> str:
    """Return the authorization server to log in at: as given, or the one of BREX_TOKEN_URL, or Brex's."""
    token_url = os.environ.get("BREX_TOKEN_URL") or PRODUCTION_TOKEN_URL
    if given is None and not token_url.endswith(_TOKEN_PATH):
        stop("BREX_TOKEN_URL does not say which authorization server to ask: pass --issuer.", Code.USAGE)
    return given or token_url.removesuffix(_TOKEN_PATH)


async def find_token_url(store: TokenStore, client_id: str, account: str, issuer: str | None) -> str:
    """Find the token endpoint without the network: as given, or where the account logged in, or Brex's."""
    if issuer is None and (named := os.environ.get("BREX_TOKEN_URL")):
        return named
    login = await find_login(store, client_id, account)
    if login is None or issuer not in {None, login.issuer}:
        return PRODUCTION_TOKEN_URL if issuer is None else f"{issuer.rstrip('/')}{_TOKEN_PATH}"
    return login.token_url


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
