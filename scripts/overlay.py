"""Apply the overlay to a description, action by action."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import jsonschema
import oas_patch
from jsonpath_ng.ext import parse
from oas_patch.validator import load_schema

from scripts.description_changes import changes_between
from scripts.read_description import RefusedError, in_one_line, shortened
from scripts.schemas import follow, without_prose
from scripts.simplify import simplified

Document = dict[str, Any]

IF_MISSING = "x-if-missing"
"""Our extension: such an action adds what is missing, and leaves alone what is there."""


@dataclass
class Corrected:
    """A simplified description, with the overlay applied as far as possible."""

    document: Document
    dead: list[str] = field(default_factory=list)
    """Actions that match nothing."""
    needless: list[str] = field(default_factory=list)
    """Actions that change nothing, because the description already says so."""


def correct(document: Document, overlay: Document) -> Corrected:
    """Apply a valid overlay, and find the actions that are of no use any more. Raises RefusedError."""
    corrected = Corrected(simplified(document))
    for number, action in enumerate(overlay["actions"], start=1):
        name = f"overlay action {number} ({action['target']}; its reason: {action.get('description', 'none given')})"
        before = copy.deepcopy(corrected.document)
        if not _apply(action, name, corrected.document):
            corrected.dead.append(name)
        elif action.get(IF_MISSING) or not without_prose(action.get("update")):
            continue
        elif not changes_between(before, corrected.document).reported:
            corrected.needless.append(name)
    return corrected


def check_overlay(overlay: Document, name: str) -> None:
    """Refuse what is not a valid overlay; the schema that oas-patch brings lets an action be anything."""
    schema = load_schema("overlay_schema_1.0.0.yml")
    schema["$defs"]["action-object"]["type"] = "object"
    error = next(jsonschema.Draft202012Validator(schema).iter_errors(overlay), None)
    if error is not None:
        place = "/".join(map(str, error.absolute_path)) or "its root"
        raise RefusedError(f"{name} is not a valid Overlay 1.0 document at {place}: {shortened(error.message)}")


def _apply(action: dict[str, Any], name: str, document: Document) -> bool:
    """Apply one action in place, and return whether it matched: oas-patch silently skips one that does not."""
    try:
        matches = parse(action["target"]).find(document)
        for match in reversed(matches):  # so that a removal does not move what is still to be removed
            _change(document, match, action)
    except Exception as error:  # noqa: BLE001 - jsonpath-ng and oas-patch raise anything
        raise RefusedError(f"{name} cannot be applied: {in_one_line(error)}") from None
    return bool(matches)


def _change(document: Document, match: Any, action: dict[str, Any]) -> None:
    """Let oas-patch change one match.

    Given the whole action, it removes too much if the target matches several elements of a list, cannot update an
    element of a list, and takes `remove: false` for true.
    """
    target = str(match.full_path)
    if action.get("remove"):
        oas_patch.apply_overlay(document, {"actions": [{"target": target, "remove": True}]})
    elif "update" in action:
        update = copy.deepcopy(action["update"])
        if action.get(IF_MISSING):
            update = _missing(update, match.value, document)
        if update == {}:
            return
        if isinstance(match.value, dict) and isinstance(update, dict):
            document, target = match.value, "$"
        oas_patch.apply_overlay(document, {"actions": [{"target": target, "update": update}]})


def _missing(update: Any, value: Any, document: Document) -> Any:
    """Return the part of an update that is not there yet: new keys of an object, or a parameter with a new name."""
    if isinstance(value, dict) and isinstance(update, dict):
        return {key: added for key, added in update.items() if key not in value}
    identity = [update.get("name"), update.get("in")] if isinstance(update, dict) else None
    items = [follow(item, document) for item in value] if isinstance(value, list) else []
    return {} if any([item.get("name"), item.get("in")] == identity for item in items) else update
