"""What the tests of the engine share."""

import asyncio
import gc
import logging
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from pathlib import Path
from typing import Any

import pytest
from coverage import Coverage
from hypothesis import settings

from tests.support.file_server import serve  # noqa: F401 - a fixture
from tests.support.marks import examples
from tests.support.project import (
    DESCRIPTION_FILE,
    OVERLAY_FILE,
    PACKAGE,
    ROOT,
    TABLE_FILE,
    Clone,
    Project,
    generate_once,
)
from tests.support.virtual_time import VirtualTimeLoop

# The same examples in each run, and none too slow for a busy machine; `--hypothesis-profile default` finds new ones.
settings.register_profile("project", deadline=None, derandomize=True, max_examples=examples(100))
settings.load_profile("project")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "virtual_time: the event loop does not wait, its time passes at once")
    config.addinivalue_line("markers", "uncounted: counts no coverage, and so takes half the time")


COUNTED = 40
examples_of: Counter[str] = Counter()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Count coverage by the first examples of each test: counting takes as long as the test.

    Those that hypothesis makes up do not count, nor those that are marked (pytest-cov's own mark fails with --no-cov).
    """
    test = item.nodeid.partition("[")[0]
    examples_of[test] += 1
    uncounted = (
        examples_of[test] > COUNTED
        or item.get_closest_marker("uncounted")
        or getattr(getattr(item, "obj", None), "is_hypothesis_test", False)
    )
    counting = Coverage.current()
    if counting is None or not uncounted:
        return (yield)
    counting.stop()
    try:
        return (yield)
    finally:
        counting.start()


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    if item.get_closest_marker("virtual_time"):
        return {"virtual time": VirtualTimeLoop}
    return {"real time": asyncio.new_event_loop}


@pytest.fixture
async def complaints(caplog: pytest.LogCaptureFixture) -> AsyncIterator[list[dict[str, Any]]]:
    """What asyncio complains of, at the end nothing; and no task is left."""
    caplog.set_level(logging.WARNING)
    heard: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context))
    yield heard
    gc.collect(1)
    assert heard == []
    assert caplog.records == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.fixture(scope="session")
def regenerated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as the frozen description gives it; the script makes its environment where there is none."""
    return generate_once(tmp_path_factory, DESCRIPTION_FILE, OVERLAY_FILE)


@pytest.fixture(scope="session")
def clone(regenerated: Path) -> Clone:
    def make(root: Path) -> Project:
        for name in ("openapi", "requirements", "scripts"):
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(DESCRIPTION_FILE, root / "openapi")
        shutil.copy(OVERLAY_FILE, root / "openapi")
        shutil.copy(TABLE_FILE, root / "scripts")
        shutil.copytree(regenerated, root / "generated" / PACKAGE)
        (root / ".venv-generator").symlink_to(ROOT / ".venv-generator")
        return Project(root)

    return make


@pytest.fixture
def project(clone: Clone, tmp_path: Path) -> Project:
    return clone(tmp_path / "project")
