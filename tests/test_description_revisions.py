"""What regenerated packages can do: revisions of the description, and odd ones."""

from __future__ import annotations

import copy
import email
import email.message
import importlib
import io
import json
import pickle
import weakref
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, cast
from urllib.parse import parse_qs
from uuid import UUID

import attrs
import httpx
import pydantic
import pytest

from tests.support.marks import not_src
from tests.support.project import OVERLAY_FILE, PACKAGE, generate_once
from tests.support.revisions import answers, described
from tests.support.schemas import INTEGER, NUMBER, TEXT, TIME, array, content, model, one_of, reference

Node = dict[str, Any]

pytestmark = [
    pytest.mark.timeout(600),  # the first run on a machine makes the generator's environment
    not_src,
]


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
def revision(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A package that was made anew from another revision, JSON with a BOM and CRLF."""

    def revise(description: Node) -> None:
        schemas, paths = description["components"]["schemas"], description["paths"]
        schemas["Integration"]["properties"]["vendor"]["enum"] = ["CAMPFIRE", "HANOVER_PARK", "RILLET"]
        schemas["Integration"]["properties"]["label"] = TEXT
        schemas["User"]["properties"]["status"]["enum"].append("ON_LEAVE")
        paths["/new"] = {"get": answers(content(array(reference("Integration"))), operationId="listOddities")}
        del paths["/v3/accounting/integration/{integration_id}/reactivate"]

    file = tmp_path_factory.mktemp("revision") / "new.json"
    file.write_bytes(("\ufeff" + described(revise).replace("\n", "\r\n")).encode())
    package = generate_once(tmp_path_factory, file, OVERLAY_FILE, "revision_api")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.syspath_prepend(package.parent)
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
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    def add(description: Node) -> None:
        description["components"]["schemas"].update(ODD_SCHEMAS)
        description["paths"].update(ODD_PATHS)

    folder = tmp_path_factory.mktemp("odd")
    (folder / "odd.json").write_text(described(add), "utf-8")
    made = generate_once(tmp_path_factory, folder / "odd.json", OVERLAY_FILE, "odd_api")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.syspath_prepend(made.parent)
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


def test_renamed_properties_survive_copies(odd: str) -> None:
    source = {"class": "x", "list": ["y"], "dict": {"from": "z"}, "new": 1.10}
    names = read(odd, "Names", source)
    for twin in (copy.copy(names), copy.deepcopy(names), pickle.loads(pickle.dumps(names))):
        assert twin == names
        assert (twin.class_, twin.list_, twin.dict_.from_) == ("x", ["y"], "z")
        assert written(odd, twin) == json.loads(json.dumps(source), parse_float=Decimal)
    assert attrs.evolve(names) == names
    assert "class_='x'" in repr(names)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (
            "Tree",
            {"value": 1.5, "children": [{"value": 2, "children": [], "leaf": {"tree": {"value": 3, "new": "x"}}}]},
        ),
        ("Choices", {"pets": [{"kind": "dog", "name": "x", "weight": 0.1}], "when": "soon", "mixed": 7}),
        ("Enums", {"levels": [1, 9], "colors": ["red", "puce"]}),
    ],
)
def test_pydantic_reads_and_writes_circles_and_choices(odd: str, name: str, value: Node) -> None:
    kind = getattr(importlib.import_module(f"{odd}.models"), name)
    adapter = pydantic.TypeAdapter(kind)
    found = adapter.validate_json(json.dumps(value))
    assert found == read(odd, name, value)
    assert adapter.dump_python(found, mode="json") == found.to_dict(mode="json")
    assert adapter.validate_json(adapter.dump_json(found)) == found
    assert json.dumps(adapter.json_schema(mode="serialization"))


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
