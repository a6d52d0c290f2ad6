"""`make demo` and `make test` mend an environment that does not work, and say in a sentence what is missing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.project import ROOT

# Its environments download nothing: these tests are about making and mending them.
VENV = """
[ "$1 $2" = "-m venv" ] || exec "{python}" "$@"
mkdir -p "$3/bin" && cd "$3/bin" && cp "{folder}/in the environment/python" .
sed "s#IN_HERE#$PWD#" "{folder}/in the environment/pip" > pip && chmod +x pip
"""
# As pip writes its script: where the path has spaces, a shell finds the interpreter.
PIP = 'import os, sys; sys.exit("PIP_FAILS" in os.environ)'
SCRIPTS = {
    "plain": f"#!IN_HERE/python\n{PIP}\n",
    "spaces": f"""#!/bin/sh\n'''exec' "IN_HERE/python" "$0" "$@"\n' '''\n{PIP}\n""",
}


class SetUp:
    """A copy of the scripts, and a Python that makes environments without downloading anything."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "project"
        for name in ("scripts", "requirements"):
            shutil.copytree(ROOT / name, self.root / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", self.root)
        self.command("in the environment/python", f'exec "{sys.executable}" "$@"')
        (folder / "in the environment" / "pip").write_text(SCRIPTS["spaces" if " " in str(folder) else "plain"])
        self.python = self.command("python", VENV.format(python=sys.executable, folder=folder))

    def command(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)
        return path

    def run(self, what: str = "demo", **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.root / "scripts" / "venv.sh", what],
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": "/usr/bin:/bin", "PYTHON": str(self.python), **environment},
        )


@pytest.fixture(params=["plain", "with spaces"])
def set_up(tmp_path: Path, request: pytest.FixtureRequest) -> SetUp:
    folder = tmp_path / request.param
    folder.mkdir()
    return SetUp(folder)


def complaint(run: subprocess.CompletedProcess[str]) -> str:
    assert run.returncode == 1
    assert run.stderr.startswith("make: ")
    assert run.stderr.count("\n") == 1
    return run.stderr


def test_installs_once(set_up: SetUp) -> None:
    first = set_up.run("tests")
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout == "Installing what the demo needs\nInstalling what the tests need\n"
    assert set_up.run("tests").stdout == ""
    with (set_up.root / "requirements" / "dev.txt").open("a") as file:
        file.write("# another\n")
    assert set_up.run("tests").stdout == "Installing what the tests need\n"


@pytest.mark.parametrize("damage", ["python is gone", "no pip", "the folder was moved", "the folder was copied"])
def test_an_environment_that_does_not_work_is_made_again(set_up: SetUp, damage: str) -> None:
    set_up.run()
    folder = set_up.root / ".venv" / "bin"
    if damage == "the folder was copied":
        set_up.root = shutil.copytree(set_up.root, set_up.folder / "copy")
    elif damage == "the folder was moved":
        set_up.root = set_up.root.rename(set_up.folder / "elsewhere")
    else:
        (folder / ("pip" if damage == "no pip" else "python")).unlink()
    again = set_up.run()
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.startswith("Making .venv again: ")
    assert again.stdout.endswith("Installing what the demo needs\n")


def test_another_python_is_taken_when_it_is_named(set_up: SetUp) -> None:
    set_up.run()
    (set_up.root / ".venv" / "bin" / "python").write_text('#!/bin/sh\ncase "$*" in *base_prefix*) echo other ;; esac\n')
    assert "another Python" in set_up.run().stdout
    assert set_up.run(PYTHON="").returncode == 0


def test_without_the_venv_module_nothing_is_left(set_up: SetUp) -> None:
    broken = set_up.command(
        "broken", f'[ "$1 $2" = "-m venv" ] || exec "{sys.executable}" "$@"\nmkdir -p .venv\nexit 1'
    )
    assert "python3-venv" in complaint(set_up.run(PYTHON=str(broken)))
    assert not (set_up.root / ".venv").exists()
    assert set_up.run().returncode == 0


def test_offline_the_next_run_goes_on(set_up: SetUp) -> None:
    assert "is a package index reachable?" in complaint(set_up.run(PIP_FAILS="1"))
    assert set_up.run().stdout == "Installing what the demo needs\n"


def test_an_old_python_is_named(set_up: SetUp) -> None:
    assert "/bin/false is not" in complaint(set_up.run(PYTHON="/bin/false"))
