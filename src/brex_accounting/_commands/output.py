"""Data on stdout, as lines, JSON or a table; a progress bar on stderr."""

from __future__ import annotations

import contextlib
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
"""Columns of a terminal that a cut column needs to be worth its room."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. What `may_be_cut` is cut, or left out, where the terminal is narrow; nothing else is."""

    name: str
    justify: Literal["left", "right"] = "left"
    may_be_cut: bool = False


def write(text: str) -> None:
    """Write a line of data."""
    sys.stdout.write(f"{text}\n")


def write_json(value: Any) -> None:
    """Write a line of JSON."""
    write(msgspec.json.encode(value).decode())


def write_table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
    """Write a table: on a terminal as wide as that is, elsewhere as wide as it takes."""
    lines = [[cell(each) for each in row] for row in rows]
    widths = [
        max(map(cell_len, [column.name, *(line[place] for line in lines)])) for place, column in enumerate(columns)
    ]
    if sys.stdout.isatty():
        widths = _fit(columns, widths, Console(file=sys.stdout).width)
    for line in [[column.name for column in columns], *lines]:
        shown = (
            _in_width(text, width, column.justify)
            for text, width, column in zip(line, widths, columns, strict=True)
            if width
        )
        write((" " * GAP).join(shown).rstrip())


def _in_width(text: str, width: int, justify: Literal["left", "right"]) -> str:
    """Cut or fill a text, counting a wide character as the two columns that it takes."""
    if cell_len(text) > width:
        text = f"{set_cell_size(text, width - 1)}…"
    space = " " * (width - cell_len(text))
    return text + space if justify == "left" else space + text


def _fit(columns: Sequence[Column], natural: Sequence[int], width: int) -> list[int]:
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
        if sum(widths[place] for place in flexible) <= room:
            break
        widths[flexible.pop()] = 0
        room += GAP
    return widths


def write_fields(fields: Mapping[str, object]) -> None:
    """Write what there is of a thing, a line for each."""
    width = max(map(len, fields)) + 2
    for name, value in fields.items():
        if value is not None:
            write(f"{name + ':':<{width}}{cell(str(value))}")


def cell(text: str) -> str:
    """Text that does nothing to a terminal."""
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
