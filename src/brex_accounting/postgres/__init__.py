"""Tokens and exports of many customers in PostgreSQL, for workers on many machines (extra: postgres).

from brex_accounting.postgres import PostgresStores

async with PostgresStores("postgresql://localhost/exports") as stores:
    await stores.create_tables()
    auth = OAuth2("client-id", "client-secret", account="customer-7", store=stores.tokens)
    exports = stores.exports("customer-7")
"""

# ruff: noqa: E402  # what is missing is said before it is imported

from brex_accounting._arguments import check_extra

check_extra("postgres", "psycopg", "psycopg_pool")

from ._exports import PostgresExportStore
from ._stores import PostgresStores

__all__ = ["PostgresExportStore", "PostgresStores"]
