"""Data on stdout, as lines, JSON or a table; a progress bar on stderr."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from brex_accounting._text import printable

GAP = 2
NARROWEST = 8
"""The least width of a cut column; below it the column is left out."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. What `may_be_cut` is cut, or left out, if the terminal is narrow; nothing else is."""

    name: str
    justify: Literal["left", "right"] = "left"
    may_be_cut: bool = False


def write(text: str) -> None:
    """Write a line of data."""
    sys.stdout.write(f"{text}\n")


def write_json(value: Any) -> None:
    """Write a line of JSON; on a terminal with an escape for each character that could do something to it."""
    text = msgspec.json.encode(value).decode()
    write(_UNPRINTABLE.sub(_escape, text) if sys.stdout.isatty() else text)


_UNPRINTABLE = re.compile(r"[^\x20-\x7e]")


def _escape(found: re.Match[str]) -> str:
    if found[0].isprintable():
        return found[0]
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[n]:02x}{units[n + 1]:02x}" for n in range(0, len(units), 2))


def write_table(columns: Sequence[Column], rows: Iterable[Sequence[str]], *, keep_all: bool = False) -> list[str]:
    """Write a table: on a terminal as wide as that is, elsewhere as wide as it takes.

    Returns the names of the columns that it left out because the terminal is too narrow; with `keep_all`, none.
    """
    lines = [[cell(each) for each in row] for row in rows]
    widths = [
        max(map(cell_len, [column.name, *(line[place] for line in lines)])) for place, column in enumerate(columns)
    ]
    if sys.stdout.isatty():
        widths = _fit(columns, widths, Console(file=sys.stdout).width, keep_all=keep_all)
    for line in [[column.name for column in columns], *lines]:
        shown = (
            _in_width(text, width, column.justify)
            for text, width, column in zip(line, widths, columns, strict=True)
            if width
        )
        write((" " * GAP).join(shown).rstrip())
    return [column.name for column, width in zip(columns, widths, strict=True) if not width]


def _in_width(text: str, width: int, justify: Literal["left", "right"]) -> str:
    """Cut or pad a text; a wide character takes two columns."""
    if cell_len(text) > width:
        text = f"{set_cell_size(text, width - 1)}…"
    space = " " * (width - cell_len(text))
    return text + space if justify == "left" else space + text


def _fit(columns: Sequence[Column], natural: Sequence[int], width: int, *, keep_all: bool) -> list[int]:
    """Give each column its width; 0 leaves it out."""
    widths = list(natural)
    flexible = [place for place, column in enumerate(columns) if column.may_be_cut]
    room = width - sum(natural[place] for place in range(len(columns)) if place not in flexible) - GAP * len(columns)
    while flexible:
        cap = max(natural[place] for place in flexible)
        while cap > NARROWEST and sum(min(natural[place], cap) for place in flexible) > room:
            cap -= 1
        for place in flexible:
            widths[place] = min(natural[place], cap)
        if keep_all or sum(widths[place] for place in flexible) <= room:
            break
        widths[flexible.pop()] = 0
        room += GAP
    return widths


def write_fields(fields: Mapping[str, object]) -> None:
    """Write the fields that are not None, a line for each."""
    width = max(map(len, fields)) + 2
    for name, value in fields.items():
        if value is not None:
            write(f"{name + ':':<{width}}{cell(str(value))}")


def cell(text: str) -> str:
    """Return text that does nothing to a terminal."""
    return printable(text)


@contextlib.contextmanager
def progress(what: str) -> Iterator[Progress]:
    """Show a progress bar, if stderr is a terminal."""
    bar = Progress(
        TextColumn(what),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
        transient=True,
        redirect_stdout=False,
    )
    with bar:
        yield bar
