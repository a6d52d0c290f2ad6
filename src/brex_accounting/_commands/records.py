"""records list and records get."""

from __future__ import annotations

from contextlib import aclosing

from brex_accounting._records.query import DEFAULT_LIMIT
from brex_accounting.client import BrexAccounting
from brex_accounting.models import AccountingRecord, InvalidRecord

from .connection import HERE, Connection
from .exit_codes import Code, stop
from .filters import ALL, Filters
from .ledger import amount, document, moment, person
from .options import Flag
from .output import Column, cell, write, write_fields, write_json, write_table
from .signals import run
from .standard_streams import finish, note

COLUMNS = (
    Column("id"),
    Column("date"),
    Column("amount", "right"),
    Column("currency"),
    Column("party", may_be_cut=True),
    Column("type", may_be_cut=True),
    Column("status", may_be_cut=True),
    Column("memo", may_be_cut=True),
)
LINE_COLUMNS = (
    Column("line"),
    Column("side"),
    Column("amount", "right"),
    Column("currency"),
    Column("memo", may_be_cut=True),
)


def list_(
    *,
    filters: Filters = ALL,
    limit: int = DEFAULT_LIMIT,
    json: Flag = False,
    connection: Connection = HERE,
) -> Code:
    """List records.

    Args:
        limit: How many at most; 0 is all of them.
        json: Print JSON Lines, a record a line, instead of a table. Amounts are text, with each of their digits.
    """
    if limit < 0:
        stop("--limit must be 0 (all records), or more.", Code.USAGE)
    filters.check()
    return run(_list(connection.client(), filters, limit, json=json))


def get(
    record_id: str,
    /,
    *,
    single_entry: Flag = False,
    json: Flag = False,
    connection: Connection = HERE,
) -> None:
    """Show a record, with links to its receipts that work for 15 minutes.

    Args:
        record_id: The record's id, accr_….
        single_entry: Leave out the balancing lines.
        json: Print JSON instead. Amounts are text, with each of their digits.
    """
    record = run(_get(connection.client(), record_id, single_entry=single_entry))
    if json:
        write_json(document(record))
    else:
        _show(record, single_entry=single_entry)


async def _list(client: BrexAccounting, filters: Filters, limit: int, *, json: bool) -> Code:
    invalid = list[InvalidRecord]()
    kept = list[AccountingRecord]()
    count, more, total = 0, False, None
    page_size = min(limit or DEFAULT_LIMIT, DEFAULT_LIMIT)
    async with (
        client as brex,
        aclosing(filters.pages(brex.records, page_size, invalid.append)) as pages,
    ):
        async for page in pages:
            records = page.items[: limit - count] if limit else page.items
            count += len(records)
            more, total = page.has_next_page or len(records) < len(page.items), page.total_count
            if json:
                for record in records:
                    write_json(document(record))
                finish()  # what reads it need not wait, and ends this when it goes away
            else:
                kept += records
            if limit and count >= limit:
                break
    if not json:
        write_table(COLUMNS, map(_row, kept))
    if more:
        of_all = "" if total is None else f" of {total:,}"
        note(f"These are the first {count:,}{of_all} records: --limit 0 is all, records export writes a file.")

    for each in invalid:
        name = cell(each.record_id) if each.record_id else "a record without a readable id"
        note(f"brex-accounting: {name} cannot be understood and is left out: {each.reason}")
    return Code.FAILED if invalid else Code.FINE


async def _get(client: BrexAccounting, record_id: str, *, single_entry: bool) -> AccountingRecord:
    async with client as brex:
        return await brex.records.get(record_id, single_entry=single_entry or None)


def _row(record: AccountingRecord) -> list[str]:
    return [
        record.id,
        moment(record.erp_posting_date)[:10],
        amount(record.amount.amount),
        record.amount.currency,
        record.vendor.name if record.vendor else person(record),
        record.type,
        record.review_status,
        record.memo or "",
    ]


def _show(record: AccountingRecord, *, single_entry: bool) -> None:
    original = record.original_amount
    write_fields(
        {
            "id": record.id,
            "version": record.version,
            "type": record.type,
            "status": record.review_status,
            "source": " ".join(filter(None, [record.source_type, record.source_id])),
            "amount": f"{amount(record.amount.amount)} {record.amount.currency}",
            "originally": original and f"{amount(original.amount)} {original.currency}",
            "posting date": moment(record.erp_posting_date),
            "posted": moment(record.posted_at),
            "due": moment(record.due_at) or None,
            "updated": moment(record.updated_at),
            "invoice": record.invoice_number,
            "vendor": record.vendor and f"{record.vendor.name} ({record.vendor.id})",
            "user": record.user and f"{person(record)} <{record.user.email}>",
            "memo": record.memo,
        }
    )
    for receipt in record.receipts or ():
        for uri in receipt.download_uris or ():
            write_fields({"receipt": uri})
    write("")
    write_table(
        LINE_COLUMNS,
        (
            [line.id, line.type, amount(line.amount.amount), line.amount.currency, line.memo or ""]
            for line in record.line_items
        ),
    )
    if not single_entry and not record.is_balanced:
        note("Debits and credits of these lines differ.")
