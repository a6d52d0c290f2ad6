"""brex-accounting records report, over real sockets."""

import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from tests.support.commands import RUN, World, ended, environment, normal


def outcomes(folder: Path, *lines: dict[str, str]) -> str:
    file = folder / "outcomes.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return str(file)


def succeeded(number: int) -> dict[str, str]:
    return {"record_id": f"accr_{number:012d}", "status": "success", "reference_id": f"JE-{number}"}


def failed(number: int) -> dict[str, str]:
    return {"record_id": f"accr_{number:012d}", "status": "failure", "error_message": "no account 6000"}


def test_reported(world: World, tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    file = outcomes(tmp_path, succeeded(3), failed(1), succeeded(7))
    reported = world.run("records", "report", file)
    assert (reported.code, reported.out + reported.err) == (0, snapshot)
    state = world.sandbox.state
    assert [state.records[f"accr_{number:012d}"].review_status for number in (3, 1, 7)] == [
        "EXPORTED",
        "REVIEW",
        "EXPORTED",
    ]
    again = world.run("records", "report", file, "--json")
    assert (again.code, again.out + again.err) == (3, snapshot)
    assert len(state.exports) == 3


def test_refused_ones(world: World, tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    world.sandbox.state.set_review_status("accr_000000000002", "PREPARE")
    told = world.run("records", "report", outcomes(tmp_path, succeeded(1), succeeded(2), succeeded(999)))
    assert (told.code, told.out + told.err) == (3, snapshot)


@pytest.mark.parametrize(
    ("faults", "code", "status"),
    [
        ({"kind": "status", "status": 401, "times": 9}, 4, "not_applied"),
        ({"kind": "status", "status": 403, "times": 9}, 4, "not_applied"),
        ({"kind": "status", "status": 400, "times": 9}, 3, "not_applied"),
        ({"kind": "reset_after", "times": 30}, 5, "unknown"),
        ({"kind": "status", "status": 503, "times": 30}, 5, "unknown"),
    ],
)
def test_trouble(world: World, tmp_path: Path, faults: dict[str, Any], code: int, status: str) -> None:
    world.fault(**faults)
    told = world.run("records", "report", outcomes(tmp_path, succeeded(1), failed(2)), "--json")
    assert told.code == code
    assert [json.loads(line)["status"] for line in told.out.splitlines()] == [status] * 2
    assert told.err.startswith(f"Of 2 outcomes: 2 {status}.")
    if status == "unknown":
        assert "The outcome is unknown for accr_000000000001, accr_000000000002: look at these records" in told.err


def test_malformed_files_are_refused_before_anything_is_reported(world: World, tmp_path: Path) -> None:
    file = outcomes(tmp_path, succeeded(1), {"record_id": "x", "status": "maybe"})
    refused = world.run("records", "report", file)
    assert (refused.code, refused.out) == (2, "")
    assert normal(refused.problem) == (
        "<folder>/outcomes.jsonl, line 2: status is 'maybe': write success or failure. Nothing was reported."
    )
    missing = world.run("records", "report", str(tmp_path / "none.csv"))
    assert (missing.code, "cannot read" in missing.problem) == (2, True)
    assert not world.sandbox.requests


def test_interrupted(world: World, tmp_path: Path) -> None:
    world.fault("delay", seconds=60, applied=True)
    file = outcomes(tmp_path, succeeded(1))
    with world.process("records", "report", file) as process:
        while not world.sandbox.state.exports:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        interrupted = ended(process)
    assert (interrupted.code, interrupted.out) == (130, "")
    assert interrupted.problem.startswith("interrupted: some of it may be reported. Repeat the command")
    again = world.run("records", "report", file, "--json")
    assert (again.code, json.loads(again.out)["status"]) == (0, "already_exported")


def test_a_reader_that_goes_away_changes_nothing(world: World, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    file = outcomes(tmp_path, succeeded(1), succeeded(99))
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", RUN, "records", "report", file],
        stdout=writing, stderr=subprocess.PIPE, text=True, env=environment(**world.variables),
    ) as process:  # fmt: skip
        os.close(writing)
        _, errors = process.communicate()
    assert (process.returncode, errors) == (3, "Of 2 outcomes: 1 reported, 1 not_found.\n")


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminal")
def test_at_a_terminal(world: World, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", RUN, "records", "report", outcomes(tmp_path, succeeded(1))],
        stdout=subprocess.PIPE, stderr=theirs, stdin=subprocess.DEVNULL, env=environment(**world.variables),
    ) as process:  # fmt: skip
        os.close(theirs)
        output, _ = process.communicate()
    shown = os.read(ours, 65536)
    os.close(ours)
    assert (process.returncode, b"Of 1 outcomes: 1 reported." in shown) == (0, True)
    assert output.startswith(b"record")
