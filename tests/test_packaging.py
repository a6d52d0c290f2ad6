"""The wheel, in an environment that has nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def run(*command: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV"))}
    return subprocess.run(command, check=check, capture_output=True, text=True, env=environment, cwd=ROOT)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def bin_folder(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    environment = tmp_path_factory.mktemp("empty")
    run(sys.executable, "-m", "venv", environment)
    run(environment / "bin" / "pip", "install", "--quiet", "--disable-pip-version-check", wheel)
    return environment / "bin"


def test_holds_both_packages_typed_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    folders = {name.partition("/")[0] for name in names}
    assert {folder for folder in folders if not folder.endswith(".dist-info")} == {
        "brex_accounting",
        "brex_accounting_api",
    }
    assert {"brex_accounting/py.typed", "brex_accounting_api/py.typed"} <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)


@pytest.mark.timeout(180)
def test_imports_in_an_empty_environment(bin_folder: Path) -> None:
    script = """
import sys
from brex_accounting import *
import brex_accounting, brex_accounting_api.models
extras = {"starlette", "uvicorn", "cyclopts", "rich", "brex_accounting.sandbox", "brex_accounting.cli"}
assert not extras & set(sys.modules), extras & set(sys.modules)
brex_accounting.BrexAccounting("bxt_x")
"""
    run(bin_folder / "python", "-W", "error", "-c", script)


@pytest.mark.timeout(180)
def test_the_command_says_in_one_sentence_what_to_install(bin_folder: Path) -> None:
    process = run(bin_folder / "brex-accounting", "sandbox", check=False)
    assert process.returncode != 0
    assert process.stdout == ""
    assert process.stderr.count("\n") == 1
    assert 'pip install "brex-accounting[sandbox]"' in process.stderr


def test_the_readme_works_on_a_package_index(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = archive.read(name).decode()
    links = re.findall(r"\]\(([^)]+)\)", metadata)
    assert len(links) > 10
    assert [link for link in links if not link.startswith(("https://", "#"))] == []
    assert "Project-URL: Source, https://" in metadata
