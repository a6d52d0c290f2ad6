"""Which token a call carries."""

from __future__ import annotations

import os
from typing import Protocol

from ._arguments import check_token, refuse


class Authorizer(Protocol):
    """What the engine asks of an authorization."""

    async def token(self) -> str:
        """Give the access token for the next attempt."""
        ...

    async def rejected(self, token: str) -> bool:
        """Learn that the API answered 401 to this token; say whether to replay the request with a new one."""
        ...


class UserToken:
    """A user token (``bxt_…``), made in Brex's dashboard. It expires after 30 days without a call.

    Raises ConfigurationError for what cannot be a token.
    """

    __slots__ = ("_token",)

    def __init__(self, token: str) -> None:
        self._token = check_token(token, "The token")

    def __repr__(self) -> str:
        return "UserToken(…)"

    async def token(self) -> str:
        """Give the token."""
        return self._token

    async def rejected(self, token: str) -> bool:  # noqa: ARG002 - it is the only one
        """There is no other token to try."""
        return False


def from_environment() -> Authorizer:
    """Read the authorization that the environment names."""
    token = os.environ.get("BREX_TOKEN")
    if not token:
        refuse("There is no token: pass one as auth, or set BREX_TOKEN.")
    return UserToken(check_token(token, "BREX_TOKEN"))
