"""Which token a call carries."""

from __future__ import annotations

import os
from collections.abc import Mapping
from types import MappingProxyType

from ._auth.oauth2 import PRODUCTION_TOKEN_URL, OAuth2
from ._auth.secret import Given, check_token
from ._auth.token_messages import check_client_auth
from ._http.addresses import check_base_url
from .errors import ConfigurationError


class UserToken:
    """A user token (``bxt_…``), made in Brex's dashboard. It expires after 30 days without a call.

    Raises ConfigurationError for what cannot be a token.
    """

    __slots__ = ("_token",)

    def __init__(self, token: str) -> None:
        secret = Given(token)
        del token  # or it would stand in tracebacks that show locals
        self._token = check_token(secret, "The token")

    def __repr__(self) -> str:
        return "UserToken(…)"

    async def token(self) -> str:
        """Return the token."""
        return self._token

    async def rejected(self, token: str) -> bool:  # noqa: ARG002 - it is the only one
        """There is no other token to try."""
        return False

    def accepted(self, token: str) -> None:
        """There is nothing to learn from that."""

    async def aclose(self) -> None:
        """Nothing is under way."""


_GRANT = ("BREX_CLIENT_ID", "BREX_CLIENT_SECRET", "BREX_ACCOUNT", "BREX_TOKEN_STORE")


def from_environment(instead: Mapping[str, str] = MappingProxyType({})) -> UserToken | OAuth2:
    """Read the authorization that the environment names: a user token, or a grant and where it is kept.

    `instead` holds variables that come before those of the environment.
    """

    def read(name: str) -> str:
        return instead.get(name) or os.environ.get(name, "")

    if os.environ.get("BREX_TOKEN"):
        return UserToken(check_token(Given(os.environ["BREX_TOKEN"]), "BREX_TOKEN"))
    missing = [name for name in _GRANT if not read(name)]
    if missing and not any(read(name) for name in (*_GRANT, "BREX_REFRESH_TOKEN")):
        raise ConfigurationError(f"There is no token: pass auth, or set BREX_TOKEN, or {', '.join(_GRANT)}.")
    if missing:
        raise ConfigurationError(
            f"The environment is set only in part: {', '.join(missing)} {'is' if missing[1:] == [] else 'are'} missing."
        )
    from ._auth.sqlite_store import SQLiteTokenStore  # noqa: PLC0415 - sqlite3, which most programs do not need

    token_url = read("BREX_TOKEN_URL") or PRODUCTION_TOKEN_URL
    check_base_url(token_url, "BREX_TOKEN_URL")
    return OAuth2(
        read("BREX_CLIENT_ID"),
        read("BREX_CLIENT_SECRET"),
        account=read("BREX_ACCOUNT"),
        store=SQLiteTokenStore(read("BREX_TOKEN_STORE")),
        refresh_token=read("BREX_REFRESH_TOKEN") or None,
        token_url=token_url,
        client_auth=check_client_auth(read("BREX_CLIENT_AUTH") or "basic", "BREX_CLIENT_AUTH"),
    )
