"""The states of a record: row by row, and in a world that goes wrong at random."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from brex_accounting import ConfigurationError
from brex_accounting.worker import ExportEntry
from brex_accounting.worker import _machine as machine
from brex_accounting.worker._answers import Doubt, Nothing, Reference, Refusal
from brex_accounting.worker._entries import HELD
from brex_accounting.worker._machine import Doubts, Next, Rules, Seen
from tests.support.marks import examples

NOW = 1_000_000.0
READY = Seen("ready", version=2, content="c")


def rules(doubts: Doubts = "find", **changes: Any) -> Rules:
    values = {"settle_after": 120.0, "max_attempts": 3, "initial_backoff": 5.0, "max_backoff": 3600.0}
    return Rules(doubts, **values | changes)


FIND, UPSERT, PERSON = rules("find"), rules("upsert"), rules("person")


def entry(state: Any, **changes: Any) -> ExportEntry:
    defaults: dict[str, Any] = {"version": 1, "content": "c", "handled": 0, "noticed": 1}
    return ExportEntry("accr_1", state, **defaults | changes)


def outcome(step: Next) -> str:
    """What comes of a record, in short."""
    if step.entry is None:
        return "forgotten"
    if step.entry.held is not None:
        assert step.do == "nothing"
        assert step.entry.held in HELD
        return f"held {step.entry.held}"
    return step.entry.state if step.do == "nothing" else step.do


# -- before anything is read --


@pytest.mark.parametrize("state", ["ready", "booked", "refused", "exported", "returned"])
def test_what_is_due_is_looked_at(state: Any) -> None:
    step = machine.receive(entry(state), NOW, FIND)
    assert step.do == ("report" if state in {"booked", "refused"} else "look")
    assert step.entry is not None
    assert step.entry.handled == 1


@pytest.mark.parametrize("state", ["ready", "booked", "refused"])
def test_a_notice_does_not_shorten_a_backoff(state: Any) -> None:
    waiting = entry(state, due=NOW + 50)
    assert machine.receive(waiting, NOW, FIND) == Next(replace(waiting, handled=1))


@pytest.mark.parametrize("state", ["ready", "booked", "refused"])
def test_a_due_time_absurdly_far_ahead_counts_as_due(state: Any) -> None:
    assert machine.receive(entry(state, due=NOW + 3600.5), NOW, FIND).do != "nothing"


@pytest.mark.parametrize("state", ["booking", "in_doubt"])
@pytest.mark.parametrize(
    ("due", "waits"), [(NOW, None), (NOW + 1, NOW + 1), (NOW + 119, NOW + 119), (NOW + 1e6, NOW + 120.0)]
)
def test_a_doubt_is_settled_no_earlier_than_it_may(state: Any, due: float, waits: float | None) -> None:
    step = machine.receive(entry(state, due=due), NOW, FIND)
    assert step.entry is not None
    assert (step.entry.state, step.entry.handled) == ("in_doubt", 1)
    assert (step.do, step.entry.due) == (("look", due) if waits is None else ("nothing", waits))


def test_no_clock_shortens_the_wait_of_a_doubt_in_its_own_process() -> None:
    step = machine.receive(entry("in_doubt", due=NOW - 1e6), NOW, FIND, elapsed=20.0)
    assert step == Next(entry("in_doubt", due=NOW + 100.0, handled=1))
    assert machine.receive(entry("in_doubt", due=NOW), NOW, FIND, elapsed=120.0).do == "look"


@pytest.mark.parametrize("reason", HELD)
@pytest.mark.parametrize("noticed", [True, False])
def test_what_is_held_is_looked_at_again_only_when_that_may_help(reason: str, noticed: bool) -> None:
    held = entry("booked", held=reason, handled=0 if noticed else 1)
    step = machine.receive(held, NOW, FIND)
    assert step.entry == replace(held, handled=1)
    helps = reason in {"changed", "taken back", "gone", "unreadable"}
    assert step.do == ("look" if noticed and helps else "nothing")


# -- with what Brex shows: the table of the docs, row by row --

TABLE = """
                    ready        ready,edited   exported     elsewhere        missing     unreadable
ready      find     book         book           forgotten    forgotten        forgotten   held:unreadable
ready      upsert   book         book           forgotten    forgotten        forgotten   held:unreadable
ready      person   book         book           forgotten    forgotten        forgotten   held:unreadable
in_doubt   find     find         find           find         find             held:gone   held:unreadable
in_doubt   upsert   book         book           exported     held:taken_back  held:gone   held:unreadable
in_doubt   person   held:in_doubt held:in_doubt exported     held:in_doubt    held:in_doubt held:in_doubt
booked     find     report       held:changed   exported     held:taken_back  held:gone   held:unreadable
booked     upsert   report       book           exported     held:taken_back  held:gone   held:unreadable
booked     person   report       held:changed   exported     held:taken_back  held:gone   held:unreadable
refused    find     report       book           returned     returned         forgotten   held:unreadable
refused    upsert   report       book           returned     returned         forgotten   held:unreadable
refused    person   report       book           returned     returned         forgotten   held:unreadable
exported   find     report       held:changed   exported     exported         exported    exported
exported   upsert   report       book           exported     exported         exported    exported
exported   person   report       held:changed   exported     exported         exported    exported
returned   find     book         book           returned     returned         returned    returned
returned   upsert   book         book           returned     returned         returned    returned
returned   person   book         book           returned     returned         returned    returned
""".strip().splitlines()
SEEN = {
    "ready": READY,
    "ready,edited": replace(READY, content="other"),
    "exported": Seen("exported", content="c"),
    "elsewhere": Seen("elsewhere", content="c"),
    "missing": Seen("missing"),
    "unreadable": Seen("unreadable", reason="$.amount"),
}
ROWS = [
    pytest.param(state, doubts, seen, said.replace(":", " ").replace("_", " ") if ":" in said else said)
    for state, doubts, *said_of_each in map(str.split, TABLE[1:])
    for seen, said in zip(TABLE[0].split(), said_of_each, strict=True)
]


@pytest.mark.parametrize(("state", "doubts", "seen", "expected"), ROWS)
def test_the_table(state: Any, doubts: Doubts, seen: str, expected: str) -> None:
    before = entry(state, reference_id="JE-1" if state in {"booked", "exported"} else None)
    step = machine.decide(before, SEEN[seen], NOW, rules(doubts))
    assert outcome(step) == expected
    if step.entry is not None:
        assert step.entry.handled == 1
        assert step.entry.reference_id == before.reference_id
        assert (step.entry.message == "$.amount") == (expected == "held unreadable")


def test_the_erp_is_asked_about_a_record_older_than_the_store_that_was_never_given_to_it() -> None:
    older = replace(READY, older=True)
    assert machine.decide(entry("ready", content=None), older, NOW, FIND).do == "find"
    assert machine.decide(entry("ready", content=None), older, NOW, FIND, asked=True).do == "book"
    assert machine.decide(entry("ready", content=None), READY, NOW, FIND).do == "book"
    assert machine.decide(entry("ready"), older, NOW, FIND).do == "book"
    assert machine.decide(entry("returned"), older, NOW, FIND).do == "book"
    for others in (UPSERT, PERSON):
        assert machine.decide(entry("ready", content=None), older, NOW, others).do == "book"


def test_what_a_person_settled_counts_as_what_brex_shows() -> None:
    step = machine.decide(entry("booked", content=None, reference_id="JE-1"), READY, NOW, FIND)
    assert step == Next(entry("booked", content="c", version=2, reference_id="JE-1", handled=1), "report")


def test_a_hold_ends_when_its_reason_does() -> None:
    for reason in ("changed", "taken back", "gone", "unreadable"):
        step = machine.decide(entry("booked", held=reason), READY, NOW, FIND)
        assert step == Next(entry("booked", handled=1), "report")


# -- what a call leads to --


def test_an_intent_counts_an_attempt_and_says_when_a_doubt_may_be_settled() -> None:
    intent = machine.intend(entry("ready", content=None, attempts=1), READY, NOW, FIND)
    assert (intent.state, intent.version, intent.content, intent.attempts) == ("booking", 2, "c", 2)
    assert (intent.due, intent.changed_at, intent.handled) == (NOW + 120.0, NOW, 1)


def test_a_reference() -> None:
    after = machine.after_book(entry("booking", attempts=2, message="m"), Reference("JE-1", "url"), NOW, FIND, 1.0)
    assert (after.state, after.reference_id, after.deep_link_url) == ("booked", "JE-1", "url")
    assert (after.attempts, after.due, after.message, after.content) == (0, 0.0, None, "c")


def test_a_refusal() -> None:
    after = machine.after_book(entry("booking", attempts=2), Refusal("no"), NOW, FIND, 1.0)
    assert (after.state, after.message, after.attempts, after.due) == ("refused", "no", 0, 0.0)


@pytest.mark.parametrize(("elapsed", "wait"), [(0.0, 120.0), (50.0, 70.0), (500.0, 0.0)])
def test_a_doubt_waits_from_when_the_request_went_out(elapsed: float, wait: float) -> None:
    after = machine.after_book(entry("booking", attempts=9), Doubt("reset"), NOW, FIND, elapsed)
    assert (after.state, after.due, after.message, after.held) == ("in_doubt", NOW + wait, "reset", None)


@pytest.mark.parametrize(
    ("attempts", "retry_in", "wait"),
    [(1, None, 5.0), (2, None, 10.0), (2, 60.0, 60.0), (2, 1e9, 3600.0), (1, 0.0, 0.0)],
)
def test_nothing_is_tried_again_later(attempts: int, retry_in: float | None, wait: float) -> None:
    after = machine.after_book(entry("booking", attempts=attempts), Nothing("closed", retry_in), NOW, FIND, 1.0)
    assert (after.state, after.due, after.message, after.held) == ("ready", NOW + wait, "closed", None)


def test_nothing_of_a_new_booking_does_not_make_forget_the_old_one() -> None:
    after = machine.after_book(entry("booking", attempts=1, reference_id="JE-1"), Nothing("closed"), NOW, UPSERT, 1.0)
    assert after.state == "in_doubt"
    assert outcome(machine.decide(after, SEEN["elsewhere"], NOW, UPSERT)) == "held taken back"


def test_attempts_come_to_an_end() -> None:
    assert machine.after_book(entry("booking", attempts=3), Nothing("m"), NOW, FIND, 1.0).held == "attempts used up"
    assert machine.failed(entry("booked", attempts=2), "m", NOW, FIND).held == "attempts used up"
    assert machine.failed(entry("booked", attempts=1), "m", NOW, FIND).held is None
    for before, how in ((entry("ready", attempts=3), FIND), (entry("in_doubt", attempts=3), UPSERT)):
        assert outcome(machine.decide(before, READY, NOW, how)) == "held attempts used up"
    # Whether the ERP has it is found out all the same.
    assert machine.decide(entry("in_doubt", attempts=3), READY, NOW, FIND).do == "find"


def test_what_find_says() -> None:
    doubt = entry("in_doubt", attempts=1)
    found = machine.after_find(doubt, Reference("JE-1"), replace(READY, content="other"), NOW, FIND)
    assert found.do == "report"
    assert found.entry is not None
    assert (found.entry.state, found.entry.reference_id, found.entry.content) == ("booked", "JE-1", "c")
    unknown = machine.after_find(entry("ready", content=None), Reference("JE-1"), READY, NOW, FIND)
    assert unknown.entry is not None
    assert (unknown.entry.content, unknown.entry.version) == ("c", 2)
    nothing = machine.after_find(doubt, Nothing(), READY, NOW, FIND)
    assert nothing.do == "book"
    assert machine.after_find(doubt, Nothing(), SEEN["elsewhere"], NOW, FIND) == Next(None)
    assert outcome(machine.after_find(replace(doubt, attempts=3), Nothing(), READY, NOW, FIND)).startswith("held")
    error = machine.after_find(doubt, Doubt("reset"), READY, NOW, FIND)
    assert error.entry is not None
    assert (error.entry.state, error.entry.attempts, error.entry.due) == ("in_doubt", 2, NOW + 10.0)


@pytest.mark.parametrize(
    ("state", "status", "expected"),
    [
        ("booked", "reported", "exported"),
        ("booked", "already_exported", "exported"),
        ("booked", "not_ready", "booked"),
        ("booked", "not_found", "held gone"),
        ("refused", "reported", "returned"),
        ("refused", "not_ready", "returned"),
        ("refused", "not_found", "forgotten"),
    ],
)
def test_what_came_of_a_report(state: Any, status: Any, expected: str) -> None:
    step = machine.after_report(entry(state), status, "m", NOW, FIND)
    assert outcome(step) == expected
    if expected == "booked":
        assert step.entry is not None
        assert (step.entry.attempts, step.entry.due) == (1, NOW + 5.0)


# -- what a person says --


@pytest.mark.parametrize(
    ("state", "reason", "expected", "content"),
    [
        ("in_doubt", "in doubt", "booked", "c"),
        ("in_doubt", "attempts used up", "booked", "c"),
        ("booked", "changed", "booked", None),
        ("booked", "unreadable", "booked", "c"),
        ("booked", "taken back", "exported", "c"),
        ("booked", "gone", "exported", "c"),
        ("ready", "attempts used up", "booked", None),
        ("refused", "unreadable", "booked", None),
    ],
)
def test_settling_with_a_reference(state: Any, reason: str, expected: str, content: str | None) -> None:
    after = machine.settle(entry(state, held=reason, due=NOW + 50), "JE-9", NOW)
    assert (after.state, after.reference_id, after.content, after.held) == (expected, "JE-9", content, None)
    assert after.due == 0.0


def test_settling_as_not_booked() -> None:
    after = machine.settle(entry("booked", held="changed", reference_id="JE-1", deep_link_url="u"), None, NOW)
    assert (after.state, after.reference_id, after.deep_link_url, after.content) == ("ready", None, None, None)


def test_retrying_does_not_shorten_the_wait_of_a_doubt() -> None:
    assert machine.retry(entry("in_doubt", held="gone", due=NOW + 9), NOW).due == NOW + 9
    assert machine.retry(entry("ready", held="attempts used up", due=NOW + 9, attempts=3), NOW).due == 0.0
    for act in (machine.retry, lambda each, now: machine.settle(each, "JE-1", now)):
        with pytest.raises(ConfigurationError, match="held"):
            act(entry("ready"), NOW)


# -- at random --


@dataclass
class Booked:
    content: str
    shown_at: float


class World(RuleBasedStateMachine):
    """One record, Brex, an ERP that shows a booking late, and a worker that dies between any two steps."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.disk: ExportEntry | None = None
        self.brex = "ready"
        self.edits = 0
        self.erp = list[Booked]()
        self.asked: tuple[ExportEntry, Seen] | None = None
        """What the worker knows when it is about to ask the ERP, with find."""
        self.out: tuple[ExportEntry, float] | None = None
        """The request that is on its way."""
        self.sent: float | None = None
        """When the request in doubt went out, as this process remembers it."""
        self.trusts_a_person = False

    @initialize(doubts=st.sampled_from(["find", "upsert", "person"]))
    def begin(self, doubts: Doubts) -> None:
        self.rules = rules(doubts, initial_backoff=10.0, max_backoff=300.0, max_attempts=6)

    @property
    def idle(self) -> bool:
        return self.asked is None and self.out is None

    @property
    def content(self) -> str:
        return f"edit {self.edits}"

    def see(self) -> Seen:
        if self.brex == "ready":
            return Seen("ready", self.edits, self.content)
        status: Any = self.brex if self.brex in {"exported", "missing"} else "elsewhere"
        return Seen(status, self.edits, self.content)

    # What happens outside.

    @rule()
    def notice(self) -> None:
        before = self.disk or ExportEntry("accr_1", "ready", due=self.now, changed_at=self.now)
        self.disk = replace(before, noticed=before.noticed + 1)

    @rule(seconds=st.sampled_from([0.5, 10.0, 119.0, 400.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def edit(self) -> None:
        if self.brex != "missing":
            self.edits += 1

    @rule(status=st.sampled_from(["ready", "ready", "review"]))
    def move(self, status: str) -> None:
        self.brex = status

    @rule()
    def die(self) -> None:
        if self.out is not None:
            self.apply_late(late=60.0)
        self.asked = self.out = self.sent = None

    # What the worker does.

    @precondition(lambda self: self.idle and self.disk is not None)
    @rule()
    def look(self) -> None:
        assert self.disk is not None
        entry = self.disk
        latest = self.rules.latest(self.now)
        open_ = entry.held is None and entry.state not in {"exported", "returned"}
        if not (entry.noticed > entry.handled or (open_ and (entry.due <= self.now or entry.due > latest))):
            return
        step = machine.receive(entry, self.now, self.rules, None if self.sent is None else self.now - self.sent)
        if step.do == "nothing":
            self.save(step.entry)
            return
        assert step.entry is not None
        self.go_on(step.entry, machine.decide(step.entry, self.see(), self.now, self.rules), self.see())

    def go_on(self, entry: ExportEntry, step: Next, seen: Seen) -> None:
        if step.do == "find":
            assert step.entry is not None
            self.asked = step.entry, seen
        elif step.do == "book":
            assert step.entry is not None
            intent = machine.intend(step.entry, seen, self.now, self.rules)
            self.save(intent)
            self.out = intent, self.now
        elif step.do == "report":
            assert step.entry is not None
            self.report(step.entry)
        elif step.entry is None:
            assert self.disk is not None
            if self.disk.noticed == entry.noticed:
                self.disk = None
        else:
            self.save(step.entry)

    def save(self, entry: ExportEntry | None) -> None:
        assert entry is not None
        assert self.disk is not None
        self.disk = replace(entry, noticed=self.disk.noticed)

    def report(self, entry: ExportEntry) -> None:
        assert self.brex == "ready"
        if entry.state == "booked":
            assert self.erp, "reported what the ERP does not have"
            assert entry.reference_id == "JE-1"
            if not self.trusts_a_person:
                assert {each.content for each in self.erp} == {self.content}, "reported with old amounts"
            self.brex = "exported"
        else:
            self.brex = "review"
        step = machine.after_report(entry, "reported", None, self.now, self.rules)
        self.save(step.entry)

    @precondition(lambda self: self.asked is not None)
    @rule(fails=st.booleans())
    def find(self, fails: bool) -> None:
        assert self.asked is not None
        (entry, seen), self.asked = self.asked, None
        answer: Any = Nothing()
        if fails:
            answer = Doubt("reset")
        elif any(each.shown_at <= self.now for each in self.erp):
            answer = Reference("JE-1")
        step = machine.after_find(entry, answer, seen, self.now, self.rules)
        if step.do == "report":
            self.save(step.entry)
        else:
            self.go_on(entry, step, seen)

    @precondition(lambda self: self.out is not None)
    @rule(kind=st.sampled_from(["reference", "reference", "refusal", "nothing", "request lost", "answer lost"]),
          late=st.sampled_from([0.0, 30.0, 119.0]))  # fmt: skip
    def end_call(self, kind: str, late: float) -> None:
        assert self.out is not None
        (intent, sent), late = self.out, min(late, 119.0)
        answer: Any = {"refusal": Refusal("no"), "nothing": Nothing("closed")}.get(kind, Doubt("reset"))
        if kind == "reference":
            self.apply(self.now)
            answer = Reference("JE-1")
        elif kind == "answer lost":
            self.apply_late(late)
        elif kind in {"refusal", "nothing"} and self.erp:
            answer = Doubt("reset")  # it would be a lie about an entry that is there
        self.out, self.sent = None, sent
        self.save(machine.after_book(intent, answer, self.now, self.rules, self.now - sent))

    def apply_late(self, late: float) -> None:
        assert self.out is not None
        self.apply(max(self.now, self.out[1] + late))

    def apply(self, shown_at: float) -> None:
        assert self.out is not None
        content = self.out[0].content or ""
        if self.rules.doubts == "upsert" and self.erp:
            self.erp[0].content = content
        else:
            self.erp.append(Booked(content, shown_at))

    # What a person does: the truth, and what HELD says.

    @precondition(lambda self: self.idle and self.disk is not None and self.disk.held is not None)
    @rule()
    def settle(self) -> None:
        assert self.disk is not None
        entry = self.disk
        if entry.state in {"booking", "in_doubt"} and self.now < entry.due:
            return
        if self.erp and entry.held == "changed":
            self.erp[0].content = self.content
            self.trusts_a_person = True  # a later edit between this and the look is not seen
        elif self.erp and entry.state == "ready":
            self.trusts_a_person = True
        elif self.erp and entry.held in {"gone", "taken back"}:
            self.erp.clear()
        change = machine.settle(entry, "JE-1" if self.erp else None, self.now)
        self.disk = replace(change, noticed=entry.noticed + 1)

    @precondition(lambda self: self.idle and self.disk is not None and self.disk.held is not None)
    @rule()
    def retry(self) -> None:
        assert self.disk is not None
        self.disk = replace(machine.retry(self.disk, self.now), noticed=self.disk.noticed + 1)

    @invariant()
    def never_booked_twice(self) -> None:
        assert len(self.erp) <= 1

    @invariant()
    def no_due_time_is_out_of_reach(self) -> None:
        if self.disk is not None:
            assert self.disk.due <= self.rules.latest(self.now)
            assert self.disk.held is None or self.disk.held in HELD

    def teardown(self) -> None:
        """When all goes well at last, the record ends: known to Brex, with a person, or not ready."""
        if not hasattr(self, "rules"):
            return
        self.die()
        for _ in range(60):
            if self.disk is not None:
                self.look()
            if self.asked is not None:
                self.find(fails=False)
            if self.out is not None:
                self.end_call("reference", 0.0)
            self.never_booked_twice()
            self.pass_time(400.0)
        entry = self.disk
        assert entry is None or entry.held is not None or entry.state in {"exported", "returned"}, entry
        if entry is not None and entry.held is None:
            assert entry.handled == entry.noticed


def test_nothing_is_booked_twice_or_reported_wrongly_whatever_happens() -> None:
    run_state_machine_as_test(
        World, settings=settings(max_examples=examples(150), stateful_step_count=40, deadline=None)
    )
