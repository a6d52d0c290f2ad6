"""Query parameters: objects become bracketed parameters, as they are on the wire; what cannot be sent is refused."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from scripts.operations import METHODS, operations
from scripts.read_description import RefusedError
from scripts.schemas import Document, follow, shape_of

Node = dict[str, Any]

STYLES = {"query": "form", "cookie": "form", "path": "simple", "header": "simple"}
"""OpenAPI's defaults, which are all that the generator knows."""


def bracket_parameters(document: Node) -> None:
    """Replace each query parameter that is an object by one for each property, such as `updated_at[gt]`, in place.

    OpenAPI calls this style deepObject. Brex also means it where its description names no style. Paths and parameters
    that are components are written out: the generator does not find the former, nor the overlay the latter.
    """
    paths = document.get("paths", {})
    items = []
    for path in filter(lambda path: path.startswith("/"), paths):
        beside = {key: value for key, value in paths[path].items() if key != "$ref"}
        paths[path] = copy.deepcopy(follow(paths[path], document)) | beside
        items.append(paths[path])
    for holder in [*items, *(item[method] for item in items for method in METHODS if method in item)]:
        if "parameters" in holder:
            found = [copy.deepcopy(follow(parameter, document)) for parameter in holder["parameters"]]
            taken = {parameter.get("name") for parameter in found}
            holder["parameters"] = [each for parameter in found for each in _bracketed(parameter, taken, document)]


def _bracketed(parameter: Node, taken: set[str], document: Document) -> Iterator[Node]:
    shape = shape_of(parameter.get("schema", {}), document, expand=True)
    is_deep = parameter.get("in") == "query" and parameter.get("style", "deepObject") == "deepObject"
    nested = any(_kinds(schema, document) & {"array", "object"} for schema in shape.properties.values())
    if not is_deep or nested or not shape.properties:  # OpenAPI does not say how nested values are sent
        yield parameter
        return
    for name, schema in shape.properties.items():
        bracketed = f"{parameter['name']}[{name}]"
        if bracketed not in taken:
            words = schema.get("description") or parameter.get("description")
            required = bool(parameter.get("required")) and name in shape.required
            yield {
                "name": bracketed,
                "in": "query",
                **({"description": words} if words else {}),
                **({"required": True} if required else {}),
                "schema": schema,
            }


def check_parameters(document: Document, name: str) -> None:
    """Refuse, by name, parameters that the generator would leave out or send otherwise than they are described."""
    for operation in operations(document):
        for (place, parameter), described in operation.parameters.items():
            trouble = _trouble(place, described, document)
            if trouble:
                raise RefusedError(
                    f"{name} cannot be generated: the {place} parameter {parameter} of {operation.label} {trouble}; "
                    "correct it in openapi/overlay.yaml."
                )


def _trouble(place: str, parameter: Mapping[str, Any], document: Document) -> str | None:
    if "schema" not in parameter:
        return "is described by its content, and would be left out"
    kinds = _kinds(parameter["schema"], document)
    style = parameter.get("style", STYLES[place])
    if "object" in kinds:
        return "is an object whose members cannot be sent one by one"
    if style != STYLES[place]:
        return f"has the style {style}, and would be sent in the style {STYLES[place]}"
    if "array" in kinds and place == "query" and parameter.get("explode") is False:
        return "has all values in one (explode: false), and would be sent once for each value"
    return None


def _kinds(schema: Any, document: Document) -> set[str]:
    """Tell what a value may be; what is nested deeper than the items of an array counts as an object."""
    shape = shape_of(schema, document, expand=True)
    kinds = {"object"} if shape.properties else set(shape.types)
    if shape.items is not None:
        kinds |= {"array", *({"object"} if _kinds(shape.items, document) & {"object", "array"} else ())}
    return kinds.union(*(_kinds(choice, document) for choice in shape.choices))
