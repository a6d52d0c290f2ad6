"""What reading accounting records costs: a page of them, and streaming many. `make bench` runs it after run.py."""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from types import UnionType
from typing import Any

import msgspec
import openai
import pydantic
from openai._models import construct_type
from rich.console import Console
from rich.progress import track
from rich.table import Table

from brex_accounting import AccountingRecord, BrexAccounting
from brex_accounting._records.parsing import read_page
from brex_accounting.sandbox._records import sample_records
from brex_accounting.sandbox._wire import to_json
from brex_accounting_api.models import AccountingRecordsResponse
from brex_accounting_api.types import decode

ROUNDS = 60
STREAMED = 20_000
PAGE = 100
WORK = 0.000_1  # seconds of a consumer's work on a record
TOKEN = "bxt_benchmark"
ROOT = Path(__file__).parent.parent
# The stock models fail on a value that they do not know.
NOT_FOR_STOCK_MODELS = {b"CARD_EXPENSE_ADJUSTMENT": b"CARD_EXPENSE_POST", b"TRAVEL_ADMIN": b"EMPLOYEE"}
console = Console()


def page(count: int, cursor: str | None = None) -> bytes:
    """Some 2 kB a record, as with the memos and the many fields of a real account."""
    items = [
        {**record.to_wire(single_entry=False), "memo": f"Team offsite, {'travel and meals, ' * 30}"}
        for record in sample_records(count)
    ]
    whole = {"items": items, "total_count": count, "next_cursor": cursor, "has_next_page": cursor is not None}
    body = to_json(whole).encode()
    for unpublished, published in NOT_FOR_STOCK_MODELS.items():
        body = body.replace(unpublished, published)
    return body


def coded(body: bytes) -> bytes:
    """The page with five accounting fields on each line, as the ledgers of larger companies have, and short memos."""
    whole = json.loads(body, parse_float=Decimal)
    for record in whole["items"]:
        record["memo"] = "Team offsite"
        for line in record["line_items"]:
            line["accounting_field_values"] = [
                {
                    "brex_field_id": f"extended_field_{n:025}",
                    "remote_field_id": ("GL_ACCOUNT", "DEPARTMENT", "CLASS", "LOCATION", "PROJECT")[n],
                    "field_name": ("GL Account", "Department", "Class", "Location", "Project")[n],
                    "brex_field_value_id": f"efo_{n:025}",
                    "remote_field_value_id": None,
                    "field_value_name": f"{6000 + n} Travel",
                    "type": "IDENTIFIER",
                }
                for n in range(5)
            ]
    return msgspec.json.Encoder(decimal_format="number").encode(whole)


# -- decoding ----------------------------------------------------------------------------------------------------------


def stock_models(folder: str) -> Any:
    """The unmodified generator's models, from the same description."""
    python = str(ROOT / ".venv-generator" / "bin" / "python")
    description = f"{folder}/description.json"
    correct = [python, "-B", "-m", "scripts.correct_description"]
    generate = [python, "-m", "openapi_python_client", "generate", "--path", description, "--meta", "none"]
    for command in (
        [*correct, str(ROOT / "openapi" / "accounting.yaml"), str(ROOT / "openapi" / "overlay.yaml"), description],
        [*generate, "--output-path", f"{folder}/stock_models"],
    ):
        subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
    sys.path.insert(0, folder)
    return importlib.import_module("stock_models.models").AccountingRecordsResponse


def class_tree(base: Any) -> Any:
    """The same classes for pydantic, and for what is built on it."""

    def model(title: str, /, **fields: Any) -> Any:
        given = {name: (kind, None if isinstance(kind, UnionType) else ...) for name, kind in fields.items()}
        return pydantic.create_model(title, __base__=base, **given)

    text, maybe = str, str | None
    money = model("Money", amount=Decimal, currency=text)
    value = model(
        "Value",
        brex_field_id=text,
        remote_field_id=maybe,
        brex_field_value_id=maybe,
        remote_field_value_id=maybe,
        field_name=maybe,
        field_value_name=maybe,
        type=maybe,
    )
    line = model(
        "Line",
        id=text,
        type=text,
        amount=money,
        original_amount=money | None,
        billing_amount=money | None,
        memo=maybe,
        accounting_field_values=list[value],
    )
    user = model(
        "User",
        id=text,
        first_name=text,
        last_name=text,
        email=text,
        role=text,
        status=text,
        manager_id=maybe,
        department_id=maybe,
        department_name=maybe,
        manager_first_name=maybe,
        manager_last_name=maybe,
        account_id=maybe,
    )
    vendor = model("Vendor", id=text, name=text, contact_name=maybe, email=maybe, website=maybe, phone=maybe)
    receipt = model("Receipt", id=text, download_uris=list[str] | None)
    record = model(
        "Record",
        id=text,
        amount=money,
        original_amount=money | None,
        billing_amount=money | None,
        status=maybe,
        type=text,
        review_status=text,
        source_id=maybe,
        source_type=text,
        erp_posting_date=datetime,
        updated_at=datetime,
        version=int,
        receipts=list[receipt] | None,
        user=user | None,
        vendor=vendor | None,
        memo=maybe,
        posted_at=datetime,
        due_at=datetime | None,
        invoice_number=maybe,
        line_items=list[line],
    )
    return model("Page", items=list[record], total_count=int | None, next_cursor=maybe, has_next_page=bool)


def decoders(folder: str) -> dict[str, Callable[[bytes], object]]:
    stock, strict, stainless = stock_models(folder), class_tree(pydantic.BaseModel), class_tree(openai.BaseModel)
    return {
        "json.loads": json.loads,
        "brex_accounting": read_page,
        "generated client": lambda body: decode(AccountingRecordsResponse, body),
        "unmodified generator": lambda body: stock.from_dict(json.loads(body)),
        "pydantic": strict.model_validate_json,
        "openai": lambda body: construct_type(type_=stainless, value=json.loads(body)),
    }


def measure_decoding(body: bytes) -> dict[str, float]:
    """The median of rounds in which the contenders take turns."""
    with tempfile.TemporaryDirectory() as folder:
        contenders = decoders(folder)
        taken: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in track(range(ROUNDS), "decoding", console=console, transient=True):
            for name, read in contenders.items():
                gc.collect()
                began = time.process_time()
                for _ in range(3):
                    read(body)
                taken[name].append((time.process_time() - began) / 3)
    return {name: statistics.median(times) for name, times in taken.items()}


# -- streaming ---------------------------------------------------------------------------------------------------------


@contextmanager
def slow_server() -> Any:
    command = [sys.executable, str(Path(__file__).with_name("records_server.py")), str(STREAMED)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip() if process.stdout else ''}"
        finally:
            process.kill()


async def page_after_page(brex: BrexAccounting) -> AsyncIterator[AccountingRecord]:
    cursor = None
    while True:
        read = await brex.records.query(limit=PAGE, cursor=cursor)
        for record in read.items:
            yield record
        if not read.has_next_page:
            return
        cursor = read.next_cursor


async def seconds_of(records: AsyncIterator[AccountingRecord]) -> float:
    began = time.perf_counter()
    count = 0
    async for _ in records:
        count += 1
        if count % 10 == 0:  # half of the work is computing, half of it waiting for a database
            until = time.perf_counter() + 5 * WORK
            while time.perf_counter() < until:
                pass
            await asyncio.sleep(5 * WORK)
    assert count == STREAMED
    return time.perf_counter() - began


async def measure_streaming(url: str) -> dict[str, float]:
    async with BrexAccounting(TOKEN, base_url=url, rate_limit=None) as brex:
        return {
            "page after page": await seconds_of(page_after_page(brex)),
            "iterate": await seconds_of(brex.records.iterate(page_size=PAGE)),
        }


def show(title: str, unit: str, taken: dict[str, float], base: str, scale: float) -> None:
    table = Table(title=title)
    table.add_column("")
    table.add_column(unit, justify="right")
    for name, seconds in taken.items():
        table.add_row(name, f"{seconds * scale:.2f} ({seconds / taken[base]:.2f})")
    console.print(table)


def main() -> None:
    for kind, body in {"records": page(PAGE), "fully coded records": coded(page(PAGE))}.items():
        title = f"CPU time to read a page of {PAGE} {kind} ({len(body) / 1000:.0f} kB); median of {ROUNDS}"
        show(title, "ms (ratio to json.loads)", measure_decoding(body), "json.loads", 1e3)
    with slow_server() as url:
        streamed = asyncio.run(measure_streaming(url))
    title = f"{STREAMED:,} records from a server that answers after 20 ms, {WORK * 1e3:g} ms of work on each"
    show(title, "s (ratio to page after page)", streamed, "page after page", 1.0)


if __name__ == "__main__":
    main()
