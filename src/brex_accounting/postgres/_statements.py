"""The statements of the export store. Each is about one account.

Transactions that lock rows in different orders deadlock. Here all lock the account's row first, then the records' in
the order of their ids.
"""

from __future__ import annotations

from brex_accounting.worker._fenced import (
    FINISHED_STATES,
    IS_OPEN,
    NAMES,
    OPEN_STATES,
    PRUNE_AT_ONCE,
    REPLACED,
    TOUCHED,
)
from brex_accounting.worker._store import COLUMNS

from ._database import CHANNEL
from ._locks import NUMBER

_TYPES = {"version": "bigint", "handled": "bigint", "noticed": "bigint", "attempts": "integer"} | dict.fromkeys(
    ("due", "changed_at"), "double precision"
)
NOW = "extract(epoch FROM statement_timestamp())::float8"
SELECT = f"SELECT {NAMES} FROM brex_exports WHERE account = %(account)s"  # noqa: S608 - our own names
ONE = f"{SELECT} AND record_id = %(id)s"
HELD = f"{SELECT} AND held IS NOT NULL ORDER BY changed_at"
DUE = f"""
    (SELECT * FROM ({SELECT} AND {IS_OPEN} AND due <= %(now)s ORDER BY due LIMIT %(limit)s) AS overdue)
    UNION (SELECT * FROM ({SELECT} AND {IS_OPEN} AND due > %(latest)s ORDER BY due LIMIT %(limit)s) AS absurd)
    UNION (SELECT * FROM ({SELECT} AND noticed > handled ORDER BY due LIMIT %(limit)s) AS noticed)
    ORDER BY due LIMIT %(limit)s
"""  # noqa: S608 - our own names
NEXT = f"""
    SELECT EXISTS (SELECT 1 FROM brex_exports WHERE account = %(account)s AND noticed > handled),
           (SELECT min(due) FROM brex_exports WHERE account = %(account)s AND {IS_OPEN})
"""  # noqa: S608 - our own names
NOTE = f"""
    WITH noted AS (
        INSERT INTO brex_exports (account, record_id, state, attempts, due, changed_at, handled, noticed, opened_at)
        SELECT %(account)s, id, 'ready', 0, {NOW}, {NOW}, 0, 1, {NOW} FROM unnest(%(ids)s::text[]) AS id ORDER BY id
        ON CONFLICT (account, record_id) DO UPDATE SET noticed = brex_exports.noticed + 1
    ) SELECT pg_notify('{CHANNEL}', %(account)s)
"""  # noqa: S608 - our own names
SAVE = f"""
    INSERT INTO brex_exports (account, {NAMES}, opened_at)
    SELECT %(account)s, {NAMES}, changed_at FROM unnest(
        {", ".join(f"%({name})s::{_TYPES.get(name, 'text')}[]" for name in COLUMNS)}
    ) AS entry ({NAMES}) ORDER BY record_id
    ON CONFLICT (account, record_id) DO UPDATE SET
        {REPLACED},
        opened_at = CASE WHEN brex_exports.state IN ({FINISHED_STATES}) THEN excluded.opened_at
                         ELSE brex_exports.opened_at END
    WHERE brex_exports.touched <= excluded.noticed
"""  # noqa: S608 - our own names
LOCK = """
    SELECT FROM brex_exports WHERE account = %(account)s AND record_id = ANY (%(ids)s::text[])
    ORDER BY record_id FOR UPDATE
"""
TOUCH = f"UPDATE brex_exports SET {TOUCHED} WHERE account = %(account)s AND record_id = %(id)s"  # noqa: S608
FORGET = """
    DELETE FROM brex_exports USING unnest(%(ids)s::text[], %(noticed)s::bigint[]) AS old (id, seen)
    WHERE account = %(account)s AND record_id = old.id AND noticed = old.seen
"""
PRUNE = f"""
    DELETE FROM brex_exports WHERE account = %(account)s AND record_id = ANY (ARRAY(
        SELECT record_id FROM brex_exports WHERE account = %(account)s AND state IN ({FINISHED_STATES})
        AND changed_at < %(before)s AND noticed <= handled ORDER BY record_id LIMIT {PRUNE_AT_ONCE} FOR UPDATE
    ))
"""  # noqa: S608 - our own names
_MADE_AT = f"greatest(made_at, least(%(before)s, {NOW}))"
PRUNED = f"UPDATE brex_export_accounts SET made_at = {_MADE_AT} WHERE account = %(account)s"  # noqa: S608
COUNT = "SELECT state, held IS NOT NULL, count(*) FROM brex_exports WHERE account = %(account)s GROUP BY 1, 2"
OLDEST = f"SELECT min(opened_at) FROM brex_exports WHERE account = %(account)s AND state IN ({OPEN_STATES})"  # noqa: S608
RUNS = f"""
    SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 1
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
                   AND ((classid::bigint << 32) | objid::bigint) = {NUMBER})
"""  # noqa: S608 - our own words
NOTIFY = f"SELECT pg_notify('{CHANNEL}', %(account)s)"

ACCOUNT = """
    SELECT made_at, bills_until, polled_at, worker FROM brex_export_accounts WHERE account = %(account)s
"""
NEW_ACCOUNT = "INSERT INTO brex_export_accounts (account) VALUES (%(account)s) ON CONFLICT DO NOTHING"
LOCK_ACCOUNT = "SELECT FROM brex_export_accounts WHERE account = %(account)s FOR UPDATE"
ENTER = "UPDATE brex_export_accounts SET fence = %(fence)s, worker = %(worker)s WHERE account = %(account)s"
LEAVE = "UPDATE brex_export_accounts SET worker = NULL WHERE account = %(account)s AND fence = %(fence)s"
# FOR SHARE: a worker that takes over waits until the save is committed, or the save sees its fence.
FENCE = "SELECT fence FROM brex_export_accounts WHERE account = %(account)s FOR SHARE"
POLLED = f"""
    UPDATE brex_export_accounts SET bills_until = greatest(bills_until, %(until)s), polled_at = {NOW}
    WHERE account = %(account)s
"""  # noqa: S608 - our own names
