"""What a new description adds and the facade need not know: it is written into relied_on.yaml and the overlay."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import yaml

from scripts.schema_changes import component_schemas
from scripts.schemas import Document


def newly_required(table: Mapping[str, Any], document: Document) -> list[tuple[str, str]]:
    """Find properties that answers must have and that the facade does not know, as pairs of a schema and a property."""
    schemas = component_schemas(document)
    return [
        (name, property_)
        for name, needs in table["read"].items()
        for property_ in sorted(_members(schemas.get(name)).get("required", ()))
        if property_ not in needs["properties"] and re.fullmatch(r"[\w.-]+", property_)  # a name for the overlay
    ]


def _members(schema: Any) -> Mapping[str, Any]:
    return schema if isinstance(schema, Mapping) else {}


def with_not_required(overlay: str, properties: list[tuple[str, str]]) -> str:
    """Add to the text of the overlay, which ends with its actions, that answers may lack these properties."""
    actions = (
        f"  - target: $.components.schemas.{name}.required[?(@ == {json.dumps(property_)})]\n"
        "    description: New, and nothing here needs it; an answer without it must be readable. (update-description)\n"
        "    remove: true\n"
        for name, property_ in properties
    )
    return f"{overlay.rstrip()}\n{''.join(actions)}" if properties else overlay


def with_not_covered(table: str, names: list[str]) -> str:
    """Write the operations that are not covered into the text of relied_on.yaml, which ends with their list."""
    head, _, listed = table.partition("\nnot_covered:")
    lines = {line.split()[1]: line for line in listed.splitlines() if line.startswith("  - ")}
    new = [lines.get(name, f"  - {as_yaml(name)}") for name in names]
    return f"{head}\nnot_covered:" + ("\n" + "\n".join(new) if new else " []") + "\n"


def as_yaml(name: str) -> str:
    """Write an operation's name as YAML; an operation without an id goes by its endpoint."""
    return yaml.safe_dump(name, default_flow_style=True, width=1000).removesuffix("\n...\n").strip()
