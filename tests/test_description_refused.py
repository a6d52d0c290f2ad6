"""What `scripts/correct_description.py` refuses, in a sentence, and what it makes of the rest."""

from __future__ import annotations

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from scripts.prepare import prepare
from tests.support.marks import not_src
from tests.support.project import ROOT
from tests.support.revisions import DESCRIPTION, SOURCE, answers, described, property_is
from tests.support.schemas import reference

Node = dict[str, Any]
PREPARED = copy.deepcopy(DESCRIPTION)
prepare(PREPARED, "")

pytestmark = [
    pytest.mark.timeout(600),  # the first run on a machine makes the generator's environment
    not_src,
]


PARAMETER = {"name": "q", "in": "query", "description": "Why. " * 100, "schema": {"type": "string"}}
REFUSED_DESCRIPTIONS: dict[str, tuple[str | bytes, str]] = {
    "empty": ("\n", "is empty, not a YAML or JSON object"),
    "a web page": ("<!doctype html><title>x: y</title>", "is a web page or XML, not YAML or JSON"),
    "a parameter twice": (
        described(lambda d: d["paths"]["/v3/accounting/records"]["get"].update(parameters=[PARAMETER] * 2)),
        "has non-unique elements",
    ),
    "binary": (bytes(range(256)), "cannot be read as YAML or JSON: 'utf-8' codec"),
    "control characters": ("openapi: 3.0.0\n\0", "cannot be read as YAML or JSON: unacceptable character"),
    "a list": ("- openapi: 3.0.0", "not a YAML or JSON object"),
    "two documents": ("a: 1\n---\nb: 2", "cannot be read as YAML or JSON: expected a single document"),
    "a key twice in YAML": (f"{SOURCE}\nopenapi: 3.0.0", "the key 'openapi' occurs twice in one object"),
    "a key twice in JSON": ('{"info": {"title": 1, "title": 2}}', "the key 'title' occurs twice in one object"),
    "an alias of itself": (f"{SOURCE}\nx-loop: &loop [*loop]", "read as YAML or JSON: Circular reference"),
    "aliases of aliases": (
        "\n".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}' if n else 'x'] * 10)}]" for n in range(10)),
        "read as YAML or JSON: its aliases expand to more than 200,000 values",
    ),
    "a tag of Python": (f"{SOURCE}\nx-evil: !!python/name:os.system", "could not determine a constructor"),
    "a broken tag": (f"{SOURCE}\nx-time: !!timestamp soon", "cannot be read as YAML or JSON"),
    "not a number": (f"{SOURCE}\nx-number: .nan", "cannot be read as YAML or JSON: Out of range"),
    "nested too deep": ('{"openapi": ' + "[" * 9000 + "]" * 9000 + "}", "read as YAML or JSON: maximum recursion"),
    "half a character": (described(lambda d: d["info"].update(title="\ud800")), "cannot be used: 'utf-8' codec"),
    "no version": (described(lambda d: d.pop("openapi")), "is not an OpenAPI 3.0 or 3.1 description (openapi: None)"),
    "a number as version": (described(lambda d: d.update(openapi=3.0)), "at openapi: 3.0 is not of type 'string'"),
    "Swagger": ('{"swagger": "2.0", "paths": {}}', "is not an OpenAPI 3.0 or 3.1 description"),
    "no paths": (described(lambda d: d.pop("paths")), "at its root: 'paths' is a required property"),
    "a wrong type": (property_is({"type": "text"}), "at components/schemas/Vendor/properties/id/type: 'text' is not"),
    "an operation's name twice": (
        described(lambda d: d["paths"].update({"/x": {"get": answers({}, operationId="createIntegration")}})),
        "Operation ID 'createIntegration' for 'get' in '/x' is not unique",
    ),
    "a reference to nothing": (property_is(reference("Gone")), "refers to #/components/schemas/Gone, which is not"),
    "a reference to no anchor": (property_is({"$ref": "#gone"}), "refers to #gone, which is not there"),
    "a reference to a file": (property_is({"$ref": "other.yaml#/x"}), "refers to other.yaml#/x, outside itself"),
    "a reference to the network": (property_is({"$ref": "http://host.invalid/x"}), "host.invalid/x, outside itself"),
    "a reference to itself": (
        described(lambda d: d["components"]["schemas"].update(Loop=reference("Loop"))),
        "refers to #/components/schemas/Loop, which leads back to itself",
    ),
}
OVERLAY_HEAD = "overlay: 1.0.0\ninfo: {title: t, version: '1'}\nactions:\n"
REFUSED_OVERLAYS = {
    "empty": ("", "overlay.yaml is empty, not a YAML or JSON object"),
    "without a head": ("actions: []", "overlay.yaml is not a valid Overlay 1.0 document at"),
    "of version 1.1": (
        f"{OVERLAY_HEAD}  - {{target: $.x, copy: $.y}}",
        "document at actions/0: Unevaluated properties",
    ),
    "an action that is text": (f"{OVERLAY_HEAD}  - nothing", "at actions/0: 'nothing' is not of type 'object'"),
    "a target that is no path": (
        f"{OVERLAY_HEAD}  - {{target: '$.[', description: because, remove: true}}",
        "overlay action 1 ($.[; its reason: because) cannot be applied: Parse error",
    ),
    "a match of nothing": (
        f"{OVERLAY_HEAD}  - {{target: $.info}}\n  - {{target: $.gone, description: because, remove: true}}",
        "overlay action 2 ($.gone; its reason: because) matches nothing",
    ),
    "a removal of everything": (f"{OVERLAY_HEAD}  - {{target: $, remove: true}}", "cannot be applied: Cannot remove"),
    "a correction that breaks": (
        f"{OVERLAY_HEAD}  - {{target: $.components.schemas.Amount, remove: true}}",
        "overlay.yaml, refers to #/components/schemas/Amount, which is not there",
    ),
}

CORRECT_EACH = """
import json, runpy, sys
for folder in sys.argv[1:]:
    sys.argv[1:] = [f"{folder}/description", f"{folder}/overlay.yaml", f"{folder}/corrected.json"]
    try:
        runpy.run_module("scripts.correct_description", run_name="__main__")
        print("null")
    except SystemExit as end:
        print(json.dumps(end.code))
"""


def correct(folder: Path, descriptions: list[str | bytes], *overlays: str) -> list[str | None]:
    """Run correct_description.py on each description, with its overlay or the only one; return its complaints."""
    cases = [folder / str(number) for number in range(len(descriptions))]
    each = overlays if len(overlays) > 1 else overlays * len(cases)
    for case, description, overlay in zip(cases, descriptions, each, strict=True):
        case.mkdir(parents=True)
        (case / "description").write_bytes(description if isinstance(description, bytes) else description.encode())
        (case / "overlay.yaml").write_text(overlay, "utf-8")
    python = ROOT / ".venv-generator" / "bin" / "python"
    done = subprocess.run(
        [python, "-B", "-c", CORRECT_EACH, *cases], check=True, capture_output=True, text=True, cwd=ROOT
    )
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()]


NO_CORRECTION = f"{OVERLAY_HEAD}  - {{target: $.info}}"


@pytest.fixture(scope="module")
def complaints(regenerated: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str | None]:
    folder = tmp_path_factory.mktemp("refused")
    descriptions = [description for description, _ in REFUSED_DESCRIPTIONS.values()]
    return dict(zip(REFUSED_DESCRIPTIONS, correct(folder, descriptions, NO_CORRECTION), strict=True))


def check_sentence(message: str | None, shown: str) -> None:
    assert message is not None
    assert message.startswith("regen: ")
    assert shown in message
    assert "\n" not in message


@pytest.mark.parametrize("name", REFUSED_DESCRIPTIONS)
def test_refuses_a_description_in_one_sentence(complaints: dict[str, str | None], name: str) -> None:
    check_sentence(complaints[name], REFUSED_DESCRIPTIONS[name][1])


@pytest.mark.usefixtures("regenerated")
def test_refuses_each_overlay_in_one_sentence(tmp_path: Path) -> None:
    overlays = [overlay for overlay, _ in REFUSED_OVERLAYS.values()]
    messages = correct(tmp_path, [SOURCE] * len(overlays), *overlays)
    for message, (_, shown) in zip(messages, REFUSED_OVERLAYS.values(), strict=True):
        check_sentence(message, shown)


@pytest.mark.usefixtures("regenerated")
def test_takes_yaml_and_json_as_they_come(tmp_path: Path) -> None:
    windows = "\ufeff" + SOURCE.replace("\n", "\r\n")
    tabs = json.dumps(DESCRIPTION, indent="\t", ensure_ascii=False)
    more = "\nx-base: &base {k: 2020-01-02}\nx-same: *base\nx-more: {<<: *base, values: [NO, on, true, =]}"
    assert correct(tmp_path, [SOURCE, windows, tabs, SOURCE + more], NO_CORRECTION) == [None] * 4
    documents = [json.loads((tmp_path / str(n) / "corrected.json").read_text("utf-8")) for n in range(4)]
    base = {"k": "2020-01-02"}
    extensions = {"x-base": base, "x-same": base, "x-more": base | {"values": ["NO", "on", True, "="]}}
    assert documents == [PREPARED] * 3 + [PREPARED | extensions]


@pytest.mark.usefixtures("regenerated")
def test_the_overlay_changes_every_match_and_nothing_else(tmp_path: Path) -> None:
    overlay = f"""{OVERLAY_HEAD}
  - {{target: '$.components.schemas.User.required[0:2]', remove: true}}
  - {{target: '$.paths[*].*.parameters[?(@.name == "integration_id")]', update: {{x-note: {{seen: 1}}}}}}
  - {{target: '$.paths["/v3/accounting/integration/{{integration_id}}/disconnect"].post.parameters[0].x-note',
      update: {{seen: 2}}}}
  - {{target: $.components.schemas.Amount, remove: false, update: {{x-note: 3}}}}
"""
    assert correct(tmp_path, [SOURCE], overlay) == [None]
    expected = copy.deepcopy(PREPARED)
    del expected["components"]["schemas"]["User"]["required"][:2]
    for verb, seen in {"disconnect": 2, "reactivate": 1}.items():
        path = expected["paths"][f"/v3/accounting/integration/{{integration_id}}/{verb}"]
        path["post"]["parameters"][0]["x-note"] = {"seen": seen}
    expected["components"]["schemas"]["Amount"]["x-note"] = 3
    assert json.loads((tmp_path / "0" / "corrected.json").read_text("utf-8")) == expected
