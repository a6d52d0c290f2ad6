"""`openapi/accounting.yaml` is valid OpenAPI and states the contract frozen in `data/contract.yaml`."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import pytest
import yaml
from openapi_spec_validator import validate

Node = dict[str, Any]
Facts = dict[str, str]

TESTS = Path(__file__).parent
DESCRIPTION: Node = yaml.safe_load((TESTS.parent / "openapi" / "accounting.yaml").read_text("utf-8"))
CONTRACT: dict[str, Facts] = yaml.safe_load((TESTS / "data" / "contract.yaml").read_text("utf-8"))

METHODS = {"get", "put", "post", "delete", "options", "head", "patch", "trace"}
PROSE = {"title", "description", "example", "examples", "externalDocs"}
SHOWN_APART = {"type", "items", "allOf", "oneOf", "anyOf", "enum"}


def resolve(node: Node) -> Node:
    """Follow the reference that Brex may put in place of a parameter, a request body or a response."""
    target = DESCRIPTION
    for step in node.get("$ref", "").split("/")[1:]:
        target = target[step]
    return target if "$ref" in node else node


def describe(schema: Node) -> str:
    """Put every keyword of a schema that bears on its values into one line."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    words = [schema["type"]] if "type" in schema else []
    if "items" in schema:
        words += ["of", describe(schema["items"])]
    for keyword in ("allOf", "oneOf", "anyOf"):
        if keyword in schema:
            words.append(f"{keyword}[{', '.join(map(describe, schema[keyword]))}]")
    words += [f"{keyword}={schema[keyword]}" for keyword in sorted(schema.keys() - SHOWN_APART - PROSE)]
    if "enum" in schema:
        words += ["=", *map(str, schema["enum"])]
    return " ".join(words)


def describe_content(body: Node) -> str:
    return ", ".join(f"{media} {describe(value['schema'])}" for media, value in body.get("content", {}).items())


def document_facts() -> Facts:
    [(scheme, definition)] = DESCRIPTION["components"]["securitySchemes"].items()
    [(flow, grant)] = definition["flows"].items()
    return {
        "openapi": DESCRIPTION["openapi"],
        "info": f"{DESCRIPTION['info']['title']} {DESCRIPTION['info']['version']}",
        "servers": " ".join(server["url"] for server in DESCRIPTION["servers"]),
        "tags": ", ".join(tag["name"] for tag in DESCRIPTION["tags"]),
        "security": f"{scheme} {flow}",
        "authorizationUrl": grant["authorizationUrl"],
        "tokenUrl": grant["tokenUrl"],
        "scopes": " ".join(grant["scopes"]),
    }


def operation_facts(method: str, path: str, operation: Node) -> Facts:
    alternatives = [scopes for requirement in operation["security"] for scopes in requirement.values()]
    facts = {
        "endpoint": f"{method.upper()} {path}",
        "tags": ", ".join(operation["tags"]),
        "scopes": " or ".join(map(" and ".join, alternatives)),
    }
    for parameter in map(resolve, operation.get("parameters", [])):
        words = ["required"] if parameter.get("required") else []
        words.append(describe(parameter["schema"]))
        words += [f"{keyword}={parameter[keyword]}" for keyword in ("style", "explode") if keyword in parameter]
        facts[f"{parameter['in']} {parameter['name']}"] = " ".join(words)
    if "requestBody" in operation:
        body = resolve(operation["requestBody"])
        facts["body"] = ("required " if body.get("required") else "") + describe_content(body)
    for status, response in operation["responses"].items():
        key = f"answers {describe_content(resolve(response))}"
        facts[key] = f"{facts.get(key, '')} {status}".strip()
    return facts


def schema_facts(schema: Node) -> Facts:
    itself = dict(schema)
    required, properties = itself.pop("required", []), itself.pop("properties", {})
    line = describe(itself)
    facts = {} if line == "object" else {"(itself)": line}
    for name, value in properties.items():
        facts[name] = ("required " if name in required else "") + describe(value)
    return facts


def described() -> dict[str, Facts]:
    blocks = {"document": document_facts()}
    for path, item in DESCRIPTION["paths"].items():
        for method in filter(METHODS.__contains__, item):
            operation = item[method]
            blocks[f"operation {operation['operationId']}"] = operation_facts(method, path, operation)
    for name, schema in DESCRIPTION["components"]["schemas"].items():
        blocks[f"schema {name}"] = schema_facts(schema)
    return blocks


DESCRIBED = described()


def changed_words(contract: str, description: str) -> str:
    """Say which words only the contract has (-) and which only the description has (+)."""
    words = difflib.ndiff(contract.split(), description.split())
    return " ".join(word[0] + word[2:] for word in words if word[0] in "+-")


def test_is_valid_openapi() -> None:
    validate(DESCRIPTION)


def test_has_the_contracts_operations_and_schemas_in_order() -> None:
    assert list(DESCRIBED) == list(CONTRACT)


@pytest.mark.parametrize("name", CONTRACT | DESCRIBED)
def test_states_the_contract(name: str) -> None:
    contract, description = CONTRACT.get(name, {}), DESCRIBED.get(name, {})
    differences = [
        f"{name}, {fact}: {changed_words(contract.get(fact, ''), description.get(fact, ''))}"
        for fact in {**contract, **description}
        if contract.get(fact) != description.get(fact)
    ]
    assert not differences, "\n".join(differences)
    assert list(description) == list(contract), f"{name}: the order differs"
