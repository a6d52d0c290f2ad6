"""The tables, and how they are made by many processes at once."""

from __future__ import annotations

from brex_accounting.errors import ConfigurationError
from brex_accounting.worker._fenced import IS_OPEN, OPEN_STATES

from ._database import Connection, Database
from ._locks import NUMBER

VERSIONS = (
    (
        """
        CREATE TABLE brex_tokens (
            key text PRIMARY KEY, version bigint NOT NULL, document bytea NOT NULL
        )
        """,
        """
        CREATE TABLE brex_export_accounts (
            account text PRIMARY KEY,
            made_at double precision NOT NULL DEFAULT extract(epoch FROM clock_timestamp()),
            bills_until timestamptz, polled_at double precision, fence text, worker text
        )
        """,
        """
        CREATE TABLE brex_exports (
            account text NOT NULL, record_id text NOT NULL, state text NOT NULL, version bigint, content text,
            reference_id text, deep_link_url text, message text, held text, attempts integer NOT NULL,
            due double precision NOT NULL, changed_at double precision NOT NULL, handled bigint NOT NULL,
            noticed bigint NOT NULL,
            opened_at double precision NOT NULL,  -- since when it is open
            touched bigint NOT NULL DEFAULT 0,    -- its notices when a person changed it last
            PRIMARY KEY (account, record_id)
        )
        """,
        f"""
        CREATE INDEX brex_exports_due ON brex_exports (account, due) WHERE {IS_OPEN}
        """,
        "CREATE INDEX brex_exports_noticed ON brex_exports (account, due) WHERE noticed > handled",
        f"CREATE INDEX brex_exports_open ON brex_exports (account, opened_at) WHERE state IN ({OPEN_STATES})",
        "CREATE INDEX brex_exports_held ON brex_exports (account, changed_at) WHERE held IS NOT NULL",
        "CREATE INDEX brex_exports_state ON brex_exports (account, state, changed_at)",
    ),
)
"""The statements that lead from each version of the tables to the next."""


async def create_tables(database: Database) -> None:
    """Make the tables, or bring them up to date. Raises ConfigurationError for tables of a newer version."""
    async with database.transaction() as connection:
        if await _version(connection) == len(VERSIONS):  # so that no permission is needed for nothing
            return
        await connection.execute("SET LOCAL statement_timeout = 0")  # much data is moved, perhaps by another process
        await connection.execute(f"SELECT pg_advisory_xact_lock({NUMBER})", {"lock": "tables"})
        found = await _version(connection)
        if found > len(VERSIONS):
            raise ConfigurationError(
                f"The tables were made by a newer version of brex-accounting (schema {found}): upgrade."
            )
        await connection.execute("CREATE TABLE IF NOT EXISTS brex_schema (version integer NOT NULL)")
        for statements in VERSIONS[found:]:
            for statement in statements:
                await connection.execute(statement)
        if found != len(VERSIONS):
            await connection.execute("INSERT INTO brex_schema VALUES (%s)", [len(VERSIONS)])


async def _version(connection: Connection) -> int:
    # Not to_regclass, which remembers to the end of the transaction that a table is not there.
    there = "SELECT EXISTS (SELECT FROM pg_class WHERE relname = 'brex_schema' AND pg_table_is_visible(oid))"
    row = await (await connection.execute(there)).fetchone()
    if row is None or not row[0]:
        return 0
    row = await (await connection.execute("SELECT max(version) FROM brex_schema")).fetchone()
    return 0 if row is None or row[0] is None else int(row[0])
