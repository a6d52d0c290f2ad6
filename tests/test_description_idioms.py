"""A description in the style of the vendor's other APIs: it generates, imports, type checks, and reads its examples."""

from __future__ import annotations

import ast
import importlib
import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import pytest

from scripts.prepare import TAKEN
from scripts.schemas import shape_of
from tests.support.marks import not_src
from tests.support.project import generate_once
from tests.support.schema_examples import example_of
from tests.support.schemas import INTEGER, NUMBER, TEXT, TIME, array, content, model, one_of, reference

Node = dict[str, Any]

pytestmark = [
    pytest.mark.timeout(600),  # the first run on a machine makes the generator's environment
    not_src,
]


def all_of(*schemas: Node, **beside: Any) -> Node:
    return {"allOf": list(schemas), **beside}


def enum(*values: str, **beside: Any) -> Node:
    return {"type": "string", "enum": list(values), **beside}


def family(parent: str, kind: str, *children: str, **beside: Any) -> Node:
    """A parent that is one of its children, which are it and more."""
    mapping = {child.upper(): f"#/components/schemas/{child}" for child in children}
    return {
        "type": "object",
        "discriminator": {"propertyName": kind, "mapping": mapping},
        "oneOf": [reference(child) for child in children],
        **beside,
    }


def child(parent: str, properties: Node, *required: str) -> Node:
    own = {"properties": properties} | ({"required": list(required)} if required else {})
    return {"type": "object", "allOf": [reference(parent), own]}


INNER = {"$ref": "#/components/schemas/Note/properties/mark"}
SCHEMAS: Node = {
    # Null, words and defaults in allOf, of models and of enums
    "Allowance": model(
        {
            "limit": all_of(reference("Coins"), {"nullable": True}),
            "spent": all_of(reference("Coins"), {"description": "What is gone.", "nullable": True}),
            "left": all_of(reference("Coins"), {"description": "What is left."}),
            "reserved": all_of(reference("Coins"), {"deprecated": True}, nullable=True),
            "state": all_of(reference("State"), {"nullable": True}),
            "next_state": all_of(reference("State"), {"description": "d", "default": "OPEN"}),
            "old_state": all_of(reference("State"), {"nullable": True}, default="SHUT"),
            "rate": {"type": "number", "default": 0.5, "nullable": True},
            "zero": all_of(reference("Coins"), {"default": {"amount": 0}}),
            "inline": all_of({"type": "object", "properties": {"x": TEXT}}, {"nullable": True}),
            "short": all_of(TEXT, {"maxLength": 3}),
        },
        "left",
        "next_state",
    ),
    "Coins": model({"amount": INTEGER, "currency": TEXT | {"nullable": True, "default": "USD"}}, "amount"),
    "State": enum("OPEN", "SHUT"),
    # Equal titles, and titles that are names of others
    "Field.ByKey": model({"key": TEXT}, "key") | {"title": "ByKey"},
    "Value.ByKey": model({"key": TEXT, "value": TEXT}, "key") | {"title": "ByKey"},
    "Lookup": {"title": "Coins", "oneOf": [reference("Field.ByKey"), reference("Value.ByKey")]},
    "Titled": model({"inner": model({"a": TEXT}) | {"title": "Coins"}, "kind": enum("A") | {"title": "State"}}),
    # A family whose parent has members, one with a single child, and one without members
    "Instrument": family("Instrument", "kind", "Card", "Cash", **model({"kind": reference("Kind")}, "kind")),
    "Kind": enum("CARD", "CASH"),
    "Card": child("Instrument", {"last_four": TEXT, "kind": enum("CARD")}, "last_four"),
    "Cash": child("Instrument", {"drawer": TEXT | {"nullable": True}}),
    "Owner": family("Owner", "type", "Person"),
    "Person": child("Owner", {"type": enum("PERSON"), "person_id": TEXT}, "type", "person_id"),
    "Account": family("Account", "type", "Checking", "Savings"),
    "Checking": child("Account", {"type": TEXT, "routing": TEXT}, "type", "routing"),
    "Savings": child("Account", {"type": TEXT, "interest": NUMBER}, "type", "interest"),
    "Wallet": model(
        {
            "instrument": reference("Instrument"),
            "owner": all_of(reference("Owner"), nullable=True),
            "accounts": array(reference("Account")),
        },
        "instrument",
    ),
    # Inheritance of several steps, in which members become narrower; alternatives beside a base
    "Wrapper": model({"data_type": reference("DataType"), "value_type": TEXT}, "data_type", "value_type"),
    "Wrapper.Many": all_of(reference("Wrapper"), **model({"count": INTEGER}, "value_type")),
    "DataType": enum("TEXT", "COUNT"),
    "TextValue": all_of(
        reference("Wrapper.Many"),
        reference("Wrapper"),
        **model({"data_type": enum("TEXT"), "data": array(TEXT) | {"nullable": True}}, "data_type"),
    ),
    "CountValue": all_of(reference("Wrapper"), **model({"data_type": enum("COUNT"), "data": INTEGER})),
    "Custom": model({"value": all_of(reference("Wrapper"), one_of(reference("TextValue"), reference("CountValue")))}),
    "Tagged": model({"tag": TEXT}, "tag") | one_of(reference("Coins"), reference("Field.ByKey")),
    # Schemas inside of themselves
    "Folder": model(
        {
            "parent": all_of(reference("Folder"), {"nullable": True}),
            "folders": array(reference("Folder")),
            "entries": array(reference("Entry")),
            "by_name": {"type": "object", "additionalProperties": reference("Folder")},
        }
    ),
    "Entry": one_of(reference("Folder"), reference("Note")),
    "Note": model(
        {
            "text": TEXT,
            "folder": reference("Folder"),
            "mark": model({"again": INNER}),
        },
        "text",
    ),
    # Names that generated/ has a use for, and the rest
    **{name: model({"a": TEXT}) for name in ("Client", "Decimal", "File", "Model", "OneOf", "Response")},
    "Page_Folder_": model({"items": array(reference("Folder")), "next_cursor": TEXT | {"nullable": True}}, "items"),
    "Empty": {"type": "object"},
    "Anything": model({"any": {}, "map": {"type": "object", "additionalProperties": TEXT}, "at": TIME}),
    "Nullable": model({"a": model({"b": model({"c": TEXT}) | {"nullable": True}})}) | {"nullable": True},
    "NullableChild": all_of(reference("Coins"), model({"more": model({"a": TEXT})}), nullable=True),
    "NullableState": enum("UP", "DOWN", nullable=True),
    "HasNullable": model(
        {
            "model": reference("Nullable"),
            "child": reference("NullableChild"),
            "state": reference("NullableState"),
            "inline_state": enum("IN", nullable=True),
            "inline": model({"a": model({"b": TEXT})}) | {"nullable": True},
            "list": array(model({"a": model({"b": TEXT})}) | {"nullable": True}),
            "alias": reference("Alias"),
            "choice": one_of(model({"x": model({"y": TEXT})}, "x"), model({"z": model({"y": TEXT})}, "z")),
            "more_of_itself": all_of(reference("HasNullable"), model({"extra": TEXT}, "extra")),
        },
        *("model", "child", "state", "inline_state", "inline"),
    ),
    "Alias": all_of(reference("Titled"), {"description": "Another name."}),
    "Events": array(one_of(model({"data": model({"a": TEXT})}), reference("Note"))),
    "Payment": all_of(reference("Lookup"), model({"paid": {"type": "boolean"}}, "paid")),
}


def operation(operation_id: str, answer: Node, *parameters: Node, **more: Any) -> Node:
    return {
        "operationId": operation_id,
        "tags": ["Odd"],
        "parameters": list(parameters),
        "responses": {"200": {"description": "fine", **content(answer)}},
        **more,
    }


def body(media: Node) -> Node:
    return {"required": True, **media}


def query(name: str, schema: Node, **more: Any) -> Node:
    return {"name": name, "in": "query", "schema": schema, **more}


UPLOAD = model({"file": TEXT | {"format": "binary"}, "note": TEXT, "meta": reference("Coins")}, "file")
DESCRIPTION: Node = {
    "openapi": "3.0.1",
    "info": {"title": "Odds and ends", "version": "1"},
    "servers": [{"url": "https://api.example"}],
    "paths": {
        "/folders": {
            "get": operation(
                "listFolders",
                reference("Page_Folder_"),
                query("expand[]", array(TEXT)),
                query("user_id[]", array(TEXT) | {"nullable": True}),
                query("state", all_of(reference("State"), {"description": "d"})),
                query("at", model({"gt": TIME, "lt": TIME}), style="deepObject"),
                query("limit", {"type": "integer", "default": 100}),
            )
        },
        "/wallets": {
            "post": operation("makeWallet", reference("Wallet"), requestBody=body(content(reference("Wallet")))),
            "get": operation("getOwner", one_of(reference("Person"), reference("Card"))),
        },
        "/notes": {
            "post": operation("upload", reference("Empty"), requestBody=body(content(UPLOAD, "multipart/form-data")))
        },
    },
    "components": {"schemas": SCHEMAS},
}
NOTHING = "overlay: 1.0.0\ninfo: {title: t, version: '1'}\nactions:\n  - {target: $.info}\n"


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("idioms")
    (folder / "idioms.json").write_text(json.dumps(DESCRIPTION), "utf-8")
    (folder / "overlay.yaml").write_text(NOTHING, "utf-8")
    made = generate_once(tmp_path_factory, folder / "idioms.json", folder / "overlay.yaml", "idioms_api")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.syspath_prepend(made.parent)
        yield "idioms_api"


def class_of(package: str, name: str) -> Any:
    models = importlib.import_module(f"{package}.models")
    names = {each.lower(): each for each in models.__all__}
    plain = name.replace(".", "").replace("_", "").lower()
    return getattr(models, names.get(plain) or names[f"{plain}model"])


def decode(package: str, kind: Any, value: Any) -> Any:
    return importlib.import_module(f"{package}.types").decode(kind, json.dumps(value).encode())


def encoded(package: str, value: Any) -> Any:
    return json.loads(importlib.import_module(f"{package}.types").encode(value), parse_float=Decimal)


NO_CLASS = {"Instrument", "Owner", "Account", "Lookup", "Tagged", "Entry", "Alias", "Events", "Payment"}
"""Alternatives, arrays and other names have no class of their own."""


@pytest.mark.parametrize("name", [name for name in SCHEMAS if name not in NO_CLASS])
def test_an_example_of_each_schema_is_read_and_written(package: str, name: str) -> None:
    example = example_of(SCHEMAS[name], DESCRIPTION)
    found = decode(package, class_of(package, name), example)
    assert encoded(package, found) == json.loads(json.dumps(example), parse_float=Decimal)
    if shape_of(SCHEMAS[name], DESCRIPTION, expand=True).properties:
        assert found.additional_properties == {}  # every property is known


def test_null_is_read_where_the_all_of_says_so(package: str) -> None:
    nullable = ("limit", "spent", "reserved", "state", "old_state", "rate", "inline")
    least = {"left": {"amount": 1}, "next_state": "OPEN"}
    found = decode(package, class_of(package, "Allowance"), least | dict.fromkeys(nullable))
    assert [getattr(found, name) for name in nullable] == [None] * len(nullable)
    coins = decode(package, class_of(package, "Allowance"), least | {"limit": {"amount": 1}, "left": {"amount": 2}})
    assert type(coins.limit) is type(coins.left) is class_of(package, "Coins")
    assert type(coins.next_state) is class_of(package, "State")
    with pytest.raises(ValueError, match="left"):
        decode(package, class_of(package, "Allowance"), least | {"left": None})


def test_null_is_read_where_the_component_says_so(package: str) -> None:
    nullable = ("model", "child", "state", "inline_state", "inline")
    kind = class_of(package, "HasNullable")
    found = decode(package, kind, dict.fromkeys(nullable))
    assert [getattr(found, name) for name in nullable] == [None] * len(nullable)
    value = {
        "model": {"a": {"b": None}},
        "child": {"amount": 1, "more": {"a": "x"}},
        "state": "UP",
        "inline_state": "IN",
    }
    more = {"list": [None, {"a": {"b": "x"}}], "choice": {"z": {"y": "x"}}, "alias": {"kind": "A"}, "inline": {"a": {}}}
    found = decode(package, kind, value | more)
    assert [type(getattr(found, name)).__name__ for name in (*nullable, "alias", "choice")] == [
        *("Nullable", "NullableChild", "NullableState", "HasNullableInlineState", "HasNullableInline"),
        *("Titled", "HasNullableChoiceType1"),
    ]
    assert (found.list_[0], found.list_[1].a.b) == (None, "x")


def test_what_is_a_choice_and_more_is_read(package: str) -> None:
    paid = decode(package, class_of(package, "PaymentType1"), {"key": "k", "value": "v", "paid": True})
    assert (paid.key, paid.value, paid.paid) == ("k", "v", True)


def test_a_child_is_told_apart_and_knows_its_parents_members(package: str) -> None:
    wallet = decode(
        package,
        class_of(package, "Wallet"),
        {
            "instrument": {"kind": "CARD", "last_four": "0001"},
            "owner": {"type": "PERSON", "person_id": "p"},
            "accounts": [{"type": "S", "interest": 0.5}, {"type": "C", "routing": "r"}],
        },
    )
    card = wallet.instrument
    assert (type(card).__name__, card.kind, card.last_four) == ("Card", "CARD", "0001")
    assert (type(wallet.owner).__name__, wallet.owner.person_id) == ("Person", "p")
    assert [type(account).__name__ for account in wallet.accounts] == ["Savings", "Checking"]
    assert class_of(package, "Wallet")(instrument=card).to_dict()["instrument"]["last_four"] == "0001"


def test_members_beside_alternatives_are_known(package: str) -> None:
    value = {"data_type": "TEXT", "value_type": "v", "count": 2, "data": ["x"]}
    custom = decode(package, class_of(package, "Custom"), {"value": value})
    assert (type(custom.value).__name__, custom.value.count, custom.value.data) == ("TextValue", 2, ["x"])


def test_schemas_inside_of_themselves_are_read(package: str) -> None:
    note = {"text": "t", "folder": {"parent": {"folders": []}}, "mark": {"again": {"again": {}}}}
    folder = decode(package, class_of(package, "Folder"), {"entries": [note, {"folders": [{}]}], "by_name": {"a": {}}})
    assert [type(entry).__name__ for entry in folder.entries] == ["Note", "Folder"]
    assert type(folder.entries[0].folder.parent) is type(folder)
    assert type(folder.entries[0].mark.again) is type(folder.entries[0].mark)


def sent(package: str, name: str, **arguments: Any) -> httpx.Request:
    module = importlib.import_module(f"{package}.api.odd.{name}")
    return httpx.Client(base_url="https://api.example").build_request(**module.get_kwargs(**arguments))


def test_brackets_go_over_the_wire(package: str) -> None:
    at = importlib.import_module("datetime").datetime.fromisoformat("2025-01-02T00:00:00+00:00")
    request = sent(package, "list_folders", expand=["a", "b"], atgt=at, state=class_of(package, "State").OPEN)
    assert request.url.params.multi_items() == [
        ("expand[]", "a"),
        ("expand[]", "b"),
        ("state", "OPEN"),
        ("at[gt]", "2025-01-02T00:00:00+00:00"),
        ("limit", "100"),
    ]


def test_files_go_over_the_wire(package: str) -> None:
    types = importlib.import_module(f"{package}.types")
    body = class_of(package, "UploadBody")(
        file=types.File(payload=b"GIF89a", file_name="a.gif", mime_type="image/gif"),
        note="receipt",
        meta=class_of(package, "Coins")(amount=1),
    )
    request = sent(package, "upload", body=body)
    assert request.headers["Content-Type"].startswith("multipart/form-data; boundary=")
    text = request.read().decode()
    for part in ('name="file"; filename="a.gif"', "image/gif", "GIF89a", 'name="note"', "receipt", '"amount":1'):
        assert part in text


def test_the_names_that_generated_modules_import_are_taken(package: str) -> None:
    root = Path(importlib.import_module(package).__path__[0])
    imported = {
        alias.asname or alias.name
        for folder in ("api", "models")
        for file in (root / folder).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.ImportFrom) and "models" not in (node.module or "") and file.name != "__init__.py"
        for alias in node.names
    }
    classes = {name for name in imported if name[0].isupper() and not name.isupper()}
    assert {"Client", "Decimal", "Model", "OneOf"} <= classes
    assert {name.lower() for name in classes} <= TAKEN
