"""An example of each schema of a description: every property is there, with a value of its kind."""

from __future__ import annotations

from typing import Any

from scripts.schemas import Document, component, follow, shape_of

VALUES = {
    "date-time": "2025-08-15T10:00:00Z",
    "date": "2025-08-15",
    "uuid": "07ef8b4d-aa09-4ffa-898d-c710796aff41",
    "email": "someone@example.com",
    "uri": "https://example.com/",
}
DEEPEST = 6


def example_of(schema: Any, document: Document, depth: int = 0) -> Any:
    """Make an example; where a schema is inside itself, lists end empty, and what may be left out is left out."""
    shape = shape_of(schema, document, expand=True)
    if shape.values:
        return shape.values[0]
    choice = None
    if shape.choices and not _is_child(schema, shape.choices, document):
        choice = example_of(shape.choices[0], document, depth + 1)
    if shape.properties:
        return {
            name: example_of(inner, document, depth + 1)
            for name, inner in shape.properties.items()
            if depth < DEEPEST or name in shape.required or "default" in inner
        } | (choice if isinstance(choice, dict) else {})
    if choice is not None:
        return choice
    if shape.items is not None:
        return [] if depth >= DEEPEST else [example_of(shape.items, document, depth + 1)]
    if isinstance(shape.additional, dict) and shape.types <= {"object"}:
        return {} if depth >= DEEPEST else {"key": example_of(shape.additional, document, depth + 1)}
    values = {"string": VALUES.get(shape.rest.get("format", ""), "text"), "integer": 7, "number": 0.25, "boolean": True}
    return next((values[kind] for kind in sorted(shape.types) if kind in values), {})


def _is_child(schema: Any, choices: list[Any], document: Document) -> bool:
    """Whether a schema has these choices only because it is one of its parent's children."""
    parents = {component(part) for part in follow(schema, document).get("allOf", ())}
    return any(component(part) in parents for each in choices for part in follow(each, document).get("allOf", ()))
