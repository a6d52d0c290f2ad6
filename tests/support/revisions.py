"""Revisions of the frozen description, as the files that Brex may publish."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import yaml

from scripts.read_description import read
from tests.support.project import DESCRIPTION_FILE

Node = dict[str, Any]
DESCRIPTION: Node = read(DESCRIPTION_FILE)
SOURCE = yaml.safe_dump(DESCRIPTION, sort_keys=False)


def described(change: Callable[[Node], object]) -> str:
    """The text of a revision, as JSON."""
    description = copy.deepcopy(DESCRIPTION)
    change(description)
    return json.dumps(description, indent=2)


def answers(answer: Node, **operation: object) -> Node:
    return {"tags": ["Odd"], "responses": {"200": {"description": "fine", **answer}}, **operation}


def property_is(schema: Node) -> str:
    """A revision in which a property has this schema."""
    return described(lambda description: description["components"]["schemas"]["Vendor"]["properties"].update(id=schema))
