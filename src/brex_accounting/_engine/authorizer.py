"""What the engine needs of an authorization."""

from __future__ import annotations

from typing import Protocol


class Authorizer(Protocol):
    """Gives access tokens."""

    async def token(self) -> str:
        """Return the access token for the next attempt."""
        ...

    async def rejected(self, token: str) -> bool:
        """Take note that the API answered 401 to this token; return whether to replay the request with a new one."""
        ...

    def accepted(self, token: str) -> None:
        """Take note that the API took this token."""
        ...

    async def aclose(self) -> None:
        """Bring what is under way to its end."""
        ...
