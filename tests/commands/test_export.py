"""brex-accounting records export, over real sockets: the files, and what is left of an export that ended early."""

import csv
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from brex_accounting._commands import partial_file as part_module
from tests.support.commands import RUN, Ended, World, ended, environment, normal


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def test_a_ledger(world: World, tmp_path: Path, snapshot: SnapshotAssertion) -> None:
    file = tmp_path / "ledger.csv"
    exported = world.run("records", "export", str(file))
    assert (exported.code, exported.out) == (0, "")
    assert normal(exported.err) == "25 records with 72 lines are in <folder>/ledger.csv.\n"
    assert file.read_text(encoding="utf-8") == snapshot
    assert names(tmp_path) == ["ledger.csv"]
    lines = rows(file)
    records = world.sandbox.state.records.values()
    assert len(lines) == sum(len(record.to_wire(single_entry=False)["line_items"]) for record in records)
    assert list(dict.fromkeys(line["record_id"] for line in lines)) == list(world.sandbox.state.records)
    sums: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for line in lines:
        for side in ("debit", "credit"):
            sums[line["currency"], side] += Decimal(line[side] or 0)
    assert sums["USD", "debit"] == sums["USD", "credit"]
    assert sums["EUR", "debit"] == sums["EUR", "credit"] > 1_284_750


def test_json_lines(world: World, tmp_path: Path) -> None:
    for name in ("records.jsonl", "records.NDJSON"):
        file = tmp_path / name
        assert world.run("records", "export", str(file), "--source-type", "card").code == 0
        assert file.read_text(encoding="utf-8") == world.run("records", "list", "--json", "--source-type", "card").out
        assert {json.loads(line)["source_type"] for line in file.read_text("utf-8").splitlines()} == {"CARD"}


@pytest.mark.parametrize("name", ["ledger.csv", "ledger.jsonl"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_and_resumed(
    world: World, tmp_path: Path, name: str, number: signal.Signals, snapshot: SnapshotAssertion
) -> None:
    whole, file = tmp_path / "whole" / name, tmp_path / name
    whole.parent.mkdir()
    assert world.run("records", "export", str(whole), "--source-type", "card").code == 0

    world.fault("delay", times=2, seconds=0)
    world.fault("delay", seconds=60)
    before = len(world.sandbox.requests)
    options = ("--page-size", "3", "--source-type", "card", "--base-url", world.url)
    with world.process("records", "export", str(file), *options, BREX_BASE_URL="http://127.0.0.1:1") as process:
        state = tmp_path / f"{name}.part.json"
        while (
            len(world.sandbox.requests) < before + 3 or not state.exists() or b'"records":6' not in state.read_bytes()
        ):
            time.sleep(0.01)
        process.send_signal(number)
        interrupted = ended(process)
    assert (interrupted.code, interrupted.out) == (130, "")
    assert normal(interrupted.problem) == snapshot
    assert not file.exists()

    command = interrupted.problem.partition("to go on: brex-accounting ")[2].split()
    resumed = world.run(*command, BREX_BASE_URL="http://127.0.0.1:1")
    assert resumed.code == 0
    assert file.read_bytes() == whole.read_bytes()
    assert names(tmp_path) == [name, "whole"]
    assert f"in {file}" in resumed.err


@pytest.mark.parametrize("name", ["ready.csv", "ready.jsonl"])
def test_all_that_is_ready(world: World, tmp_path: Path, name: str) -> None:
    """Bills too, and each record once, also if it changed between two runs."""
    whole, file = tmp_path / "whole" / name, tmp_path / name
    whole.parent.mkdir()
    world.sandbox.state.set_review_status(["accr_000000000001", "accr_000000000005"], "EXPORTED")
    exported = world.run("records", "export", str(whole), "--ready")
    assert (exported.code, "23 records with" in exported.err) == (0, True)
    for request in world.sandbox.requests:
        assert "updated_at%5Bgt%5D=2000-01-01" in request.query
    world.fault("delay", times=2, seconds=0)
    world.fault("status", status=403)
    failed = world.run("records", "export", str(file), "--ready", "--page-size", "5")
    assert (failed.code, "5 records are in" in failed.problem) == (4, True)
    world.sandbox.edit_record("accr_000000000000", memo="edited since")
    resumed = world.run("records", "export", str(file), "--resume")
    assert (resumed.code, "23 records with" in resumed.err) == (0, True)
    assert sorted(file.read_bytes().splitlines()) == sorted(whole.read_bytes().splitlines())


@pytest.mark.parametrize("name", ["long.csv", "long.jsonl"])
def test_resumed_behind_a_long_text(world: World, tmp_path: Path, name: str) -> None:
    whole, file = tmp_path / "whole" / name, tmp_path / name
    whole.parent.mkdir()
    world.sandbox.edit_record("accr_000000000000", memo="x" * 200_000)
    assert world.run("records", "export", str(whole)).code == 0
    assert broken_off(world, str(file)).code == 4
    assert world.run("records", "export", str(file), "--resume").code == 0
    assert file.read_bytes() == whole.read_bytes()


def test_for_excel(world: World, tmp_path: Path) -> None:
    file, plain = tmp_path / "excel.csv", tmp_path / "plain.csv"
    assert world.run("records", "export", str(file), "--excel").code == 0
    assert world.run("records", "export", str(plain)).code == 0
    assert file.read_bytes() == b"\xef\xbb\xbf" + plain.read_bytes()
    refused = world.run("records", "export", str(tmp_path / "x.jsonl"), "--excel")
    assert (refused.code, refused.problem) == (2, "--excel is for CSV: name a file that ends in .csv.")


def test_semicolons_and_the_format_that_an_export_began_with(world: World, tmp_path: Path) -> None:
    whole, file = tmp_path / "whole.csv", tmp_path / "ledger.csv"
    options = ("--semicolon", "--excel")
    assert world.run("records", "export", str(whole), *options).code == 0
    with whole.open(encoding="utf-8-sig", newline="") as stream:
        lines = list(csv.DictReader(stream, delimiter=";"))
    assert {line["record_id"] for line in lines} == set(world.sandbox.state.records)
    assert "1284750,35" in {line["record_amount"] for line in lines}
    assert broken_off(world, str(file)).code == 4
    for option in options:
        refused = world.run("records", "export", str(file), "--resume", option)
        assert (refused.code, "leave --excel and --semicolon out" in refused.problem) == (2, True)
    assert broken_off(world, str(file), "--overwrite", *options).code == 4
    assert world.run("records", "export", str(file), "--resume").code == 0
    assert file.read_bytes() == whole.read_bytes()


def test_older_records_are_asked_for_too(world: World, tmp_path: Path) -> None:
    for more in ([], ["--id", "accr_000000000000"], ["--ready"]):
        for command in (["export", str(tmp_path / f"{len(more)}{more[:1]}.csv")], ["list"]):
            world.sandbox.requests.clear()
            assert world.run("records", *command, *more).code == 0
            assert all("updated_at%5Bgt%5D=2000-01-01T00%3A00%3A00" in each.query for each in world.sandbox.requests)


@pytest.mark.parametrize(
    "filters",
    [("--id", "a"), ("--review-status", "review"), ("--source-type", "BILL"), ("--updated-before", "2025-01-01")],
)
def test_what_does_not_go_with_ready(world: World, tmp_path: Path, filters: tuple[str, str]) -> None:
    for command in (["export", str(tmp_path / "ready.csv")], ["list"]):
        refused = world.run("records", *command, "--ready", *filters)
        assert (refused.code, f"--ready does not go with {filters[0]}" in refused.err) == (2, True)
    assert not world.sandbox.requests
    assert not names(tmp_path)


def test_killed_in_the_middle_of_a_page(world: World, tmp_path: Path) -> None:
    """Nothing of a page that was not finished is left, and no record comes twice."""
    whole, file, part = tmp_path / "whole.csv", tmp_path / "ledger.csv", tmp_path / "ledger.csv.part"
    world.run("records", "export", str(whole))
    world.fault("delay", times=2, seconds=0)
    world.fault("status", times=4, status=503)
    failed = world.run("records", "export", str(file), "--page-size", "5")
    assert (failed.code, "10 records are in" in failed.problem) == (5, True)
    with part.open("ab") as stream:
        stream.write(b'accr_torn,"')
    for record in list(world.sandbox.state.records.values())[:7]:  # the list shifts: they come again, later
        record.index += 100
    world.sandbox.state.records = dict(sorted(world.sandbox.state.records.items(), key=lambda item: item[1].index))
    assert world.run("records", "export", str(file), "--resume").code == 0
    assert file.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(
    ("faults", "code"),
    [
        ({"kind": "status", "status": 503, "times": 4}, 5),
        ({"kind": "status", "status": 401}, 4),
        ({"kind": "status", "status": 400}, 3),
        ({"kind": "json", "json": {"has_next_page": False}}, 5),
    ],
)
def test_nothing_is_left_of_an_export_that_did_not_begin(
    world: World, tmp_path: Path, faults: dict[str, Any], code: int
) -> None:
    world.fault(**faults)
    failed = world.run("records", "export", str(tmp_path / "ledger.csv"))
    assert (failed.code, failed.problem.endswith("Nothing was exported.")) == (code, True)
    assert not names(tmp_path)


def test_ids_that_take_several_requests(world: World, tmp_path: Path) -> None:
    """There is no cursor to go on with; it goes on nevertheless."""
    whole, file = tmp_path / "whole.csv", tmp_path / "ledger.csv"
    ids = [*world.sandbox.state.records, *(f"accr_{number:0200d}" for number in range(30))]
    ids = [word for record_id in ids[::2] + ids[1::2] for word in ("--id", record_id)]
    assert world.run("records", "export", str(whole), *ids).code == 0
    requests = len(world.sandbox.requests)
    assert requests > 1
    world.fault("delay", seconds=0)
    world.fault("status", status=403)
    failed = world.run("records", "export", str(file), *ids)
    assert (failed.code, "records are in" in failed.problem) == (4, True)
    assert world.run("records", "export", str(file), "--resume").code == 0
    assert file.read_bytes() == whole.read_bytes()


def test_a_record_that_cannot_be_understood(world: World, tmp_path: Path) -> None:
    file = tmp_path / "ledger.csv"
    record = dict(world.sandbox.state.records["accr_000000000000"].to_wire(single_entry=False))
    record |= {"amount": {"amount": 1, "currency": "USD"}, "line_items": []}
    bad = record | {"id": "accr_bad", "posted_at": "soon"}
    world.fault("json", json={"items": [bad, record], "has_next_page": False})
    exported = world.run("records", "export", str(file))
    told = exported.err.splitlines()
    assert exported.code == 1
    assert told[0].startswith("brex-accounting: accr_bad cannot be understood and is left out: ")
    assert "`$.posted_at`" in told[0]
    assert told[1] == f"1 records with 1 lines are in {file}. 1 could not be understood and are not in it."
    assert [(line["record_id"], line["debit"]) for line in rows(file)] == [("accr_000000000000", "")]


def test_debits_and_credits_that_differ(world: World, tmp_path: Path) -> None:
    file = tmp_path / "ledger.csv"
    record = dict(world.sandbox.state.records["accr_000000000000"].to_wire(single_entry=False))
    record |= {"amount": {"amount": 1, "currency": "USD"}}
    record["line_items"] = [
        {"id": "arli_1", "type": side, "amount": {"amount": 1, "currency": "USD"}, "accounting_field_values": []}
        for side in ("DEBIT", "MEMO")
    ]
    world.fault("json", json={"items": [record], "has_next_page": False})
    assert "In 1 of them debits and credits differ." in world.run("records", "export", str(file)).err
    assert [(line["line_type"], line["line_amount"], line["debit"]) for line in rows(file)] == [
        ("DEBIT", "1", "1"),
        ("MEMO", "1", ""),
    ]


def test_what_stands_in_the_way(world: World, tmp_path: Path) -> None:
    file = tmp_path / "ledger.csv"

    def refused(*arguments: str) -> str:
        told = world.run("records", "export", *arguments)
        assert told.code in {1, 2}
        return normal(told.problem)

    assert refused("ledger.txt") == (
        "ledger.txt ends in neither .csv nor .jsonl or .ndjson: its name says what to write."
    )
    assert refused(str(file), "--resume").startswith("there is no interrupted export to <folder>/ledger.csv")
    assert "No such file or directory" in refused(str(tmp_path / "nowhere" / "ledger.csv"))
    assert "--page-size must be a whole number from 1 to 1,000" in refused(str(file), "--page-size", "0")
    (tmp_path / "folder.csv").mkdir()
    assert (
        refused(str(tmp_path / "folder.csv"), "--overwrite") == "<folder>/folder.csv is a folder: choose another name."
    )
    file.write_text("precious")
    assert refused(str(file)) == "<folder>/ledger.csv exists: choose another name, or replace it with --overwrite."
    assert file.read_text() == "precious"
    assert not world.sandbox.requests
    assert world.run("records", "export", str(file), "--overwrite").code == 0
    assert file.read_text().startswith("record_id,")


def test_going_on_elsewhere_is_refused(world: World, tmp_path: Path) -> None:
    file = str(tmp_path / "ledger.csv")
    world.fault("delay", seconds=0)
    world.fault("status", status=403)
    assert world.run("records", "export", file, "--page-size", "5").code == 4
    for arguments, problem in (
        ([file], "under way or was interrupted: go on with --resume, or begin again with --overwrite."),
        ([file, "--resume", "--source-type", "CARD"], "leave the filters out"),
        ([file, "--resume", "--base-url", "http://127.0.0.1:2"], f"pass --base-url {world.url}."),
    ):
        refused = world.run("records", "export", *arguments)
        assert (refused.code, problem in refused.problem) == (2, True)
    again = world.run("records", "export", file, "--resume", BREX_TOKEN="", **of_account("other", tmp_path))
    assert (again.code, "was for BREX_TOKEN, not this account" in again.problem) == (2, True)
    Path(f"{file}.part").write_text("short")
    broken = world.run("records", "export", file, "--resume")
    assert (broken.code, "incomplete: begin again with --overwrite" in broken.problem) == (1, True)
    assert world.run("records", "export", file, "--overwrite").code == 0
    assert names(tmp_path) == ["ledger.csv"]


def broken_off(world: World, file: str, *options: str) -> Ended:
    world.fault("delay", seconds=0)
    world.fault("status", status=403)
    return world.run("records", "export", file, "--page-size", "5", *options)


def test_another_token_is_refused(world: World, tmp_path: Path) -> None:
    file = str(tmp_path / "ledger.csv")
    assert broken_off(world, file).code == 4
    assert world.sandbox.token not in Path(f"{file}.part.json").read_text()
    requests = len(world.sandbox.requests)
    refused = world.run("records", "export", file, "--resume", BREX_TOKEN="bxt_another")
    assert (refused.code, len(world.sandbox.requests)) == (2, requests)
    assert refused.problem == (
        "BREX_TOKEN is not the token that the export began with: add --new-token if it is for the same account, "
        "else begin again with --overwrite."
    )
    renewed = world.run("records", "export", file, "--resume", "--new-token", BREX_TOKEN="bxt_another")
    assert (renewed.code, "to go on" in renewed.problem) == (4, True)  # the sandbox does not know it
    world.fault("delay", seconds=0)
    world.fault("status", status=403)
    renewed_again = ("records", "export", file, "--resume", "--page-size", "5", "--new-token")
    assert world.run(*renewed_again).code == 4  # after a page, which the token was good for
    assert world.run("records", "export", file, "--resume").code == 0


def test_a_place_that_is_refused(world: World, tmp_path: Path) -> None:
    file = str(tmp_path / "ledger.csv")
    assert "--overwrite" not in broken_off(world, file).problem
    world.fault("status", status=400)
    refused = world.run("records", "export", file, "--resume")
    assert (refused.code, "too old, begin again with --overwrite; to go on" in refused.problem) == (3, True)


@pytest.mark.parametrize("damage", ["{", '{"filters":{}}', ""])
def test_a_state_that_is_damaged(world: World, tmp_path: Path, damage: str) -> None:
    file = str(tmp_path / "ledger.csv")
    assert broken_off(world, file).code == 4
    Path(f"{file}.part.json").write_text(damage)
    refused = world.run("records", "export", file, "--resume")
    assert (refused.code, "is damaged: begin again with --overwrite." in refused.problem) == (1, True)
    assert world.run("records", "export", file, "--overwrite").code == 0


def test_the_command_to_go_on_for_a_name_with_a_dash(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    command = broken_off(world, "./-dash.csv").problem.partition("to go on: brex-accounting ")[2].split()
    assert command == ["records", "export", "./-dash.csv", "--resume"]
    assert world.run(*command).code == 0
    assert names(tmp_path) == ["-dash.csv"]


@pytest.mark.skipif(sys.platform == "win32", reason="no FIFOs")
def test_what_is_no_file_is_not_replaced(world: World, tmp_path: Path) -> None:
    fifo, link = tmp_path / "fifo.csv", tmp_path / "link.csv"
    os.mkfifo(fifo)
    link.symlink_to(fifo)
    for file in (fifo, link):
        for option in ("--overwrite", "--resume"):
            refused = world.run("records", "export", str(file), option)
            assert (refused.code, "is not a regular file" in refused.problem) == (2, True)
    assert fifo.is_fifo()
    assert link.is_symlink()
    assert not world.sandbox.requests


def of_account(account: str, folder: Path) -> dict[str, str]:
    return {
        "BREX_CLIENT_ID": "c",
        "BREX_CLIENT_SECRET": "s",
        "BREX_ACCOUNT": account,
        "BREX_TOKEN_STORE": str(folder / "none" / "tokens"),
    }


@pytest.mark.skipif(part_module.fcntl is None, reason="no locks of files")
def test_two_exports_to_one_file(world: World, tmp_path: Path) -> None:
    file = tmp_path / "ledger.csv"
    world.fault("delay", seconds=0)
    world.fault("delay", seconds=60)
    with world.process("records", "export", str(file), "--page-size", "5") as process:
        while len(world.sandbox.requests) < 2:
            time.sleep(0.01)
        for option in ("--resume", "--overwrite"):
            second = world.run("records", "export", str(file), option)
            assert (second.code, "another export to" in second.problem) == (1, True)
        process.send_signal(signal.SIGINT)
        assert "5 records are in" in ended(process).problem


def test_no_room_for_the_file(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    whole, file = tmp_path / "whole.csv", tmp_path / "ledger.csv"
    world.run("records", "export", str(whole))
    with monkeypatch.context() as patched:
        patched.setattr(part_module.os, "fsync", full)
        failed = world.run("records", "export", str(file))
    assert (failed.code, failed.problem.startswith("No space left on device. 25 records are in ")) == (1, True)
    before = len(world.sandbox.requests)
    assert world.run("records", "export", str(file), "--resume").code == 0
    assert len(world.sandbox.requests) == before  # all of it was there
    assert file.read_bytes() == whole.read_bytes()


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminal")
def test_a_progress_bar_at_a_terminal(world: World, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", RUN, "records", "export", str(tmp_path / "a.csv"), "--page-size", "5"],
        stdout=subprocess.PIPE, stderr=theirs, stdin=subprocess.DEVNULL, env=environment(**world.variables),
    ) as process:  # fmt: skip
        os.close(theirs)
        shown = b""
        try:
            while chunk := os.read(ours, 65536):
                shown += chunk
        except OSError:
            pass
        output, _ = process.communicate()
    os.close(ours)
    assert (process.returncode, output) == (0, b"")
    assert b"Exporting" in shown
    assert b"25/25" in shown
    assert b"25 records with 72 lines are in" in shown
