"""Write a description the way the generator reads it right. What it means stays the same.

Before the overlay, `simplify` brings schemas and parameters to one form, so that a revision that only writes them
differently changes no class in generated/. After it, `prepare` rewrites what the generator would drop or trip over.
"""

from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any

from scripts.circles import OBJECT, cut_circles, spread_choices
from scripts.parameters import bracket_parameters, check_parameters
from scripts.schema_changes import LIMITS
from scripts.schemas import COMPONENT, NAMES, PROSE, Document, component, references, shape_of, target

Node = dict[str, Any]

SINGLE = ("items", "additionalProperties", "not", "contains", "propertyNames")
LISTED = ("allOf", "oneOf", "anyOf", "prefixItems")
NAMED = ("properties", "patternProperties", "$defs", "dependentSchemas")
FOLDED = PROSE | LIMITS | {"nullable", "default", "deprecated", "readOnly", "writeOnly", "xml"}
TAKEN = {
    *("any", "anything", "authenticatedclient", "awaredatetime", "client", "decimal", "file", "literal", "model"),
    *("oneof", "openintenum", "openstrenum", "response", "unset", "uuid", "wholenumber"),
}
"""Classes that the modules in generated/ import, in small letters."""
COMPOSED = {"$ref", "allOf", "oneOf", "anyOf", "not"}


def simplify(document: Node) -> None:
    """Bring the schemas and query parameters of a valid description to one form, in place."""
    _each_schema(document, _drop_title)
    _each_schema(document, _fold)
    bracket_parameters(document)


def simplified(document: Document) -> Node:
    """Return a simplified copy."""
    copied = copy.deepcopy(dict(document))
    simplify(copied)
    return copied


def prepare(document: Node, name: str) -> None:
    """Rewrite a simplified description, in place, so that the generator loses nothing. Raises RefusedError.

    The name is for the message.
    """
    simplify(document)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas.update({name: _as_object(schema) for name, schema in schemas.items()})
    _each_schema(document, _spell_out)
    _rename_taken(document)
    _name_inner_schemas(document)
    cut_circles(document, name)
    for schema in list(schemas_in(document)):
        spread_choices(schema, document)
    _each_schema(document, _separate)
    _each_schema(document, lambda schema: _drop_default(schema, document))
    _name_choices(document)
    check_parameters(document, name)


def schemas_in(document: Node) -> Iterator[Node]:
    """Find all schemas of a description, the outer before the inner."""
    for schema in document.get("components", {}).get("schemas", {}).values():
        yield from _nested(schema)
    yield from _used(document, names=False)


def _used(node: Any, *, names: bool) -> Iterator[Node]:
    """Find the schemas of parameters, headers and bodies."""
    if isinstance(node, list):
        for item in node:
            yield from _used(item, names=False)
    elif isinstance(node, dict):
        for key, value in node.items():
            if not names and key == "schema":
                yield from _nested(value)
            elif names or (key not in PROSE | {"schemas"} and not key.startswith("x-")):
                yield from _used(value, names=not names and key in NAMES)


def _nested(schema: Any) -> Iterator[Node]:
    if not isinstance(schema, dict):
        return
    yield schema
    for keyword in SINGLE:
        yield from _nested(schema.get(keyword))
    for keyword in LISTED:
        for inner in schema.get(keyword, ()):
            yield from _nested(inner)
    for keyword in NAMED:
        for inner in schema.get(keyword, {}).values():
            yield from _nested(inner)


def _each_schema(document: Node, change: Callable[[Node], object]) -> None:
    """Change all schemas, the inner before the outer."""
    for schema in reversed(list(schemas_in(document))):
        change(schema)


def _drop_title(schema: Node) -> None:
    """The generator names classes by titles: two schemas can have one, and new words would rename a class."""
    schema.pop("title", None)


def _fold(schema: Node) -> None:
    """Move what only annotates a schema from its allOf into the schema itself: Brex writes null and words there."""
    if "$ref" in schema and len(schema) > 1:
        schema["allOf"] = [{"$ref": schema.pop("$ref")}, *schema.get("allOf", ())]
    parts = schema.pop("allOf", [])
    inline = [part for part in parts if isinstance(part, dict)]
    kinds = {kind for part in (schema, *inline) for kind in _types(part)}
    one_value = len(kinds) == 1 and "object" not in kinds and not any(part.keys() & COMPOSED for part in inline)
    kept = []
    for part in parts:
        if isinstance(part, dict) and (one_value or all(key in FOLDED or key.startswith("x-") for key in part)):
            for key, value in part.items():
                schema[key] = schema.get(key) or value if key == "nullable" else schema.get(key, value)
        else:
            kept.append(part)
    if kept:
        schema["allOf"] = kept


def _types(schema: Node) -> list[str]:
    kinds = schema.get("type", [])
    return kinds if isinstance(kinds, list) else [kinds]


def _spell_out(schema: Node) -> None:
    """Write true and false, which OpenAPI 3.1 takes for schemas, as objects."""
    for keyword in LISTED:
        if keyword in schema:
            schema[keyword] = [_as_object(inner) for inner in schema[keyword]]
    for keyword in NAMED:
        if keyword in schema:
            schema[keyword] = {name: _as_object(inner) for name, inner in schema[keyword].items()}
    if "items" in schema:
        schema["items"] = _as_object(schema["items"])


def _as_object(schema: Any) -> Any:
    return {} if schema is True else {"not": {}} if schema is False else schema


def _rename_taken(document: Node) -> None:
    """Rename components whose classes would hide what the generated modules import."""
    schemas = document["components"]["schemas"]
    for name in [name for name in schemas if name.lower() in TAKEN]:
        new = _free(f"{name}Model", schemas)
        schemas[new] = schemas.pop(name)
        for reference in references(document):
            if component(reference) == name:
                reference["$ref"] = COMPONENT + new


def _name_inner_schemas(document: Node) -> None:
    """Make components of the schemas that are referred to inside of others: the generator knows references to those."""
    schemas = document["components"]["schemas"]
    inner = [each for each in schemas_in(document) if "$ref" in each and component(each) is None]
    for pointer in sorted({each["$ref"] for each in inner}, key=len, reverse=True):
        name = _name_of(pointer, schemas)
        found = target(pointer, document)
        schemas[name] = dict(found)
        found.clear()
        found["$ref"] = COMPONENT + name
        for each in inner:
            if each["$ref"] == pointer:
                each["$ref"] = COMPONENT + name


def _name_of(pointer: str, taken: Node) -> str:
    """Name a schema as the generator does: by where it stands."""
    steps = re.split(r"[^A-Za-z0-9]+", pointer.removeprefix(COMPONENT))
    skipped = {"", "components", "paths", "content", "schema", *LISTED, *NAMED, *SINGLE}
    return _free("".join(step[:1].upper() + step[1:] for step in steps if step not in skipped), taken)


def _free(name: str, taken: Node) -> str:
    """Return the name, with a number if its class would have the name of another."""
    classes = {re.sub(r"[^a-z0-9]", "", other.lower()) for other in taken}
    numbered = (f"{name}{number or ''}" for number in itertools.count())
    return next(each for each in numbered if each.lower() not in classes)


def _name_choices(document: Node) -> None:
    """Make components of alternatives with allOf that stand in a component: the generator reads them too early."""
    schemas = document["components"]["schemas"]
    for name, whole in list(schemas.items()):
        schema = whole
        while isinstance(schema.get("items"), dict):
            schema = schema["items"]
        for keyword in ("oneOf", "anyOf"):
            for number, choice in enumerate(schema.get(keyword, ())):
                if "allOf" in choice and any(map(component, choice["allOf"])):
                    choice_name = _free(f"{name}Type{number}", schemas)
                    schemas[choice_name] = choice
                    schema[keyword][number] = {"$ref": COMPONENT + choice_name}


def _separate(schema: Node) -> None:
    """Keep what stands beside a lone reference: the generator takes such a schema for what it refers to."""
    parts = [part for keyword in ("allOf", "oneOf", "anyOf") for part in schema.get(keyword, ())]
    if "object" in _types(schema) or (len(parts) == 1 and component(parts[0])):
        # Beside `nullable`, the generator would read the type as a second alternative.
        if parts and "null" in _types(schema):
            schema["nullable"] = True
        if parts:
            schema.pop("type", None)
    if len(parts) == 1 and "allOf" in schema:
        own = {key: schema.pop(key) for key in OBJECT if schema.get(key) not in (None, True, {}, [])}
        if own:
            schema["allOf"].append({"type": "object", **own})


def _drop_default(schema: Node, document: Node) -> None:
    """The generator knows no defaults of objects."""
    if "default" in schema and "object" in shape_of(schema, document, expand=True).types:
        del schema["default"]
