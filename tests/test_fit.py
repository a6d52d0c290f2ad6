"""The facade fits the description that is here, and where it does not fit another one, it is said."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from scripts.additions import newly_required, with_not_covered, with_not_required
from scripts.facade import Facade, collisions, missing_imports
from scripts.fit import TABLE, WHAT_TO_DO, Fit
from scripts.types_of import Types, changed_types
from scripts.values import Value
from tests.support.drifts import ADDITIVE, MISFITS, Drift, drifted, new_operation, new_required_answer_field
from tests.support.marks import not_src
from tests.support.project import DESCRIPTION_FILE, OVERLAY_FILE, PACKAGE, ROOT, TABLE_FILE

Node = dict[str, Any]
GENERATED = ROOT / "generated" / PACKAGE
SOURCE = ROOT / "src" / "brex_accounting"
FACADE = Facade(SOURCE)
LISTED: Node = yaml.safe_load((ROOT / TABLE).read_text("utf-8"))
FROZEN_LISTED: Node = yaml.safe_load(TABLE_FILE.read_text("utf-8"))

pytestmark = [
    pytest.mark.timeout(600),  # the first run on a machine makes the generator's environment
    not_src,
]


def correct(description: Path, overlay: Path, output: Path) -> Node:
    python = ROOT / ".venv-generator" / "bin" / "python"
    files = [description, overlay, output]
    subprocess.run([python, "-B", "-m", "scripts.correct_description", *files], check=True, cwd=ROOT)
    corrected: Node = json.loads(output.read_text("utf-8"))
    return corrected


@pytest.fixture
def here(regenerated: Path, tmp_path: Path) -> Fit:
    """The facade held against openapi/, as it is today."""
    folder = ROOT / "openapi"
    description = correct(folder / "accounting.yaml", folder / "overlay.yaml", tmp_path / "description.json")
    return Fit(FACADE, LISTED, description, GENERATED)


@pytest.fixture(scope="session")
def corrected(regenerated: Path, tmp_path_factory: pytest.TempPathFactory) -> Node:
    """The frozen description as its overlay corrects it."""
    return correct(DESCRIPTION_FILE, OVERLAY_FILE, tmp_path_factory.mktemp("corrected") / "description.json")


Hold = Callable[[Node], Fit]


@pytest.fixture
def fit(regenerated: Path) -> Hold:
    """Hold the facade against another description than that of openapi/."""
    return lambda description: Fit(FACADE, FROZEN_LISTED, description, regenerated)


# The description that is here


def test_the_facade_fits(here: Fit) -> None:
    misfits = here.misfits()
    assert not misfits, "\n".join(["The facade does not fit openapi/accounting.yaml:", *misfits, WHAT_TO_DO])


def test_every_operation_has_a_method_or_is_listed_as_not_covered(here: Fit) -> None:
    missing = here.not_listed
    assert not missing, f"No method calls {', '.join(missing)}: write one, or list it under not_covered in {TABLE}."


def test_the_table_names_what_the_code_reads_of_an_integration() -> None:
    functions = {
        node.name: node for node in FACADE.modules["integrations.py"].body if isinstance(node, ast.FunctionDef)
    }
    read = {
        node.attr
        for node in ast.walk(functions["read_integration"])
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "wire"
    }
    assert read - {"to_dict"} == LISTED["read"]["Integration"]["properties"].keys()


def test_the_facades_code_says_what_it_calls_and_tells_apart() -> None:
    facade = FACADE
    assert facade.operations["createIntegration"] == "integrations.py"
    assert {"disconnectIntegration", "reactivateIntegration"} <= facade.operations.keys()
    assert facade.error_codes["VENDOR_ACCOUNT_ID_MISMATCH"] == "VendorAccountMismatchError"
    assert len(facade.error_codes) >= 5
    assert facade.details["current_status"] == ("string", "IntegrationNotActiveError")
    assert facade.details["not_found_export_entry_source_ids"] == ("array of string", "NotFoundError")
    assert ("models.py", "brex_accounting_api.models", "IntegrationStatus") in facade.imports


def test_the_code_says_what_only_reads_and_which_arguments_it_passes() -> None:
    assert FACADE.safe == {"queryAccountingRecords", "getAccountingRecord"}
    passed = {module.rpartition(".")[2] for module in FACADE.requests}
    assert {"create_integration", "get_accounting_record", "report_accounting_export_results"} <= passed
    assert "accounting.record.write" in FACADE.constant("SCOPES")[1]


def test_what_the_code_no_longer_has_is_named() -> None:
    with pytest.raises(LookupError, match="looks for GONE in src/brex_accounting/"):
        FACADE.constant("GONE")


def test_the_table_names_the_filters_that_the_code_sends() -> None:
    names = {node.value for node in ast.walk(FACADE.modules["_records/query.py"]) if isinstance(node, ast.Constant)}
    listed = {name.removeprefix("query ") for name in LISTED["operations"]["queryAccountingRecords"]["parameters"]}
    assert listed <= names
    assert {name for name in names if isinstance(name, str) and name.startswith("updated_at[")} <= listed


# Descriptions to come


@pytest.mark.parametrize("drift", ADDITIVE, ids=lambda drift: drift.__name__)
def test_what_is_added_does_no_harm(fit: Hold, corrected: Node, drift: Drift) -> None:
    assert fit(drifted(corrected, drift)).misfits() == []


def test_what_is_added_and_wants_attention_is_named(fit: Hold, corrected: Node) -> None:
    assert fit(drifted(corrected, new_operation)).not_listed == ["newOperation"]
    assert newly_required(FROZEN_LISTED, drifted(corrected, new_required_answer_field)) == [
        ("Integration", "new_region")
    ]


def test_what_answers_need_not_have_is_added_to_the_overlay() -> None:
    overlay = "actions:\n  - target: $.a\n    remove: true\n\n"
    assert with_not_required(overlay, []) == overlay
    [_, action] = yaml.safe_load(with_not_required(overlay, [("Integration", "new_region")]))["actions"]
    assert action["target"] == '$.components.schemas.Integration.required[?(@ == "new_region")]'
    assert action["remove"] is True


@pytest.mark.parametrize("drift", MISFITS, ids=lambda drift: drift.__name__)
def test_what_does_not_fit_is_named(fit: Hold, corrected: Node, drift: Drift) -> None:
    misfits = fit(drifted(corrected, drift)).misfits()
    assert any(MISFITS[drift] in misfit for misfit in misfits), misfits
    assert all(misfit.endswith(".") and "\n" not in misfit for misfit in misfits)


def parameter_limit(description: Node) -> Node:
    parameters = description["paths"]["/v3/accounting/records"]["get"]["parameters"]
    [limit] = [parameter["schema"] for parameter in parameters if parameter["name"] == "limit"]
    return cast("Node", limit)


def results(description: Node) -> Node:
    request = description["components"]["schemas"]["ReportExportResultsRequest"]
    return cast("Node", request["properties"]["results"])


@pytest.mark.parametrize(
    ("drift", "shown"),
    [
        (lambda d: parameter_limit(d).update(maximum=99), "limit parameter goes up to 99 now, and the facade sends up"),
        (lambda d: parameter_limit(d).update(maximum=100, exclusiveMaximum=True), "goes up to 99 now"),
        (lambda d: parameter_limit(d).update(exclusiveMaximum=100), "goes up to 99 now"),
        (lambda d: results(d).update(maxItems=50), "ReportExportResultsRequest.results goes up to 50 now"),
        (lambda d: results(d)["items"]["oneOf"].pop(), "results is array of SuccessfulExportResult now"),
    ],
)
def test_a_limit_below_what_is_sent_is_named(fit: Hold, corrected: Node, drift: Drift, shown: str) -> None:
    [misfit] = fit(drifted(corrected, drift)).misfits()
    assert shown in misfit


@pytest.mark.parametrize(
    "drift",
    [
        lambda d: parameter_limit(d).update(maximum=100),
        lambda d: parameter_limit(d).update(maximum=1000, exclusiveMaximum=False),
        lambda d: results(d).update(maxItems=100),
        lambda d: results(d)["items"]["oneOf"].reverse(),
        lambda d: results(d)["items"]["oneOf"].append({"$ref": "#/components/schemas/Vendor"}),
        lambda d: results(d)["items"].update(anyOf=results(d)["items"].pop("oneOf")),
    ],
)
def test_a_wide_limit_and_other_alternatives_do_no_harm(fit: Hold, corrected: Node, drift: Drift) -> None:
    assert fit(drifted(corrected, drift)).misfits() == []


def properties(kind: str) -> list[tuple[str, str]]:
    return [(name, property_) for name, needs in FROZEN_LISTED[kind].items() for property_ in needs["properties"]]


@pytest.mark.parametrize(("name", "property_"), [*properties("read"), *properties("sent")])
def test_each_property_that_is_removed_or_made_an_enum_is_named(
    fit: Hold, corrected: Node, name: str, property_: str
) -> None:
    def remove(description: Node) -> None:
        del description["components"]["schemas"][name]["properties"][property_]

    def close(description: Node) -> None:
        schema = description["components"]["schemas"][name]["properties"][property_]
        if schema.pop("enum", None) is None:
            schema["enum"] = ["A"]

    for drift in (remove, close):
        assert any(f"{name}.{property_} " in misfit for misfit in fit(drifted(corrected, drift)).misfits())


@pytest.mark.parametrize("code", sorted(FACADE.error_codes))
def test_each_error_code_that_is_removed_is_named(fit: Hold, corrected: Node, code: str) -> None:
    def remove(description: Node) -> None:
        codes = description["components"]["schemas"]["AccountingErrorResponse"]["properties"]["error_code"]
        codes["enum"].remove(code)

    [misfit] = fit(drifted(corrected, remove)).misfits()
    assert f"The error code {code} is gone" in misfit


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ({"type": ["string", "null"]}, {"type": "string", "nullable": True}),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, {"type": "string", "nullable": True}),
        ({"oneOf": [{"$ref": "#/components/schemas/X"}]}, {"$ref": "#/components/schemas/X"}),
        ({"allOf": [{"$ref": "#/components/schemas/X"}]}, {"$ref": "#/components/schemas/X"}),
        ({"type": "string", "const": "A"}, {"type": "string", "enum": ["A"]}),
        ({"type": "integer", "format": "int32"}, {"type": "integer"}),
        ({"type": "number", "format": "double"}, {"type": "number"}),
        ({"$ref": "#/components/schemas/State"}, {"type": "string", "enum": ["A"]}),
        (
            {"type": "array", "items": {"$ref": "#/components/schemas/State"}},
            {"type": "array", "items": {"type": "string"}},
        ),
    ],
)
def test_a_value_is_the_same_however_it_is_written(other: Node, same: Node) -> None:
    document = {"components": {"schemas": {"State": {"type": "string", "enum": ["A"]}}}}
    assert Value.described(other, document, required=True) == Value.described(same, document, required=True)


def test_a_description_without_anything_fits_nowhere_and_is_no_crash(fit: Hold) -> None:
    misfits = fit({"openapi": "3.1.0", "info": {}, "paths": {}}).misfits()
    assert any("createIntegration is gone" in misfit for misfit in misfits)
    assert any("The schema Integration is gone" in misfit for misfit in misfits)


def test_a_name_that_the_generated_package_lost_is_found(regenerated: Path, tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (models / "__init__.py").write_text("from .integration import Integration\n", "utf-8")
    missing = list(missing_imports(FACADE, tmp_path))
    assert ("models.py", "brex_accounting_api.models", "IntegrationStatus") in missing
    assert ("models.py", "brex_accounting_api.models", "Integration") not in missing
    assert not list(missing_imports(FACADE, regenerated))


@pytest.mark.parametrize(
    ("model", "name", "owner"),
    [
        ("AccountingRecordDetailed", "is_balanced", "AccountingRecord in src/brex_accounting/models.py"),
        ("AccountingRecordDetailed", "unknown_fields", "AccountingRecord in src/brex_accounting/models.py"),
        ("AccountingRecordDetailed", "to_dict", "Model in generated/ (codec)"),
        ("AccountingRecordDetailed", "from_dict", "Model in generated/ (codec)"),
        ("Money", "additional_properties", "Model in generated/ (codec)"),
    ],
)
def test_a_field_that_is_called_like_a_member_is_named(
    regenerated: Path, tmp_path: Path, model: str, name: str, owner: str
) -> None:
    package = tmp_path / PACKAGE
    shutil.copytree(regenerated, package)
    assert not list(collisions(FACADE, package))
    head = f"class {model}(Model):\n"
    [file] = [file for file in (package / "models").glob("*.py") if head in file.read_text("utf-8")]
    file.write_text(file.read_text("utf-8").replace(head, f"{head}    {name}: str | None = None\n"), "utf-8")
    misfits = Fit(FACADE, FROZEN_LISTED, {}, package).misfits()
    assert f"{model}.{name} is a field now, and {owner} has a member of that name: one hides the other." in misfits


# Types


def changed(package: Path, folder: Path, file: str, old: str, new: str) -> Path:
    """A copy of a generated package in which some text is another."""
    copied = folder / PACKAGE
    shutil.copytree(package, copied)
    text = (copied / file).read_text("utf-8")
    assert old in text
    (copied / file).write_text(text.replace(old, new, 1), "utf-8")
    return copied


IS_CALLED = (
    "The class IntegrationStatus is gone from generated/, and src/brex_accounting/models.py imports it: "
    "it is called State now, and class_overrides in openapi/generator.yaml can keep the old name."
)
CHANGED_TYPES = {
    ("models/integration.py", "status: IntegrationStatus", "status: str"): (
        "Integration.status is `str` in generated/ now, and was `IntegrationStatus`."
    ),
    ("models/user.py", "    email: str\n", ""): "User.email is gone from generated/.",
    ("models/integration_status.py", '    DISABLED = "DISABLED"\n', ""): "IntegrationStatus.DISABLED is gone from gene",
    ("models/integration_status.py", "class IntegrationStatus", "class State"): IS_CALLED,
    ("api/accounting_integrations/create_integration.py", "Request,\n", "Request2 | Unset,\n"): (
        "create_integration takes `CreateIntegrationRequest2 | Unset` as body in generated/ now, and took"
    ),
}


@pytest.mark.parametrize(("change", "shown"), CHANGED_TYPES.items())
def test_a_changed_type_is_named(
    regenerated: Path, tmp_path: Path, corrected: Node, change: tuple[str, str, str], shown: str
) -> None:
    assert Fit(FACADE, FROZEN_LISTED, corrected, regenerated, regenerated).misfits() == []
    package = changed(regenerated, tmp_path, *change)
    misfits = Fit(FACADE, FROZEN_LISTED, corrected, package, regenerated).misfits()
    assert any(misfit.startswith(shown) for misfit in misfits), misfits


@pytest.mark.parametrize(
    "change",
    [
        ("models/integration.py", "    vendor: str\n", "    vendor: str\n    label: str | None = None\n"),
        ("models/integration_status.py", "    DISABLED", '    NEW = "NEW"\n    DISABLED'),
        ("api/accounting_integrations/create_integration.py", "Request,\n", "Request | Unset,\n"),
        (
            "api/accounting_records/get_accounting_record.py",
            "    single_entry:",
            "    x: bool = False,\n    single_entry:",
        ),
    ],
)
def test_what_is_new_in_types_does_no_harm(regenerated: Path, tmp_path: Path, change: tuple[str, str, str]) -> None:
    package = changed(regenerated, tmp_path, *change)
    assert list(changed_types(FACADE, Types(regenerated), Types(package))) == []


@pytest.mark.parametrize("table", ["a: 1\n\nnot_covered: []\n", "a: 1\n\nnot_covered:\n  - old\n  - kept # why\n"])
def test_the_list_of_what_is_not_covered_is_rewritten(table: str) -> None:
    kept = "kept # why" if "kept" in table else "kept"
    assert with_not_covered(table, ["kept", "GET /x: y"]) == f"a: 1\n\nnot_covered:\n  - {kept}\n  - 'GET /x: y'\n"
    assert with_not_covered(table, []) == "a: 1\n\nnot_covered: []\n"
