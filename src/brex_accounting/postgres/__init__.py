"""Tokens and exports of many customers in PostgreSQL, for workers on many machines (extra: postgres).

from brex_accounting.postgres import PostgresStores

async with PostgresStores("postgresql://localhost/exports") as stores:
    await stores.create_tables()
    auth = OAuth2("client-id", "client-secret", account="customer-7", store=stores.tokens)
    exports = stores.exports("customer-7")
"""

from brex_accounting.errors import ConfigurationError

try:
    import psycopg
    import psycopg_pool
except ImportError as _missing:
    raise ConfigurationError(
        f'{_missing.name or "psycopg"} is missing: pip install "brex-accounting[postgres]".'
    ) from None
else:
    del psycopg, psycopg_pool

from ._exports import PostgresExportStore
from ._stores import PostgresStores

__all__ = ["PostgresExportStore", "PostgresStores"]
