"""`openapi/accounting.yaml` is valid OpenAPI and states the contract frozen in `data/contract.yaml`."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest
import yaml
from openapi_spec_validator import validate

from scripts.contract import Facts, facts_of, write_contract
from scripts.read_description import read

TESTS = Path(__file__).parent
DESCRIPTION = read(TESTS.parent / "openapi" / "accounting.yaml")
CONTRACT: dict[str, Facts] = yaml.safe_load((TESTS / "data" / "contract.yaml").read_text("utf-8"))
DESCRIBED = facts_of(DESCRIPTION)
WHAT_TO_DO = (
    "Where Brex published this, `make update-description FILE=openapi/accounting.yaml` restates the contract; "
    "where we want it otherwise than Brex, it belongs into openapi/overlay.yaml."
)


def changed_words(contract: str, description: str) -> str:
    """Say which words only the contract has (-) and which only the description has (+)."""
    words = difflib.ndiff(contract.split(), description.split())
    return " ".join(word[0] + word[2:] for word in words if word[0] in "+-")


def test_is_valid_openapi() -> None:
    validate(DESCRIPTION)


def test_has_the_contracts_operations_and_schemas_in_order() -> None:
    assert list(DESCRIBED) == list(CONTRACT), WHAT_TO_DO


@pytest.mark.parametrize("name", CONTRACT | DESCRIBED)
def test_states_the_contract(name: str) -> None:
    contract, description = CONTRACT.get(name, {}), DESCRIBED.get(name, {})
    differences = [
        f"{name}, {fact}: {changed_words(contract.get(fact, ''), description.get(fact, ''))}"
        for fact in {**contract, **description}
        if contract.get(fact) != description.get(fact)
    ]
    assert not differences, "\n".join([*differences, WHAT_TO_DO])
    assert list(description) == list(contract), f"{name}: the order differs. {WHAT_TO_DO}"


def test_the_contract_is_as_it_is_written() -> None:
    assert write_contract(DESCRIPTION) == (TESTS / "data" / "contract.yaml").read_text("utf-8"), WHAT_TO_DO
