"""brex-accounting worker: run, status, held, settle and retry, over real sockets."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.commands import RUN, World, ended, environment

ERP = """
import asyncio, pathlib
from brex_accounting import ExportFailed
from brex_accounting.worker import NotBookedError

ledger = pathlib.Path("ledger.txt")
ledger.touch()
slow = 0.0

async def book(record):
    await asyncio.sleep(slow)
    if record.id in refused():
        return ExportFailed(record.id, "no such account")
    with ledger.open("a") as file:
        file.write(record.id + "\\n")
    return "JE-" + record.id[-3:]

async def lose(record):
    await book(record)
    raise ConnectionError("the answer was lost, with " + str(record.memo))

async def closed(record):
    raise NotBookedError("the period is closed")

async def find(record):
    return "JE-" + record.id[-3:] if record.id in ledger.read_text().split() else None

def refused():
    return {"accr_000000000003"}

def not_async(record):
    return "JE-1"

class namespace:
    book = staticmethod(book)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "erp.py").write_text(ERP)
    (tmp_path / "broken.py").write_text("memo = 'a secret memo'\nraise ValueError(memo)\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if name in {"erp", "broken"}:
            del sys.modules[name]


def run(world: World, *arguments: str, **variables: str) -> Any:
    return world.run("worker", *arguments, "--store", "export.db", **variables)


def test_once(world: World, folder: Path) -> None:
    done = run(world, "run", "erp:book", "--find", "erp:find", "--once")
    assert (done.code, done.err) == (0, "")
    assert re.fullmatch(
        r"0 ready, 0 in doubt, 0 booked, 0 refused, 0 held, 24 exported, 1 returned; [\d,]+ records a minute\n",
        done.out,
    )
    booked = (folder / "ledger.txt").read_text().split()
    assert len(booked) == len(set(booked)) == 24
    assert {each.result.reference_id for each in world.sandbox.state.exports} == {
        None,
        *(f"JE-{e[-3:]}" for e in booked),
    }

    status = run(world, "status")
    assert status.code == 0
    assert "exported:    24\n" in status.out
    assert "worker:      none runs\n" in status.out
    found = json.loads(run(world, "status", "--json").out)
    assert (found["exported"], found["returned"], found["held"], found["oldest"], found["worker"]) == (
        24,
        1,
        0,
        None,
        None,
    )
    assert run(world, "status", "--max-age", "0").code == 0
    assert run(world, "held").out == ""
    again = run(world, "run", "erp:namespace.book", "--upsert", "--once", "--json")
    assert again.code == 0
    assert json.loads(again.out)["exported"] == 24
    assert len((folder / "ledger.txt").read_text().split()) == 24


def test_what_a_person_does(world: World, folder: Path) -> None:
    short = ("--book-timeout", "0.2", "--settle-after", "2")
    first = run(world, "run", "erp:lose", "--once", *short)
    assert first.code == 1
    assert re.search(r"brex-accounting: something is left, and due in \d s: run the command again then\.", first.err)
    assert "accr_000000000000: book raised ConnectionError at erp.py:20." in first.err
    late = run(world, "status", "--max-age", "0.01")
    assert (late.code, run(world, "status").code) == (1, 0)
    time.sleep(2.1)
    assert run(world, "run", "erp:lose", "--once", *short).code == 0
    held = run(world, "held")
    assert held.code == 1
    lines = held.out.splitlines()
    assert len(lines) == 26
    assert lines[0].split() == ["record", "held", "state", "since", "attempts", "reference", "message"]
    assert "in doubt  in_doubt" in held.out
    assert held.err == (
        "in doubt: The ERP may have it: look for it there, then settle it with its reference, or as not booked.\n"
    )
    shown = [json.loads(line) for line in run(world, "held", "--json").out.splitlines()]
    assert {each["held"] for each in shown} == {"in doubt"}
    status = run(world, "status", "--json")
    assert (status.code, json.loads(status.out)["held"]) == (1, 25)

    ids = [each["record"] for each in shown]
    assert run(world, "settle", ids[0], "--not-booked").code == 0
    for each in ids[1:]:
        assert run(world, "settle", each, "--booked", f"JE-{each[-3:]}").code == 0
    not_held = run(world, "settle", ids[0], "--booked", "JE-1")
    assert not_held.code == 2
    assert not_held.problem == "Only a held record can be settled: see worker held."
    assert run(world, "settle", "accr_unknown", "--not-booked").code == 2
    assert run(world, "run", "erp:book", "--once").code == 0
    assert (folder / "ledger.txt").read_text().split().count(ids[0]) == 2  # the person said that it was not there
    assert json.loads(run(world, "status", "--json").out)["exported"] == 25


def test_retry(world: World, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("brex_accounting._commands.worker.ExportWorker", impatient)
    assert run(world, "run", "erp:closed", "--once").code == 0
    held = [json.loads(line) for line in run(world, "held", "--json").out.splitlines()]
    assert len(held) == 25
    assert {(each["held"], each["message"]) for each in held} == {("attempts used up", "the period is closed")}
    assert run(world, "retry", held[0]["record"]).code == 0
    assert run(world, "retry", held[0]["record"]).problem == "Only a held record can be retried: see worker held."
    assert run(world, "run", "erp:book", "--once").code == 0
    assert json.loads(run(world, "status", "--json").out)["held"] == 24


def impatient(*arguments: Any, **options: Any) -> Any:
    from brex_accounting.worker import ExportWorker  # noqa: PLC0415

    return ExportWorker(*arguments, **options, max_attempts=1)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["erp"], "BOOK must be MODULE:FUNCTION, such as erp:book."),
        (["erp:"], "BOOK must be MODULE:FUNCTION, such as erp:book."),
        (["nowhere:book"], "cannot import BOOK nowhere:book: there is no module nowhere, neither here nor installed."),
        (["erp:nothing"], "cannot import BOOK erp:nothing: erp has no nothing."),
        (["broken:book"], "cannot import BOOK broken:book: it raised ValueError in broken.py, line 2."),
        (["erp:not_async"], "book must be an async function of one record: async def book(record)."),
        (["erp:book", "--find", "erp:"], "--find must be MODULE:FUNCTION, such as erp:book."),
        (["erp:book", "--find", "erp:find", "--upsert"], "Pass find or upsert=True, not both"),
        (["erp:book", "--concurrency", "0"], "concurrency must be a whole number of at least 1."),
    ],
)
def test_what_cannot_be_right(world: World, folder: Path, arguments: list[str], problem: str) -> None:
    told = run(world, "run", *arguments, "--once")
    assert told.code == 2
    assert told.problem.startswith(problem)
    assert "accr" not in "".join(each.read_text() for each in folder.glob("ledger.txt"))


def test_settle_takes_one_answer(world: World, folder: Path) -> None:
    (folder / "export.db").touch(0o600)
    for wrong in ([], ["--booked", "JE-1", "--not-booked"]):
        told = run(world, "settle", "accr_1", *wrong)
        assert (told.code, told.problem) == (2, "say either --booked REFERENCE or --not-booked.")


@pytest.mark.parametrize("command", [["status"], ["held"], ["settle", "accr_1", "--not-booked"], ["retry", "accr_1"]])
def test_a_store_that_is_not_there(world: World, folder: Path, command: list[str]) -> None:
    told = run(world, *command)
    assert (told.code, told.problem) == (2, "there is no store export.db: name the file that the worker writes.")
    assert not (folder / "export.db").exists()


def test_a_store_that_is_damaged(world: World, folder: Path) -> None:
    (folder / "export.db").write_bytes(b"not a database at all" * 100)
    (folder / "export.db").chmod(0o600)
    for command in (["status"], ["run", "erp:book", "--once"]):
        told = run(world, *command)
        assert told.code == 5
        assert "is damaged" in told.problem


def test_brex_says_no(world: World, folder: Path) -> None:
    denied = run(world, "run", "erp:book", "--once", BREX_TOKEN="bxt_of_nobody")
    assert denied.code == 4
    world.fault("status", status=503, times=1000)
    away = run(world, "run", "erp:book", "--once")
    assert away.code == 5
    assert "brex-accounting: Brex is in trouble (ServerError 503" in away.err
    assert "Traceback" not in away.err
    assert world.sandbox.state.exports == []


def test_a_signal_ends_it_and_a_second_worker_is_refused(world: World, folder: Path) -> None:
    with (folder / "erp.py").open("a") as file:
        file.write("\nslow = 0.2\n")
    with world.process(
        "worker", "run", "erp:book", "--upsert", "--store", "export.db", "--concurrency", "2"
    ) as process:
        while len(world.sandbox.state.exports) < 2:
            time.sleep(0.01)
        second = run(world, "run", "erp:book", "--upsert", "--once")
        assert second.code == 5
        assert "Another worker is at" in second.problem
        assert f":{process.pid} since" in run(world, "status").out
        process.send_signal(signal.SIGTERM)
        told = ended(process)
    assert told.code == 0
    assert re.search(r"\d+ ready, 0 in doubt, 0 booked, .* exported", told.out)
    booked = (folder / "ledger.txt").read_text().split()
    assert len(booked) == len([e for e in world.sandbox.state.exports if e.result.error_message is None])


@pytest.mark.parametrize("world", [3], indirect=True)
def test_the_live_view(world: World, folder: Path) -> None:
    with (folder / "erp.py").open("a") as file:
        file.write("\nslow = 1.5\n")
    pid, terminal = pty.fork()
    if not pid:
        for name, value in environment(**world.variables).items():
            os.environ[name] = value
        os.execv(
            sys.executable, [sys.executable, "-c", RUN, "worker", "run", "erp:book", "--store", "export.db", "--once"]
        )
    shown = b""
    try:
        while chunk := os.read(terminal, 4096):
            shown += chunk
    except OSError:  # the end of a terminal, on Linux
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(terminal)
    text = shown.decode()
    for word in ("ready", "in doubt", "exported", "held", "oldest", "a minute"):
        assert word in text
    assert "3 exported" in text
