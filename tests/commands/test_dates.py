"""Dates as people write them."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brex_accounting._commands.dates import read_moment, show

DAY = "2025-11-01T00:00:00Z"
UNCLEAR = "has an unclear time zone: write its offset alone, such as 09:30+01:00."


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2025-11-01", DAY),
        ("1 Nov 2025", DAY),
        ("Nov 1, 2025", DAY),
        ("1st of November 2025", DAY),
        ("Saturday 1 November 2025", DAY),
        ("20251101", DAY),
        ("2025/11/01", DAY),
        ("2025.11.01", DAY),
        (" 2025-11-01 ", DAY),
        ("13/11/2025", "2025-11-13T00:00:00Z"),
        ("11/13/2025", "2025-11-13T00:00:00Z"),
        ("11/11/2025", "2025-11-11T00:00:00Z"),
        ("1 Nov 2025 9:30", "2025-11-01T09:30:00Z"),
        ("1 Nov 2025 10pm +02:00", "2025-11-01T20:00:00Z"),
        ("2025-11-01T09:30+01:00", "2025-11-01T08:30:00Z"),
        ("2025-11-01T09:30:00.123456Z", "2025-11-01T09:30:00.123456Z"),
        ("2025-11-01 09:30 -05:00", "2025-11-01T14:30:00Z"),
        ("1 Nov 2025 9:30:15.0012 -0530", "2025-11-01T15:00:15.001200Z"),
        ("1 Nov 2025 9:30 +01", "2025-11-01T08:30:00Z"),
        ("2025-W44-6T09:30", "2025-11-01T09:30:00Z"),
        ("Sat Nov  1 09:30:00 UTC 2025", "2025-11-01T09:30:00Z"),
        ("01-Nov-2025", DAY),
        ("1 November 0101", "0101-11-01T00:00:00Z"),
        ("1 Nov 2025 09:30 UTC", "2025-11-01T09:30:00Z"),
        ("Sat, 01 Nov 2025 09:30:00 GMT", "2025-11-01T09:30:00Z"),
    ],
)
def test_understood(text: str, moment: str) -> None:
    assert show(read_moment(text)) == moment
    assert show(read_moment(moment)) == moment


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("01/11/2025", "can be 11 January 2025 or 1 November 2025: write 2025-01-11 or 2025-11-01."),
        ("1.11.2025", "can be 11 January 2025 or 1 November 2025: write 2025-01-11 or 2025-11-01."),
        ("1 Nov 25", "can be 25 November 2001 or 1 November 2025: write 2001-11-25 or 2025-11-01."),
        ("Nov 2025", "is not a complete date: write its day, month and year"),
        ("1 Nov", "is not a complete date"),
        ("2025", "is not a complete date"),
        ("10:30", "is not a complete date"),
        ("Monday", "is not a complete date"),
        ("3", "is not a complete date"),
        ("31 Nov 2025", "is not a date"),
        ("yesterday", "is not a date"),
        ("", "is no"),
        ("1 Nov 2025 10:00 EST", "has a time zone that is not known (EST): write its offset, such as +01:00."),
        ("2025-11-01 09:30 UTC+01:00", UNCLEAR),
        ("2025-11-01 09:30 UTC +01:00", UNCLEAR),
        ("2025-11-01 09:30 UTC -01:00", UNCLEAR),
        ("2025-11-01 09:30 UTC+3", UNCLEAR),
        ("2025-11-01 09:30 GMT+3", UNCLEAR),
        ("2025-11-01 09:30 GMT-5", UNCLEAR),
        ("2025-11-01 09:30 UTC-0530", UNCLEAR),
        ("2025-11-01 09:30GMT-5", UNCLEAR),
        ("2025-11-01T09:30Z+3", UNCLEAR),
        ("2025-11-01T09:30Z-3", UNCLEAR),
        ("2025-11-01 09:30 +3", UNCLEAR),
        ("2025-11-01 09:30 -3", UNCLEAR),
        ("2025-11-01 09:30 -0500 (EST)", UNCLEAR),
        ("2025-11-01-05:00", UNCLEAR),
        ("2025-11-01+05:00", UNCLEAR),
        ("20251101-0500", "is not a date"),
        ("2025-11-01 09:30 \u221205:00", "is not a date"),
        ("2025-11-01 09:30 05:00", "is not a date"),
        ("2025-11-01T09:30:00-25:00", "has an offset that no time zone has: write one such as +01:00."),
        ("1 Nov 2025 09:30 +01:75", "has an offset that no time zone has"),
        ("2025-11-01T09:30+01:75", "has an offset that no time zone has"),
        ("1 November 0001", "is not a date"),
        ("01 November 0025 09:30", "is not a date"),
        ("13.11.0001", "is not a date"),
        ("0001-01-01T00:00+01:00", "is outside the years 1 to 9999."),
        ("9" * 50, "is not a date"),
        ("1 Nov 2025" + " " * 200, "is not a date"),
    ],
)
def test_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)) as refused:
        read_moment(text)
    assert "\n" not in str(refused.value)


@given(
    st.text(max_size=120) | st.from_regex(r"[0-9]{1,9}[-/. ][0-9A-Za-z]{1,9}[-/. :][0-9+]{1,9}.{0,9}", fullmatch=True)
)
def test_anything_else_is_refused_in_one_line(text: str) -> None:
    try:
        moment = read_moment(text)
    except ValueError as error:
        assert str(error).isprintable()  # noqa: PT017
    else:
        assert moment.tzinfo is UTC


@given(st.datetimes(min_value=datetime(1000, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_what_is_shown_is_understood(moment: datetime) -> None:
    assert read_moment(show(moment)) == moment
    assert read_moment(f"{moment.day} {moment:%b} {moment:%Y} {moment:%H:%M:%S}") == moment.replace(microsecond=0)


DATES = ("{:%Y-%m-%d}", "{0:%Y%m%d}", "{0.day} {0:%b %Y}", "{0:%B} {0.day}, {0:%Y}", "{0:%d-%b-%Y}")
SEPARATORS = st.sampled_from(["", " ", "  ", "T", "-", "+", "/", "_", ","])
ZONE_NAMES = st.sampled_from(["", "UTC", "GMT", "Z", " UTC", " GMT", "utc ", "EST"])
OFFSETS = st.tuples(st.sampled_from("+-"), st.integers(0, 30), st.integers(0, 70))


@given(
    st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2100, 1, 1)),  # noqa: DTZ001
    st.sampled_from(DATES),
    SEPARATORS,
    st.sampled_from(["{:%H:%M}", "{:%H:%M:%S}", "{:%I:%M %p}", "{:%I:%M:%S%p}"]),
    ZONE_NAMES,
    SEPARATORS,
    OFFSETS,
    st.sampled_from(["{}{:02}:{:02}", "{}{:02}{:02}", "{}{:02}", "{}{}", "{}{}:{:02}"]),
)
def test_an_offset_is_understood_as_iso_has_it_or_refused(  # noqa: PLR0917 - the parts of a date
    moment: datetime,
    date: str,
    separator: str,
    clock: str,
    name: str,
    gap: str,
    offset: tuple[str, int, int],
    style: str,
) -> None:
    sign, hours, minutes = offset
    text = f"{date.format(moment)}{separator}{clock.format(moment)}{name}{gap}{style.format(*offset)}"
    try:
        understood = read_moment(text)
    except ValueError as error:
        assert str(error).startswith(f'"{text[:4]}')  # noqa: PT017 - a sentence of our own
        return
    minutes = minutes if style.count("{") > 2 else 0
    if hours or minutes:
        kept = moment.replace(microsecond=0, second=moment.second if "%S" in clock else 0)
        assert understood == datetime.fromisoformat(f"{kept.isoformat()}{sign}{hours:02}:{minutes:02}")


@given(
    st.datetimes(min_value=datetime(1000, 1, 1), max_value=datetime(9000, 1, 1)),  # noqa: DTZ001
    st.integers(-1439, 1439),
    st.sampled_from(["{0:%Y-%m-%d %H:%M:%S}", "{0.day} {0:%B %Y %H:%M:%S}", "{0:%a, %d %b %Y %H:%M:%S} "]),
)
def test_an_offset_behind_the_time_is_understood(moment: datetime, minutes: int, style: str) -> None:
    kept = moment.replace(microsecond=0, tzinfo=UTC)
    sign, offset = "-" if minutes < 0 else "+", divmod(abs(minutes), 60)
    text = f"{style.format(kept)}{sign}{offset[0]:02}:{offset[1]:02}"
    assert read_moment(text) == kept - timedelta(minutes=minutes)
