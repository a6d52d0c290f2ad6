"""The tour of `brex-accounting demo`: over real sockets, against the sandbox, never a real account."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import re
import signal
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn

from brex_accounting.client import BrexAccounting
from brex_accounting.errors import BrexError, IntegrationExistsError, IntegrationNotActiveError, Outcome
from brex_accounting.models import (
    AccountingRecord,
    ExportFailed,
    ExportResult,
    ExportSucceeded,
    Integration,
    IntegrationStatus,
    LineItemType,
    ReviewStatus,
)

from .tour_erp import MISSING_ACCOUNT

START_WITHIN = 20.0
STOP_WITHIN = 5.0
LONG_AGO = "2000-01-01T00:00:00Z"
"""Without a lower bound for `updated_at` the API may leave out older records."""
console = Console(highlight=False, soft_wrap=True)


class DemoError(Exception):
    """A step did not do what it says."""


def step(title: str, code: str) -> None:
    console.print(f"\n[bold]{escape(title)}[/bold]")
    console.print(f"  [cyan]{escape(code)}[/cyan]")


def show(text: str) -> None:
    console.print(f"  {escape(text)}")


def expect(promise: str, *, kept: bool) -> None:
    if not kept:
        raise DemoError(promise)
    console.print(f"  [green]✓[/green] {escape(promise)}")


def describe(integration: Integration) -> str:
    return f"{integration.id}  {integration.vendor}  {integration.vendor_account_id}  {integration.status}"


@contextlib.asynccontextmanager
async def sandbox_server() -> AsyncIterator[tuple[str, str]]:
    """Run `brex-accounting sandbox` as a process of its own, and give its URL and token."""
    command = str(Path(sys.executable).with_name("brex-accounting"))
    server = await asyncio.create_subprocess_exec(
        command, "sandbox", "--port", "0", "--records", "500", stdout=asyncio.subprocess.PIPE
    )
    try:
        said = ""
        async with asyncio.timeout(START_WITHIN):
            while (found := re.search(r"BREX_BASE_URL=(\S+)\s.*BREX_TOKEN=(\S+)\n", said, re.DOTALL)) is None:
                line = await server.stdout.readline() if server.stdout else b""
                if not line:
                    raise DemoError("the sandbox server starts")
                said += line.decode()
        yield found[1], found[2]
    finally:
        if server.returncode is None:
            server.terminate()
            try:
                async with asyncio.timeout(STOP_WITHIN):
                    await server.wait()
            except TimeoutError:
                server.kill()
                await server.wait()


async def integrations(brex: BrexAccounting) -> None:
    step("Connect an accounting system", 'await brex.integrations.create("ERP_A", "acct-42")')
    first = await brex.integrations.create("ERP_A", "acct-42")
    show(describe(first))
    expect("a new integration is active", kept=first.status is IntegrationStatus.ACTIVE)

    step("Connect it again", 'await brex.integrations.create("ERP_A", "acct-42")')
    again = await brex.integrations.create("ERP_A", "acct-42")
    show(describe(again))
    expect("the same integration came back, no second one was made", kept=again.id == first.id)

    step("Connect another vendor beside it", 'await brex.integrations.create("ERP_B", "acct-42")')
    exists: IntegrationExistsError | None = None
    try:
        await brex.integrations.create("ERP_B", "acct-42")
    except IntegrationExistsError as error:
        exists = error
    expect("it is refused with a typed error", kept=exists is not None)
    if exists is not None:
        show(f"IntegrationExistsError: {exists}")
        for name in ("existing_integration_id", "existing_vendor", "requested_vendor", "outcome", "trace_id"):
            show(f"  error.{name} = {getattr(exists, name)}")
        expect("it names the integration in the way", kept=exists.existing_integration_id == first.id)
        expect("it says that nothing was changed", kept=exists.outcome is Outcome.NOT_APPLIED)

    step("Pause the integration", f'await brex.integrations.disconnect("{first.id}")')
    paused = await brex.integrations.disconnect(first.id)
    show(describe(paused))
    expect("it is disabled", kept=paused.status is IntegrationStatus.DISABLED)

    step("Pause it once more", f'await brex.integrations.disconnect("{first.id}")')
    not_active: IntegrationNotActiveError | None = None
    try:
        await brex.integrations.disconnect(first.id)
    except IntegrationNotActiveError as error:
        not_active = error
    expect("that is refused", kept=not_active is not None and not_active.current_status == "DISABLED")
    show(f"IntegrationNotActiveError: {not_active}")

    step("Make sure that it is paused, whoever paused it", f'await brex.integrations.ensure_disconnected("{first.id}")')
    await brex.integrations.ensure_disconnected(first.id)
    expect("that is fine: nothing was raised", kept=True)

    step("Resume it", f'await brex.integrations.reactivate("{first.id}")')
    resumed = await brex.integrations.reactivate(first.id)
    show(describe(resumed))
    expect("the same integration is active again", kept=(resumed.id, resumed.status) == (first.id, "ACTIVE"))


class Ledger:
    """An accounting system of a few lines: a CSV file that takes only accounts it knows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._debits: defaultdict[str, Decimal] = defaultdict(Decimal)
        self._credits: defaultdict[str, Decimal] = defaultdict(Decimal)
        self._lines = [["record", "date", "account", "debit", "credit", "currency"]]

    def book(self, record: AccountingRecord) -> ExportResult:
        """Book all lines of a record, or none."""
        lines = []
        for line in record.line_items:
            accounts = [value.remote_field_value_id for value in line.accounting_field_values]
            account = next(filter(None, accounts), "suspense")
            if account == MISSING_ACCOUNT:
                return ExportFailed(record.id, f"unknown GL account {account}")
            amount = f"{line.amount.amount:f}"
            sides = [amount, ""] if line.type == LineItemType.DEBIT else ["", amount]
            lines.append([record.id, f"{record.erp_posting_date:%Y-%m-%d}", account, *sides, line.amount.currency])
        for line in record.line_items:
            side = self._debits if line.type == LineItemType.DEBIT else self._credits
            side[line.amount.currency] += line.amount.amount
        self._lines += lines
        return ExportSucceeded(record.id, reference_id=f"JE-{record.id}")

    def close(self) -> list[tuple[str, Decimal, Decimal]]:
        """Write the file; return currency, debits and credits."""
        with self._path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(self._lines)
        return [(currency, self._debits[currency], self._credits[currency]) for currency in sorted(self._debits)]


async def ready_records(brex: BrexAccounting) -> list[AccountingRecord]:
    """Read what is ready for export: cards, reimbursements and bills."""
    ready: list[AccountingRecord] = []
    columns = TextColumn("  {task.description}"), BarColumn(), TextColumn("{task.completed}")
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("records", total=None)
        async for record in brex.records.ready_for_export():
            ready.append(record)
            progress.update(bar, completed=len(ready))
        progress.update(bar, total=len(ready))
    return ready


async def failed_records(brex: BrexAccounting) -> list[AccountingRecord]:
    """Read what waits for somebody to look at it. The filter by review status finds no bills."""
    failed = [record async for record in brex.records.iterate(review_status="REVIEW", updated_after=LONG_AGO)]
    bills = brex.records.iterate(source_type="BILL", updated_after=LONG_AGO)
    return failed + [bill async for bill in bills if bill.review_status == ReviewStatus.REVIEW]


async def records(brex: BrexAccounting, folder: Path) -> None:
    step("Stream what is ready for export", "async for record in brex.records.ready_for_export()")
    ready = await ready_records(brex)
    kinds = Counter(str(record.source_type) for record in ready)
    show(f"{len(ready)} records: {', '.join(f'{count} {kind}' for kind, count in sorted(kinds.items()))}")
    expect("all 500 records came, bills among them", kept=len(ready) == 500 and kinds["BILL"] > 0)  # noqa: PLR2004
    expect("every record is balanced, in each of its currencies", kept=all(record.is_balanced for record in ready))

    path = folder / "ledger.csv"
    step("Book them in a ledger", "csv.writer(file).writerows(lines)")
    ledger = Ledger(path)
    results = [ledger.book(record) for record in ready]
    for currency, debits, credits_ in ledger.close():
        show(f"{currency}: debits {debits:,f}, credits {credits_:,f}")
        expect(f"debits equal credits in {currency}, to the last digit", kept=debits == credits_)
    show(f"The ledger is {path}")
    failures = {result.record_id: result.error_message for result in results if isinstance(result, ExportFailed)}
    show(f"{len(results) - len(failures)} booked; {len(failures)} not: unknown GL account {MISSING_ACCOUNT}")

    step("Report what became of each", "await brex.records.report_all(results)")
    outcomes = await brex.records.report_all(results)
    found = Counter(outcome.status for outcome in outcomes)
    show(", ".join(f"{count} {status}" for status, count in found.items()))
    expect("490 successes and 10 failures were taken", kept=(found["reported"], len(failures)) == (500, 10))

    step("Look again, as a second run would", "async for record in brex.records.ready_for_export()")
    expect("nothing is left to export", kept=await ready_records(brex) == [])
    left = await failed_records(brex)
    for record in left:
        show(f"{record.id}  {record.type}  {record.amount.amount:,f} {record.amount.currency}  {failures[record.id]}")
    expect("the 10 that failed wait for somebody to look at them", kept={each.id for each in left} == set(failures))


async def tell() -> None:
    from .tour_worker import worker  # noqa: PLC0415 - it tells its part with what stands here

    folder = Path(tempfile.mkdtemp(prefix="brex-accounting-demo-"))
    console.print("[bold]brex-accounting[/bold]: a tour against the sandbox, in a process of its own. No real account.")
    async with sandbox_server() as (url, token):
        console.print(f"The sandbox listens at {url}")
        async with BrexAccounting(token, base_url=url) as brex:
            await integrations(brex)
            await records(brex, folder)
    async with sandbox_server() as (url, token):  # another 500 records
        await worker(url, token, folder)
    console.print("\n[bold green]Every step did what it says.[/bold green]")


def main() -> int:
    """Tell the story; return the exit code."""
    return asyncio.run(_main())


async def _main() -> int:
    story = asyncio.ensure_future(tell())
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, story.cancel)
    try:
        await story
    except (DemoError, BrexError, OSError, TimeoutError) as broken:
        console.print(f"  [red]✗ not so: {escape(str(broken) or type(broken).__name__)}[/red]")
        return 1
    except asyncio.CancelledError:
        console.print("\nStopped; the sandbox is stopped too.")
        return 130
    return 0
