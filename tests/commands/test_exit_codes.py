"""Exit codes, and the one sentence of each ending, over real sockets."""

import asyncio
import re
import signal
import socket
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion

from brex_accounting import SQLiteTokenStore, StoredToken, Token, errors
from brex_accounting._auth.oauth2 import PRODUCTION_TOKEN_URL
from brex_accounting._auth.tokens import store_key
from brex_accounting._commands import exit_codes, records
from brex_accounting._engine.refusals import Advice
from tests.support.commands import RUN, World, ended, environment


@pytest.mark.parametrize(
    ("faults", "read", "change"),
    [
        ({"kind": "status", "status": 400}, 3, 3),
        ({"kind": "status", "status": 401}, 4, 4),
        ({"kind": "status", "status": 403}, 4, 4),
        ({"kind": "status", "status": 418}, 3, 3),
        ({"kind": "status", "status": 408}, 5, 5),
        ({"kind": "status", "status": 429, "retry_after": "3600"}, 3, 3),
        ({"kind": "status", "status": 503}, 5, 5),
        ({"kind": "status", "status": 520, "body": "html"}, 5, 5),
        ({"kind": "reset_before"}, 5, 5),
        ({"kind": "reset_after"}, 5, 5),
        ({"kind": "cut_body"}, 5, 5),
        ({"kind": "html"}, 5, 5),
        ({"kind": "json", "json": {}}, 5, 5),
    ],
    ids=str,
)
def test_faults(world: World, faults: dict[str, Any], read: int, change: int) -> None:
    for code, arguments in (
        (read, ("records", "list")),
        (change, ("integrations", "create", "ERP_A", "a")),
    ):
        world.fault(**faults, times=4)
        told = world.run(*arguments)
        world.sandbox.clear_faults()
        assert (told.code, told.out) == (code, "")
        assert told.problem.isprintable()


def test_no_answer_in_time(world: World) -> None:
    world.fault("delay", seconds=60, times=4)
    told = world.run("integrations", "create", "ERP_A", "a", "--timeout", "0.1")
    assert (told.code, "with a longer --timeout" in told.problem or "--idempotency-key" in told.problem) == (5, True)


def test_nobody_there(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    told = world.run("--base-url", f"http://127.0.0.1:{port}", "records", "list")
    assert (told.code, "Check the network and the address, then repeat the command." in told.problem) == (5, True)


def test_every_error_has_a_code() -> None:
    codes = {
        kind: exit_codes.code_of(kind("x", outcome=errors.Outcome.NOT_APPLIED))
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.BrexError) and kind is not errors.BrexError
    }
    assert codes.pop(errors.ConfigurationError) == 2
    assert {kind for kind, code in codes.items() if code == 4} == {
        errors.UnauthorizedError,
        errors.ForbiddenError,
        errors.TokenRefreshError,
        errors.ReauthorizationRequiredError,
    }
    assert {kind for kind, code in codes.items() if code == 5} == {
        errors.ConnectionFailedError,
        errors.CallTimeoutError,
        errors.InvalidResponseError,
        errors.ServerError,
    }
    assert {kind.__name__ for kind, code in codes.items() if code == 1} <= {"WebhookVerificationError"}
    assert set(codes.values()) <= {1, 3, 4, 5}
    for kind in codes:
        assert exit_codes.code_of(kind("x", outcome=errors.Outcome.UNKNOWN, operation="createIntegration")) == 5


def test_no_advice_speaks_of_a_call_or_of_python() -> None:
    said = " ".join([*exit_codes.WORDING.advice.values(), exit_codes.WORDING.repeat, exit_codes.WORDING.earlier])
    assert "call" not in said
    assert "ensure(" not in said
    assert "_" not in said.replace("READY_FOR_EXPORT", "").replace("{existing_integration_id}", "")
    assert set(exit_codes.WORDING.advice) == set(Advice)


@pytest.mark.parametrize(
    "arguments",
    [
        ("recrods", "list"),
        ("records", "lst"),
        ("records", "list", "--limt", "3"),
        ("records", "list", "--limit", "three"),
        ("records", "list", "--id"),
        ("records", "list", "surplus"),
        ("records", "list", "--json=maybe"),
        ("records", "list", "--updated-after", "01/11/2025"),
        ("records", "list", "--timeout", "-1"),
        ("records", "list", "--base-url", "http://brex.example"),
        ("records", "get"),
        ("records", "export"),
        ("integrations", "create", "ERP_A"),
        ("integrations", "create", "", "a"),
        ("webhook", "verify", "--header", "nonsense"),
        ("--base-url",),
        ("sandbox", "--id-key", "uuid"),
        ("login", "--port", "x"),
    ],
    ids=" ".join,
)
def test_mistakes(world: World, arguments: tuple[str, ...], snapshot: SnapshotAssertion) -> None:
    told = world.run(*arguments, BREX_WEBHOOK_SECRETS="c2VjcmV0")
    assert (told.code, told.out, told.problem) == (2, "", snapshot)
    assert not world.sandbox.requests


def test_no_token(world: World, snapshot: SnapshotAssertion) -> None:
    told = world.run("records", "list", BREX_TOKEN="")
    assert (told.code, told.problem) == (2, snapshot)
    half = world.run("records", "list", BREX_TOKEN="", BREX_CLIENT_ID="c", BREX_ACCOUNT="a")
    assert (half.code, half.problem) == (2, snapshot)


@pytest.mark.parametrize("place", ["before", "behind"])
def test_an_account_of_several(world: World, tmp_path: Path, place: str) -> None:
    file = tmp_path / "tokens.sqlite"
    token = Token(world.sandbox.token, "refresh", datetime.now(UTC) + timedelta(hours=1))
    key = store_key(PRODUCTION_TOKEN_URL, "client", "acme")
    asyncio.run(SQLiteTokenStore(file).save(key, StoredToken(token, 0), expected_version=None))
    grant = {"BREX_TOKEN": "", "BREX_CLIENT_ID": "client", "BREX_CLIENT_SECRET": "s", "BREX_TOKEN_STORE": str(file)}
    command = ("records", "get", "accr_000000000001", "--json")
    words = ("--account", "acme", *command) if place == "before" else (*command, "--account=acme")
    assert world.run(*words, **grant).code == 0
    nobody = world.run(*command, "--account", "other", **grant)
    assert (nobody.code, "other" in nobody.problem) == (4, True)
    refused = world.run(*words)
    assert (refused.code, "unset it to use --account" in refused.problem) == (2, True)


def test_help(world: World, snapshot: SnapshotAssertion) -> None:
    told = [
        world.run(*words.split())
        for words in (
            "--help",
            "integrations --help",
            "integrations ensure --help",
            "integrations disconnect --help",
            "records",
            "records list --help",
            "records get --help",
            "records export --help",
            "records report --help",
            "webhook verify --help",
            "demo --help",
        )
    ]
    assert {each.code for each in told} == {0}
    assert not any(each.err for each in told)
    assert "\n".join(each.out for each in told) == snapshot
    assert world.run("--version").out.count(".") >= 1


@pytest.mark.parametrize("words", ["--help", "records list --help", "", "--version", "completion bash"])
def test_a_reader_of_the_help_that_goes_away(world: World, words: str) -> None:
    with world.process(*words.split()) as process:
        assert process.stdout is not None
        process.stdout.close()  # before anything is written
        assert process.stderr is not None
        assert (process.stderr.read(), process.wait()) == ("", 0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_listing(world: World, number: signal.Signals) -> None:
    world.fault("delay", seconds=60)
    with world.process("records", "list") as process:
        while not world.sandbox.requests:
            assert process.poll() is None
        process.send_signal(number)
        told = ended(process)
    assert (told.code, told.out, told.problem) == (130, "", "interrupted.")


def test_the_installed_command(world: World) -> None:
    command = Path(sys.executable).with_name("brex-accounting")
    process = subprocess.run(
        [command, "records", "list", "--limit", "1", "--json"],
        capture_output=True,
        text=True,
        check=True,
        env=environment(**world.variables),
    )
    assert process.stdout.startswith('{"id":"accr_000000000000"')


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-"])
def test_a_closed_stream(world: World, tmp_path: Path, closed: str) -> None:
    command = [sys.executable, "-W", "error", "-c", RUN, "records", "list"]
    process = subprocess.run(
        ["/bin/sh", "-c", f'"$@" {closed}', "sh", *command],
        capture_output=True,
        check=False,
        env=environment(**world.variables),
        cwd=tmp_path,
    )
    assert (process.returncode, process.stderr) == (0, b"")
    assert (process.stdout == b"") == (closed == ">&-")


def test_a_mistake_of_ours(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError(world.sandbox.token)

    monkeypatch.setattr(records, "write_table", broken)
    told = world.run("records", "list")
    assert told.code == 1
    assert re.fullmatch(
        r"a bug in brex-accounting [\w.]+ \(KeyError in test_exit_codes\.py, line \d+\): please report it\.",
        told.problem,
    )
