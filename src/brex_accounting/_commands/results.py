"""Reads a file of outcomes to report, CSV or JSON Lines."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import msgspec

from brex_accounting.errors import ConfigurationError
from brex_accounting.models import ExportFailed, ExportResult, ExportSucceeded

from .exit_codes import Code, stop
from .formats import csv_reader
from .output import cell

FIELDS = ("record_id", "status", "reference_id", "deep_link_url", "error_message")


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    record_id: str
    status: str
    reference_id: str | None = None
    deep_link_url: str | None = None
    error_message: str | None = None

    def result(self) -> ExportResult:
        """Raise ValueError if one field contradicts another."""
        record_id = self.record_id.strip()  # an id has no spaces
        if not record_id:
            raise ValueError("record_id is empty")
        if self.status not in {"success", "failure"}:
            raise ValueError(f"status is {self.status!r}: write success or failure")
        if self.status == "success":
            if self.error_message:
                raise ValueError("a success has no error_message: is it a failure?")
            return ExportSucceeded(record_id, self.reference_id or None, self.deep_link_url or None)
        if not self.error_message:
            raise ValueError("a failure needs an error_message")
        if self.reference_id or self.deep_link_url:
            raise ValueError("a failure has neither reference_id nor deep_link_url: is it a success?")
        return ExportFailed(record_id, self.error_message)


class _BadLineError(ValueError):
    def __init__(self, line: int, reason: str) -> None:
        super().__init__(reason)
        self.line = line


def read_results(file: Path) -> list[ExportResult]:
    """Read all of it before anything is reported. Raises OSError."""
    read = {".csv": _csv, ".jsonl": _json_lines, ".ndjson": _json_lines}.get(file.suffix.lower())
    if read is None:
        stop(f"{file} ends in neither .csv nor .jsonl or .ndjson: its name says how to read it.", Code.USAGE)
    content = file.read_bytes()
    try:
        results = _results(read, content)
    except _BadLineError as error:
        problem = f"{file}, line {error.line}: {_ended(cell(str(error)))} Nothing was reported."
    else:
        return results or stop(f"{file} holds no outcomes: there is nothing to report.", Code.USAGE)
    return stop(problem, Code.USAGE)


def _ended(reason: str) -> str:
    return reason if reason.endswith((".", "?")) else f"{reason}."


def _results(read: Callable[[str], Iterator[tuple[int, Mapping[str, Any]]]], content: bytes) -> list[ExportResult]:
    results: list[ExportResult] = []
    lines = dict[str, int]()
    for line, fields in read(_text(content)):
        try:
            result = msgspec.convert(fields, _Line).result()
        except (ValueError, ConfigurationError) as error:
            reason = str(error)
        else:
            reason = ""
        if reason:
            raise _BadLineError(line, reason)
        if result.record_id in lines:
            raise _BadLineError(line, f"{result.record_id} has an outcome already, in line {lines[result.record_id]}")
        lines[result.record_id] = line
        results.append(result)
    return results


def _text(content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
    else:
        if "\0" not in text:
            return text
        line = 1  # UTF-16, or not text at all
    raise _BadLineError(line, "this is not UTF-8: save the file as UTF-8 (in a spreadsheet: CSV UTF-8)")


def _csv(content: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    names: list[str] = []
    for line, row in _rows(content):
        if names:
            yield line, _fields(line, names, row)
        else:
            names = _names(line, row)


def _rows(content: str) -> Iterator[tuple[int, list[str]]]:
    """Read the rows that hold anything, each with the number of its first line."""
    reader = csv_reader(StringIO(content, newline=""), strict=True)
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error as error:
            row, reason = None, str(error)
        else:
            reason = ""
        if reason:
            raise _BadLineError(line, reason)
        if row is None:
            return
        if any(each.strip() for each in row):
            yield line, row


def _fields(line: int, names: list[str], row: list[str]) -> dict[str, Any]:
    if any(each.strip() for each in row[len(names) :]):
        raise _BadLineError(line, f"it has {len(row)} values for {len(names)} columns: quote those with a comma")
    fields: dict[str, Any] = {}
    for name, value in zip(names, row, strict=False):
        if not name and value.strip():
            raise _BadLineError(line, "there is a value in a column without a name")
        if name and value:
            fields[name] = value
    if "status" in fields:
        fields["status"] = fields["status"].strip().lower()
    return fields


def _names(line: int, row: list[str]) -> list[str]:
    names = [each.strip() for each in row]
    while not names[-1]:  # spreadsheets keep columns that were emptied
        names.pop()
    named = list(filter(None, names))
    unknown = [each for each in named if each not in FIELDS]
    if unknown or not {"record_id", "status"} <= set(named) or len(set(named)) < len(named):
        what = (
            f"there is no column {unknown[0]!r}" if unknown else "record_id and status must be there, each column once"
        )
        if any(";" in each or "\t" in each for each in names):
            what += ": save the file as CSV with commas"
        raise _BadLineError(line, f"{what}. The columns, separated by commas, are {', '.join(FIELDS)}")
    return names


def _json_lines(content: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for line, text in enumerate(content.split("\n"), 1):
        if not text.strip():
            continue
        try:
            fields = msgspec.json.decode(text)
        except (ValueError, RecursionError) as error:
            fields, reason = None, str(error)
        else:
            reason = "" if isinstance(fields, dict) else "it is not a JSON object"
        if reason:
            raise _BadLineError(line, reason)
        yield line, fields
