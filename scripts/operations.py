"""The operations of a description, each with what it inherits from its path and its document."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from scripts.schemas import Document, follow

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")


@dataclass(frozen=True)
class Operation:
    """An operation, with what it inherits from its path and its document."""

    method: str
    path: str
    name: str | None
    parameters: dict[tuple[str, str], Mapping[str, Any]]
    body: Mapping[str, Any] | None
    responses: dict[str, Any]
    security: list[dict[str, list[str]]]
    raw: Mapping[str, Any] = field(repr=False)

    @property
    def endpoint(self) -> str:
        """The method and the path."""
        return f"{self.method.upper()} {self.path}"

    @property
    def label(self) -> str:
        """What to call it."""
        return self.name or self.endpoint

    @property
    def shape(self) -> str:
        """The endpoint without the names of its parameters."""
        return re.sub(r"\{[^}]*\}", "{}", self.endpoint)


def operations(document: Document) -> list[Operation]:
    """List all operations in order."""
    found = []
    for path, raw_item in document.get("paths", {}).items():
        item = follow(raw_item, document)
        if not path.startswith("/"):  # an extension
            continue
        for method in filter(item.__contains__, METHODS):
            raw = item[method]
            parameters = [*item.get("parameters", ()), *raw.get("parameters", ())]
            resolved = [follow(parameter, document) for parameter in parameters]
            found.append(
                Operation(
                    method,
                    path,
                    raw.get("operationId"),
                    {(parameter["in"], parameter["name"]): parameter for parameter in resolved if "name" in parameter},
                    follow(raw["requestBody"], document) if "requestBody" in raw else None,
                    {
                        status: follow(response, document)
                        for status, response in raw.get("responses", {}).items()
                        if not status.startswith("x-")
                    },
                    raw.get("security", document.get("security", [])),
                    raw,
                )
            )
    return found
