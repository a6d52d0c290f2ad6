"""`scripts/regen.sh` and `scripts/check_generated.sh`, on copies of what they read and write."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.marks import not_src
from tests.support.project import (
    DESCRIPTION_FILE,
    PACKAGE,
    ROOT,
    Clone,
    Project,
    check_success,
    command,
    generate_by_copying,
    snapshot,
)
from tests.support.revisions import answers, described, property_is
from tests.support.schemas import TEXT, array, content, reference

Node = dict[str, Any]

pytestmark = [
    pytest.mark.timeout(600),  # the first run on a machine makes the generator's environment
    not_src,
]


def complaint(run: subprocess.CompletedProcess[str]) -> str:
    """The one sentence of a run that failed."""
    assert run.returncode == 1
    [line] = run.stderr.splitlines()
    assert line.startswith("regen: ")
    return line


# Nothing but the inputs decides


def test_neither_the_caller_nor_the_network_changes_anything(clone: Clone, regenerated: Path, tmp_path: Path) -> None:
    project = clone(tmp_path / "a project of ours")
    files = tmp_path / "my files"
    files.mkdir()
    shutil.copy(DESCRIPTION_FILE, files / "from brex.yaml")
    hostile: dict[str, Any] = {"PYTHONHASHSEED": "7", "PYTHONPATH": "/", "PYTHONWARNINGS": "error", "LC_ALL": "C"}
    prefix: tuple[str, ...] = ("unshare", "--map-root-user", "--net")
    if subprocess.run([*prefix, "true"], check=False, capture_output=True).returncode:
        prefix = ()  # nobody may go without a network here
    hostile |= {"CDPATH": "/", "REGEN_OUTPUT": "an output/package"}
    check_success(project.run("from brex.yaml", prefix=prefix, cwd=files, umask=0o077, **hostile))
    assert snapshot(files / "an output" / "package") == snapshot(regenerated)
    assert snapshot(project.generated / PACKAGE) == snapshot(regenerated)


# Whatever fails, the package is as it was


def sending(body: Node) -> str:
    """A revision with an operation that sends this body."""
    operation = answers(content(TEXT), operationId="sendIt", requestBody=body)
    return described(lambda description: description["paths"].update({"/x": {"post": operation}}))


PARTS, FORM = "multipart/form-data", "application/x-www-form-urlencoded"
TWO_WAYS: Node = {"content": {kind: {"schema": reference("Amount")} for kind in (PARTS, "application/json")}}
FAILURES = {
    "unreadable": ("openapi: [", "description cannot be read"),
    "a name that no file can have": (
        described(lambda description: description["components"]["schemas"].update({"A" * 300: {"type": "object"}})),
        "is as it was: OSError: [Errno 36] File name too long",
    ),
    "an enum of two types": (
        property_is({"type": "string", "enum": ["A", 1]}),
        "is as it was: Unable to process schema Vendor: Got",
    ),
    "parts of no object": (
        sending(content(TEXT, PARTS)),
        "is as it was: the operation send_it (/x) takes multipart/form-data that is not an object with properties",
    ),
    "a form of a list": (
        sending(content(array(TEXT), FORM)),
        "the operation send_it (/x) takes application/x-www-form-urlencoded that is not an object with properties",
    ),
    "one body in two ways": (sending(TWO_WAYS), "the operation send_it (/x) takes one schema in several content types"),
}


def test_wrong_arguments_leave_the_package_as_it_was(project: Project) -> None:
    before = snapshot(project.generated)
    assert "does not exist: name an OpenAPI description" in complaint(project.run("nowhere.yaml"))
    assert "it takes one description" in complaint(project.run("a.yaml", "b.yaml"))
    assert snapshot(project.generated) == before


@pytest.mark.parametrize(("description", "shown"), FAILURES.values(), ids=FAILURES)
def test_a_description_that_fails_leaves_the_package_as_it_was(project: Project, description: str, shown: str) -> None:
    (project.generated / PACKAGE / "mark.py").touch()
    before = snapshot(project.generated)
    (project.root / "description").write_text(description, "utf-8")
    assert shown in complaint(project.run("description"))
    assert snapshot(project.generated) == before


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        (
            ("words: HTTPStatus(response.status_code)", "words: HTTPStatus(answer.status_code)"),
            (
                "the generator's stock template endpoint_module.py.jinja holds 'HTTPStatus(answer.status_code)' 0 "
                "times, not 1: see what it says now, and change or drop that exchange in "
                "openapi/templates/exchanges.yaml (its reason: A status is passed on"
            ),
        ),
        (("    times: 3", "    times: 4"), "endpoint_module.py.jinja holds '_get_kwargs' 3 times, not 4"),
        (("errors.py.jinja:", "faults.py.jinja:"), "the generator has no stock template faults.py.jinja any more"),
        (("    words: (IntEnum)\n", ""), "openapi/templates/exchanges.yaml cannot be used: 'words'"),
        (("client.py.jinja:", "client.py.jinja: ["), "exchanges.yaml cannot be read as YAML or JSON"),
    ],
    ids=["words", "times", "template", "no words", "no YAML"],
)
def test_a_stock_template_that_has_changed_is_named(project: Project, change: tuple[str, str], shown: str) -> None:
    (project.generated / PACKAGE / "mark.py").touch()
    before = snapshot(project.generated)
    project.edit("openapi/templates/exchanges.yaml", *change)
    assert shown in complaint(project.run())
    assert snapshot(project.generated) == before


def test_a_template_that_fails_leaves_the_package_as_it_was(project: Project) -> None:
    (project.generated / PACKAGE / "mark.py").touch()
    before = snapshot(project.generated)
    project.edit(
        "openapi/templates/exchanges.yaml",
        "      from .codec import Invalid",
        "      undefined_name\n      from .codec import Invalid",
    )
    assert "F821 Undefined name `undefined_name`" in complaint(project.run())
    assert snapshot(project.generated) == before


def test_replaces_nothing_but_a_package(project: Project, tmp_path: Path) -> None:
    precious = tmp_path / "home"
    precious.mkdir()
    (precious / "thesis.txt").touch()
    for place in (precious, precious / "thesis.txt"):
        assert "would be lost" in complaint(project.run(REGEN_OUTPUT=place))
    assert [path.name for path in precious.iterdir()] == ["thesis.txt"]


SECOND_MOVE = 'echo >> "$0.calls"; [ "$(wc -l < "$0.calls")" -eq 2 ]'


def test_a_swap_that_fails_halfway_is_undone(project: Project, tmp_path: Path) -> None:
    (project.generated / PACKAGE / "mark.py").touch()
    before = snapshot(project.generated)
    move = command(tmp_path / "bin" / "mv", f"if {SECOND_MOVE}; then exit 1; fi", 'exec /bin/mv "$@"')
    run = project.run(PATH=f"{move.parent}:{os.environ['PATH']}")
    assert run.returncode == 1
    assert (tmp_path / "bin" / "mv.calls").read_text("utf-8") == "\n\n\n"
    assert snapshot(project.generated) == before


def test_a_swap_that_is_interrupted_is_finished(project: Project, regenerated: Path, tmp_path: Path) -> None:
    (project.generated / PACKAGE / "mark.py").touch()
    signals = "kill -INT -- -$PPID; kill -TERM -- -$PPID"
    move = command(tmp_path / "bin" / "mv", f"if {SECOND_MOVE}; then {signals}; fi", 'exec /bin/mv "$@"')
    run = project.start(PATH=f"{move.parent}:{os.environ['PATH']}")
    assert (run.communicate()[1], run.returncode) == ("", 0)
    assert snapshot(project.generated) == snapshot(regenerated.parent)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_leaves_the_package_as_it_was(project: Project, number: signal.Signals) -> None:
    (project.generated / PACKAGE / "mark.py").touch()
    before = snapshot(project.generated)
    run = project.start()
    while not list(project.generated.glob(".regen.*/description.json")):
        assert run.poll() is None
        time.sleep(0.01)
    os.killpg(run.pid, number)
    run.communicate()
    assert run.returncode != 0
    assert snapshot(project.generated) == before


# The generator's environment


@pytest.fixture
def python(project: Project, tmp_path: Path) -> Path:
    """A Python whose `-m venv` takes little time: the repository's environment, with a pip that can be told to fail."""
    project.environment.unlink()
    real = ROOT / ".venv-generator"
    return command(
        tmp_path / "bin" / "python3",
        f'if [ "$1 $2" != "-m venv" ]; then exec "{real}/bin/python" "$@"; fi',
        'echo made >> "$0.log"; sleep 0.3; mkdir -p "$3/bin"',
        f'ln -s "{real}"/lib "{real}"/pyvenv.cfg "$3"; ln -s "{real}"/bin/* "$3/bin"; rm "$3/bin/pip"',
        'printf \'#!/bin/sh\nexit "${PIP_FAILS:-0}"\n\' > "$3/bin/pip"; chmod +x "$3/bin/pip"',
    )


def test_two_runs_at_once_make_one_environment_and_agree(project: Project, python: Path, regenerated: Path) -> None:
    (project.generated / PACKAGE / "stale.py").touch()
    slow_move = command(python.parent / "mv", "sleep 0.3", 'exec /bin/mv "$@"')
    env: dict[str, Any] = {"PYTHON": python, "PATH": f"{slow_move.parent}:{os.environ['PATH']}"}
    for run in [project.start(**env), project.start(**env)]:
        assert (run.communicate()[1], run.returncode) == ("", 0)
    assert Path(f"{python}.log").read_text("utf-8") == "made\n"
    assert snapshot(project.generated) == snapshot(regenerated.parent)


def test_an_environment_that_cannot_be_made_leaves_nothing(project: Project, python: Path) -> None:
    before = snapshot(project.generated)
    assert "is a package index reachable?" in complaint(project.run(PYTHON=python, PIP_FAILS="1"))
    assert not project.environment.exists()
    assert snapshot(project.generated) == before


@pytest.mark.parametrize("damage", ["requirements changed", "python is gone"])
def test_an_environment_that_does_not_fit_is_made_anew(project: Project, python: Path, damage: str) -> None:
    (project.root / "empty.yaml").touch()
    complaint(project.run("empty.yaml", PYTHON=python))
    if damage == "requirements changed":
        project.edit("requirements/generator.txt", "annotated-doc", "# another\nannotated-doc")
    else:
        (project.environment / "bin" / "python").unlink()
    complaint(project.run("empty.yaml", PYTHON=python))
    assert Path(f"{python}.log").read_text("utf-8") == "made\nmade\n"


def test_says_which_python_is_needed(project: Project) -> None:
    assert "Python 3.11 or newer is needed, and /bin/false is not" in complaint(project.run(PYTHON="/bin/false"))


# check_generated.sh


def test_check_passes_and_overlooks_caches(project: Project, regenerated: Path) -> None:
    generate_by_copying(project, regenerated)
    cache = project.generated / PACKAGE / "__pycache__"
    cache.mkdir()
    (cache / "client.pyc").touch()
    check_success(project.run(script="check_generated.sh", cwd=cache))


def check_difference(project: Project, shown: str) -> None:
    before = snapshot(project.root)
    run = project.run(script="check_generated.sh")
    assert run.returncode == 1
    assert shown in run.stderr
    assert run.stderr.endswith("run make regen.\n")
    assert len(run.stderr.splitlines()) < 25
    assert snapshot(project.root) == before


def change_file(project: Project) -> None:
    project.edit(f"generated/{PACKAGE}/models/money.py", "amount: Decimal", "amount: float")


def add_file(project: Project) -> None:
    (project.generated / PACKAGE / "models" / "extra.py").touch()


def remove_file(project: Project) -> None:
    (project.generated / PACKAGE / "py.typed").unlink()


def add_package(project: Project) -> None:
    (project.generated / "another").mkdir()


def remove_everything(project: Project) -> None:
    shutil.rmtree(project.generated)


def link_file(project: Project) -> None:
    file = project.generated / PACKAGE / "client.py"
    file.symlink_to(file.rename(project.root / "client.py"))


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        (change_file, "-    amount: float\n+    amount: Decimal"),
        (add_file, "extra.py"),
        (remove_file, "py.typed"),
        (add_package, "another"),
        (remove_everything, "generated"),
        (link_file, "client.py"),
    ],
)
def test_check_fails_and_changes_nothing(
    project: Project, regenerated: Path, change: Callable[[Project], None], shown: str
) -> None:
    generate_by_copying(project, regenerated)
    change(project)
    check_difference(project, shown)


def test_check_fails_where_a_template_changed(project: Project) -> None:
    project.edit("openapi/templates/exchanges.yaml", "field(default=30.0,", "field(default=31.0,")
    check_difference(project, "field(default=31.0,")


def test_check_fails_where_the_description_does(project: Project) -> None:
    (project.root / "openapi" / "accounting.yaml").write_text("", "utf-8")
    assert "is empty, not a YAML or JSON object" in complaint(project.run(script="check_generated.sh"))
