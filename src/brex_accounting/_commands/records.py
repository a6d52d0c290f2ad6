"""records list and records get."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import aclosing

from brex_accounting._records.query import DEFAULT_LIMIT
from brex_accounting.client import BrexAccounting
from brex_accounting.models import AccountingRecord, InvalidRecord, LineItem

from .connection import HERE, Connection
from .exit_codes import Code, stop
from .filters import ALL, Filters
from .ledger import amount, document, field_name, field_value, gl_account, gl_accounts, moment, person
from .options import Flag
from .output import Column, cell, write, write_fields, write_json, write_table
from .signals import run
from .standard_streams import finish, note

COLUMNS: dict[str, tuple[Column, Callable[[AccountingRecord], str | None]]] = {
    "id": (Column("id"), lambda record: record.id),
    "date": (Column("date"), lambda record: moment(record.erp_posting_date)[:10]),
    "amount": (Column("amount", "right"), lambda record: amount(record.amount.amount)),
    "currency": (Column("currency"), lambda record: record.amount.currency),
    "party": (
        Column("party", may_be_cut=True),
        lambda record: record.vendor.name if record.vendor else person(record),
    ),
    "type": (Column("type", may_be_cut=True), lambda record: record.type),
    "status": (Column("status", may_be_cut=True), lambda record: record.review_status),
    "memo": (Column("memo", may_be_cut=True), lambda record: record.memo),
    "gl_account": (Column("gl_account", may_be_cut=True), gl_accounts),
    "source": (Column("source", may_be_cut=True), lambda record: record.source_type),
    "source_id": (Column("source_id", may_be_cut=True), lambda record: record.source_id),
    "vendor": (Column("vendor", may_be_cut=True), lambda record: record.vendor.name if record.vendor else None),
    "user": (Column("user", may_be_cut=True), person),
    "invoice": (Column("invoice", may_be_cut=True), lambda record: record.invoice_number),
    "posted": (Column("posted"), lambda record: moment(record.posted_at)),
    "due": (Column("due"), lambda record: moment(record.due_at)),
    "updated": (Column("updated"), lambda record: moment(record.updated_at)),
    "version": (Column("version", "right"), lambda record: str(record.version)),
}
"""What --columns can choose, each with its text for a record."""
BY_DEFAULT = ("id", "date", "amount", "currency", "party", "type", "status", "memo")
LINE_COLUMNS = (
    Column("line"),
    Column("side"),
    Column("amount", "right"),
    Column("currency"),
    Column("gl_account", may_be_cut=True),
    Column("other fields", may_be_cut=True),
    Column("memo", may_be_cut=True),
)


def list_(
    *,
    filters: Filters = ALL,
    limit: int = DEFAULT_LIMIT,
    columns: str | None = None,
    json: Flag = False,
    connection: Connection = HERE,
) -> Code:
    """List records.

    Args:
        limit: How many at most; 0 is all of them.
        columns: What to show, such as id,date,amount,currency,gl_account. All are: id, date, amount, currency, party,
            type, status, memo, gl_account, source, source_id, vendor, user, invoice, posted, due, updated, version.
        json: Print JSON Lines, a record a line, instead of a table. Amounts are text, with each of their digits.
    """
    if limit < 0:
        stop("--limit must be 0 (all records), or more.", Code.USAGE)
    if columns is not None and json:
        stop("--columns chooses columns of the table: leave it or --json out.", Code.USAGE)
    filters.check()
    chosen = None if columns is None else _names(columns)
    return run(_list(connection.client(), filters, limit, chosen, json=json))


def _names(columns: str) -> list[str]:
    names = [each.strip().lower().replace("-", "_") for each in columns.split(",")]
    for each in names:
        if each not in COLUMNS:
            stop(f"--columns: there is no column {cell(each)!r}: choose from {', '.join(COLUMNS)}.", Code.USAGE)
    return list(dict.fromkeys(names))


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
        record_id: The record's id, ``accr_…``.
        single_entry: Leave out the balancing lines.
        json: Print JSON instead. Amounts are text, with each of their digits.
    """
    record = run(_get(connection.client(), record_id, single_entry=single_entry))
    if json:
        write_json(document(record))
    else:
        _show(record, single_entry=single_entry)


async def _list(
    client: BrexAccounting, filters: Filters, limit: int, chosen: Sequence[str] | None, *, json: bool
) -> Code:
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
                finish()  # a reader need not wait, and ends this when it goes away
            else:
                kept += records
            if limit and count >= limit:
                break
    if not json:
        _write_table(kept, chosen)
    if more:
        of_all = "" if total is None else f" of {total:,}"
        note(f"These are the first {count:,}{of_all} records: --limit 0 lists all, records export writes a file.")
    for each in invalid:
        name = cell(each.record_id) if each.record_id else "a record without a readable id"
        note(f"brex-accounting: {name} cannot be understood and is left out: {each.reason}")
    return Code.FAILED if invalid else Code.FINE


async def _get(client: BrexAccounting, record_id: str, *, single_entry: bool) -> AccountingRecord:
    async with client as brex:
        return await brex.records.get(record_id, single_entry=single_entry or None)


def _write_table(records: Sequence[AccountingRecord], chosen: Sequence[str] | None) -> None:
    columns = [COLUMNS[name] for name in chosen or BY_DEFAULT]
    rows = ([text(record) or "" for _, text in columns] for record in records)
    _note_left_out(write_table([column for column, _ in columns], rows, keep_all=chosen is not None), "--columns")


def _note_left_out(columns: Sequence[str], option: str) -> None:
    if columns:
        note(f"The terminal is too narrow for {', '.join(columns)}: widen it, or use {option}.")


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
    _note_left_out(write_table(LINE_COLUMNS, map(_line, record.line_items)), "--json")
    if not single_entry and not record.is_balanced:
        note("Debits and credits of these lines differ.")


def _line(line: LineItem) -> list[str]:
    account = gl_account(line)
    others = (f"{field_name(each)}={field_value(each)}" for each in line.accounting_field_values if each is not account)
    return [
        line.id,
        line.type,
        amount(line.amount.amount),
        line.amount.currency,
        field_value(account) if account else "",
        "; ".join(others),
        line.memo or "",
    ]
