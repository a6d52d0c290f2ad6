"""What changed between two descriptions: nothing is missed or invented, and each weight is right for its direction."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openapi_spec_validator import OpenAPIV30SpecValidator

from scripts.description_changes import Changes, changes_between
from scripts.read_description import read
from scripts.schema_changes import Weight
from scripts.schemas import without_prose
from tests.support.drifts import ADDITIVE, MISFITS, Drift, drifted
from tests.support.marks import not_src
from tests.support.project import DESCRIPTION_FILE
from tests.support.schemas import TEXT, described, documents

pytestmark = not_src

Node = dict[str, Any]
DESCRIPTION = read(DESCRIPTION_FILE)
BREAKING, COMPATIBLE, OTHER = Weight
NOTHING = Changes((), 0, rewritten=False)


def report(old: Node, new: Node) -> list[tuple[Weight, str]]:
    return [(change.weight, str(change)) for change in changes_between(old, new).reported]


def model(required: list[str] | None = None, **properties: Any) -> Node:
    return {"type": "object", "properties": properties} | ({"required": required} if required else {})


# What breaks whom

BOTH_WAYS: list[tuple[str, Node, Node, str, Weight, Weight]] = [
    ("added", model(), model(a=TEXT), ".a", COMPATIBLE, COMPATIBLE),
    ("added and required", model(), model(["a"], a=TEXT), ".a", BREAKING, COMPATIBLE),
    ("removed", model(a=TEXT), model(), ".a", BREAKING, BREAKING),
    ("required now", model(a=TEXT), model(["a"], a=TEXT), ".a", BREAKING, COMPATIBLE),
    ("no longer required", model(["a"], a=TEXT), model(a=TEXT), ".a", COMPATIBLE, BREAKING),
    ("null now", model(a=TEXT), model(a=TEXT | {"nullable": True}), ".a", COMPATIBLE, BREAKING),
    ("no longer null", model(a=TEXT | {"nullable": True}), model(a=TEXT), ".a", BREAKING, COMPATIBLE),
    ("another type", model(a=TEXT), model(a={"type": "integer"}), ".a", BREAKING, BREAKING),
    ("another format", model(a=TEXT), model(a=TEXT | {"format": "date"}), ".a", BREAKING, BREAKING),
    ("an enum", model(a=TEXT), model(a=TEXT | {"enum": ["A"]}), ".a", BREAKING, BREAKING),
    ("no enum", model(a=TEXT | {"enum": ["A"]}), model(a=TEXT), ".a", COMPATIBLE, BREAKING),
    (
        "value added",
        model(a=TEXT | {"enum": ["A"]}),
        model(a=TEXT | {"enum": ["A", "B"]}),
        ".a",
        COMPATIBLE,
        COMPATIBLE,
    ),
    ("value removed", model(a=TEXT | {"enum": ["A", "B"]}), model(a=TEXT | {"enum": ["A"]}), ".a", BREAKING, BREAKING),
    ("a limit", model(a=TEXT), model(a=TEXT | {"maxLength": 9}), ".a", BREAKING, COMPATIBLE),
    (
        "a wider limit",
        model(a=TEXT | {"maxLength": 9}),
        model(a=TEXT | {"maxLength": 99}),
        ".a",
        COMPATIBLE,
        COMPATIBLE,
    ),
    ("a tighter limit", model(a=TEXT | {"minLength": 1}), model(a=TEXT | {"minLength": 2}), ".a", BREAKING, COMPATIBLE),
    ("no limit", model(a=TEXT | {"pattern": "x"}), model(a=TEXT), ".a", COMPATIBLE, COMPATIBLE),
    ("closed", model(), model() | {"additionalProperties": False}, "[*]", BREAKING, COMPATIBLE),
    ("opened", model() | {"additionalProperties": False}, model(), "[*]", COMPATIBLE, BREAKING),
    ("a choice more", {"oneOf": [TEXT, TEXT]}, {"oneOf": [TEXT, TEXT, {"type": "integer"}]}, "", COMPATIBLE, BREAKING),
    ("a choice less", {"oneOf": [TEXT, TEXT, {"type": "integer"}]}, {"oneOf": [TEXT, TEXT]}, "", BREAKING, COMPATIBLE),
    (
        "inside a list",
        {"type": "array", "items": model(a=TEXT)},
        {"type": "array", "items": model(["a"], a=TEXT)},
        "[].a",
        BREAKING,
        COMPATIBLE,
    ),
    ("a default", model(a=TEXT), model(a=TEXT | {"default": "x"}), ".a", OTHER, OTHER),
    ("deprecated", model(a=TEXT), model(a=TEXT | {"deprecated": True}), ".a", OTHER, OTHER),
]


@pytest.mark.parametrize("case", BOTH_WAYS, ids=lambda case: case[0])
def test_what_breaks_those_who_send_may_not_break_those_who_read(case: tuple[Any, ...]) -> None:
    _, old, new, place, sent, read_ = case
    for weight, before, after, where in (
        (sent, described(old, TEXT), described(new, TEXT), f"makeThing, request body{place} (sent): "),
        (read_, described(TEXT, old), described(TEXT, new), f"makeThing, answer 200{place} (read): "),
    ):
        [(found, text)] = report(before, after)
        assert (found, text.startswith(where)) == (weight, True), text


def test_a_schema_that_is_sent_and_read_breaks_by_either() -> None:
    shared = {"$ref": "#/components/schemas/Shared"}
    old = described(shared, shared) | {"components": {"schemas": {"Shared": model(a=TEXT)}}}
    new = described(shared, shared) | {"components": {"schemas": {"Shared": model(["a"], a=TEXT)}}}
    assert report(old, new) == [(BREAKING, "Shared.a (sent and read): is required now")]
    assert report(new, old) == [(BREAKING, "Shared.a (sent and read): is no longer required")]


def test_a_schema_that_nobody_uses_breaks_nobody() -> None:
    old = described(TEXT, TEXT) | {"components": {"schemas": {"Idle": model(a=TEXT)}}}
    new = described(TEXT, TEXT) | {"components": {"schemas": {"Idle": model()}}}
    assert report(old, new) == [(OTHER, "Idle.a (not used): the property is removed")]


def operation(description: Node) -> Node:
    found: Node = description["paths"]["/things/{id}"]["post"]
    return found


PLAIN = described(TEXT, TEXT)
OPERATIONS: dict[str, tuple[Callable[[Node], object], Weight, Weight, str]] = {
    "status": (lambda d: operation(d)["responses"].update({"404": {"description": "d"}}), COMPATIBLE, BREAKING, "404"),
    "success": (lambda d: operation(d)["responses"].update({"202": {"description": "d"}}), BREAKING, BREAKING, "202"),
    "optional parameter": (
        lambda d: operation(d).update(parameters=[{"name": "q", "in": "query", "schema": TEXT}]),
        COMPATIBLE,
        BREAKING,
        "query parameter q",
    ),
    "required parameter": (
        lambda d: operation(d).update(parameters=[{"name": "q", "in": "query", "required": True, "schema": TEXT}]),
        BREAKING,
        BREAKING,
        "query parameter q",
    ),
    "style": (
        lambda d: d["paths"]["/things/{id}"]["parameters"][0].update(style="label"),
        BREAKING,
        BREAKING,
        "style",
    ),
    "id": (lambda d: operation(d).update(operationId="other"), BREAKING, BREAKING, "operationId"),
    "tag": (lambda d: operation(d).update(tags=["T"]), BREAKING, BREAKING, "first tag"),
    "path": (lambda d: d.update(paths={"/other/{id}": d["paths"]["/things/{id}"]}), BREAKING, BREAKING, "moved to"),
    "body optional": (lambda d: operation(d)["requestBody"].pop("required"), COMPATIBLE, BREAKING, "required"),
    "no body": (lambda d: operation(d).pop("requestBody"), BREAKING, BREAKING, "request body"),
    "media type": (
        lambda d: operation(d)["responses"]["200"]["content"].update({"text/csv": {}}),
        COMPATIBLE,
        BREAKING,
        "text/csv",
    ),
    "header": (
        lambda d: operation(d)["responses"]["200"].update(headers={"X-Page": {"schema": TEXT}}),
        COMPATIBLE,
        BREAKING,
        "header X-Page",
    ),
    "scope": (lambda d: operation(d).update(security=[{"o": ["a"]}]), BREAKING, COMPATIBLE, "needs"),
    "deprecated": (lambda d: operation(d).update(deprecated=True), OTHER, OTHER, "deprecated"),
    "extension": (lambda d: operation(d).update({"x-new": 1}), OTHER, OTHER, "makeThing x-new"),
    "server": (lambda d: d.update(servers=[{"url": "/"}]), OTHER, OTHER, "servers"),
    "version": (lambda d: d["info"].update(version="2"), OTHER, OTHER, "info.version"),
    "scheme": (
        lambda d: d.update(components={"securitySchemes": {"o": {"type": "http", "scheme": "bearer"}}}),
        OTHER,
        OTHER,
        "components.securitySchemes",
    ),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_changes_of_an_operation_and_back(name: str) -> None:
    change, forth, back, words = OPERATIONS[name]
    changed = drifted(PLAIN, change)
    for weight, old, new in ((forth, PLAIN, changed), (back, changed, PLAIN)):
        [(found, text)] = report(old, new)
        assert (found, words in text) == (weight, True), text


def test_servers_and_the_version_are_reported_from_what_to_what() -> None:
    old = PLAIN | {"servers": [{"url": "https://a.example"}]}
    new = drifted(
        old, lambda d: d["servers"].append({"url": "https://b.example"}), lambda d: d["info"].update(version="2")
    )
    assert [text for _, text in report(old, new)] == [
        "info.version: is 2, and was 1",
        "servers: is https://a.example https://b.example, and was https://a.example",
    ]


def test_alternatives_are_a_set() -> None:
    one, other = ({"$ref": f"#/components/schemas/{name}"} for name in "AB")
    named = {"components": {"schemas": {"A": model(), "B": model(a=TEXT)}}}
    old, new = (described({"oneOf": choices}, TEXT) | named for choices in ([one, other], [other, one]))
    assert changes_between(old, new) == Changes((), 0, rewritten=True)


def test_a_removed_operation_breaks_and_a_new_one_does_not() -> None:
    empty = PLAIN | {"paths": {}}
    assert report(PLAIN, empty) == [(BREAKING, "makeThing: the operation is removed (POST /things/{id})")]
    assert report(empty, PLAIN) == [(COMPATIBLE, "makeThing: the operation is new (POST /things/{id})")]


def test_a_schema_with_another_name_is_one_change() -> None:
    thing = {"$ref": "#/components/schemas/Thing"}
    old = described(TEXT, thing) | {"components": {"schemas": {"Thing": model(a=TEXT)}}}
    new = json.loads(json.dumps(old).replace("Thing", "Item").replace("makeItem", "makeThing"))
    assert report(old, new) == [
        (BREAKING, "Thing (read): the schema is now called Item, and so is its class in generated/"),
    ]


def test_schemas_that_refer_to_themselves_end() -> None:
    def tree(leaf: Node) -> Node:
        node = model(children={"type": "array", "items": {"$ref": "#/components/schemas/Tree"}}, leaf=leaf)
        return described(TEXT, {"$ref": "#/components/schemas/Tree"}) | {"components": {"schemas": {"Tree": node}}}

    old, new = tree(TEXT), tree({"type": "integer"})
    assert report(old, new) == [(BREAKING, "Tree.leaf (read): its type is integer, and was string")]
    renamed = json.loads(json.dumps(new).replace("Tree", "Bush"))
    assert (BREAKING, "makeThing, answer 200 (read): its schema is Bush, and was Tree") in report(old, renamed)


SAME: list[tuple[Node, Node]] = [
    ({"type": "string", "nullable": True}, {"type": ["string", "null"]}),
    ({"type": "string", "nullable": True}, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
    ({"type": "string", "enum": ["A"], "nullable": True}, {"type": ["string", "null"], "enum": ["A", None]}),
    ({"allOf": [{"type": "string"}]}, {"type": "string"}),
    (model(["a", "b"], a=TEXT, b=TEXT), model(["b", "a"], b=TEXT, a=TEXT)),
    ({"allOf": [model(a=TEXT), model(b=TEXT)]}, model(a=TEXT, b=TEXT)),
    (model() | {"additionalProperties": {}}, model()),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_what_means_the_same_is_no_change(one: Node, other: Node) -> None:
    assert changes_between(described(one, one), described(other, other)) == Changes((), 0, rewritten=True)


def test_parameters_and_answers_may_be_components() -> None:
    inline = described(TEXT, TEXT)
    named = copy.deepcopy(inline)
    item = named["paths"]["/things/{id}"]
    named["components"] = {
        "parameters": {"id": item["parameters"][0]},
        "responses": {"fine": item["post"]["responses"]["200"]},
        "requestBodies": {"thing": item["post"]["requestBody"]},
    }
    item["parameters"] = [{"$ref": "#/components/parameters/id"}]
    item["post"]["responses"] = {"200": {"$ref": "#/components/responses/fine"}}
    item["post"]["requestBody"] = {"$ref": "#/components/requestBodies/thing"}
    assert report(inline, named) == []


def test_words_are_counted_and_properties_that_are_called_like_them_are_reported() -> None:
    old = described(TEXT, model(title=TEXT | {"description": "old"}, description=TEXT))
    new = described(TEXT, model(title=TEXT | {"description": "new", "example": "x"}, description={"type": "integer"}))
    changes = changes_between(old, new)
    assert [str(change) for change in changes.reported] == [
        "makeThing, answer 200.description (read): its type is integer, and was string"
    ]
    assert changes.words == 2


@pytest.mark.parametrize("drift", ADDITIVE, ids=lambda drift: drift.__name__)
def test_an_addition_is_compatible(drift: Drift) -> None:
    assert report(DESCRIPTION, drifted(DESCRIPTION, drift)) == [(COMPATIBLE, ADDITIVE[drift])]


@pytest.mark.parametrize("drift", MISFITS, ids=lambda drift: drift.__name__)
def test_what_the_facade_does_not_fit_is_reported(drift: Drift) -> None:
    found = report(DESCRIPTION, drifted(DESCRIPTION, drift))
    assert found
    assert found == sorted(found, key=lambda change: change[0])


# Nothing is missed, whatever changes


def places(node: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [place, *(inner for key, child in children for inner in places(child, (*place, key)))]


PLACES = [place for place in places(DESCRIPTION) if place]


def test_nothing_changed() -> None:
    assert changes_between(DESCRIPTION, copy.deepcopy(DESCRIPTION)) == NOTHING


@settings(max_examples=40)  # validating takes its time
@given(st.sampled_from(PLACES), st.sampled_from(["remove", "text", "true", "twice", "more"]))
def test_every_change_is_reported(place: tuple[Any, ...], way: str) -> None:
    changed = copy.deepcopy(DESCRIPTION)
    holder: Any = changed
    for step in place[:-1]:
        holder = holder[step]
    key, value = place[-1], holder[place[-1]]
    if way == "remove":
        del holder[key]
    elif way == "more" and isinstance(value, dict):
        value["x-new"] = "x"
    elif way == "twice" and isinstance(holder, list):
        holder.append(copy.deepcopy(value))
    else:
        holder[key] = "changed" if isinstance(value, str) else not value if isinstance(value, bool) else value
    if not is_valid(changed):
        return
    for old, new in ((DESCRIPTION, changed), (changed, DESCRIPTION)):
        changes = changes_between(old, new)
        assert (changes == NOTHING) == (changed == DESCRIPTION)
        if without_prose(old) != without_prose(new) and way != "twice" and not says_the_default(key, value):
            assert changes.reported
        assert changes_between(new, new) == NOTHING


def says_the_default(key: object, value: object) -> bool:
    """Whether it may as well be left out."""
    return (key, value) in (("nullable", False), ("additionalProperties", True))


def is_valid(description: Node) -> bool:
    try:
        return not any(True for _ in OpenAPIV30SpecValidator(description).iter_errors())
    except Exception:  # noqa: BLE001 - such as a reference to nowhere
        return False


@settings(max_examples=60)
@given(documents, documents)
def test_odd_descriptions_are_compared_without_a_crash(old: Node, new: Node) -> None:
    assert changes_between(old, copy.deepcopy(old)) == NOTHING
    assert (changes_between(old, new) == NOTHING) == (old == new)
