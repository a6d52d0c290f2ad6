"""The stores of all accounts on one database."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn, Self

import psycopg
from psycopg.conninfo import conninfo_to_dict

from brex_accounting._arguments import check_count, check_text
from brex_accounting._auth.tokens import TokenStore
from brex_accounting.errors import ConfigurationError
from brex_accounting.worker import ExportStoreError

from ._database import Database, UnavailableError
from ._exports import PostgresExportStore
from ._listener import Listener
from ._locks import Locks
from ._schema import create_tables
from ._tokens import PostgresTokenStore


def _check_dsn(dsn: str) -> None:
    check_text(dsn, "dsn")
    with suppress(psycopg.ProgrammingError):  # whose text may quote the password
        conninfo_to_dict(dsn)
        return
    raise ConfigurationError("dsn is not a connection string of PostgreSQL, such as postgresql://user@host/database.")


class PostgresStores:
    """Tokens and exports of all accounts in one PostgreSQL database, for any number of processes and machines.

    ::

        async with PostgresStores("postgresql://localhost/exports") as stores:
            await stores.create_tables()
            auth = OAuth2("client-id", "client-secret", account="customer-7", store=stores.tokens)
            worker = ExportWorker(brex, book, stores.exports("customer-7"), upsert=True)

    One connection holds all locks of this process, and frees them when it breaks; whoever held one is fenced at the
    next save. One more listens for notices while a worker waits; a pool does the rest. It serves one event loop.

    Args:
        dsn: A connection string of PostgreSQL, such as ``postgresql://user@host/database``.
        pool_size: Connections for the work, at most.
        encrypt: Applied to each token document before it is stored, such as ``Fernet(key).encrypt``.
        decrypt: Its inverse.

    Raises:
        ConfigurationError: An argument cannot be right; later, the database must be repaired (no tables, no
            permission), or a pooler in transaction mode stands before it.
    """

    tokens: TokenStore
    """The tokens of all accounts. Their documents hold the tokens in the clear unless `encrypt` is given."""

    def __init__(
        self,
        dsn: str,
        *,
        pool_size: int = 4,
        encrypt: Callable[[bytes], bytes] | None = None,
        decrypt: Callable[[bytes], bytes] | None = None,
    ) -> None:
        _check_dsn(dsn)
        check_count(pool_size, "pool_size")
        if (encrypt is None) != (decrypt is None):
            raise ConfigurationError("encrypt and decrypt belong together: pass both, or neither.")
        self._database = Database(dsn, pool_size)
        self._locks = Locks(self._database)
        self._listener = Listener(self._database)
        self.tokens = PostgresTokenStore(self._database, self._locks, encrypt, decrypt)

    def __repr__(self) -> str:
        return "PostgresStores(…)"

    def __reduce__(self) -> NoReturn:
        message = "PostgresStores holds connections and a password: make another one instead of copying or pickling it"
        raise TypeError(message)

    async def __aenter__(self) -> Self:
        await self._database.open()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._listener.aclose()
        await self._locks.aclose()
        await self._database.aclose()

    async def create_tables(self) -> None:
        """Make the tables, or bring those of an older version up to date. Many processes may do it at once.

        Raises:
            ConfigurationError: The tables were made by a newer version, or the user lacks the permission.
            ExportStoreError: The database cannot be used now.
        """
        try:
            await create_tables(self._database)
        except UnavailableError as error:
            text = str(error)
        else:
            return
        raise ExportStoreError(f"{text}: try again later.")

    def exports(self, account: str) -> PostgresExportStore:
        """Return the exports of one account; as many objects of one account as you like are one store.

        Args:
            account: Your name for the customer.
        """
        return PostgresExportStore(self._database, self._locks, self._listener, check_text(account, "account"))
