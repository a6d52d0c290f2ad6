"""Read a description, validate it, apply the overlay, prepare it for the generator, and write it as JSON.

Run by regen.sh in the generator's environment: python -m scripts.correct_description DESCRIPTION OVERLAY OUTPUT
"""

from __future__ import annotations

import copy
import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from openapi_spec_validator import OpenAPIV30SpecValidator, OpenAPIV31SpecValidator

from scripts.circles import cut_circles
from scripts.overlay import check_overlay, correct
from scripts.prepare import prepare
from scripts.read_description import RefusedError, in_one_line, read, shortened
from scripts.schemas import follow, references, target

CONFIGURATION = Path("openapi/generator.yaml")


def check_description(document: dict[str, Any], name: str) -> None:
    """Refuse what is not valid OpenAPI; the name is for the message."""
    version = str(document.get("openapi"))
    validators = {"3.0": OpenAPIV30SpecValidator, "3.1": OpenAPIV31SpecValidator}
    validator = validators.get(version[:3])
    if validator is None:
        raise RefusedError(f"{name} is not an OpenAPI 3.0 or 3.1 description (openapi: {version}).")
    _check_references(document, name)
    error = _deepest(_first_error(validator, _without_extensions(document), name))
    if error is not None:
        place = "/".join(map(str, getattr(error, "absolute_path", ()))) or "its root"
        words = shortened(str(getattr(error, "message", error)))
        raise RefusedError(f"{name} is not valid OpenAPI {version} at {place}: {words}")


def _without_extensions(document: dict[str, Any]) -> dict[str, Any]:
    """Leave out extensions among the paths: the validator takes them for paths."""
    paths = document.get("paths")
    if not isinstance(paths, dict):
        return document
    return {**document, "paths": {path: item for path, item in paths.items() if not path.startswith("x-")}}


def _check_references(document: dict[str, Any], name: str) -> None:
    """Refuse references that the validator would fetch from the network or stumble over."""
    for reference in (node["$ref"] for node in references(document)):
        if not reference.startswith("#"):
            raise RefusedError(f"{name} refers to {reference}, outside itself: bundle it into one file first.")
        if not reference.startswith("#/") or target(reference, document, missing=None) is None:
            raise RefusedError(f"{name} refers to {reference}, which is not there.")
        if follow({"$ref": reference}, document, loop=None) is None:
            raise RefusedError(f"{name} refers to {reference}, which leads back to itself.")


def _first_error(validator: Any, document: dict[str, Any], name: str) -> Any:
    """Validate, and return the first error.

    OpenAPI's JSON schema comes first. The checks after it never return from schemas that are made of one another (a
    parent with oneOf, and its children with allOf), so these circles are cut for them.
    """
    with suppress(RecursionError):
        return next(validator(document).iter_errors(), None)
    cut = copy.deepcopy(document)
    cut_circles(cut, name)
    with suppress(RecursionError):
        return next(validator(cut).iter_errors(), None)
    return None


def _deepest(error: Any) -> Any:
    """Of an error that has alternative causes, find the one that lies deepest in the document."""
    while getattr(error, "context", None):
        error = max(error.context, key=lambda cause: len(cause.absolute_path))
    return error


def main(description: str, overlay: str, output: str) -> None:
    """Go from file to file."""
    document = read(Path(description))
    check_description(document, description)
    corrections = read(Path(overlay))
    check_overlay(corrections, overlay)
    corrected = correct(document, corrections)
    for name in corrected.dead:
        raise RefusedError(f"{name} matches nothing: Brex has changed that place, so review the action or drop it.")
    check_description(corrected.document, f"{description}, as corrected by {overlay},")
    overrides = read(CONFIGURATION)["class_overrides"]
    prepare(corrected.document, description, {name: each["class_name"] for name, each in overrides.items()})
    Path(output).write_text(json.dumps(corrected.document, indent=2, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except RefusedError as refusal:
        sys.exit(f"regen: {in_one_line(refusal)}")
    except Exception as error:  # noqa: BLE001 - a maintainer must read a sentence, not a traceback
        sys.exit(f"regen: {sys.argv[1]} cannot be used: {in_one_line(error)}")
