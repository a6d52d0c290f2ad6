"""`make update-description`, on copies of the project: real drift, files that are none, and servers that misbehave."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from scripts.contract import write_contract
from scripts.read_description import read
from scripts.types_of import Types
from tests.support.drifts import (
    ADDITIVE,
    REWRITTEN,
    Drift,
    details_not_nullable,
    drifted,
    integration_id_renamed,
    new_optional_field,
    operation_removed,
    schema,
    vendor_as_an_enum,
)
from tests.support.file_server import Serve
from tests.support.marks import not_src
from tests.support.project import (
    DESCRIPTION_FILE,
    PACKAGE,
    ROOT,
    Clone,
    Project,
    Snapshot,
    generate_by_copying,
    snapshot,
)

Node = dict[str, Any]
DESCRIPTION = read(DESCRIPTION_FILE)
FOLDERS = ("openapi", "generated", "scripts", "src", "tests")

pytestmark = [
    pytest.mark.timeout(600),  # the first run on a machine makes the generator's environment
    not_src,
]


@pytest.fixture
def project(clone: Clone, tmp_path: Path) -> Project:
    project = clone(tmp_path / "a project")
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "src" / "brex_accounting", project.root / "src" / "brex_accounting", ignore=ignore)
    contract = project.root / "tests" / "data" / "contract.yaml"
    contract.parent.mkdir(parents=True)
    contract.write_text(write_contract(DESCRIPTION), "utf-8")
    shutil.copy(ROOT / "Makefile", project.root)
    return project


def state(project: Project) -> dict[str, Snapshot]:
    return {folder: snapshot(project.root / folder) for folder in FOLDERS}


def save(project: Project, *drifts: Drift) -> Path:
    """Save a revision as the download of it might come."""
    path = project.root / "new revision.yaml"
    text = json.dumps(drifted(DESCRIPTION, *drifts), indent="\t").replace("\n", "\r\n")
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    return path


@pytest.fixture
def copying(project: Project, regenerated: Path) -> Project:
    """A project whose generator only copies: for what does not depend on what it makes."""
    generate_by_copying(project, regenerated)
    return project


def update(project: Project, *arguments: str | Path, **env: str) -> subprocess.CompletedProcess[str]:
    return project.run(*arguments, script="update_description.sh", **env)


def check_refused(run: subprocess.CompletedProcess[str], shown: str) -> None:
    assert run.returncode == 1
    [line] = run.stderr.splitlines()
    assert line.startswith("update-description: ")
    assert shown in line


def refuse(project: Project, shown: str, *arguments: str | Path, **env: str) -> str:
    """Run it where it has to refuse, with everything as it was; return what it printed."""
    before = state(project)
    run = update(project, *arguments, **env)
    check_refused(run, shown)
    assert state(project) == before
    return run.stdout


# Drift

USE = """
import asyncio, httpx, json, sys
from brex_accounting import BrexAccounting, ConflictError, IntegrationStatus
import brex_accounting, brex_accounting_api
assert brex_accounting.__file__.startswith(sys.argv[1]) and brex_accounting_api.__file__.startswith(sys.argv[1])

NEW = {"new_region": "EU", "new_label": "main"} if sys.argv[2] == "new" else {}
SENT = {"integration_id": "int_1", "vendor": "ERP_A", "vendor_account_id": "a", "status": "DRIFT_STATUS",
        "created_at": "2025-08-15T10:00:00Z"} | NEW

def answer(request):
    if request.url.path.endswith("/disconnect"):
        return httpx.Response(409, json={"error_code": "DRIFT_CODE", "message": "no", "details": None})
    return httpx.Response(200, json=SENT)

async def main():
    async with BrexAccounting("bxt_x", transport=httpx.MockTransport(answer)) as brex:
        integration = await brex.integrations.create("ERP_A", "a")
        assert integration.status is IntegrationStatus.DRIFT_STATUS
        assert integration.unknown_fields == NEW, integration.unknown_fields
        try:
            await brex.integrations.disconnect("int_1")
        except ConflictError as error:
            assert error.error_code == "DRIFT_CODE"
            print("works")

asyncio.run(main())
"""


def use(project: Project, program: str, *arguments: str) -> str:
    """Run a program on the project's src/ and generated/, and return what it printed."""
    # Uncounted: what is covered here is the copy, and not src/.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    environment["PYTHONPATH"] = f"{project.root / 'src'}{os.pathsep}{project.generated}"
    used = subprocess.run(
        [sys.executable, "-c", program, project.root, *arguments],
        check=False,
        capture_output=True,
        text=True,
        cwd=project.root,
        env=environment,
    )
    assert used.stderr == ""
    return used.stdout


def test_additions_need_no_change_of_the_facade(project: Project) -> None:
    source = snapshot(project.root / "src")
    file = save(project, *ADDITIVE)
    run = update(project, file)
    assert (run.returncode, run.stderr) == (0, "")
    assert "Breaking" not in run.stdout
    for line in ADDITIVE.values():
        assert f"  - {line}\n" in run.stdout
    assert (
        "calls these new operations; scripts/relied_on.yaml lists them as not covered now:\n  - newOperation\n"
        in run.stdout
    )
    assert "openapi/overlay.yaml lets them be missing now:\n  - Integration.new_region\n" in run.stdout
    assert run.stdout.endswith("The facade fits. Look at git diff, then run make test.\n")

    assert snapshot(project.root / "src") == source
    assert (project.root / "openapi" / "accounting.yaml").read_bytes() == file.read_bytes()
    assert (project.root / "tests" / "data" / "contract.yaml").read_text("utf-8") == write_contract(read(file))
    table = (project.root / "scripts" / "relied_on.yaml").read_text("utf-8")
    assert "newOperation" in yaml.safe_load(table)["not_covered"]
    for server in ("new", "old"):
        assert use(project, USE, server) == "works\n"

    # And again: the revision that is there is no news.
    generate_by_copying(project, shutil.copytree(project.generated / PACKAGE, project.root / "made"))
    after = state(project)
    again = update(project, file)
    assert again.returncode == 0
    assert again.stdout.startswith("Nothing changed since openapi/accounting.yaml.\n")
    assert state(project) == after


FILTER = """
import asyncio, httpx, sys
from brex_accounting import BrexAccounting
import brex_accounting, brex_accounting_api
assert brex_accounting.__file__.startswith(sys.argv[1]) and brex_accounting_api.__file__.startswith(sys.argv[1])

def answer(request):
    print(*(f"{name}={value}" for name, value in request.url.params.multi_items()))
    return httpx.Response(200, json={"items": [], "has_next_page": False})

async def main():
    async with BrexAccounting("bxt_x", transport=httpx.MockTransport(answer)) as brex:
        await brex.records.query(
            ids=["a", "b"], review_status="REVIEW", source_type="BILL",
            updated_after="2025-01-01T00:00:00Z", updated_before="2025-02-01T00:00:00Z",
        )

asyncio.run(main())
"""

TIMES = "updated_at[gt]=2025-01-01T00:00:00+00:00 updated_at[lt]=2025-02-01T00:00:00+00:00"
FILTERED = f"ids=a ids=b review_status=REVIEW limit=100 source_type=BILL {TIMES}\n"


def parameters_of(description: Node) -> list[Node]:
    found: list[Node] = description["paths"]["/v3/accounting/records"]["get"]["parameters"]
    return found


def take_parameter(description: Node, name: str) -> Node:
    [taken] = [parameter for parameter in parameters_of(description) if parameter["name"] == name]
    parameters_of(description).remove(taken)
    return taken


def without_a_style(description: Node) -> None:
    updated_at = take_parameter(description, "updated_at")
    description["components"]["schemas"]["UpdatedAtFilter"] = updated_at["schema"]
    reference = {"$ref": "#/components/schemas/UpdatedAtFilter"}
    parameters_of(description).append({"name": "updated_at", "in": "query", "schema": reference})


def as_of_january(description: Node) -> None:
    take_parameter(description, "source_type")
    take_parameter(description, "updated_at")


def four_parameters(description: Node) -> None:
    for name, member in take_parameter(description, "updated_at")["schema"]["properties"].items():
        parameters_of(description).append({"name": f"updated_at[{name}]", "in": "query", "schema": member})


@pytest.mark.parametrize("shape", [without_a_style, as_of_january, four_parameters], ids=lambda shape: shape.__name__)
def test_each_published_shape_of_the_filters_works(project: Project, shape: Drift) -> None:
    source = snapshot(project.root / "src")
    run = update(project, save(project, shape))
    assert (run.returncode, run.stderr) == (0, "")
    if shape is as_of_january:
        assert "openapi/overlay.yaml adds them: find out whether Brex still takes them.\n" in run.stdout
        assert (
            "The facade fits in everything that is checked; read what is marked (not checked) above (3)." in run.stdout
        )
    else:
        assert run.stdout.endswith("The facade fits. Look at git diff, then run make test.\n")
    assert snapshot(project.root / "src") == source
    assert use(project, FILTER) == FILTERED


def test_where_the_facade_does_not_fit_it_names_each_place_and_changes_nothing(project: Project) -> None:
    drifts = (vendor_as_an_enum, details_not_nullable, operation_removed)
    told = refuse(project, "the facade does not fit in the places named above", save(project, *drifts))
    misfits = told.partition("The facade does not fit:\n")[2]
    for shown in (
        "CreateIntegrationRequest.vendor has become an enum (CAMPFIRE, HANOVER_PARK, RILLET)",
        "AccountingErrorResponse.details is no longer nullable",
        "The operation reactivateIntegration is gone, or has another operationId",
    ):
        assert f"  - {shown}" in misfits


def test_an_overlay_action_that_matches_nothing_is_named_with_its_reason(project: Project) -> None:
    told = refuse(
        project,
        "overlay actions match nothing any more (1, named above), and nothing was changed: fix or drop",
        save(project, integration_id_renamed),
    )
    assert "Integration.integration_id (read): the property is removed; perhaps it is called id now" in told
    assert "overlay action 1 ($.components.schemas.Integration.required" in told
    assert "its reason: Every published example of an integration lacks integration_id" in told
    assert "Integration.integration_id is gone (removed" in told


def property_of(description: Node, name: str, property_: str) -> Node:
    found: Node = schema(description, name)["properties"][property_]
    return found


def mend(description: Node) -> None:
    limit = description["paths"]["/v3/accounting/records"]["get"]["parameters"][2]
    assert limit["name"] == "limit"
    limit["schema"]["type"] = "integer"
    schema(description, "AccountingErrorDetails")["properties"] |= {
        "existing_vendor_account_id": {"type": "string", "description": "in Brex's words"},
        "requested_vendor_account_id": {"type": "string"},
    }


def test_an_overlay_action_that_brex_made_needless_is_named(copying: Project) -> None:
    project = copying
    run = update(project, save(project, mend))
    assert (run.returncode, run.stderr) == (0, "")
    assert "Breaking" not in run.stdout
    idle = run.stdout.partition("Without effect on generated/, because openapi/overlay.yaml corrects it:\n")[2]
    assert "query parameter limit (sent): its type is integer, and was number" in idle
    needless = idle.partition("no longer needed, because Brex publishes it so now; drop them:\n")[2]
    targets = [line.partition("($.")[2].partition(";")[0] for line in needless.splitlines()[:2]]
    assert targets == [
        'paths["/v3/accounting/records"].get.parameters[?(@.name == "limit")].schema',
        "components.schemas.AccountingErrorDetails.properties",
    ]


def test_what_is_only_written_differently_changes_no_type(project: Project, regenerated: Path) -> None:
    source = snapshot(project.root / "src")
    run = update(project, save(project, *REWRITTEN))
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.endswith("The facade fits. Look at git diff, then run make test.\n")
    types = [Types(package).classes for package in (project.generated / PACKAGE, regenerated)]
    assert types[0] == types[1]
    assert snapshot(project.root / "src") == source
    assert use(project, FILTER) == FILTERED


def test_what_the_check_does_not_look_at_is_marked(copying: Project) -> None:
    project = copying
    run = update(
        project, save(project, lambda d: property_of(d, "CreateIntegrationRequest", "vendor").update(maxLength=9))
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert "CreateIntegrationRequest.vendor (sent): maxLength is 9, and was not given (not checked)\n" in run.stdout
    assert "\nThe facade fits in everything that is checked; read what is marked (not checked) above (1)." in run.stdout


def test_a_type_that_changes_is_a_misfit(project: Project) -> None:
    def rename(description: Node) -> None:
        status = property_of(description, "Integration", "status")
        description["components"]["schemas"]["State"] = {"type": "string", "enum": status["enum"]}
        status.clear()
        status["$ref"] = "#/components/schemas/State"

    told = refuse(project, "the facade does not fit in the places named above (2)", save(project, rename))
    assert "Integration.status is `State` in generated/ now, and was `IntegrationStatus`." in told
    assert "it is called State now, and class_overrides in openapi/generator.yaml can keep the old name." in told


def test_a_parameter_that_cannot_be_sent_changes_nothing(project: Project) -> None:
    def together(description: Node) -> None:
        [ids] = [
            each
            for each in description["paths"]["/v3/accounting/records"]["get"]["parameters"]
            if each["name"] == "ids"
        ]
        ids["explode"] = False

    told = refuse(
        project, "the query parameter ids of queryAccountingRecords has all values in one", save(project, together)
    )
    assert "queryAccountingRecords, query parameter ids: explode is false, and was not given" in told


def as_openapi_31(node: Any) -> Any:
    """Write null as OpenAPI 3.1 does."""
    if isinstance(node, list):
        return [as_openapi_31(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: as_openapi_31(value) for key, value in node.items()}
    if node.pop("nullable", False):
        if "allOf" in node:
            node["anyOf"] = [*node.pop("allOf"), {"type": "null"}]
        else:
            node["type"] = [node["type"], "null"]
    return node


def test_openapi_31_changes_nothing_but_the_version(project: Project, regenerated: Path) -> None:
    def rewrite(description: Node) -> None:
        description.update(as_openapi_31(description) | {"openapi": "3.1.0"})

    run = update(project, save(project, rewrite))
    assert (run.returncode, run.stderr) == (0, "")
    changes = run.stdout.partition("Made generated/")[0]
    assert changes.endswith("Elsewhere:\n  - openapi: is 3.1.0, and was 3.0.0\n\n")
    assert "Breaking" not in changes
    assert snapshot(project.generated / PACKAGE) == snapshot(regenerated)


def test_an_overlay_action_that_openapi_31_made_needless_is_named(copying: Project) -> None:
    project = copying

    def rewrite(description: Node) -> None:
        schema(description, "AccountingRecordsResponse")["properties"]["total_count"]["type"] = "integer"
        schema(description, "AccountingRecordsResponse")["properties"]["total_count"]["nullable"] = True
        description.update(as_openapi_31(description) | {"openapi": "3.1.0"})

    run = update(project, save(project, rewrite))
    assert (run.returncode, run.stderr) == (0, "")
    needless = run.stdout.partition("no longer needed, because Brex publishes it so now; drop them:\n")[2]
    assert "($.components.schemas.AccountingRecordsResponse.properties.total_count;" in needless.splitlines()[0]


def test_keep_puts_in_place_what_does_not_fit(project: Project) -> None:
    file = save(project, vendor_as_an_enum)
    run = subprocess.run(
        ["make", "--silent", "update-description", f"FILE={file.name}", "KEEP=1"],
        check=False,
        capture_output=True,
        text=True,
        cwd=project.root,
    )
    assert run.returncode == 2
    assert "the new files are in place, and the facade does not fit them yet: Make src/ fit" in run.stderr
    assert (project.root / "openapi" / "accounting.yaml").read_bytes() == file.read_bytes()
    assert (project.generated / PACKAGE / "models" / "integration_vendor.py").is_file()


def test_a_file_that_was_downloaded_over_the_old_one_is_compared_with_the_last_commit(project: Project) -> None:
    git = ["git", "-c", "user.name=x", "-c", "user.email=x@example.com"]
    (project.root / ".gitignore").write_text(".venv-generator\n", "utf-8")
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "--message=x"]):
        subprocess.run([*git, *command], check=True, cwd=project.root)
    save(project, new_optional_field).replace(project.root / "openapi" / "accounting.yaml")
    run = update(project, "openapi/accounting.yaml")
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith("What changed since the last commit:\n")
    assert ADDITIVE[new_optional_field] in run.stdout
    assert "new_label: str | None" in (project.generated / PACKAGE / "models" / "integration.py").read_text("utf-8")


def test_without_an_earlier_description_it_says_so(copying: Project) -> None:
    project = copying
    file = save(project, new_optional_field)
    (project.root / "openapi" / "accounting.yaml").write_text("broken: [", "utf-8")
    run = update(project, file, GIT_DIR="/nowhere")
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith("There is no earlier description to compare with.\n")


# Whatever fails, everything is as it was

# One for each step that can refuse it; test_regen.py has what each of them refuses.
GARBAGE: dict[str, tuple[bytes, str]] = {
    "binary": (bytes(range(256)), "cannot be read as YAML or JSON"),
    "a web page": (b"<!doctype html><title>x: y</title>", "is a web page or XML, not YAML or JSON"),
    "a loop": (
        json.dumps(
            drifted(DESCRIPTION, lambda d: d["components"]["schemas"].update(L={"$ref": "#/components/schemas/L"}))
        ).encode(),
        "refers to #/components/schemas/L, which leads back to itself",
    ),
}


def test_a_file_that_is_no_description_changes_nothing(project: Project) -> None:
    for content, shown in GARBAGE.values():
        (project.root / "garbage").write_bytes(content)
        assert refuse(project, f"garbage {shown}", "garbage") == ""


def test_wrong_arguments_change_nothing(project: Project) -> None:
    refuse(project, "nowhere.yaml cannot be read (No such file or directory)", "nowhere.yaml")
    refuse(project, "openapi cannot be read (Is a directory)", "openapi")
    refuse(project, "it takes one FILE, not 2", "a", "b")


def test_a_description_that_the_generator_fails_on_changes_nothing(project: Project) -> None:
    def close(description: Node) -> None:
        schema(description, "Vendor")["properties"]["id"]["enum"] = ["A", 1]

    refuse(project, "the generator failed, and generated/ is as it was: Unable to process", save(project, close))


def test_an_overlay_that_is_broken_changes_nothing(project: Project) -> None:
    project.edit("openapi/overlay.yaml", "overlay: 1.0.0", "overlay: 9")
    refuse(project, "openapi/overlay.yaml is not a valid Overlay 1.0 document", save(project))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_changes_nothing(project: Project, number: signal.Signals) -> None:
    before = state(project)
    run = subprocess.Popen(
        [project.root / "scripts" / "update_description.sh", save(project, new_optional_field)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while not list(project.generated.glob(".update.*/.regen.*/description.json")):
        assert run.poll() is None
        time.sleep(0.01)
    os.killpg(run.pid, number)
    _, complaint = run.communicate()
    assert (run.returncode, complaint) == (130, "update-description: interrupted; everything is as it was.\n")
    assert state(project) == before


FAIL_AT = """
import os, sys
from scripts import update_description as subject

os.dup2(os.open("openapi", os.O_RDONLY), 9, inheritable=True)
real, calls = subject.write, []

def write(*arguments):
    calls.append(arguments)
    if len(calls) == int(sys.argv[1]):
        raise OSError("the disk is full")
    real(*arguments)

subject.write = write
subject.main(os.getcwd(), sys.argv[2])
"""


@pytest.mark.parametrize("number", ["1", "3"])
def test_a_replacement_that_fails_halfway_is_undone(copying: Project, number: str) -> None:
    project = copying
    file = save(project, *ADDITIVE)
    before = state(project)
    python = project.environment / "bin" / "python"
    run = subprocess.run(
        [python, "-c", FAIL_AT, number, file], check=False, capture_output=True, text=True, cwd=project.root
    )
    check_refused(run, "it failed, and everything is as it was: OSError: the disk is full")
    assert state(project) == before


def test_two_runs_at_once_take_turns(copying: Project) -> None:
    project = copying
    file = save(project, new_optional_field)
    command = [project.root / "scripts" / "update_description.sh", file]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    told = [run.communicate() for run in runs]
    assert [(run.returncode, errors) for run, (_, errors) in zip(runs, told, strict=True)] == [(0, ""), (0, "")]
    assert sorted(output.split()[0] for output, _ in told) == ["Nothing", "What"]


# Fetching


def test_fetches_follows_and_takes_in(copying: Project, serve: Serve) -> None:
    project = copying
    serve("/api.yaml", save(project, new_optional_field).read_bytes(), Content_Type="application/yaml")
    url = serve("/old.yaml", status=302, Location="/api.yaml")
    run = update(project, BREX_DESCRIPTION_URL=url)
    assert (run.returncode, run.stderr) == (0, "")
    assert ADDITIVE[new_optional_field] in run.stdout
    assert f"Made generated/ from {url}" in run.stdout


def test_a_failed_fetch_changes_nothing(project: Project, serve: Serve) -> None:
    url = serve("/api.yaml", b"<html>", Content_Type="text/html")
    refuse(project, f"{url} answered with a web page", BREX_DESCRIPTION_URL=url)
    refuse(project, "cannot be fetched", BREX_DESCRIPTION_URL="https://127.0.0.1:9")
