"""`scripts/regen.sh` and `scripts/check_generated.sh`, on copies of what they read and write."""

from __future__ import annotations

import copy
import email
import email.message
import importlib
import io
import json
import os
import shutil
import signal
import subprocess
import time
import weakref
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs
from uuid import UUID

import attrs
import httpx
import pytest
import yaml

from scripts.read_description import read as read_description
from scripts.simplify import prepare
from tests.support.marks import not_src
from tests.support.project import DESCRIPTION_FILE, PACKAGE, ROOT, Clone, Project, check_success, command, snapshot
from tests.support.schemas import INTEGER, NUMBER, TEXT, TIME, array, content, model, one_of, reference

Node = dict[str, Any]
DESCRIPTION: Node = read_description(DESCRIPTION_FILE)
PREPARED = copy.deepcopy(DESCRIPTION)
prepare(PREPARED, "")
SOURCE = yaml.safe_dump(DESCRIPTION, sort_keys=False)  # Brex may publish JSON one day

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


def test_the_committed_package_is_what_the_inputs_give() -> None:
    check_success(Project(ROOT).run(script="check_generated.sh"))


def test_the_caller_changes_nothing(clone: Clone, regenerated: Path, tmp_path: Path) -> None:
    project = clone(tmp_path / "a project of ours")
    files = tmp_path / "my files"
    files.mkdir()
    shutil.copy(DESCRIPTION_FILE, files / "from brex.yaml")
    hostile: dict[str, Any] = {"PYTHONHASHSEED": "7", "PYTHONPATH": "/", "PYTHONWARNINGS": "error", "LC_ALL": "C"}
    check_success(
        project.run("from brex.yaml", cwd=files, umask=0o077, CDPATH="/", REGEN_OUTPUT="an output/package", **hostile)
    )
    assert snapshot(files / "an output" / "package") == snapshot(regenerated)
    assert snapshot(project.generated / PACKAGE) == snapshot(regenerated)


def test_needs_no_network(project: Project, regenerated: Path) -> None:
    without_network = ("unshare", "--map-root-user", "--net")
    if subprocess.run([*without_network, "true"], check=False, capture_output=True).returncode:
        pytest.skip("nobody may go without a network here")
    check_success(project.run(prefix=without_network))
    assert snapshot(project.generated / PACKAGE) == snapshot(regenerated)


def test_two_runs_at_once_agree(project: Project, regenerated: Path, tmp_path: Path) -> None:
    (project.generated / PACKAGE / "stale.py").touch()
    slow_move = command(tmp_path / "bin" / "mv", "sleep 0.3", 'exec /bin/mv "$@"')
    path = f"{slow_move.parent}:{os.environ['PATH']}"
    for run in [project.start(PATH=path), project.start(PATH=path)]:
        assert (run.communicate()[1], run.returncode) == ("", 0)
    assert snapshot(project.generated) == snapshot(regenerated.parent)


# Descriptions to come


def answers(answer: Node, **operation: object) -> Node:
    return {"tags": ["Odd"], "responses": {"200": {"description": "fine", **answer}}, **operation}


def sends(body: Node) -> Node:
    return answers(content(TEXT), operationId="sendIt", requestBody=body)


KINDS = ("multipart/form-data", "application/json")
TWO_WAYS: Node = {"content": {kind: {"schema": reference("Amount")} for kind in KINDS}}


def described(change: Callable[[Node], object]) -> str:
    description = copy.deepcopy(DESCRIPTION)
    change(description)
    return json.dumps(description, indent=2)


def read(package: str, name: str, value: object) -> Any:
    kind = getattr(importlib.import_module(f"{package}.models"), name)
    return importlib.import_module(f"{package}.types").decode(kind, json.dumps(value).encode())


def written(package: str, model: object) -> Any:
    return json.loads(importlib.import_module(f"{package}.types").encode(model), parse_float=Decimal)


def call(package: str, operation: str, body: object, **arguments: object) -> Any:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=json.dumps(body)))
    client = importlib.import_module(package).Client("https://api.example", httpx_args={"transport": transport})
    return importlib.import_module(f"{package}.api.odd.{operation}").sync(client=client, **arguments)


@pytest.fixture(scope="module")
def revision(clone: Clone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A package that was made anew from another revision, JSON with a BOM and CRLF."""

    def revise(description: Node) -> None:
        schemas, paths = description["components"]["schemas"], description["paths"]
        schemas["Integration"]["properties"]["vendor"]["enum"] = ["CAMPFIRE", "HANOVER_PARK", "RILLET"]
        schemas["Integration"]["properties"]["label"] = TEXT
        schemas["User"]["properties"]["status"]["enum"].append("ON_LEAVE")
        paths["/new"] = {"get": answers(content(array(reference("Integration"))), operationId="listOddities")}
        del paths["/v3/accounting/integration/{integration_id}/reactivate"]

    project = clone(tmp_path_factory.mktemp("revision"))
    package = (project.generated / PACKAGE).rename(project.generated / "revision_api")
    text = "\ufeff" + described(revise).replace("\n", "\r\n")
    (project.root / "new.json").write_bytes(text.encode())
    check_success(project.run("new.json", REGEN_OUTPUT=package))
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.syspath_prepend(project.generated)
        yield package


INTEGRATION = {
    "id": "int_1",
    "vendor": "RILLET",
    "status": "ACTIVE",
    "created_at": "2025-08-15T10:00:00Z",
    "vendor_account_id": "account",
}


@pytest.mark.usefixtures("revision")
def test_vendor_may_be_an_enum_again() -> None:
    vendor = read("revision_api", "Integration", INTEGRATION).vendor
    assert vendor is type(vendor).RILLET
    assert vendor == "RILLET"
    assert read("revision_api", "Integration", INTEGRATION | {"vendor": "ERP_A"}).vendor == "ERP_A"


@pytest.mark.usefixtures("revision")
def test_a_property_and_an_enum_value_may_be_added() -> None:
    assert read("revision_api", "Integration", INTEGRATION).label is None
    assert read("revision_api", "Integration", INTEGRATION | {"label": "main"}).label == "main"
    status = importlib.import_module("revision_api.models").UserStatus
    assert status("ON_LEAVE") is status.ON_LEAVE


@pytest.mark.usefixtures("revision")
def test_an_operation_may_be_added() -> None:
    assert [integration.id for integration in call("revision_api", "list_oddities", [INTEGRATION])] == ["int_1"]


def test_an_operation_may_be_removed_and_leaves_nothing(revision: Path) -> None:
    names = {path.name for path in revision.rglob("*.py")}
    assert "disconnect_integration.py" in names
    assert "reactivate_integration.py" not in names
    assert [path.name for path in revision.parent.iterdir()] == ["revision_api"]


COLOR: Node = {"type": "string", "enum": ["red", "dark-blue", "1st", "", "None"]}
ODD_SCHEMAS: Node = {
    "Names": model(
        dict.fromkeys(("class", "type", "foo-bar", "str", "self", "None", "1st", "field"), TEXT)
        | {"list": array(TEXT), "int": INTEGER, "dict": model({"from": TEXT}), "datetime": TIME}
        | {"date": {"type": "string", "format": "date"}, "uuid": {"type": "string", "format": "uuid"}},
        "class",
        "list",
    ),
    "Tree": model({"value": NUMBER, "children": array(reference("Tree")), "leaf": reference("Leaf")}, "value"),
    "Leaf": model({"tree": reference("Tree")}),
    "Level": {"type": "integer", "enum": [1, 2, -3]},
    "Color": COLOR,
    "Enums": model(
        {
            "levels": array(reference("Level")),
            "colors": array(reference("Color")),
            "nullable": {**COLOR, "nullable": True, "enum": ["red", None]},
        }
    ),
    "Cat": model({"kind": {"type": "string", "enum": ["cat"]}, "name": TEXT}, "kind", "name"),
    "Dog": model({"kind": {"type": "string", "enum": ["dog"]}, "name": TEXT, "weight": NUMBER}, "kind", "name"),
    "Choices": model(
        {
            "pets": array(one_of(reference("Cat"), reference("Dog"))),
            "amount": one_of(TEXT, NUMBER),
            "when": one_of(TIME, TEXT),
            "lists": one_of(array(reference("Tree")), array(TEXT)),
            "mixed": one_of(reference("Tree"), TEXT, INTEGER) | {"nullable": True},
        }
    ),
    "Defaults": model(
        {
            "number": NUMBER | {"default": 0.1},
            "level": {"allOf": [reference("Level")], "default": 2},
            "day": {"type": "string", "format": "date", "default": "2020-01-02"},
        }
    ),
    "Prices": {"type": "object", "additionalProperties": NUMBER},
}
PARTS, FORM = "multipart/form-data", "application/x-www-form-urlencoded"
UPLOAD: Node = model(
    {
        "receipt": TEXT | {"format": "binary"},
        "pages": array(TEXT | {"format": "binary"}),
        "note": TEXT,
        "amount": NUMBER,
        "paid": {"type": "boolean"},
        "when": TIME,
        "level": reference("Level"),
        "leaf": reference("Leaf"),
        "left_out": TEXT,
        "foo-bar": TEXT,
    },
    "receipt",
    "note",
)
ODD_PATHS: Node = {
    "/pet": {"get": answers(content(one_of(reference("Cat"), reference("Dog"))), operationId="getPet")},
    "/trees": {"get": answers(content(array(reference("Tree"))), operationId="getTrees")},
    "/numbers": {"get": answers(content(array(NUMBER)), operationId="getNumbers")},
    "/times": {"get": answers(content(array(TIME)), operationId="getTimes")},
    "/level": {"get": answers(content({"allOf": [reference("Level")], "nullable": True}), operationId="getLevel")},
    "/text": {"get": answers(content(TEXT, "text/csv"), operationId="getText")},
    "/file": {"get": answers(content(TEXT | {"format": "binary"}, "application/octet-stream"), operationId="getFile")},
    "/without/a/name": {"get": answers(content(reference("Leaf")))},
    "/upload": {"post": answers(content(reference("Leaf")), operationId="upload", requestBody=content(UPLOAD, PARTS))},
    "/either": {
        "post": answers(
            content(reference("Leaf")),
            operationId="either",
            requestBody={"content": content(UPLOAD, PARTS)["content"] | content(reference("Tree"))["content"]},
        )
    },
    "/form": {
        "post": answers(
            content(reference("Leaf")), operationId="sendForm", requestBody=content(reference("Names"), FORM)
        )
    },
}


@pytest.fixture(scope="module")
def odd(clone: Clone, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    def add(description: Node) -> None:
        description["components"]["schemas"].update(ODD_SCHEMAS)
        description["paths"].update(ODD_PATHS)

    folder = tmp_path_factory.mktemp("odd")
    (folder / "odd.json").write_text(described(add), "utf-8")
    check_success(clone(folder / "project").run(folder / "odd.json", REGEN_OUTPUT=folder / "odd_api"))
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.syspath_prepend(folder)
        yield "odd_api"


@pytest.mark.parametrize(
    ("name", "value", "attributes"),
    [
        pytest.param(
            "Names",
            dict.fromkeys(("class", "type", "foo-bar", "str", "self", "None", "1st", "field"), "x")
            | {"list": ["x"], "int": 1, "dict": {"from": "x"}, "datetime": "2020-01-02T00:00:00Z", "date": "2020-01-02"}
            | {"uuid": "07ef8b4d-aa09-4ffa-898d-c710796aff41"},
            dict.fromkeys(("class_", "type", "foo_bar", "str_", "self_", "none", "field_1st", "field"), "x")
            | {"list_": ["x"], "int_": 1, "datetime_": datetime(2020, 1, 2, tzinfo=UTC), "date": date(2020, 1, 2)}
            | {"uuid": UUID("07ef8b4d-aa09-4ffa-898d-c710796aff41")},
            id="names of Python's",
        ),
        pytest.param("Names", {"class": "x", "list": []}, {"type": None, "dict_": None}, id="names left out"),
        pytest.param("Enums", {"levels": [1, -3, 9], "colors": ["red", "", "puce"]}, {}, id="arrays of enums"),
        pytest.param("Enums", {"nullable": "red"}, {"nullable": "red", "levels": None}, id="nullable enum"),
        pytest.param(
            "Choices", {"amount": 5.5, "when": "soon"}, {"amount": Decimal("5.5"), "when": "soon"}, id="texts"
        ),
        pytest.param(
            "Choices", {"when": "2020-01-02T00:00:00Z"}, {"when": datetime(2020, 1, 2, tzinfo=UTC)}, id="time"
        ),
        pytest.param("Choices", {"lists": ["x"], "mixed": 7}, {"lists": ["x"], "mixed": 7}, id="lists and numbers"),
        pytest.param("Prices", {"USD": 1.1}, {"additional_properties": {"USD": Decimal("1.1")}}, id="free-form"),
    ],
)
def test_odd_properties_are_read_and_written(odd: str, name: str, value: Node, attributes: Node) -> None:
    found = read(odd, name, value)
    assert {attribute: getattr(found, attribute) for attribute in attributes} == attributes
    assert written(odd, found) == json.loads(json.dumps(value), parse_float=Decimal)
    assert type(found).from_dict(value) == found
    assert found.to_dict().keys() >= value.keys()
    assert type(found).from_dict(found.to_dict()) == found


def test_defaults_have_the_types_of_what_is_read(odd: str) -> None:
    found = read(odd, "Defaults", {})
    assert (found.number, found.level, found.day) == (Decimal("0.1"), 2, date(2020, 1, 2))
    assert found.level is type(found.level).VALUE_2


@pytest.mark.parametrize(
    ("pet", "kind"),
    [
        ({"kind": "cat", "name": "x"}, "Cat"),
        ({"kind": "dog", "name": "x"}, "Dog"),
        ({"kind": "cow", "name": "x", "weight": 0.1}, "Dog"),
        ({"kind": "dog", "name": "x", "age": 3}, "Dog"),
    ],
)
def test_of_two_models_the_one_that_knows_more_is_read(odd: str, pet: Node, kind: str) -> None:
    for found in (call(odd, "get_pet", pet), read(odd, "Choices", {"pets": [pet]}).pets[0]):
        assert type(found).__name__ == kind
        assert written(odd, found) == json.loads(json.dumps(pet), parse_float=Decimal)


def test_a_choice_that_fits_nothing_says_why_and_shows_nothing(odd: str) -> None:
    error = importlib.import_module(f"{odd}.errors").InvalidResponse
    with pytest.raises(error, match=r"Cat: .* missing .*`name`; Dog: .* missing .*`name`") as caught:
        call(odd, "get_pet", {"kind": "Jane Doe"})
    assert "Jane" not in str(caught.value)


def test_models_may_refer_to_themselves(odd: str) -> None:
    [tree] = call(
        odd, "get_trees", [{"value": 1, "children": [{"value": 2, "leaf": {"tree": {"value": 0.1, "x": 1}}}]}]
    )
    innermost = tree.children[0].leaf.tree
    assert innermost.value == Decimal("0.1")
    assert innermost.additional_properties == {"x": 1}


def test_answers_need_not_be_models(odd: str) -> None:
    assert call(odd, "get_numbers", [0.1, 7]) == [Decimal("0.1"), Decimal(7)]
    assert call(odd, "get_times", ["2020-01-02T00:00:00Z"]) == [datetime(2020, 1, 2, tzinfo=UTC)]
    assert (call(odd, "get_level", 2).name, call(odd, "get_level", 9), call(odd, "get_level", None)) == (
        "VALUE_2",
        9,
        None,
    )
    assert call(odd, "get_text", 5) == "5"
    assert call(odd, "get_file", 5).payload.read() == b"5"
    assert call(odd, "get_without_a_name", {"tree": {"value": 1}}).tree.value == 1


def request(package: str, operation: str, body: object) -> httpx.Request:
    """The request that goes out with a body."""
    requests: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        request.read()
        requests.append(request)
        return httpx.Response(200, json={})

    client = importlib.import_module(package).Client(
        "https://api.example", httpx_args={"transport": httpx.MockTransport(handle)}
    )
    importlib.import_module(f"{package}.api.odd.{operation}").sync(client=client, body=body)
    [sent] = requests
    return sent


def parts(sent: httpx.Request) -> dict[str, list[tuple[str | None, str, bytes]]]:
    """The parts of a multipart body: of each name the files' names, types and contents."""
    head = f"Content-Type: {sent.headers['content-type']}\r\n\r\n".encode()
    found: dict[str, list[tuple[str | None, str, bytes]]] = {}
    for part in email.message_from_bytes(head + sent.content).get_payload():
        assert isinstance(part, email.message.Message)
        name = str(part.get_param("name", header="content-disposition"))
        found.setdefault(name, []).append(
            (part.get_filename(), part.get_content_type(), cast("bytes", part.get_payload(decode=True)))
        )
    return found


@pytest.mark.parametrize("operation", ["upload", "either"])
def test_a_multipart_body_is_sent_in_parts(odd: str, operation: str) -> None:
    models, types = (importlib.import_module(f"{odd}.{name}") for name in ("models", "types"))
    kind = next(getattr(models, name) for name in models.__all__ if name.lower().startswith(operation))
    body = kind(
        receipt=types.File(payload=io.BytesIO(b"--+++\r\nPDF"), file_name="a.pdf", mime_type="application/pdf"),
        pages=[types.File(payload=io.BytesIO(bytes([page])), file_name=f"{page}.png") for page in (1, 2)],
        note="lunch, é",
        amount=Decimal("100.50"),
        paid=True,
        when=datetime(2020, 1, 2, tzinfo=UTC),
        level=models.Level.VALUE_2,
        leaf=models.Leaf(tree=models.Tree(value=Decimal("1.10"))),
        foo_bar="x",
    )
    sent = parts(request(odd, operation, body))
    assert sent == {
        "receipt": [("a.pdf", "application/pdf", b"--+++\r\nPDF")],
        "pages": [("1.png", "image/png", b"\1"), ("2.png", "image/png", b"\2")],
        "note": [(None, "text/plain", "lunch, é".encode())],
        "amount": [(None, "text/plain", b"100.50")],
        "paid": [(None, "text/plain", b"true")],
        "when": [(None, "text/plain", b"2020-01-02T00:00:00Z")],
        "level": [(None, "text/plain", b"2")],
        "leaf": [(None, "application/json", b'{"tree":{"value":1.10}}')],
        "foo-bar": [(None, "text/plain", b"x")],
    }


def test_of_two_kinds_of_body_the_given_one_is_sent(odd: str) -> None:
    tree = importlib.import_module(f"{odd}.models").Tree(value=Decimal("1.10"))
    sent = request(odd, "either", tree)
    assert (sent.headers["content-type"], sent.content) == ("application/json", b'{"value":1.10}')


def test_a_form_leaves_out_what_is_not_there(odd: str) -> None:
    names = importlib.import_module(f"{odd}.models").Names
    sent = request(
        odd, "send_form", names.from_dict({"class": "x&y", "list": ["1", "2"], "int": 7, "dict": {"from": "é"}})
    )
    assert sent.headers["content-type"] == FORM
    assert parse_qs(sent.content.decode(), strict_parsing=True) == {
        "class": ["x&y"],
        "list": ["1", "2"],
        "int": ["7"],
        "dict": ['{"from":"é"}'],
    }


def test_every_model_is_a_class_of_attrs_without_a_dict(odd: str, revision: Path) -> None:
    for package in (odd, revision.name, PACKAGE):
        models, base = importlib.import_module(f"{package}.models"), importlib.import_module(f"{package}.types").Model
        kinds = [kind for kind in vars(models).values() if isinstance(kind, type) and issubclass(kind, base)]
        assert len(kinds) > 10
        for kind in kinds:
            one = kind.__new__(kind)
            assert attrs.has(kind)
            assert not hasattr(one, "__dict__")
            assert weakref.ref(one)() is one


# What is refused, and that nothing is lost by it


def property_is(schema: Node) -> str:
    return described(lambda description: description["components"]["schemas"]["Vendor"]["properties"].update(id=schema))


REFUSED_DESCRIPTIONS: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "not a YAML or JSON object"),
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
    "empty": ("", "overlay.yaml is not a YAML or JSON object"),
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


def correct(folder: Path, descriptions: list[str | bytes], overlay: str = "") -> list[str | None]:
    """Run correct_description.py on each description, and return what it complained of."""
    cases = [folder / str(number) for number in range(len(descriptions))]
    for case, description in zip(cases, descriptions, strict=True):
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
@pytest.mark.parametrize(("overlay", "shown"), REFUSED_OVERLAYS.values(), ids=REFUSED_OVERLAYS)
def test_refuses_an_overlay_in_one_sentence(tmp_path: Path, overlay: str, shown: str) -> None:
    [message] = correct(tmp_path, [SOURCE], overlay)
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


def test_wrong_arguments_leave_the_package_as_it_was(project: Project) -> None:
    before = snapshot(project.generated)
    assert "does not exist: name an OpenAPI description" in complaint(project.run("nowhere.yaml"))
    assert "it takes one description" in complaint(project.run("a.yaml", "b.yaml"))
    assert snapshot(project.generated) == before


@pytest.mark.parametrize(
    ("description", "shown"),
    [
        ("openapi: [", "description cannot be read"),
        (property_is({"type": "string", "enum": ["A-B", "A_B"]}), "is as it was: ValueError: Duplicate key A_B"),
        (
            described(lambda d: d["paths"].update({"/x": {"post": sends(content(TEXT, PARTS))}})),
            "is as it was: the operation send_it (/x) takes multipart/form-data that is not an object with properties",
        ),
        (
            described(lambda d: d["paths"].update({"/x": {"post": sends(content(array(TEXT), FORM))}})),
            "the operation send_it (/x) takes application/x-www-form-urlencoded that is not an object with properties",
        ),
        (
            described(lambda d: d["paths"].update({"/x": {"post": sends(TWO_WAYS)}})),
            "the operation send_it (/x) takes one schema in several content types",
        ),
        (property_is({"type": "string", "enum": ["A", 1]}), "Unable to process schema Vendor: Got"),
    ],
    ids=[
        "unreadable",
        "two names that are one",
        "an enum of two types",
        "parts of no object",
        "a form of a list",
        "one body in two ways",
    ],
)
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


def test_two_runs_at_once_make_one_environment(project: Project, python: Path, regenerated: Path) -> None:
    for run in [project.start(PYTHON=python), project.start(PYTHON=python)]:
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


def test_check_passes_and_overlooks_caches(project: Project) -> None:
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
    command(
        project.root / "scripts" / "regen.sh", f'mkdir "${{REGEN_OUTPUT%/*}}"; cp -R "{regenerated}" "$REGEN_OUTPUT"'
    )
    change(project)
    check_difference(project, shown)


def test_check_fails_where_a_template_changed(project: Project) -> None:
    project.edit("openapi/templates/exchanges.yaml", "field(default=30.0,", "field(default=31.0,")
    check_difference(project, "field(default=31.0,")


def test_check_fails_where_the_description_does(project: Project) -> None:
    (project.root / "openapi" / "accounting.yaml").write_text("", "utf-8")
    assert "not a YAML or JSON object" in complaint(project.run(script="check_generated.sh"))
