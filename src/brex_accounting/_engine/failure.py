"""Makes the error that a call raises, and its text: what happened, what it did, what to do next."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from brex_accounting import errors
from brex_accounting._text import printable
from brex_accounting.errors import Outcome

from .classify import AttemptOutcome, Operation
from .refusals import Advice

E = TypeVar("E", bound=errors.BrexError)

_MAY_CHANGE = (errors.RateLimitedError, errors.ConflictError)
"""Refusals that the same request may not get the next time."""


@dataclass(frozen=True, slots=True)
class Wording:
    """How the second half of an error's text is worded for its reader."""

    advice: Mapping[Advice, str] = field(default_factory=lambda: {advice: advice.value for advice in Advice})
    repeat: str = "to find out, repeat the call with idempotency_key={key!r}"
    earlier: str = "An earlier attempt of this call may have been applied: look at the state before you repeat it"
    disconnected: str = "Before that, ensure disconnected {id}: call ensure again, or reactivate {id}."
    obstacle: str = "It was to disconnect {id}, which stood in the way of ensure."


FOR_CALLERS = Wording()


@dataclass(frozen=True, slots=True)
class Report:
    """What an error's text is made of."""

    facts: str
    advice: Advice
    safe: bool
    definite: bool
    """Whether the last answer was a refusal that the same request gets again."""
    blocking: str = ""
    obstacle: str = ""
    """The integration that stood in the way of `ensure`."""
    disconnected: bool = False
    """Whether `ensure` disconnected it, or may have, in an earlier step."""

    def text(self, error: errors.BrexError, wording: Wording = FOR_CALLERS) -> str:
        """Word the report."""
        said = f"{self.facts}. {self._effect(error, wording)}."
        if not self.obstacle:
            return said
        return f"{said} {(wording.disconnected if self.disconnected else wording.obstacle).format(id=self.obstacle)}"

    def _effect(self, error: errors.BrexError, wording: Wording) -> str:
        advice = wording.advice[self.advice].format(existing_integration_id=self.blocking or "the active integration")
        if self.safe:
            return advice[0].upper() + advice[1:]
        if error.outcome is Outcome.NOT_APPLIED:
            return f"It changed nothing: {advice}"
        if not self.definite:
            return f"It may have been applied: {wording.repeat.format(key=error.idempotency_key)}"
        return wording.earlier


def make_error(
    operation: Operation[Any], result: AttemptOutcome[Any], *, attempts: int, key: str | None, doubt: bool
) -> errors.BrexError:
    """Make the error for a result that is not a success; `doubt` is that of all attempts together."""
    kind = result.error or errors.BrexError
    outcome = Outcome.UNKNOWN if doubt and not operation.safe else Outcome.NOT_APPLIED
    common: dict[str, Any] = {
        "outcome": outcome,
        "operation": operation.name,
        "attempts": attempts,
        "idempotency_key": key,
    }
    if isinstance(result.failure, errors.ConfigurationError):
        return copy.copy(result.failure)  # without the frames that it came through
    if result.failure is not None:
        error = copy.copy(result.failure)  # others may be raising the same one
        error.amend(**common)
        return error
    trace = f" (trace id {printable(result.trace_id)})" if result.trace_id else ""
    error = kind("", **common, **result.attributes)
    reword(
        error,
        Report(
            facts=f"{operation.name}: {result.text.rstrip('.')}{trace}",
            advice=result.advice,
            safe=operation.safe,
            definite=issubclass(kind, errors.APIError) and kind not in _MAY_CHANGE and not result.doubt,
            blocking=printable(result.attributes.get("existing_integration_id") or ""),
        ),
    )
    return error


def reword(error: errors.BrexError, report: Report) -> None:
    """Give an error the text of a report, and keep the report for those who word it otherwise."""
    error.amend(report.text(error))
    error._report = report  # type: ignore[attr-defined]  # noqa: SLF001 - a slot, which the class need not know


def advise(error: E, facts: str, advice: Advice) -> E:
    """Give an error that is not of a call its text, and return it."""
    reword(error, Report(facts, advice, safe=True, definite=True))
    return error


def add_obstacle(error: errors.BrexError, obstacle: str, *, disconnected: bool) -> None:
    """Add to the text of an error of `ensure` which integration stood in its way, and whether it was disconnected."""
    report = report_of(error)
    if report is not None:
        reword(error, replace(report, obstacle=obstacle, disconnected=disconnected))
    else:
        wording = FOR_CALLERS.disconnected if disconnected else FOR_CALLERS.obstacle
        error.amend(f"{error} {wording.format(id=obstacle)}")


def reword_error(error: errors.BrexError) -> None:
    """Bring the text of an error into line with its outcome, which changed."""
    report = report_of(error)
    if report is not None:
        reword(error, report)


def report_of(error: errors.BrexError) -> Report | None:
    """What an error's text is made of; None for one that the engine did not make."""
    report = getattr(error, "_report", None)
    return report if isinstance(report, Report) else None
