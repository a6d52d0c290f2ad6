"""A pytest plugin: the fixtures `brex_sandbox` and `brex_sandbox_url` (extra: `sandbox`).

pytest finds it by itself. It imports the sandbox only for tests that use a fixture.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .sandbox import Sandbox


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers", "brex_sandbox(**options): set the options of the sandbox in the fixture brex_sandbox"
    )


@pytest.fixture
def brex_sandbox(request: pytest.FixtureRequest) -> Sandbox:
    """A fresh `brex_accounting.sandbox.Sandbox`, in-process, without records and without a rate limit.

    The marker with the same name sets its options: `@pytest.mark.brex_sandbox(records=20)`.
    """
    from .sandbox import Sandbox  # noqa: PLC0415 - an extra

    marker = request.node.get_closest_marker("brex_sandbox")
    options = {} if marker is None else marker.kwargs
    return Sandbox(**{"rate_limit": None, **options})


@pytest.fixture
def brex_sandbox_url(brex_sandbox: Sandbox) -> Iterator[str]:
    """The URL of `brex_sandbox`, served by a thread over a real socket: for synchronous code and other processes."""
    serving: Future[tuple[str, asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        stopped = asyncio.Event()
        async with brex_sandbox, brex_sandbox.serve() as url:
            serving.set_result((url, asyncio.get_running_loop(), stopped))
            await stopped.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except BaseException as error:  # raised in the test
            if serving.done():
                raise
            serving.set_exception(error)

    thread = threading.Thread(target=run, name="brex_sandbox")
    thread.start()
    url, loop, stopped = serving.result()
    yield url
    loop.call_soon_threadsafe(stopped.set)
    thread.join()
