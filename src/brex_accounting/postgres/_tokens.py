"""Tokens in PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Any

from brex_accounting._auth.locking import wait_for_lock
from brex_accounting._auth.tokens import StoredToken, StoreError, decode, encode
from brex_accounting._clock import Clock
from brex_accounting.errors import ConfigurationError

from ._database import Database, UnavailableError, to_its_end
from ._locks import Lock, Locks

Cipher = Callable[[bytes], bytes]


class PostgresTokenStore:
    """Keeps the tokens of all accounts, a row for each; see `TokenStore` for what its methods do."""

    _clock = Clock()

    def __init__(self, database: Database, locks: Locks, encrypt: Cipher | None, decrypt: Cipher | None) -> None:
        self._database = database
        self._locks = locks
        self._encrypt = encrypt
        self._decrypt = decrypt

    def __repr__(self) -> str:
        return "PostgresTokenStore(…)"

    async def load(self, key: str) -> StoredToken | None:
        """Return what is stored under a key; None: nothing."""
        with _as_store_error():
            async with self._database.connection() as connection:
                cursor = await connection.execute("SELECT document FROM brex_tokens WHERE key = %s", [key])
                row = await cursor.fetchone()
        return None if row is None else self._read(bytes(row[0]))

    async def save(self, key: str, stored: StoredToken, *, expected_version: int | None) -> bool:
        """Store this if what is stored has the expected version (None: if nothing is stored); return whether it did."""
        document = _apply(self._encrypt, encode(stored), "encrypt")
        return await to_its_end(self._save(key, stored.version, document, expected_version))

    @asynccontextmanager
    async def lock(self, key: str) -> AsyncIterator[None]:
        """Hold the lock of a key, over all processes. Raises TimeoutError after 30 seconds."""
        taken = await wait_for_lock(partial(self._take, f"token {key}"), self._clock)
        try:
            yield
        finally:
            await self._locks.free(taken)

    async def _take(self, name: str) -> Lock | None:
        with _as_store_error():
            return await self._locks.take(name)

    async def _save(self, key: str, version: int, document: bytes, expected: int | None) -> bool:
        if expected is None:
            query = "INSERT INTO brex_tokens (key, version, document) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
            values: list[Any] = [key, version, document]
        else:
            query = "UPDATE brex_tokens SET version = %s, document = %s WHERE key = %s AND version = %s"
            values = [version, document, key, expected]
        with _as_store_error():
            async with self._database.connection() as connection:
                return (await connection.execute(query, values)).rowcount == 1

    def _read(self, document: bytes) -> StoredToken:
        stored = decode(_apply(self._decrypt, document, "decrypt"))
        if stored is None:
            raise ConfigurationError("A stored token cannot be read: it was encrypted otherwise, or is damaged.")
        return stored


def _apply(cipher: Cipher | None, document: bytes, name: str) -> bytes:
    """Apply the caller's function; its error could hold what it was given."""
    if cipher is None:
        return document
    try:
        result = cipher(document)
    except Exception as error:  # noqa: BLE001 - whatever it is
        kind = type(error).__name__
    else:
        if isinstance(result, bytes):
            return result
        kind = f"it returned {type(result).__name__}, not bytes"
    del document
    raise ConfigurationError(f"{name} failed for a stored token ({kind}).")


@contextmanager
def _as_store_error() -> Any:
    try:
        yield
    except UnavailableError as error:
        text = str(error)
    else:
        return
    raise StoreError(text)
