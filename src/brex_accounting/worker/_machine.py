"""The states of a record, and what leads from one to the next. No I/O, no clock: `now` is given.

ready ──intent──▶ booking ──reference──▶ booked ──reported──▶ exported
  ▲                  │ └──refusal──▶ refused ──reported──▶ returned
  └── nothing there ─┤
                     └── cut off ──▶ in_doubt ── find, upsert, or a person
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from brex_accounting.errors import ConfigurationError
from brex_accounting.models import ReportStatus

from ._answers import Answer, Doubt, Nothing, Reference, Refusal
from ._entries import ExportEntry, ExportState

Doubts: TypeAlias = Literal["find", "upsert", "person"]


@dataclass(frozen=True, slots=True)
class Rules:
    """What the author of `book` said. All times are seconds."""

    doubts: Doubts
    """What settles a doubt."""
    settle_after: float
    max_attempts: int
    initial_backoff: float
    max_backoff: float
    spread: Callable[[float, float], float] = lambda _low, high: high
    """Draws a number between two."""

    def latest(self, now: float) -> float:
        """No due time that the worker sets is later than this: a clock has jumped where one is."""
        return now + max(self.settle_after, self.max_backoff)

    def backoff(self, attempts: int) -> float:
        longest = min(self.max_backoff, self.initial_backoff * 2.0 ** min(max(attempts - 1, 0), 64))
        return self.spread(longest / 2, longest)


@dataclass(frozen=True, slots=True)
class Seen:
    """What Brex shows of a record now."""

    status: Literal["ready", "exported", "elsewhere", "missing", "unreadable"]
    version: int | None = None
    content: str | None = None
    older: bool = False
    """It may have been booked before the store was made."""
    reason: str | None = None
    """Why it cannot be read."""


@dataclass(frozen=True, slots=True)
class Next:
    """What to save of a record (None: forget it), and what to do then."""

    entry: ExportEntry | None
    do: Literal["nothing", "look", "book", "find", "report"] = "nothing"


REEXAMINED = {"changed", "taken back", "gone", "unreadable"}
"""What may be over when a record that is held for it is noticed again."""


def receive(entry: ExportEntry, now: float, rules: Rules, elapsed: float | None = None) -> Next:
    """Decide about an entry that is due, or noticed, before anything is read.

    `elapsed`: the seconds since its request went out, where this process sent it: no clock can jump there.
    """
    noticed = entry.noticed > entry.handled
    seen = replace(entry, handled=entry.noticed)
    if entry.held is not None:
        return Next(seen, "look" if noticed and entry.held in REEXAMINED else "nothing")
    if entry.state == "booking":  # its worker died
        entry = seen = replace(seen, state="in_doubt", changed_at=now)
    if entry.state == "in_doubt":
        due = entry.due
        if elapsed is not None and elapsed < rules.settle_after:
            due = now + rules.settle_after - elapsed
        elif due > rules.latest(now):  # the clock has jumped, and nobody knows how long it was
            due = now + rules.settle_after
        return Next(seen, "look") if due <= now else Next(replace(seen, due=due))
    if entry.state in {"ready", "booked", "refused"} and now < entry.due <= rules.latest(now):
        return Next(seen)
    return Next(seen, "look" if entry.state in {"ready", "exported", "returned"} else "report")


def decide(entry: ExportEntry, seen: Seen, now: float, rules: Rules, *, asked: bool = False) -> Next:
    """Decide with what Brex shows now. `asked`: `find` was asked just now, and found nothing."""
    entry = replace(entry, handled=entry.noticed, held=None)
    match entry.state:
        case "ready":
            return _decide_ready(entry, seen, now, rules, asked=asked)
        case "booking" | "in_doubt":
            return _decide_in_doubt(entry, seen, now, rules)
        case "booked":
            return _decide_booked(entry, seen, now, rules)
        case "refused":
            return _decide_refused(entry, seen, now)
        case "exported":
            if seen.status != "ready":
                return Next(entry)
            return _decide_booked(_moved(entry, "booked", now), seen, now, rules)
        case "returned":
            if seen.status != "ready":
                return Next(entry)
            return _decide_ready(_moved(entry, "ready", now), seen, now, rules, asked=True)


def _decide_ready(entry: ExportEntry, seen: Seen, now: float, rules: Rules, *, asked: bool) -> Next:
    if seen.status == "unreadable":
        return _hold(entry, "unreadable", now, seen.reason)
    if seen.status != "ready":
        return Next(None)
    if entry.attempts >= rules.max_attempts:
        return _hold(entry, "attempts used up", now)
    never_given = entry.content is None
    return Next(entry, "find" if rules.doubts == "find" and never_given and seen.older and not asked else "book")


def _decide_in_doubt(entry: ExportEntry, seen: Seen, now: float, rules: Rules) -> Next:
    if rules.doubts != "find" and seen.status == "exported":  # somebody reported it, and so the ERP has it
        return Next(_moved(entry, "exported", now))
    if rules.doubts == "person":
        return _hold(entry, "in doubt", now)
    if seen.status == "missing":
        return _hold(entry, "gone", now)
    if seen.status == "unreadable":
        return _hold(entry, "unreadable", now, seen.reason)
    if rules.doubts == "find":
        return Next(entry, "find")
    if seen.status == "elsewhere":
        return _hold(entry, "taken back", now)
    if entry.attempts >= rules.max_attempts:
        return _hold(entry, "attempts used up", now)
    return Next(entry, "book")


def _decide_booked(entry: ExportEntry, seen: Seen, now: float, rules: Rules) -> Next:
    match seen.status:
        case "exported":
            return Next(_moved(entry, "exported", now))
        case "elsewhere":
            return _hold(entry, "taken back", now)
        case "missing":
            return _hold(entry, "gone", now)
        case "unreadable":
            return _hold(entry, "unreadable", now, seen.reason)
    if entry.content is None:  # a person settled it: what the ERP has is what stands here
        return Next(replace(entry, version=seen.version, content=seen.content), "report")
    if entry.content == seen.content:
        return Next(entry, "report")
    return Next(entry, "book") if rules.doubts == "upsert" else _hold(entry, "changed", now)


def _decide_refused(entry: ExportEntry, seen: Seen, now: float) -> Next:
    match seen.status:
        case "missing":
            return Next(None)
        case "unreadable":
            return _hold(entry, "unreadable", now, seen.reason)
        case "exported" | "elsewhere":  # our report, or a person
            return Next(_moved(entry, "returned", now))
    if entry.content != seen.content:  # edited since: the ERP may take it now
        return Next(_moved(entry, "ready", now), "book")
    return Next(entry, "report")


def intend(entry: ExportEntry, seen: Seen, now: float, rules: Rules) -> ExportEntry:
    """What must be on the disk before `book` is called."""
    return replace(
        entry,
        state="booking",
        version=seen.version,
        content=seen.content,
        handled=entry.noticed,
        held=None,
        attempts=entry.attempts + 1,
        due=now + rules.settle_after,
        changed_at=now,
    )


def after_book(entry: ExportEntry, answer: Answer, now: float, rules: Rules, elapsed: float) -> ExportEntry:
    """Decide what came of a call of `book` that went out `elapsed` seconds ago."""
    match answer:
        case Reference():
            return _moved(entry, "booked", now, reference_id=answer.reference_id, deep_link_url=answer.deep_link_url)
        case Refusal():
            return _moved(entry, "refused", now, message=answer.message)
        case Doubt():
            due = now + max(rules.settle_after - elapsed, 0.0)
            return replace(entry, state="in_doubt", message=answer.message, due=due, changed_at=now)
        case Nothing():
            wait = rules.backoff(entry.attempts) if answer.retry_in is None else answer.retry_in
            due = now + min(wait, rules.max_backoff)
            # It may have an older entry, which a record that leaves READY_FOR_EXPORT must not be forgotten with.
            state: Literal["ready", "in_doubt"] = "ready" if entry.reference_id is None else "in_doubt"
            entry = replace(entry, state=state, message=answer.message, due=due, changed_at=now)
            return _held_when_used_up(entry, rules)


def after_find(entry: ExportEntry, answer: Reference | Nothing | Doubt, seen: Seen, now: float, rules: Rules) -> Next:
    """Decide what came of a call of `find`."""
    match answer:
        case Reference():
            content = entry.content or seen.content
            version = entry.version if entry.content else seen.version
            booked = _moved(entry, "booked", now, reference_id=answer.reference_id, deep_link_url=answer.deep_link_url)
            return Next(replace(booked, content=content, version=version), "report")
        case Nothing():
            entry = replace(entry, state="ready", due=0.0, changed_at=now)
            return decide(entry, seen, now, rules, asked=True)
        case Doubt():
            return Next(failed(entry, answer.message, now, rules))


def after_report(entry: ExportEntry, status: ReportStatus, message: str | None, now: float, rules: Rules) -> Next:
    """Decide what came of a report that the API gave a definite answer to, or that concerns this record alone."""
    refused = entry.state == "refused"
    if status in {"reported", "already_exported"} or (refused and status == "not_ready"):
        return Next(_moved(entry, "returned" if refused else "exported", now))
    if status == "not_found":
        return Next(None) if refused else _hold(entry, "gone", now)
    return Next(failed(entry, message, now, rules))


def failed(entry: ExportEntry, message: str | None, now: float, rules: Rules) -> ExportEntry:
    """A step failed for this record alone: it is tried again later, so many times."""
    attempts = entry.attempts + 1
    due = now + rules.backoff(attempts)
    entry = replace(
        entry, attempts=attempts, due=due, changed_at=now, handled=entry.noticed, message=message or entry.message
    )
    return _held_when_used_up(entry, rules)


def settle(entry: ExportEntry, reference_id: str | None, now: float) -> ExportEntry:
    """A person looked: the ERP has it under this reference, or (None) does not have it."""
    if entry.held is None:
        raise ConfigurationError("Only a held record can be settled: see held().")
    if reference_id is None:
        return _moved(entry, "ready", now, content=None, version=None, reference_id=None, deep_link_url=None)
    if entry.held in {"gone", "taken back"}:  # nothing is left to report; should it be ready again, it is compared
        return _moved(entry, "exported", now, reference_id=reference_id)
    # What a person booked, or brought up to date, is what stands at Brex. What the worker booked is known.
    by_a_person = entry.held == "changed" or entry.state in {"ready", "refused"}
    content = None if by_a_person else entry.content
    return _moved(entry, "booked", now, content=content, reference_id=reference_id)


def retry(entry: ExportEntry, now: float) -> ExportEntry:
    """A person mended the cause."""
    if entry.held is None:
        raise ConfigurationError("Only a held record can be retried: see held().")
    due = entry.due if entry.state in {"booking", "in_doubt"} else 0.0
    return replace(entry, held=None, attempts=0, due=due, changed_at=now)


def _moved(entry: ExportEntry, state: ExportState, now: float, **changes: Any) -> ExportEntry:
    """Bring it into another state, with a clean sheet."""
    message = None if state in {"booked", "exported"} else entry.message
    clean = {"held": None, "attempts": 0, "due": 0.0, "changed_at": now, "message": message}
    return replace(entry, state=state, **clean | changes)


def _hold(entry: ExportEntry, reason: str, now: float, message: str | None = None) -> Next:
    return Next(replace(entry, held=reason, message=message or entry.message, changed_at=now))


def _held_when_used_up(entry: ExportEntry, rules: Rules) -> ExportEntry:
    return replace(entry, held="attempts used up") if entry.attempts >= rules.max_attempts else entry
