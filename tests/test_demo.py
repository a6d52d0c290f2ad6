"""The tour: every step does what it says, and its ledger is one."""

import asyncio
import csv
import re
import subprocess
import sys
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

import pytest

from brex_accounting import ExportFailed, ExportSucceeded
from brex_accounting._commands import tour
from brex_accounting._commands.tour import MISSING_ACCOUNT, DemoError, Ledger, expect
from brex_accounting._records.parsing import read_record
from brex_accounting.sandbox._records import sample_records
from brex_accounting.sandbox._wire import to_json

RUN = "import sys; from brex_accounting._commands.tour import main; sys.exit(main())"


def test_every_step_does_what_it_says(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", RUN], capture_output=True, text=True, check=False, env={"TMPDIR": str(tmp_path)}
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.rstrip().endswith("Every step did what it says.")
    for line in ("500 records: 150 BILL, 175 CARD, 175 REIMBURSEMENT", "490 booked; 10 not", "500 reported"):
        assert line in run.stdout
    assert run.stdout.count(f"unknown GL account {MISSING_ACCOUNT}\n") == 12
    killed = re.findall(r"kill -9: \d+ entries in the ERP, [1-9]\d* bookings in doubt, [1-9]\d* to go", run.stdout)
    assert len(killed) == 2
    assert "The ERP has 490 entries; the worker: 490 exported, 10 returned, 0 held" in run.stdout
    [ledger] = tmp_path.glob("*/ledger.csv")
    sums: defaultdict[str, Decimal] = defaultdict(Decimal)
    with ledger.open(encoding="utf-8", newline="") as file:
        for line in csv.DictReader(file):
            sums[line["currency"]] += Decimal(line["debit"] or 0) - Decimal(line["credit"] or 0)
            assert line["account"] != MISSING_ACCOUNT
    assert sums == {"EUR": 0, "USD": 0}


def test_a_promise_that_is_not_kept_ends_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def broken() -> None:
        await asyncio.sleep(0)
        expect("water is dry", kept=False)

    monkeypatch.setattr(tour, "tell", broken)
    assert tour.main() == 1
    assert "not so: water is dry" in capsys.readouterr().out
    with pytest.raises(DemoError):
        expect("water is dry", kept=False)


def test_stopping_it_is_no_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    async def stopped() -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(tour, "tell", stopped)
    assert tour.main() == 130
    assert "Stopped" in capsys.readouterr().out


def test_the_ledger_books_all_lines_of_a_record_or_none(tmp_path: Path) -> None:
    taken, refused = (
        read_record(to_json(record.to_wire(single_entry=False)).encode())
        for record in sample_records(80)
        if record.index in {0, 79}
    )
    ledger = Ledger(tmp_path / "ledger.csv")
    assert isinstance(ledger.book(taken), ExportSucceeded)
    assert ledger.book(refused) == ExportFailed(refused.id, f"unknown GL account {MISSING_ACCOUNT}")
    assert ledger.close() == [("USD", Decimal("100.5"), Decimal("100.5"))]
    lines = (tmp_path / "ledger.csv").read_text("utf-8").splitlines()
    assert len(lines) == 1 + len(taken.line_items)
