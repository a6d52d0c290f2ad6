"""Print what `make update-description` found."""

from __future__ import annotations

from collections.abc import Iterable

from scripts.description_changes import Changes
from scripts.schema_changes import Change, Weight

HEADINGS = {
    Weight.BREAKING: "Breaking, for those who send (sent) or those who read (read):",
    Weight.COMPATIBLE: "Compatible:",
    Weight.OTHER: "Elsewhere:",
}
NOT_CHECKED = " (not checked)"


def show(heading: str, lines: Iterable[object]) -> None:
    """Print a list, unless it is empty."""
    shown = [f"  - {line}" for line in lines]
    if shown:
        print("\n".join([heading, *shown, ""]))


def show_changes(changes: Changes, idle: list[Change], since: str) -> int:
    """Print what changed, the heaviest first, and return how many changes the check of the facade does not look at."""
    if not changes.reported and not changes.words:
        same = "It is only written differently." if changes.rewritten else ""
        print(f"Nothing changed since {since}. {same}".rstrip(), end="\n\n")
        return 0
    print(f"What changed since {since}:", end="\n\n")
    effective = [change for change in changes.reported if change not in idle]
    for weight, heading in HEADINGS.items():
        found = [change for change in effective if change.weight is weight]
        show(heading, (f"{change}{NOT_CHECKED if _is_unchecked(change) else ''}" for change in found))
    kept = [change for change in idle if change.text.endswith("is removed")]
    show(
        "Brex no longer describes these, and openapi/overlay.yaml adds them: find out whether Brex still takes them.",
        (f"{change}{NOT_CHECKED}" for change in kept),
    )
    others = [change for change in idle if change not in kept]
    show("Without effect on generated/, because openapi/overlay.yaml corrects it:", others)
    if changes.words:
        print(f"Words only (descriptions, examples, titles): {changes.words} differ.", end="\n\n")
    return sum(map(_is_unchecked, effective)) + len(kept)


def show_end(unchecked: int) -> None:
    """Say that the facade fits, and in what nobody looked."""
    fits = "The facade fits"
    if unchecked:
        fits += f" in everything that is checked; read what is marked{NOT_CHECKED} above ({unchecked})"
    print(f"{fits}. Look at git diff, then run make test.")


def _is_unchecked(change: Change) -> bool:
    return change.weight is not Weight.COMPATIBLE and not change.checked
