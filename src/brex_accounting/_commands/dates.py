"""Dates as people write them."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from itertools import product

from brex_accounting._text import printable

LONGEST = 100
LAST_HOUR, LAST_MINUTE = 23, 59
_TODAYS = (datetime(2000, 1, 1, tzinfo=UTC), datetime(2004, 2, 2, tzinfo=UTC))
"""What completes an incomplete date. With two of them, a date that lacks a part comes out as two days."""
_ISO = re.compile(r"(\d{4}-?\d\d-?\d\d|\d{4}-?W\d\d-?\d)([Tt ].*)?")
"""datetime.fromisoformat takes any character before the time, so that 2025-11-01-05:00 would be five o'clock."""
_CLOCK = r"(?:\d{1,2}(?::\d\d){1,2}(?:[.,]\d+)?(?:\s*[ap]\.?m\.?)?|\d{1,2}\s*[ap]\.?m\.?)"
_TIME = re.compile(_CLOCK, re.IGNORECASE)
_OFFSET = re.compile(rf"(.*{_CLOCK})\s*([+-]\d\d(?::?\d\d)?)", re.IGNORECASE | re.DOTALL)
_SIGNED_TIME = re.compile(rf"\+|-\s*\d{{1,2}}:|{_CLOCK}.*-", re.IGNORECASE | re.DOTALL)
_BEFORE_100 = re.compile(r"(?<!\d)0+\d\d(?!\d)")
"""A year that dateutil would move into our century."""
_BAD_MINUTES = re.compile(r"[+-]\d\d:?[6-9]\d(?::?\d\d)?$")


def read_moment(text: str) -> datetime:
    """Read a date and maybe a time of day; without a zone it is UTC. Raises ValueError that says what to write instead.

    A date that could be two days (01/11/2025) is refused, and so are one without its day, month or year, and a zone
    that is written other than as an offset behind the time, Z, UTC or GMT.
    """
    moment = _iso(text.strip())
    if moment is None:
        moment = _human(text)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        pass
    raise ValueError(f"{_quoted(text)} is outside the years 1 to 9999.")


def show(moment: datetime) -> str:
    """Write a moment so that nobody can misread it."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _iso(text: str) -> datetime | None:
    if not _ISO.fullmatch(text) or _BAD_MINUTES.search(text[10:]):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _human(text: str) -> datetime:
    body, zone = _without_offset(text) if len(text) <= LONGEST else (text, None)
    # Whether the day comes before the month, and whether the year comes first.
    orders = [(False, True)] if text.strip()[:4].isdigit() else [*product((False, True), repeat=2)]
    days = {_parse(text, body, _TODAYS[0], order) for order in orders}
    if len(days) > 1:
        choices = " or ".join(f"{day.day} {day:%B %Y}" for day in sorted(days))
        ways = " or ".join(f"{day:%Y-%m-%d}" for day in sorted(days))
        raise ValueError(f"{_quoted(text)} can be {choices}: write {ways}.")
    if days != {_parse(text, body, _TODAYS[1], orders[0])}:
        raise ValueError(f"{_quoted(text)} is not a complete date: write its day, month and year, such as 2025-11-01.")
    return days.pop().replace(tzinfo=zone or UTC)


def _without_offset(text: str) -> tuple[str, tzinfo | None]:
    """Split off the offset, which dateutil would read with the opposite sign behind a name, as POSIX has it."""
    written = _OFFSET.fullmatch(text.strip())
    body, offset = written.groups() if written else (text, "")
    if _SIGNED_TIME.search(body):
        raise ValueError(f"{_quoted(text)} has an unclear time zone: write its offset alone, such as 09:30+01:00.")
    if not offset:
        return body, None
    hours, minutes = int(offset[1:3]), int(offset[3:].lstrip(":") or 0)
    if hours > LAST_HOUR or minutes > LAST_MINUTE:
        raise ValueError(f"{_quoted(text)} has an offset that no time zone has: write one such as +01:00.")
    behind = timedelta(hours=hours, minutes=minutes)
    return body, timezone(-behind if offset[0] == "-" else behind)


def _parse(text: str, body: str, today: datetime, order: tuple[bool, ...]) -> datetime:
    from dateutil.parser import parse  # noqa: PLC0415 - most commands need no date

    moment: datetime | None = None
    zones = list[tuple[str | None, int | None]]()

    def zone(name: str | None, offset: int | None) -> tzinfo:
        if name is not None or offset is not None:  # it is called without a zone too
            zones.append((name, offset))
        return UTC

    if len(text) <= LONGEST and len(_TIME.findall(body)) <= 1 and not _BEFORE_100.search(_TIME.sub("", body)):
        try:
            moment = parse(body, default=today, dayfirst=order[0], yearfirst=order[1], tzinfos=zone)
        except Exception:  # noqa: BLE001 - it raises all kinds of errors
            moment = None
    if moment is None or (moment.time() != time.min and not _TIME.search(body)):
        raise ValueError(
            f'{_quoted(text)} is not a date: write it as 2025-11-01, "1 Nov 2025" or 2025-11-01T09:30+01:00.'
        )
    for name, offset in zones:
        if name is not None and name.upper() not in {"UTC", "GMT", "Z"}:
            raise ValueError(
                f"{_quoted(text)} has a time zone that is not known ({name}): write its offset, such as +01:00."
            )
        if offset or body != text:
            raise ValueError(f"{_quoted(text)} has an unclear time zone: write its offset alone, such as 09:30+01:00.")
    return moment


def _quoted(text: str) -> str:
    return f'"{printable(text[:LONGEST])}"'
