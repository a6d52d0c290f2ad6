"""brex-accounting webhook verify."""

import base64
import hmac
import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from brex_accounting._commands import webhook
from brex_accounting._commands.exit_codes import StopError
from tests.support.commands import RUN, World, environment

SECRET = base64.b64encode(b"a secret of the sandbox!").decode()
BODY = b'{"event_type":"ACCOUNTING_RECORD_READY_FOR_EXPORT","company_id":"c","accountingRecordIds":["accr_1","accr_2"]}'


def signed(body: bytes, at: float | None = None) -> dict[str, str]:
    timestamp = str(int(time.time() if at is None else at))
    digest = hmac.digest(base64.b64decode(SECRET), f"msg_1.{timestamp}.".encode() + body, "sha256")
    return {"id": "msg_1", "timestamp": timestamp, "signature": f"v1,{base64.b64encode(digest).decode()}"}


@pytest.mark.parametrize("way", ["options", "headers"])
def test_genuine(world: World, tmp_path: Path, way: str) -> None:
    file = tmp_path / "body.json"
    file.write_bytes(BODY)
    options = (
        [word for name, value in signed(BODY).items() for word in (f"--{name}", value)]
        if way == "options"
        else [word for name, value in signed(BODY).items() for word in ("-H", f"WEBHOOK-{name}: {value}")]
    )
    told = world.run("webhook", "verify", str(file), *options, BREX_WEBHOOK_SECRETS=f"b3RoZXI= {SECRET}")
    assert (told.code, told.err) == (0, "")
    assert told.out.splitlines() == [
        "webhook_id: msg_1",
        "event_type: ACCOUNTING_RECORD_READY_FOR_EXPORT",
        "company_id: c",
        "record_id: accr_1",
        "record_id: accr_2",
    ]
    read = world.run("webhook", "verify", str(file), *options, "--json", BREX_WEBHOOK_SECRETS=SECRET)
    assert json.loads(read.out)["record_ids"] == ["accr_1", "accr_2"]
    file.write_bytes(BODY + b" ")
    forged = world.run("webhook", "verify", str(file), *options, BREX_WEBHOOK_SECRETS=SECRET)
    assert (forged.code, forged.out, SECRET in forged.problem) == (1, "", False)


def test_from_stdin_and_of_another_type(world: World) -> None:
    body = b'{"event_type":"OTHER","n":0.10}'
    options = [f"--{name}={value}" for name, value in signed(body, time.time() - 1000).items()]
    process = subprocess.run(
        [sys.executable, "-W", "error", "-c", RUN, "webhook", "verify", *options, "--tolerance", "2000", "--json"],
        input=body, capture_output=True, check=False, env=environment(BREX_WEBHOOK_SECRETS=SECRET),
    )  # fmt: skip
    assert (process.returncode, process.stderr) == (0, b"")
    assert json.loads(process.stdout)["payload"] == {"event_type": "OTHER", "n": "0.10"}


def test_mistakes(world: World, tmp_path: Path) -> None:
    missing = world.run("webhook", "verify", str(tmp_path / "none"), BREX_WEBHOOK_SECRETS=SECRET)
    assert (missing.code, "cannot read" in missing.problem) == (2, True)
    no_secret = world.run("webhook", "verify", str(tmp_path / "none"))
    assert (no_secret.code, no_secret.problem) == (2, "the secret is missing: set BREX_WEBHOOK_SECRETS.")


def test_at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BREX_WEBHOOK_SECRETS", raising=False)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(webhook, "getpass", lambda _: f"one {SECRET}")
    assert webhook._secrets() == ["one", SECRET]
    with pytest.raises(StopError, match="the body is missing: name its file, or pipe it in"):
        webhook._read(None)
