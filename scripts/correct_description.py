"""Read a description, validate it, apply the overlay, and write the corrected description as JSON.

Run by regen.sh in the generator's environment: python -m scripts.correct_description DESCRIPTION OVERLAY OUTPUT
"""

from __future__ import annotations

import copy
import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import jsonschema
import oas_patch
from jsonpath_ng.ext import parse
from oas_patch.validator import load_schema
from openapi_spec_validator import OpenAPIV30SpecValidator, OpenAPIV31SpecValidator

from scripts.circles import cut_circles
from scripts.read_description import RefusedError, in_one_line, read
from scripts.schemas import follow, references, target
from scripts.simplify import prepare, simplify

IF_MISSING = "x-if-missing"
"""An action of ours with this adds what is missing, and leaves alone what is there."""


def check_references(document: dict[str, Any], name: str) -> None:
    """Find the references that the validator would fetch from the network or stumble over."""
    for reference in (node["$ref"] for node in references(document)):
        if not reference.startswith("#"):
            raise RefusedError(f"{name} refers to {reference}, outside itself: bundle it into one file first.")
        if not reference.startswith("#/") or target(reference, document, missing=None) is None:
            raise RefusedError(f"{name} refers to {reference}, which is not there.")
        if follow({"$ref": reference}, document, loop=None) is None:
            raise RefusedError(f"{name} refers to {reference}, which leads back to itself.")


def deepest(error: Any) -> Any:
    """Of an error whose causes are alternatives, find the cause that lies deepest in the document."""
    while getattr(error, "context", None):
        error = max(error.context, key=lambda cause: len(cause.absolute_path))
    return error


def first_error(validator: Any, document: dict[str, Any], name: str) -> Any:
    """Validate, and return the first error.

    First comes OpenAPI's JSON schema. The checks that follow never come back from schemas that are made of one another
    (a parent with oneOf, and children with allOf), so these are cut for them.
    """
    with suppress(RecursionError):
        return next(validator(document).iter_errors(), None)
    cut = copy.deepcopy(document)
    cut_circles(cut, name)
    with suppress(RecursionError):
        return next(validator(cut).iter_errors(), None)
    return None


def check_description(document: dict[str, Any], name: str) -> None:
    """Refuse what is not valid OpenAPI; the name is for the message."""
    version = str(document.get("openapi"))
    validators = {"3.0": OpenAPIV30SpecValidator, "3.1": OpenAPIV31SpecValidator}
    validator = validators.get(version[:3])
    if validator is None:
        raise RefusedError(f"{name} is not an OpenAPI 3.0 or 3.1 description (openapi: {version}).")
    check_references(document, name)
    error = deepest(first_error(validator, document, name))
    if error is not None:
        place = "/".join(map(str, getattr(error, "absolute_path", ()))) or "its root"
        raise RefusedError(f"{name} is not valid OpenAPI {version} at {place}: {getattr(error, 'message', error)}")


def check_overlay(overlay: dict[str, Any], name: str) -> None:
    """Refuse what is not a valid overlay; the schema that oas-patch brings lets an action be anything."""
    schema = load_schema("overlay_schema_1.0.0.yml")
    schema["$defs"]["action-object"]["type"] = "object"
    error = next(jsonschema.Draft202012Validator(schema).iter_errors(overlay), None)
    if error is not None:
        place = "/".join(map(str, error.absolute_path)) or "its root"
        raise RefusedError(f"{name} is not a valid Overlay 1.0 document at {place}: {error.message}")


def missing(update: Any, value: Any, document: dict[str, Any]) -> Any:
    """Return what of an update is not there yet: of an object its new keys, of a list a parameter of a new name."""
    if isinstance(value, dict) and isinstance(update, dict):
        return {key: added for key, added in update.items() if key not in value}
    identity = [update.get("name"), update.get("in")] if isinstance(update, dict) else None
    items = [follow(item, document) for item in value] if isinstance(value, list) else []
    return {} if any([item.get("name"), item.get("in")] == identity for item in items) else update


def change(document: dict[str, Any], match: Any, action: dict[str, Any]) -> None:
    """Let oas-patch change one match.

    Given the whole action, it removes too much where the target matches several elements of a list, cannot update
    an element of a list, and takes `remove: false` for true.
    """
    target = str(match.full_path)
    if action.get("remove"):
        oas_patch.apply_overlay(document, {"actions": [{"target": target, "remove": True}]})
    elif "update" in action:
        update = copy.deepcopy(action["update"])
        if action.get(IF_MISSING):
            update = missing(update, match.value, document)
        if update == {}:
            return
        if isinstance(match.value, dict) and isinstance(update, dict):
            document, target = match.value, "$"
        oas_patch.apply_overlay(document, {"actions": [{"target": target, "update": update}]})


def name_of(action: dict[str, Any], number: int) -> str:
    """Name an action so that it can be found in the overlay."""
    return f"overlay action {number} ({action['target']}; its reason: {action.get('description', 'none given')})"


def apply(action: dict[str, Any], name: str, document: dict[str, Any]) -> bool:
    """Apply one action in place, and say whether it matched anything: oas-patch passes over one that does not."""
    try:
        matches = parse(action["target"]).find(document)
        for match in reversed(matches):  # so that a removal moves nothing that is still to be removed
            change(document, match, action)
    except Exception as error:  # noqa: BLE001 - jsonpath-ng and oas-patch raise whatever comes
        raise RefusedError(f"{name} cannot be applied: {in_one_line(error)}") from None
    return bool(matches)


def main(description: str, overlay: str, output: str) -> None:
    """Go from file to file."""
    document = read(Path(description))
    check_description(document, description)
    simplify(document)
    corrections = read(Path(overlay))
    check_overlay(corrections, overlay)
    for number, action in enumerate(corrections["actions"], start=1):
        name = name_of(action, number)
        if not apply(action, name, document):
            raise RefusedError(f"{name} matches nothing: has the description changed or been mended there?")
    check_description(document, f"{description}, as corrected by {overlay},")
    prepare(document, description)
    Path(output).write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except RefusedError as refusal:
        sys.exit(f"regen: {in_one_line(refusal)}")
    except Exception as error:  # noqa: BLE001 - such as the validator's RecursionError; a maintainer is to read a sentence
        sys.exit(f"regen: {sys.argv[1]} cannot be used: {in_one_line(error)}")
