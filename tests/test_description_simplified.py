"""How the scripts rewrite a description for the generator: it means the same, and nothing is lost."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings

from scripts.description_changes import changes_between
from scripts.operations import operations
from scripts.prepare import prepare
from scripts.read_description import RefusedError
from scripts.schemas import shape_of
from scripts.simplify import simplified
from tests.support.marks import not_src
from tests.support.schemas import TEXT, array, documents, model, one_of, reference

pytestmark = not_src

Node = dict[str, Any]
X = reference("X")


def described(*parameters: Node, **schemas: Any) -> Node:
    """A description of these schemas, and of one operation that takes these parameters."""
    operation = {"operationId": "list", "parameters": list(parameters), "responses": {"200": {"description": "fine"}}}
    return {
        "openapi": "3.0.0",
        "info": {"title": "The title of the API", "version": "1"},
        "paths": {"/things": {"get": operation}},
        "components": {"schemas": schemas},
    }


def prepared(classes: Mapping[str, str] | None = None, /, **schemas: Any) -> Node:
    document = described(**copy.deepcopy(schemas))
    prepare(document, "it", classes or {})
    found: Node = document["components"]["schemas"]
    return found


# Annotations


@pytest.mark.parametrize(
    ("written", "same"),
    [
        ({"allOf": [X, {"nullable": True}]}, {"allOf": [X], "nullable": True}),
        ({"allOf": [X, {"description": "d"}]}, {"allOf": [X], "description": "d"}),
        ({"allOf": [X, {"description": "d", "nullable": True}]}, {"allOf": [X], "description": "d", "nullable": True}),
        ({"allOf": [X, {"default": "A"}], "nullable": True}, {"allOf": [X], "default": "A", "nullable": True}),
        ({"allOf": [X, {"deprecated": True, "x-note": 1}]}, {"allOf": [X], "deprecated": True, "x-note": 1}),
        (
            {"allOf": [{"nullable": True}, X], "description": "mine"},
            {"allOf": [X], "nullable": True, "description": "mine"},
        ),
        ({"allOf": [X, {"maxLength": 9}]}, {"allOf": [X], "maxLength": 9}),
        ({"allOf": [{"allOf": [X, {"nullable": True}]}]}, {"allOf": [{"allOf": [X], "nullable": True}]}),
        ({**X, "nullable": True}, {"allOf": [X], "nullable": True}),
        ({"allOf": [TEXT, {"maxLength": 9, "nullable": True}]}, TEXT | {"maxLength": 9, "nullable": True}),
        ({"allOf": [{"enum": ["A"]}], "type": "string"}, TEXT | {"enum": ["A"]}),
        ({"title": "A title", **model({"title": TEXT | {"title": "t"}})}, model({"title": TEXT})),
    ],
)
def test_what_only_annotates_moves_into_the_schema(written: Node, same: Node) -> None:
    places = {
        "Component": lambda schema: schema,
        "Property": lambda schema: model({"a": schema}),
        "Items": array,
        "Choice": lambda schema: one_of(schema, TEXT),
        "Map": lambda schema: {"type": "object", "additionalProperties": schema},
    }
    document = simplified(described(X={}, **{name: place(written) for name, place in places.items()}))
    assert document == described(X={}, **{name: place(same) for name, place in places.items()})


@pytest.mark.parametrize(
    "kept",
    [
        {"allOf": [X, model({"a": TEXT})]},
        {"allOf": [X, {"required": ["a"]}]},
        {"allOf": [X, {"enum": ["A"]}]},
        {"allOf": [X, {"oneOf": [X, X]}]},
        model({"title": TEXT, "allOf": TEXT, "nullable": TEXT}),
    ],
)
def test_what_says_more_stays(kept: Node) -> None:
    document = described(X={}, Y=kept)
    assert simplified(document) == document


def test_examples_and_extensions_stay_as_they_are() -> None:
    value = {"title": "t", "allOf": [X, {"nullable": True}], "schema": {"title": "t"}}
    schema = {"type": "object", "example": value, "default": value, "x-more": value}
    document = described(Y=schema) | {"x-more": value}
    assert simplified(document) == document


# Query parameters


def filter_by(schema: Node, **more: Any) -> Node:
    return {"name": "at", "in": "query", "schema": schema, **more}


RANGE = model({"gt": TEXT | {"description": "after"}, "lt": TEXT})


@pytest.mark.parametrize(
    "parameter",
    [
        filter_by(RANGE),
        filter_by(RANGE, style="deepObject"),
        filter_by(RANGE, style="deepObject", explode=True),
        filter_by(X),
        filter_by({"allOf": [X, {"description": "d"}]}),
        {"$ref": "#/components/parameters/At"},
    ],
)
def test_an_object_becomes_bracketed_parameters(parameter: Node) -> None:
    document = described(parameter, X=RANGE)
    document["components"]["parameters"] = {"At": filter_by(RANGE, style="deepObject")}
    prepare(document, "it")
    [operation] = operations(document)
    assert [*operation.parameters] == [("query", "at[gt]"), ("query", "at[lt]")]
    assert operation.parameters["query", "at[gt]"]["description"] == "after"
    assert not any(parameter.get("required") for parameter in operation.parameters.values())


def test_a_member_is_required_where_it_and_its_parameter_are() -> None:
    document = simplified(described(filter_by(RANGE | {"required": ["lt"]}, required=True)))
    required = {name: parameter.get("required") for (_, name), parameter in operations(document)[0].parameters.items()}
    assert required == {"at[gt]": None, "at[lt]": True}


def test_parameters_of_a_path_are_bracketed_too_and_none_stands_twice() -> None:
    document = described(filter_by(TEXT | {"maxLength": 5}, name="at[gt]"), filter_by(RANGE))
    document["paths"]["/things"]["parameters"] = [filter_by(model({"a": TEXT}), name="of")]
    names = [name for _, name in operations(simplified(document))[0].parameters]
    assert names == ["of[a]", "at[gt]", "at[lt]"]


@pytest.mark.parametrize(
    ("parameter", "shown"),
    [
        (filter_by(RANGE, style="form"), "is an object whose members cannot be sent"),
        (filter_by({"type": "object"}), "is an object whose members cannot be sent"),
        (filter_by({"type": "object", "additionalProperties": TEXT}, style="deepObject"), "is an object"),
        (filter_by(model({"a": model({"b": TEXT})}), style="deepObject"), "is an object"),
        (filter_by(model({"a": array(TEXT)}), style="deepObject"), "is an object"),
        (filter_by(one_of(TEXT, RANGE)), "is an object"),
        (filter_by(array(RANGE)), "is an object"),
        (filter_by(array(array(TEXT))), "is an object"),
        (filter_by(array(TEXT), explode=False), "has all values in one (explode: false)"),
        (filter_by(array(TEXT), style="pipeDelimited"), "has the style pipeDelimited"),
        (filter_by(array(TEXT), style="deepObject"), "has the style deepObject"),
        (
            {"name": "at", "in": "query", "content": {"application/json": {"schema": RANGE}}},
            "is described by its content",
        ),
    ],
)
def test_a_parameter_that_would_be_sent_otherwise_is_refused_by_name(parameter: Node, shown: str) -> None:
    with pytest.raises(RefusedError, match="the query parameter at of list ") as caught:
        prepare(described(parameter), "it")
    assert shown in str(caught.value)


# Circles

CHILDREN = {
    "Parent": {
        "type": "object",
        "discriminator": {"propertyName": "kind"},
        "oneOf": [reference("Cat"), reference("Dog")],
        **model({"kind": TEXT}, "kind"),
    },
    "Cat": {"type": "object", "allOf": [reference("Parent"), model({"lives": TEXT}, "lives")]},
    "Dog": {"allOf": [reference("Parent"), {"properties": {"tricks": TEXT}}]},
}


def test_children_hold_what_their_parent_says_itself() -> None:
    document = described(**copy.deepcopy(CHILDREN))
    prepare(document, "it")
    schemas = document["components"]["schemas"]
    assert schemas["Parent"]["oneOf"] == [reference("Cat"), reference("Dog")]
    assert "properties" not in schemas["Parent"]
    for name, required in {"Cat": {"kind", "lives"}, "Dog": {"kind"}}.items():
        shape = shape_of(schemas[name], document, expand=True)
        assert "kind" in shape.properties
        assert shape.required == required
        assert reference("Parent") not in schemas[name]["allOf"]


def test_a_parent_without_members_leaves_its_children() -> None:
    bare = {name: schema for name, schema in CHILDREN["Parent"].items() if name not in {"properties", "required"}}
    schemas = prepared(**CHILDREN | {"Parent": bare})
    assert schemas["Cat"] == {"allOf": [model({"lives": TEXT}, "lives")]}


def test_a_circle_of_three_and_the_grandparents_members() -> None:
    schemas = {
        "Base": model({"id": TEXT}),
        "Parent": {"allOf": [reference("Base"), model({"kind": TEXT})], "anyOf": [reference("Middle"), TEXT]},
        "Middle": {"oneOf": [reference("Child"), reference("Base")]},
        "Child": {"allOf": [reference("Parent"), model({"own": TEXT})]},
    }
    document = described(**copy.deepcopy(schemas))
    prepare(document, "it")
    shape = shape_of(reference("Child"), document, expand=True)
    assert shape.properties.keys() == {"own", "id", "kind"}


@pytest.mark.parametrize(
    ("schemas", "shown"),
    [
        ({"A": {"allOf": [reference("B"), model({})]}, "B": {"allOf": [reference("A")]}}, "A is part of itself"),
        (
            {"A": {"oneOf": [reference("B"), TEXT]}, "B": {"anyOf": [reference("A")]}},
            "A is one of its own alternatives",
        ),
    ],
)
def test_a_circle_that_means_nothing_is_refused(schemas: Node, shown: str) -> None:
    with pytest.raises(RefusedError, match=shown):
        prepared(**schemas)


# What stands beside alternatives, and beside a lone reference


def test_what_stands_beside_alternatives_becomes_part_of_each() -> None:
    own = model({"id": TEXT}, "id")
    schemas = prepared(
        A=model({"a": TEXT}), B=model({"id": TEXT}, "id"), Y=own | one_of(reference("A"), reference("B"))
    )
    assert schemas["Y"] == one_of(reference("YType0"), reference("B"))
    assert schemas["YType0"] == {"allOf": [own, reference("A")]}


def test_alternatives_inside_of_all_of_are_taken_out() -> None:
    schemas = prepared(**CHILDREN, Y={"allOf": [reference("Parent"), one_of(reference("Cat"), reference("Dog"))]})
    assert schemas["Y"] == one_of(reference("Cat"), reference("Dog"))


def test_alternatives_that_only_require_go() -> None:
    either = {"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}
    assert prepared(Y=model({"a": TEXT, "b": TEXT}) | either)["Y"] == model({"a": TEXT, "b": TEXT})


@pytest.mark.parametrize(
    ("written", "same"),
    [
        ({"type": "object", "allOf": [X], "nullable": True}, {"allOf": [X], "nullable": True}),
        ({"type": ["object", "null"], "allOf": [X]}, {"allOf": [X], "nullable": True}),
        ({"allOf": [X], **model({"a": TEXT}, "a")}, {"allOf": [X, model({"a": TEXT}, "a")]}),
        ({"allOf": [X], "additionalProperties": True}, {"allOf": [X], "additionalProperties": True}),
        ({"allOf": [X], "default": {"b": "x"}}, {"allOf": [X]}),
        (TEXT | {"default": "x"}, TEXT | {"default": "x"}),
    ],
)
def test_what_stands_beside_a_lone_reference_is_not_lost(written: Node, same: Node) -> None:
    schemas = prepared(X=model({"b": TEXT}), Y=model({"a": written}))
    found = schemas["Y"]["properties"]["a"]
    assert (schemas["YA"] if found == reference("YA") else found) == same


def test_a_schema_that_is_referred_to_inside_of_another_gets_a_name() -> None:
    inner = model({"again": {"$ref": "#/components/schemas/Node/properties/kid"}, "b": TEXT})
    deeper = {"$ref": "#/components/schemas/Node/properties/kid/properties/b"}
    schemas = prepared(Node=model({"kid": inner}), Y=deeper)
    assert schemas["Node"] == model({"kid": reference("NodeKid")})
    assert schemas["NodeKid"] == model({"again": reference("NodeKid"), "b": reference("NodeKidB")})
    assert (schemas["NodeKidB"], schemas["Y"]) == (TEXT, reference("NodeKidB"))


# What the generator does not know


def members(*values: str) -> list[str] | None:
    names: list[str] | None = prepared(Y=TEXT | {"enum": list(values)})["Y"].get("x-enum-varnames")
    return names


def test_values_of_an_enum_that_would_get_one_name_get_two() -> None:
    assert members("employee", "EMPLOYEE", "1ST") == ["EMPLOYEE_2", "EMPLOYEE", "VALUE_2"]
    assert members("A_B", "a-b", "A B") == ["A_B", "A-B_3", "A B_2"]
    assert members("A", "B") is None


@pytest.mark.parametrize("values", [[True], [1.5, 2], [1, None, 2.5]])
def test_an_enum_of_fractions_or_of_true_is_any_value(values: list[Any]) -> None:
    assert prepared(Y={"type": "number", "enum": values})["Y"] == {"type": "number"}


def test_an_array_of_anything_may_leave_it_at_that() -> None:
    assert prepared(Y={"type": "array"})["Y"] == array({})


def test_of_two_components_with_one_class_the_one_with_its_name_keeps_it() -> None:
    schemas = {name: model({"a": TEXT}) for name in ("user", "User", "Money", "Amount", "ItemModel", "item", "Item")}
    found = prepared({"Amount": "Money"}, **schemas, Y=model({"money": reference("Money"), "user": reference("User")}))
    assert found.keys() == {"userModel", "User", "MoneyModel", "Amount", "ItemModel", "itemModel1", "Item", "Y"}
    assert found["Y"] == model({"money": reference("MoneyModel"), "user": reference("User")})


@pytest.mark.parametrize("kind", ["application/pdf", "*/*", "image/png; q=1"])
def test_an_answer_of_an_unknown_type_is_read_as_a_file(kind: str) -> None:
    document = described()
    answer = document["paths"]["/things"]["get"]["responses"]["200"]
    answer["content"] = {kind: {"schema": TEXT}}
    prepare(document, "it")
    assert answer["content"]["application/octet-stream"] == {"schema": TEXT | {"format": "binary"}}


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "text/csv", "application/vnd.x+json"])
def test_an_answer_of_a_known_type_stays(kind: str) -> None:
    document = described()
    answer = document["paths"]["/things"]["get"]["responses"]["200"]
    answer["content"] = {kind: {"schema": TEXT}}
    prepare(document, "it")
    assert answer["content"].keys() == {kind}


def test_paths_and_parameters_that_are_components_are_written_out() -> None:
    document = described({"$ref": "#/components/parameters/At"})
    document["components"] |= {
        "parameters": {"At": filter_by(TEXT)},
        "pathItems": {"Things": document["paths"]["/things"]},
    }
    document["paths"] = {"/things": {"$ref": "#/components/pathItems/Things"}, "/more": {"$ref": "#/paths/~1things"}}
    for item in simplified(document)["paths"].values():
        assert item["get"]["parameters"] == [filter_by(TEXT)]


def test_two_operations_that_would_be_one_module_are_refused() -> None:
    document = described()
    document["paths"]["/things"]["post"] = {"operationId": "List", "tags": ["Other"], "responses": {}}
    prepare(document, "it")  # in another folder
    del document["paths"]["/things"]["post"]["tags"]
    with pytest.raises(RefusedError, match=r"List \(POST /things\) and GET /things would be one module; give one an"):
        prepare(document, "it")


def test_extensions_among_the_paths_are_no_paths() -> None:
    document = described() | {"paths": {"x-groups": [1]} | described()["paths"]}
    prepare(document, "it")
    assert document["paths"].keys() == {"/things"}


# Any description


@settings(max_examples=100)
@given(documents)
def test_any_description_is_prepared_or_refused(document: Node) -> None:
    text = json.dumps(document).replace("#/paths/~1things~1{id}", "#/components/schemas/A")  # a schema is there
    with suppress(RefusedError):
        prepare(json.loads(text), "it")


@settings(max_examples=100)
@given(documents)
def test_a_simplified_description_says_the_same_and_is_simple(document: Node) -> None:
    simple = simplified(document)
    assert simplified(simple) == simple
    assert not changes_between(document, simple).reported
