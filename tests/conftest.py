"""What the tests of the engine share."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
from hypothesis import settings

from tests.support.virtual_time import VirtualTimeLoop

# The same examples in each run, and none too slow for a busy machine; `--hypothesis-profile default` finds new ones.
settings.register_profile("project", deadline=None, derandomize=True)
settings.load_profile("project")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "virtual_time: the event loop does not wait, its time passes at once")


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.get_closest_marker("virtual_time"):
        return {"virtual time": VirtualTimeLoop}
    return {"real time": asyncio.new_event_loop}
