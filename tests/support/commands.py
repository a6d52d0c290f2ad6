"""The brex-accounting command, as a process and in this one, and a sandbox for it over real sockets."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from brex_accounting._commands import app as cli
from brex_accounting.sandbox import Fault, Sandbox

SOURCE = Path(cli.__file__).parents[2]
RUN = "from brex_accounting._commands.app import main; main()"
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Ended:
    """What came of a command."""

    code: int
    out: str
    err: str

    @property
    def problem(self) -> str:
        """The one sentence that it ends with."""
        assert self.err.startswith("brex-accounting: "), self.err
        assert self.err.count("\n") == 1, self.err
        return self.err.removeprefix("brex-accounting: ").rstrip("\n")


def environment(**variables: str) -> dict[str, str]:
    """This one without what would decide for the command."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("BREX_", "FORCE_COLOR"))}
    path = os.pathsep.join([str(SOURCE), os.environ.get("PYTHONPATH", "")])
    return kept | {"PYTHONPATH": path, "COLUMNS": "100", "TERM": "xterm", "TZ": "Asia/Tokyo"} | variables


class World:
    """A sandbox over a real socket, served by another thread, and commands that talk to it."""

    def __init__(self, sandbox: Sandbox, url: str, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
        self.sandbox = sandbox
        self.url = url
        self._monkeypatch = monkeypatch
        self._capfd = capfd

    @property
    def variables(self) -> dict[str, str]:
        return {"BREX_BASE_URL": self.url, "BREX_TOKEN": self.sandbox.token}

    def fault(self, kind: str, times: int = 1, **fields: Any) -> None:
        self.sandbox.fault(Fault(kind, times=times, **fields))

    def run(self, *arguments: str, **variables: str) -> Ended:
        """Run it in this process, where coverage sees it and no time is lost."""
        for name in [name for name in os.environ if name.startswith("BREX_")]:
            self._monkeypatch.delenv(name)
        for name, value in (self.variables | variables).items():
            self._monkeypatch.setenv(name, value)
        self._monkeypatch.setenv("COLUMNS", "100")
        self._monkeypatch.setattr(sys, "argv", ["brex-accounting", *arguments])
        self._capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = self._capfd.readouterr()
        assert self.sandbox.token not in out + err
        return Ended(int(ended.value.code or 0), out, err)

    @contextmanager
    def process(self, *arguments: str, code: str = RUN, **variables: str) -> Iterator[subprocess.Popen[str]]:
        """Run it as a process of its own."""
        with subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=environment(**self.variables | variables),
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def on_terminal(self, *arguments: str, columns: int = 100) -> Ended:
        """Run it as a process of its own, with a terminal for its output."""
        ours, theirs = os.openpty()
        with subprocess.Popen(
            [sys.executable, "-W", "error", "-c", RUN, *arguments],
            stdout=theirs,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            env=environment(**self.variables, COLUMNS=str(columns), PYTHONIOENCODING="utf-8"),
        ) as process:
            os.close(theirs)
            shown = b""
            with suppress(OSError):  # which is how Linux says that nothing more comes
                while chunk := os.read(ours, 65536):
                    shown += chunk
            _, err = process.communicate(timeout=30)
        os.close(ours)
        return Ended(process.returncode, shown.decode().replace("\r\n", "\n"), err.decode())

    def spawn(self, *arguments: str, **variables: str) -> Ended:
        """Run it as a process of its own, to its end."""
        with self.process(*arguments, **variables) as process:
            return ended(process)


def ended(process: subprocess.Popen[str]) -> Ended:
    out, err = process.communicate(timeout=30)
    assert "Traceback" not in err, err
    return Ended(process.returncode, out, err)


class Servers:
    """An event loop in a thread of its own, for the sandboxes of all tests."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()

    @contextmanager
    def serve(self, sandbox: Sandbox) -> Iterator[str]:
        serving: AbstractAsyncContextManager[str] = _serving(sandbox)
        url = self._wait(serving.__aenter__())
        try:
            yield url
        finally:
            self._wait(serving.__aexit__(None, None, None))

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)


@asynccontextmanager
async def _serving(sandbox: Sandbox) -> AsyncIterator[str]:
    async with sandbox, sandbox.serve() as url:
        yield url


def normal(text: str) -> str:
    """What is different each time, by a name for it."""
    for pattern, name in (
        (r"127\.0\.0\.1:\d+", "<address>"),
        (r"int_[0-9a-f]{16}", "int_<id>"),
        (r"trace id [0-9a-f]{32}", "trace id <trace>"),
        (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<key>"),
        (r"20(2[6-9]|[3-9]\d)-\d\d-\d\dT[\d:.]+Z", "<now>"),
        (r"/\S+/(?=[\w.]+\.(csv|jsonl|ndjson|txt))", "<folder>/"),
    ):
        text = re.sub(pattern, name, text)
    return text
