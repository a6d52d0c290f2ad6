"""Dates as people write them."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from itertools import product

from brex_accounting._answers import printable

LONGEST = 100
_TODAYS = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2004, 2, 2, tzinfo=UTC))
"""What completes a date that is not whole. Two of them, for whoever leaves out a part depends on them."""


def read_moment(text: str) -> datetime:
    """Read a date and maybe a time of day; without a zone it is UTC. Raises ValueError that says what to write instead.

    A date that could be two days (01/11/2025) is refused, and so is one without its day, month or year.
    """
    with_zone = _iso(text.strip())
    if with_zone is None:
        with_zone = _human(text)
    try:
        return with_zone.astimezone(UTC)
    except OverflowError:
        pass
    raise ValueError(f"{_quoted(text)} is outside the years 1 to 9999.")


def show(moment: datetime) -> str:
    """Write a moment so that nobody can misread it."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _iso(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _human(text: str) -> datetime:
    # Whether the day comes before the month, and whether the year comes first.
    orders = [(False, True)] if text.strip()[:4].isdigit() else [*product((False, True), repeat=2)]
    days = {_parse(text, _TODAYS[0], order) for order in orders}
    if len(days) > 1:
        choices = " or ".join(f"{day.day} {day:%B %Y}" for day in sorted(days))
        ways = " or ".join(f"{day:%Y-%m-%d}" for day in sorted(days))
        raise ValueError(f"{_quoted(text)} can be {choices}: write {ways}.")
    if days != {_parse(text, _TODAYS[1], orders[0])}:
        raise ValueError(f"{_quoted(text)} is no whole date: write its day, month and year, such as 2025-11-01.")
    return days.pop()


def _parse(text: str, today: datetime, order: tuple[bool, ...]) -> datetime:
    from dateutil.parser import parse  # noqa: PLC0415 - an extra, and most commands need no date

    moment: datetime | None = None
    unknown_zone = list[str]()

    def zone(name: str | None, offset: int | None) -> int | tzinfo:
        if name is not None and offset is None:
            unknown_zone.append(name)
        return UTC if offset is None else offset

    if len(text) <= LONGEST:
        try:
            moment = parse(text, default=today, dayfirst=order[0], yearfirst=order[1], tzinfos=zone)
        except Exception:  # noqa: BLE001 - it raises whatever its steps raise
            moment = None
    if moment is None:
        raise ValueError(f'{_quoted(text)} is no date: write it as 2025-11-01, "1 Nov 2025" or 2025-11-01T09:30+01:00.')
    if unknown_zone:
        raise ValueError(
            f"{_quoted(text)} has a time zone that is not known ({unknown_zone[0]}): write its offset, such as +01:00."
        )
    return moment


def _quoted(text: str) -> str:
    return f'"{printable(text[:LONGEST])}"'
