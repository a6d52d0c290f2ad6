"""brex-accounting records list and get, over real sockets."""

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from syrupy.assertion import SnapshotAssertion

from brex_accounting._commands.records import COLUMNS
from tests.support.commands import RUN, World, ended, environment, normal

no_terminal = pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminal")


def test_list_and_get(world: World, snapshot: SnapshotAssertion) -> None:
    told = [
        world.run("records", *arguments)
        for arguments in (
            ("list", "--limit", "4"),
            ("list", "--limit", "0", "--source-type", "bill", "--single-entry", "--json"),
            ("list", "--review-status", "exported"),
            ("list", "--id", "accr_000000000003", "--id", "accr_000000000001"),
            ("get", "accr_000000000002"),
            ("get", "accr_000000000008", "--json"),
            ("get", "accr_000000000000", "--single-entry"),
            ("get", "accr_unknown"),
        )
    ]
    assert [each.code for each in told] == [0, 0, 0, 0, 0, 0, 0, 3]
    assert normal("\n".join(each.out + each.err for each in told)) == snapshot


def test_json_lines_keep_every_digit(world: World) -> None:
    world.sandbox.add_record(amount={"amount": Decimal("90071992547409.93"), "currency": "USD"})
    world.sandbox.add_record(amount={"amount": Decimal("1e2"), "currency": "USD"})
    lines = world.run("records", "list", "--json").out.splitlines()
    records = [json.loads(line) for line in lines]
    assert [each["id"] for each in records] == list(world.sandbox.state.records)
    amounts = {each["amount"]["amount"] for each in records}
    assert {"90071992547409.93", "1284750.35", "100", "250.00", "7.10"} <= amounts
    assert Decimal("90071992547409.93") in map(Decimal, amounts)


@pytest.mark.parametrize("world", [250], indirect=True)
def test_limits(world: World) -> None:
    ten = world.run("records", "list", "--limit", "10", "--json")
    assert (len(ten.out.splitlines()), "the first 10 of 250 records" in ten.err) == (10, True)
    many = world.run("records", "list", "--limit", "210", "--json")
    assert (len(many.out.splitlines()), "the first 210 of 250 records" in many.err) == (210, True)
    everything = world.run("records", "list", "--limit", "0", "--json")
    assert (len(everything.out.splitlines()), everything.err) == (250, "")
    assert world.run("records", "list", "--limit", "-1").code == 2


def test_filters_reach_the_api(world: World) -> None:
    told = world.run("records", "list", "--updated-after", "24 Apr 2025 6pm", "--source-type", "BILL", "--limit", "0")
    assert told.err == '"24 Apr 2025 6pm" is understood as 2025-04-24T18:00:00Z.\n'
    assert "updated_at%5Bgt%5D=2025-04-24T18%3A00%3A00" in world.sandbox.requests[0].query
    assert "source_type=BILL" in world.sandbox.requests[0].query
    assert len(told.out.splitlines()) == 1 + 3
    told = world.run("records", "list", "--source-type", "BILL", "--review-status", "READY_FOR_EXPORT")
    assert told.err == "Brex's filter by review status finds no bills: use --ready, or leave --review-status out.\n"
    told = world.run("records", "list", "--review-status", "ready-for-export", "--json")
    assert told.err == "The filter by review status finds no bills: --ready finds cards, reimbursements and bills.\n"
    assert {json.loads(line)["source_type"] for line in told.out.splitlines()} == {"CARD", "REIMBURSEMENT"}


@pytest.mark.parametrize("world", [30], indirect=True)
def test_all_that_is_ready(world: World) -> None:
    world.sandbox.state.set_review_status(["accr_000000000001", "accr_000000000002"], "REVIEW")
    told = world.run("records", "list", "--ready", "--json", "--limit", "0")
    records = [json.loads(line) for line in told.out.splitlines()]
    assert (told.err, len(records)) == ("", 28)
    assert {each["source_type"] for each in records} == {"CARD", "REIMBURSEMENT", "BILL"}
    assert {each["review_status"] for each in records} == {"READY_FOR_EXPORT"}
    assert "the first 27 records" in world.run("records", "list", "--ready", "--limit", "27").err
    assert world.run("records", "list", "--ready", "--limit", "28").err == ""
    since = world.run("records", "list", "--ready", "--updated-after", "2030-01-01T00:00:00Z", "--json")
    assert (since.code, since.out) == (0, "")


def test_a_record_that_cannot_be_understood(world: World) -> None:
    good = {
        "items": [json.loads(world.run("records", "get", "accr_000000000000", "--json").out)],
        "has_next_page": False,
    }
    page = {"items": [*good["items"], {**good["items"][0], "id": "accr_bad", "version": "x"}], "has_next_page": False}
    for item in page["items"]:
        item["amount"] = {"amount": 1, "currency": "USD"}
        item["line_items"] = []
    world.fault("json", json=page, times=2, operation="queryAccountingRecords")
    listed = world.run("records", "list", "--json")
    assert (listed.code, len(listed.out.splitlines())) == (1, 1)
    assert listed.problem.startswith(
        "accr_bad cannot be understood and is left out: Expected `int`, got `str` - at `$.version`"
    )


def test_what_a_memo_does_to_a_terminal(world: World) -> None:
    world.fault("merge_json", json={"memo": "\x1b[31m\x1b]0;title\x07red"}, times=2, operation="getAccountingRecord")
    assert "memo:         [31m ]0;title red\n" in world.run("records", "get", "accr_000000000000").out
    assert "\x1b" not in world.run("records", "get", "accr_000000000000", "--json").out


@pytest.mark.parametrize("world", [3000], indirect=True)
def test_a_reader_that_goes_away(world: World) -> None:
    with world.process("records", "list", "--limit", "0", "--json") as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith('{"id":')
        process.stdout.close()
        assert process.stderr is not None
        assert (process.stderr.read(), process.wait()) == ("", 0)
    assert len(world.sandbox.requests) < 30


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is always full")
def test_no_room_for_the_output(world: World) -> None:
    with Path("/dev/full").open("w") as full:
        process = subprocess.run(
            [sys.executable, "-W", "error", "-c", RUN, "records", "list"],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False, env=environment(**world.variables),
        )  # fmt: skip
    assert (process.returncode, process.stderr) == (
        1,
        "brex-accounting: the output cannot be written: No space left on device.\n",
    )


def test_latin_1(world: World) -> None:
    """What a terminal cannot show is escaped; a pipe gets UTF-8 whatever the locale is."""
    with world.process("records", "get", "accr_000000000004", PYTHONIOENCODING="latin-1") as process:
        assert (ended(process).code, process.returncode) == (0, 0)
    listed = world.spawn("records", "list", PYTHONIOENCODING="ascii")
    assert "日本出張" in listed.out


@no_terminal
def test_a_terminal_that_is_narrow(world: World) -> None:
    listed = world.on_terminal("records", "list", "--limit", "12", columns=60)
    lines = listed.out.splitlines()
    assert (listed.code, len(lines)) == (0, 13)
    assert lines[0].split() == ["id", "date", "amount", "currency"]
    assert all(line.startswith("accr_0000000000") for line in lines[1:])
    assert [line.split()[2] for line in lines[1:4]] == ["100.5", "84.1", "1284750.35"]
    assert listed.err.splitlines()[0] == (
        "The terminal is too narrow for party, type, status, memo: widen it, or use --columns."
    )
    shown = world.on_terminal("records", "get", "accr_000000000002", columns=75)
    assert shown.err == "The terminal is too narrow for memo: widen it, or use --json.\n"
    assert "6002 Meals" in shown.out
    chosen = world.on_terminal("records", "list", "--columns", "id,amount,gl_account,memo,type", columns=60)
    assert len(chosen.out.splitlines()[0].split()) == 5
    assert "too narrow" not in chosen.err


def test_columns(world: World) -> None:
    listed = world.run("records", "list", "--columns", "GL-account, id,due,id", "--limit", "3")
    assert [line.split("  ")[0] for line in listed.out.splitlines()] == ["gl_account", "6000", "6001", "6002 Meals"]
    assert listed.out.splitlines()[0].split() == ["gl_account", "id", "due"]
    everything = world.run("records", "list", "--columns", ",".join(COLUMNS))
    assert everything.out.splitlines()[0].split() == list(COLUMNS)
    for columns, problem in (
        ("id,ammount", "there is no column 'ammount': choose from id, date, "),
        ("", "no column ''"),
    ):
        refused = world.run("records", "list", "--columns", columns)
        assert (refused.code, problem in refused.problem) == (2, True)
    refused = world.run("records", "list", "--columns", "id", "--json")
    assert (refused.code, "leave it or --json out" in refused.problem) == (2, True)


def test_a_record_keeps_the_day_that_the_api_means(world: World) -> None:
    world.sandbox.edit_record("accr_000000000000", erp_posting_date="2025-11-01T00:30:00+02:00")
    listed = world.run("records", "list", "--columns", "date", "--limit", "1")
    assert listed.out.splitlines()[1] == "2025-11-01"
    assert "2025-11-01T00:30:00+02:00" in world.run("records", "get", "accr_000000000000").out


SPITEFUL = "\x1b[31m\x07\x7f\x9b31m\u202egnp.exe\u2066\u200f\u2028\U000e0041\xad"


@no_terminal
@pytest.mark.parametrize("command", [("get", "accr_000000000000"), ("list", "--limit", "1")])
def test_no_json_does_anything_to_a_terminal(world: World, command: tuple[str, ...]) -> None:
    memo = f"日本 é 👍🏽 {SPITEFUL}"
    world.sandbox.edit_record("accr_000000000000", memo=memo)
    shown = world.on_terminal("records", *command, "--json")
    assert shown.out.replace("\n", "").isprintable()
    assert json.loads(shown.out)["memo"] == memo
    assert "日本 é 👍🏽" in shown.out
    piped = world.run("records", *command, "--json").out
    assert json.loads(piped) == json.loads(shown.out)
    assert "\u202e" in piped  # a pipe gets the text as it came
    for table in (command, (*command, "--single-entry")):
        assert world.run("records", *table).out.replace("\n", "").isprintable()
