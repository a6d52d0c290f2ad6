"""What a call of `book` or `find` came to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Reference:
    """The ERP has it."""

    reference_id: str | None
    deep_link_url: str | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """The ERP does not want it."""

    message: str


@dataclass(frozen=True, slots=True)
class Nothing:
    """The ERP has nothing of it."""

    message: str | None = None
    retry_in: float | None = None


@dataclass(frozen=True, slots=True)
class Doubt:
    """Nobody knows whether the ERP has it."""

    message: str


Answer: TypeAlias = Reference | Refusal | Nothing | Doubt
