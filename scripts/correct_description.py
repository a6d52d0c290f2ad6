"""Read a description, validate it, apply the overlay, and write the corrected description as JSON.

Run by regen.sh in the generator's environment: correct_description.py DESCRIPTION OVERLAY OUTPUT
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import jsonschema
import oas_patch
import yaml
from jsonpath_ng.exceptions import JSONPathError
from jsonpath_ng.ext import parse
from oas_patch.validator import load_schema
from openapi_spec_validator import OpenAPIV30SpecValidator, OpenAPIV31SpecValidator


class Refusal(Exception):
    """Why the description cannot be used, in one sentence for a maintainer."""


class PlainLoader(yaml.SafeLoader):
    """YAML as JSON knows it: a date stays the string that it is."""


PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read(path: Path) -> dict[str, Any]:
    """Read YAML or JSON (which is YAML), with or without a BOM; every key becomes a string, as in JSON."""
    try:
        document = yaml.load(path.read_text("utf-8-sig"), PlainLoader)  # noqa: S506 - a SafeLoader
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Refusal(f"{path} cannot be read as YAML or JSON: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict):
        raise Refusal(f"{path} is not a YAML or JSON object.")
    plain: dict[str, Any] = json.loads(json.dumps(document))
    return plain


def check_description(document: dict[str, Any], name: str) -> None:
    version = str(document.get("openapi"))
    validators = {"3.0": OpenAPIV30SpecValidator, "3.1": OpenAPIV31SpecValidator}
    validator = validators.get(version[:3])
    if validator is None:
        raise Refusal(f"{name} is not an OpenAPI 3.0 or 3.1 description (openapi: {version}).")
    error = next(iter(validator(document).iter_errors()), None)
    if error is not None:
        place = "/".join(map(str, getattr(error, "absolute_path", ())))
        raise Refusal(f"{name} is not valid OpenAPI {version} at {place or 'its root'}: {str(error).splitlines()[0]}")


def check_overlay(overlay: dict[str, Any], name: str) -> None:
    error = jsonschema.Draft202012Validator(load_schema("overlay_schema_1.0.0.yml"))
    problem = next(iter(error.iter_errors(overlay)), None)
    if problem is not None:
        place = "/".join(map(str, problem.absolute_path))
        raise Refusal(f"{name} is not a valid Overlay 1.0 document at {place or 'its root'}: {problem.message}")


def apply(overlay: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    """Apply the actions one by one: oas-patch passes over a target that matches nothing, and takes `remove: false` for true."""
    for number, action in enumerate(overlay["actions"], start=1):
        label = f"overlay action {number} ({action['target']}; its reason: {action.get('description', 'none given')})"
        try:
            matches = parse(action["target"]).find(document)
        except (JSONPathError, ValueError) as error:
            raise Refusal(f"{label} has a target that is not JSONPath: {error}") from None
        if not matches:
            raise Refusal(f"{label} matches nothing: has the description changed or been mended there?")
        if "remove" in action and not action["remove"]:
            action = {key: value for key, value in action.items() if key != "remove"}
        document = oas_patch.apply_overlay(document, {"actions": [action]})
    return document


def main(description: str, overlay: str, output: str) -> None:
    document = read(Path(description))
    check_description(document, description)
    corrections = read(Path(overlay))
    check_overlay(corrections, overlay)
    corrected = apply(corrections, document)
    check_description(corrected, f"{description}, as corrected by {overlay},")
    Path(output).write_text(json.dumps(corrected, indent=2, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except Refusal as refusal:
        sys.exit(f"regen: {refusal}")
