"""What puts a grant into a store, or takes it out, without a request."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from brex_accounting._arguments import check_text
from brex_accounting._clock import Clock, check_asyncio
from brex_accounting._http.addresses import check_base_url
from brex_accounting.errors import TokenRefreshError

from .grant_store import GrantStore, StoreFailure
from .oauth2 import PRODUCTION_TOKEN_URL
from .secret import Given, check_token
from .tokens import StoredToken, Token, TokenStore, check_store, is_known, store_key, with_new_consent

_clock = Clock()


async def save_grant(
    store: TokenStore, *, client_id: str, account: str, refresh_token: str, token_url: str = PRODUCTION_TOKEN_URL
) -> None:
    """Put a consent's refresh token into a store, as a new consent: onboarding in bulk. Nothing is sent.

    It replaces what the store holds for the account, and an `OAuth2` with the same client id, account, token URL and
    store uses it. A refresh token that the store has had before changes nothing, since it may have been used up since:
    saving it again is safe. If it is the stored one, and marked dead, it will be tried once more.

    Args:
        store: Where the tokens are kept.
        client_id: The partner's client id.
        account: Your name for the customer.
        refresh_token: What the consent gave.
        token_url: The token endpoint; https, or http on loopback.

    Raises:
        ConfigurationError: An argument cannot be right, or the store must be repaired.
        TokenRefreshError: The store cannot save it now.
    """
    secret = Given(refresh_token)
    del refresh_token  # or it would stand in tracebacks that show locals
    check_asyncio()
    check_store(store)
    check_text(client_id, "client_id")
    check_text(account, "account")
    check_base_url(token_url, "token_url")
    check_token(secret, "refresh_token")

    def change(now: StoredToken | None) -> StoredToken | None:
        if now is None or not is_known(secret.value, now):
            return with_new_consent(now, Token(refresh_token=secret.value))
        refused = now.dead and now.token.refresh_token == secret.value
        return msgspec.structs.replace(now, dead=False) if refused else None

    await _update(store, store_key(token_url, client_id, account), change, f"The grant of {account!r} was not saved")


async def forget_grant(store: TokenStore, *, client_id: str, account: str, token_url: str) -> None:
    """Take an account's tokens out of a store. Nothing is sent.

    The entry stays, marked dead, with the fingerprints of its seeds: one that is still in the environment must not
    bring the grant back. Raises ConfigurationError and TokenRefreshError, as `save_grant`.
    """

    def change(now: StoredToken | None) -> StoredToken | None:
        return None if now is None else msgspec.structs.replace(now, token=Token(), dead=True)

    await _update(store, store_key(token_url, client_id, account), change, f"The grant of {account!r} is still stored")


async def _update(
    store: TokenStore, key: str, change: Callable[[StoredToken | None], StoredToken | None], problem: str
) -> None:
    grant = GrantStore(store, key, _clock)
    try:
        async with grant.locked():
            await grant.update(change)
    except StoreFailure as failure:
        problem = f"{problem}: {failure}. Try again."
    else:
        return
    raise TokenRefreshError(problem)
