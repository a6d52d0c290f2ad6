"""Read an OpenAPI description, or another YAML or JSON document, as plain JSON."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

LONGEST_MESSAGE = 300
MOST_VALUES = 200_000  # after its aliases are expanded; Brex's document has a few thousand


class RefusedError(Exception):
    """Why the description cannot be used, in one sentence for a maintainer."""


def in_one_line(error: BaseException) -> str:
    """Return the message of an error; of one that is not ours, shortened."""
    words = " ".join((str(error) or type(error).__name__).split())
    return words if isinstance(error, RefusedError) else shortened(words)


def shortened(words: str) -> str:
    """Leave out the middle: the validators' messages begin with whole schemas, and end with what is wrong."""
    return words if len(words) <= LONGEST_MESSAGE else f"{words[: LONGEST_MESSAGE - 100]}… …{words[-100:]}"


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object, and refuse duplicate keys: the parsers would silently keep the last."""
    document: dict[str, Any] = {}
    for key, value in pairs:
        if key in document:
            raise ValueError(f"the key {key!r} occurs twice in one object")
        document[key] = value
    return document


class PlainLoader(yaml.SafeLoader):
    """YAML with JSON's types: a date or a NO stays a string, and keys are unique."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self.values = 0
        self.sizes: dict[int, int] = {}

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Refuse aliases of aliases that expand to more than anybody can read."""
        is_alias, before = self.check_event(yaml.AliasEvent), self.values
        node = super().compose_node(parent, index)
        if is_alias:
            self.values += self.sizes.get(id(node), 1)
            if self.values > MOST_VALUES:
                raise ValueError(f"its aliases expand to more than {MOST_VALUES:,} values")
        else:
            self.values += 1 + (len(node.value) // 100 if isinstance(node, yaml.ScalarNode) else 0)
            self.sizes[id(node)] = self.values - before
        return node

    def construct_mapping(self, node: yaml.MappingNode, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        """Refuse duplicate keys."""
        unique([(str(key.value), value) for key, value in node.value])
        return super().construct_mapping(node, *args, **kwargs)


NOT_IN_JSON = {f"tag:yaml.org,2002:{kind}" for kind in ("timestamp", "bool", "value")}
PlainLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in NOT_IN_JSON]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
PlainLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("(?i:true|false)$"), list("tTfF"))


def read(path: Path) -> dict[str, Any]:
    """Read a file of JSON or YAML. Raises OSError, RefusedError."""
    return parse(path.read_bytes(), str(path))


def _trouble(text: str) -> str | None:
    """Say what a file is that a failed download leaves in place of a description."""
    start = text.lstrip()[:1]
    return (
        "is empty, not a YAML or JSON object"
        if not start
        else "is a web page or XML, not YAML or JSON"
        if start == "<"
        else None
    )


def parse(content: bytes, name: str) -> dict[str, Any]:
    """Read JSON or YAML, with or without a BOM; all keys become strings, as in JSON. The name is for the message."""
    trouble = None
    try:
        text = content.decode("utf-8-sig")
        trouble = _trouble(text)
        try:
            document = json.loads(text, object_pairs_hook=unique)
        except json.JSONDecodeError:
            document = None if trouble else yaml.load(text, PlainLoader)  # noqa: S506 - a SafeLoader
        plain = json.loads(json.dumps(document, allow_nan=False))
    except Exception as error:  # noqa: BLE001 - PyYAML raises more than YAMLError, such as AttributeError for `!!timestamp x`
        raise RefusedError(f"{name} cannot be read as YAML or JSON: {in_one_line(error)}") from None
    if trouble:
        raise RefusedError(f"{name} {trouble}.")
    if not isinstance(plain, dict):
        raise RefusedError(f"{name} is not a YAML or JSON object.")
    return plain
