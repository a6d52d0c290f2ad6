"""The brex-accounting command, as a process and in this one."""

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from urllib.request import Request, urlopen

import pytest

from brex_accounting._commands import app as cli
from brex_accounting._commands import serve
from tests.support.commands import RUN, SIGNALS, environment


def start(*arguments: str, code: str = RUN) -> subprocess.Popen[str]:
    return subprocess.Popen(  # our own interpreter
        [sys.executable, "-W", "error", "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )


def read_settings(process: subprocess.Popen[str]) -> dict[str, str]:
    """Read what it prints, as far as the line with the token."""
    assert process.stdout is not None
    settings = dict[str, str]()
    for line in process.stdout:
        if export := re.fullmatch(r"export (\w+)=(\S+)\n", line):
            settings[export[1]] = export[2]
        if "BREX_TOKEN" in settings:
            break
    return settings


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_sandbox_serves_until_a_signal(number: signal.Signals) -> None:
    with start("sandbox", "--port", "0", "--records", "7", "--id-key", "id") as process:
        settings = read_settings(process)
        request = Request(  # http, to our own server
            f"{settings['BREX_BASE_URL']}/v3/accounting/integration",
            data=b'{"vendor":"ERP_A","vendor_account_id":"a"}',
            headers={"Authorization": f"Bearer {settings['BREX_TOKEN']}", "Content-Type": "application/json"},
        )
        with urlopen(request) as response:
            assert set(json.load(response)) == {"id", "vendor", "vendor_account_id", "status", "created_at"}
        process.send_signal(number)
        output, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")
    assert settings["BREX_TOKEN"] not in output


def test_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with start("sandbox", "--port", str(port)) as process:
            output, errors = process.communicate()
    assert (process.returncode, output) == (1, "")
    assert errors == (f"brex-accounting: cannot listen on port {port}: it is in use. Choose another with --port.\n")


@pytest.mark.parametrize("module", ["cyclopts", "starlette", "uvicorn"])
def test_without_the_extra(module: str) -> None:
    code = f"import sys; sys.modules[{module!r}] = None; {RUN}"
    with start("sandbox", code=code) as process:
        output, errors = process.communicate()
    assert (process.returncode, output) == (1, "")
    assert errors == (
        f"brex-accounting: {module} is not installed; "
        'install what this command needs with: pip install "brex-accounting[sandbox]"\n'
    )


def test_importing_the_sdk_leaves_the_extra_alone() -> None:
    code = "import sys, brex_accounting; print(*sys.modules, sep='\\n')"
    with start(code=code) as process:
        output, _ = process.communicate()
    modules = set(output.split())
    assert "brex_accounting" in modules
    assert not modules & {"starlette", "uvicorn", "cyclopts", "brex_accounting.sandbox"}


class TestInThisProcess:
    """The same once more, where debuggers and coverage see it."""

    @pytest.fixture(autouse=True)
    def _signals(self) -> Iterator[None]:
        handlers = {number: signal.getsignal(number) for number in SIGNALS}
        yield
        for number, handler in handlers.items():
            signal.signal(number, handler)

    def run(self, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
        monkeypatch.setattr(sys, "argv", ["brex-accounting", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code

    def test_sandbox(self, monkeypatch: pytest.MonkeyPatch) -> None:
        printed = list[str]()

        def print_and_signal(text: str, *, flush: bool) -> None:
            assert flush
            printed.append(text)
            signal.raise_signal(signal.SIGTERM)

        monkeypatch.setattr(serve, "print", print_and_signal, raising=False)
        assert not self.run(monkeypatch, "sandbox", "--port", "0", "--records", "3", "--rate-limit", "0")
        assert re.match(r"A sandbox .* with 3 records, at http://127\.0\.0\.1:\d+\. ", printed[0])

    @pytest.mark.parametrize(
        ("arguments", "problem"),
        [
            (["--port", "70000"], "--port must be a number from 0 to 65535"),
            (["--records", "-1"], "records must not be negative"),
            (["--rate-limit", "-1"], "rate_limit must be at least one request"),
        ],
    )
    def test_what_makes_no_sense(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str], problem: str
    ) -> None:
        assert self.run(monkeypatch, "sandbox", *arguments) == 2
        assert capsys.readouterr().err.startswith(f"brex-accounting: {problem}")

    def test_a_port_in_use(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = str(other.getsockname()[1])
            assert self.run(monkeypatch, "sandbox", "--port", port) == 1
        assert "it is in use" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("command", "extra"), [("sandbox", "sandbox"), ("demo", "sandbox"), ("records", "cli"), ("whoami", "cli")]
    )
    def test_without_the_extra(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str, extra: str
    ) -> None:
        monkeypatch.setitem(sys.modules, "cyclopts", None)
        assert self.run(monkeypatch, command) == 1
        assert f'pip install "brex-accounting[{extra}]"' in capsys.readouterr().err

    def test_help(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        assert not self.run(monkeypatch, "sandbox", "--help")
        assert "--id-key" in capsys.readouterr().out
