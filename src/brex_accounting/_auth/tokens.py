"""What a grant is, and what a place to keep it must do."""

import hashlib
import json
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec

from brex_accounting._arguments import SURROGATE
from brex_accounting.errors import ConfigurationError

HIGHEST_VERSION = 2**63 - 1
SEEDS = 50
"""How many former seeds are remembered, so that none of them is ever sent again."""


class _Veil:
    """What is shown in the place of a secret."""

    def __repr__(self) -> str:
        return "…"


class _Veiled(msgspec.Struct, frozen=True):
    """Shows of a text only whether there is one, to `repr` and to rich (which would walk a Struct's fields)."""

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        fields = [(name, getattr(self, name)) for name in self.__struct_fields__]
        harmless = (type(None), int, datetime, _Veiled)
        return [(name, value if isinstance(value, harmless) else _Veil()) for name, value in fields]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"


class Token(_Veiled, frozen=True):
    """What the token endpoint gave. Its repr shows of each text only whether there is one.

    Raises ConfigurationError, which does not repeat the value, for what is neither a plain string of Unicode text nor
    None, and for an `expires_at` without an offset.
    """

    __module__ = "brex_accounting"  # pickles and reprs name the public place

    access_token: str | None = None
    """What calls carry."""
    refresh_token: str | None = None
    """What the next access token is bought with, once."""
    expires_at: datetime | None = None
    """When the access token expires, in UTC (an aware datetime of another zone is converted); None: not known."""
    scope: str | None = None
    """The scopes granted, separated by spaces, where the endpoint named them."""

    def __post_init__(self) -> None:
        if not (_is_text(self.access_token) and _is_text(self.refresh_token) and _is_text(self.scope)):
            raise ConfigurationError(
                "access_token, refresh_token and scope of a Token must be strings of Unicode text, or None."
            )
        if self.expires_at is not None:
            expires_at = _in_utc(self.expires_at)
            if expires_at is None:
                raise ConfigurationError(
                    "expires_at of a Token must be a datetime with an offset (in UTC: year 1 to 9999), or None."
                )
            msgspec.structs.force_setattr(self, "expires_at", expires_at)


class StoredToken(_Veiled, frozen=True):
    """What a `TokenStore` holds for a key. Its repr shows no secret.

    Raises ConfigurationError for fields of other types.
    """

    __module__ = "brex_accounting"

    token: Token
    """The token."""
    version: int
    """Changes with each save, from 0 to 2**63 - 1; ours count up by one. A version must not come back: compare and swap
    could not tell the two apart."""
    dead: bool = False
    """The authorization server said that the grant is over (invalid_grant): the customer must consent again."""
    seed_fingerprint: str | None = None
    """`fingerprint` of the refresh token that the caller passed, to notice when another one is passed."""

    former_seeds: tuple[str, ...] = ()
    """The fingerprints of those passed before it: a process that still has one must not bring it back."""

    def __post_init__(self) -> None:
        version = type(self.version) is int and 0 <= self.version <= HIGHEST_VERSION
        rest = isinstance(self.token, Token) and type(self.dead) is bool and _is_text(self.seed_fingerprint)
        seeds = type(self.former_seeds) is tuple and all(seed and _is_text(seed) for seed in self.former_seeds)
        if not (version and rest and seeds):
            raise ConfigurationError(
                "A StoredToken needs a Token, a version from 0 to 2**63 - 1, a bool as dead, a string or None, "
                "and a tuple of strings."
            )


def _is_text(value: object) -> bool:
    # SQLite and JSON take no lone surrogates, and Python's error for them holds the whole string.
    return value is None or (type(value) is str and not SURROGATE.search(value))


def _in_utc(value: object) -> datetime | None:
    try:
        return value.astimezone(UTC) if isinstance(value, datetime) and value.utcoffset() is not None else None
    except OverflowError:
        return None


def encode(stored: StoredToken) -> bytes:
    """Write what a store holds as JSON. It holds the secrets in the clear."""
    return msgspec.json.encode(stored, enc_hook=datetime.isoformat)  # the hook: for subclasses, such as freezegun's


def decode(document: bytes) -> StoredToken | None:
    """Read what `encode` wrote; None for anything else. An error could hold the secret, so there is none."""
    try:
        return msgspec.json.decode(document, type=StoredToken)
    except Exception:  # noqa: BLE001 - whatever it is
        return None


def store_key(token_url: str, client_id: str, account: str) -> str:
    """Name the grant in a store. This must never change: what is stored could not be found again."""
    return hashlib.sha256(json.dumps([token_url, client_id, account]).encode()).hexdigest()


def fingerprint(refresh_token: str) -> str:
    """Tell refresh tokens apart without keeping them: their SHA-256, in hexadecimal digits."""
    return hashlib.sha256(refresh_token.encode(errors="surrogatepass")).hexdigest()


def is_known(refresh_token: str, stored: StoredToken | None) -> bool:
    """Return whether the store has had this one before."""
    return fingerprint(refresh_token) in _known(stored)


def with_new_consent(stored: StoredToken | None, token: Token) -> StoredToken:
    """Return what to store after a new consent.

    The seeds before it are remembered: one that is still in some environment must not replace the consent.
    """
    seed = fingerprint(token.refresh_token or "")
    former = tuple(known for known in _known(stored) if known != seed)
    return StoredToken(token, 0, seed_fingerprint=seed, former_seeds=former[:SEEDS])


def _known(stored: StoredToken | None) -> tuple[str, ...]:
    return () if stored is None else (*filter(None, [stored.seed_fingerprint]), *stored.former_seeds)


class StoreError(OSError):
    """What our own stores raise. The text holds no secret, so it can be shown."""


class StoreBusyError(StoreError, TimeoutError):
    """Others kept the store, or a lock, busy for too long."""


class TokenStore(Protocol):
    """Where tokens are kept: three methods, so that any database can be one.

    A store on PostgreSQL keeps a row for each key, with its version in a column of its own. It saves with ``INSERT … ON
    CONFLICT DO NOTHING`` or ``UPDATE … WHERE key = … AND version = …``, and returns whether a row was changed.
    It locks with ``pg_try_advisory_lock`` on a connection of its own, outside of a transaction: when the connection
    ends, so does the lock. ``msgspec.json.encode(stored)`` and ``msgspec.json.decode(row, type=StoredToken)`` make a
    `StoredToken` a document and back.

    Every method raises OSError (of which TimeoutError is one) when the store cannot be used now, and ConfigurationError
    when somebody must repair it. Neither may hold a secret.
    """

    async def load(self, key: str) -> StoredToken | None:
        """Give what is stored under a key (a digest of token URL, client id and account); None: nothing."""
        ...

    async def save(self, key: str, stored: StoredToken, *, expected_version: int | None) -> bool:
        """Compare and swap: store this if what is stored has the expected version, or if there is nothing (None).

        Returns False, and changes nothing, when it is not so: somebody else saved meanwhile. Returns True only when
        what was saved survives a crash of the machine. A save happens wholly or not at all.
        """
        ...

    def lock(self, key: str) -> AbstractAsyncContextManager[None]:
        """Wait until nobody else holds the lock of this key, then hold it to the end of the block.

        There is one holder over all tasks, threads and processes that share the store, and not even the same task gets
        it twice. It is free again when its holder dies. It is held while a request is on its way, so it must not be a
        database transaction. Raises TimeoutError when it cannot be acquired within a bound.
        """
        ...


TokenStore.__module__ = "brex_accounting"  # in its body it would be one more thing that a store must have


def check_store(store: object) -> None:
    if not all(callable(getattr(store, name, None)) for name in ("load", "save", "lock")):
        raise ConfigurationError("store must be a TokenStore, such as SQLiteTokenStore(path).")
