"""The contract: what a description states, one line for each fact. tests/data/contract.yaml keeps it."""

from __future__ import annotations

from typing import Any

import yaml

from scripts.operations import Operation, operations
from scripts.schemas import PROSE, component

Node = dict[str, Any]
Facts = dict[str, str]

WIDTH = 110
SHOWN_APART = {"type", "properties", "items", "allOf", "oneOf", "anyOf", "enum"}
HEAD = """\
# What openapi/accounting.yaml states, one line for each property; test_description.py compares the two.
# Only `make update-description` and `make test-data` write it: a change here is a change that Brex published.
"""


def facts_of(description: Node) -> dict[str, Facts]:
    """List what a valid description states: for the document, each operation and each schema."""
    blocks = {"document": _document_facts(description)}
    for operation in operations(description):
        blocks[f"operation {operation.label}"] = _operation_facts(operation)
    for name, schema in description.get("components", {}).get("schemas", {}).items():
        blocks[f"schema {name}"] = _schema_facts(schema)
    return blocks


def write_contract(description: Node) -> str:
    """Return the contract as the text of its file."""
    blocks = (
        yaml.safe_dump({name: facts}, sort_keys=False, allow_unicode=True, width=WIDTH)
        for name, facts in facts_of(description).items()
    )
    return HEAD + "\n".join(blocks)


def _describe(schema: Any) -> str:
    """Put every keyword of a schema that concerns its values into one line."""
    if not isinstance(schema, dict):
        return "nothing" if schema is False else "anything"
    if "$ref" in schema:
        return component(schema) or schema["$ref"]
    kinds = schema.get("type", [])
    words = ["|".join(kinds)] if isinstance(kinds, list) and kinds else [kinds] if isinstance(kinds, str) else []
    if "properties" in schema:
        words.append(f"{{{', '.join(f'{name}: {fact}' for name, fact in _property_facts(schema).items())}}}")
    if "items" in schema:
        words += ["of", _describe(schema["items"])]
    for keyword in ("allOf", "oneOf", "anyOf"):
        if keyword in schema:
            words.append(f"{keyword}[{', '.join(map(_describe, schema[keyword]))}]")
    shown = SHOWN_APART | PROSE | ({"required"} if "properties" in schema else set())
    words += [f"{keyword}={schema[keyword]}" for keyword in sorted(schema.keys() - shown)]
    if "enum" in schema:
        words += ["=", *map(str, schema["enum"])]
    return " ".join(words)


def _describe_content(body: Node) -> str:
    media = body.get("content", {})
    return (
        ", ".join(f"{kind} {_describe(value.get('schema', {}))}" for kind, value in media.items()) or "without a body"
    )


def _document_facts(description: Node) -> Facts:
    schemes = description.get("components", {}).get("securitySchemes", {})
    flows = [(name, *flow) for name, scheme in schemes.items() for flow in scheme.get("flows", {}).items()]
    facts = {
        "openapi": description["openapi"],
        "info": f"{description['info']['title']} {description['info']['version']}",
        "servers": " ".join(server["url"] for server in description.get("servers", ())),
        "tags": ", ".join(tag["name"] for tag in description.get("tags", ())),
        "security": ", ".join(f"{scheme} {flow}" for scheme, flow, _ in flows)
        or ", ".join(f"{name} {scheme.get('type')}" for name, scheme in schemes.items()),
    }
    for address in ("authorizationUrl", "tokenUrl"):
        facts[address] = " ".join(grant[address] for _, _, grant in flows if address in grant)
    return facts | {"scopes": " ".join(scope for _, _, grant in flows for scope in grant.get("scopes", {}))}


def _operation_facts(operation: Operation) -> Facts:
    alternatives = [scopes for requirement in operation.security for scopes in requirement.values()]
    facts = {
        "endpoint": operation.endpoint,
        "tags": ", ".join(operation.raw.get("tags", ())),
        "scopes": " or ".join(map(" and ".join, alternatives)),
    }
    for (place, name), parameter in operation.parameters.items():
        words = ["required"] if parameter.get("required") else []
        words.append(_describe(parameter["schema"]) if "schema" in parameter else _describe_content(dict(parameter)))
        words += [f"{keyword}={parameter[keyword]}" for keyword in ("style", "explode") if keyword in parameter]
        facts[f"{place} {name}"] = " ".join(words)
    if operation.body is not None:
        body = dict(operation.body)
        facts["body"] = ("required " if body.get("required") else "") + _describe_content(body)
    for status, response in operation.responses.items():
        key = f"answers {_describe_content(response)}"
        facts[key] = f"{facts.get(key, '')} {status}".strip()
    return facts


def _schema_facts(schema: Any) -> Facts:
    if not isinstance(schema, dict):
        return {"(itself)": _describe(schema)}
    itself = {keyword: value for keyword, value in schema.items() if keyword not in {"required", "properties"}}
    line = _describe(itself)
    facts = {} if line == "object" else {"(itself)": line}
    return facts | _property_facts(schema)


def _property_facts(schema: Node) -> Facts:
    return {
        name: ("required " if name in schema.get("required", ()) else "") + _describe(value)
        for name, value in schema.get("properties", {}).items()
    }
