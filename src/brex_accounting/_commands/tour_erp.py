"""The accounting system that the tour's worker books in: a file, a line for each entry. It checks for no duplicates."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path

from brex_accounting.models import AccountingRecord, ExportFailed

LEDGER = "BREX_ACCOUNTING_TOUR_LEDGER"
MISSING_ACCOUNT = "6039"
"""The general ledger account that it does not have."""
SLOW = 0.02
"""Seconds before an entry is made, and after that until the answer."""


def account_of(record: AccountingRecord, place: int) -> str:
    """Return the account of a line."""
    values = record.line_items[place].accounting_field_values
    return next((each.remote_field_value_id for each in values if each.remote_field_value_id), "suspense")


def read_ledger(path: Path) -> dict[str, list[str]]:
    """Return the references of each record."""
    found = dict[str, list[str]]()
    for line in path.read_text("utf-8").splitlines():
        entry = json.loads(line)
        found.setdefault(entry["record"], []).append(entry["reference"])
    return found


async def book(record: AccountingRecord) -> str | ExportFailed:
    """Make an entry, whether there is one already or not."""
    if any(account_of(record, place) == MISSING_ACCOUNT for place in range(len(record.line_items))):
        return ExportFailed(record.id, f"unknown GL account {MISSING_ACCOUNT}")
    await asyncio.sleep(SLOW)
    reference = f"JE-{record.id[-6:]}"
    _enter(Path(os.environ[LEDGER]), record.id, reference)
    await asyncio.sleep(SLOW)
    return reference


async def find(record: AccountingRecord) -> str | None:
    """Look a record up."""
    references = read_ledger(Path(os.environ[LEDGER])).get(record.id)
    return references[0] if references else None


def _enter(path: Path, record_id: str, reference: str) -> None:
    line = json.dumps({"record": record_id, "reference": reference}) + "\n"
    with path.open("a", encoding="utf-8") as ledger:
        ledger.write(line)
