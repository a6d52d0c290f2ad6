"""A sandbox over a real socket for each test, all served by one thread."""

import signal
from collections.abc import Iterator
from typing import Any

import pytest

from brex_accounting import RetryPolicy
from brex_accounting._commands import connection
from brex_accounting.sandbox import Sandbox
from tests.support.commands import SIGNALS, Servers, World


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    servers = Servers()
    yield servers
    servers.close()


@pytest.fixture
def world(
    servers: Servers, monkeypatch: pytest.MonkeyPatch, capfd: Any, request: pytest.FixtureRequest
) -> Iterator[World]:
    """With 25 records, or as many as `@pytest.mark.parametrize("world", [3], indirect=True)` says."""
    monkeypatch.setattr(connection, "RETRY", RetryPolicy(initial_backoff=0.0))
    sandbox = Sandbox(records=getattr(request, "param", 25), rate_limit=None)
    with servers.serve(sandbox) as url:
        yield World(sandbox, url, monkeypatch, capfd)


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    assert {number: signal.getsignal(number) for number in SIGNALS} == handlers
