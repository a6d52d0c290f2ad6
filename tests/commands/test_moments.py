"""Dates as people write them."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brex_accounting._commands.moments import read_moment, show

DAY = "2025-11-01T00:00:00Z"


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
        ("Nov 2025", "is no whole date: write its day, month and year"),
        ("1 Nov", "is no whole date"),
        ("2025", "is no whole date"),
        ("10:30", "is no whole date"),
        ("Monday", "is no whole date"),
        ("3", "is no whole date"),
        ("31 Nov 2025", "is no date"),
        ("yesterday", "is no date"),
        ("", "is no"),
        ("1 Nov 2025 10:00 EST", "has a time zone that is not known (EST): write its offset, such as +01:00."),
        ("0001-01-01T00:00+01:00", "is outside the years 1 to 9999."),
        ("9" * 50, "is no date"),
        ("1 Nov 2025" + " " * 200, "is no date"),
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
