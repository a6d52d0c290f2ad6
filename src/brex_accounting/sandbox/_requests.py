"""Reads requests into plain values and rejects what the description does not allow."""

import json
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NoReturn, get_args
from urllib.parse import parse_qs

MAX_IDS = 500
MAX_LIMIT = 1000
DEFAULT_LIMIT = 100
REVIEW_STATUSES = ("PREPARE", "REVIEW", "READY_FOR_EXPORT", "EXPORTED")
SOURCE_TYPES = ("CARD", "REIMBURSEMENT", "BILL")

Comparison = Literal["gt", "gte", "lt", "lte"]
# fromisoformat alone would also accept a time without an offset, and week dates.
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


class InvalidRequestError(ValueError):
    """The request does not match the description; the text says why."""


@dataclass(frozen=True, slots=True)
class ExportResult:
    """One item of reportAccountingExportResults; `error_message` is None for a success."""

    record_id: str
    reference_id: str | None = None
    deep_link_url: str | None = None
    error_message: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordQuery:
    """The parameters of queryAccountingRecords; `after` is the position in the cursor."""

    ids: frozenset[str] | None = None
    review_status: str | None = None
    source_type: str | None = None
    updated_at: tuple[tuple[Comparison, datetime], ...] = ()
    single_entry: bool = False
    limit: int = DEFAULT_LIMIT
    after: int = -1


def encode_cursor(position: int) -> str:
    """Return the cursor for what comes after this position."""
    return urlsafe_b64encode(str(position).encode()).decode()


def parse_create(content_type: str | None, body: bytes) -> tuple[str, str]:
    """Return vendor and vendor_account_id."""
    request = _object(_parse_json(content_type, body), "the body")
    return _string(request, "vendor"), _string(request, "vendor_account_id")


def parse_results(content_type: str | None, body: bytes) -> list[ExportResult]:
    """Return the results to report, at least one."""
    request = _object(_parse_json(content_type, body), "the body")
    results = request.get("results")
    if not isinstance(results, list) or not results:
        _refuse("results must be a list with at least one result")
    return [_parse_result(item) for item in results]


def parse_query(query_string: str) -> RecordQuery:
    """Return the parameters of queryAccountingRecords."""
    parameters = parse_qs(query_string, keep_blank_values=True)
    ids = parameters.get("ids")
    if ids is not None and len(ids) > MAX_IDS:
        _refuse(f"ids must be at most {MAX_IDS}")
    cursor = _single(parameters, "cursor")
    return RecordQuery(
        ids=None if ids is None else frozenset(ids),
        review_status=_one_of(parameters, "review_status", REVIEW_STATUSES),
        source_type=_one_of(parameters, "source_type", SOURCE_TYPES),
        updated_at=_updated_at(parameters),
        single_entry=_flag(parameters, "single_entry"),
        limit=_limit(_single(parameters, "limit")),
        after=-1 if cursor is None else _decode_cursor(cursor),
    )


def parse_single_entry(query_string: str) -> bool:
    """Return the one parameter of getAccountingRecord."""
    return _flag(parse_qs(query_string, keep_blank_values=True), "single_entry")


def parse_json(body: bytes, *, parse_float: Callable[[str], object] = float) -> Any:  # anything is JSON
    """Parse a body strictly: UTF-8, and no NaN or Infinity."""
    try:
        return json.loads(body.decode(), parse_constant=_refuse, parse_float=parse_float)
    except (ValueError, RecursionError):
        problem = "the body must be JSON"
    raise InvalidRequestError(problem)


def _parse_json(content_type: str | None, body: bytes) -> Any:  # anything is JSON
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        _refuse("the Content-Type must be application/json")
    return parse_json(body)


def _refuse(problem: str) -> NoReturn:
    raise InvalidRequestError(problem)


def _object(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        _refuse(f"{name} must be an object")
    return value


def _string(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        _refuse(f"{name} must be a string")
    return value


def _parse_result(item: object) -> ExportResult:
    fields = _object(item, "a result")
    record_id = _string(fields, "accounting_record_id")
    succeeded, failed = _success(record_id, fields.get("success")), _failure(record_id, fields.get("failure"))
    # oneOf: exactly one of the two schemas must match, whatever else the item holds.
    if succeeded is not None and failed is not None:
        _refuse("a result must not have both success and failure")
    return succeeded or failed or _refuse("a result must have success or failure")


def _success(record_id: str, value: object) -> ExportResult | None:
    if not isinstance(value, dict):
        return None
    reference_id, deep_link_url = value.get("reference_id"), value.get("deep_link_url")
    if not isinstance(reference_id, str | None):
        return None
    # Unlike reference_id it may be missing, but not null.
    if "deep_link_url" in value and not isinstance(deep_link_url, str):
        return None
    return ExportResult(record_id, reference_id, deep_link_url)


def _failure(record_id: str, value: object) -> ExportResult | None:
    if not isinstance(value, dict) or not isinstance(value.get("error_message"), str):
        return None
    return ExportResult(record_id, error_message=value["error_message"])


def _single(parameters: Mapping[str, list[str]], name: str) -> str | None:
    values = parameters.get(name, [])
    if len(values) > 1:
        _refuse(f"{name} must be given once")
    return values[0] if values else None


def _one_of(parameters: Mapping[str, list[str]], name: str, choices: tuple[str, ...]) -> str | None:
    value = _single(parameters, name)
    if value is not None and value not in choices:
        _refuse(f"{name} must be one of {', '.join(choices)}")
    return value


def _flag(parameters: Mapping[str, list[str]], name: str) -> bool:
    return _one_of(parameters, name, ("true", "false")) == "true"


def _limit(text: str | None) -> int:
    if text is None:
        return DEFAULT_LIMIT
    # Declared `number`, but meant as an integer: 100.0 is rejected.
    if not re.fullmatch(r"[0-9]{1,4}", text) or not 1 <= int(text) <= MAX_LIMIT:
        _refuse(f"limit must be an integer from 1 to {MAX_LIMIT}")
    return int(text)


def _updated_at(parameters: Mapping[str, list[str]]) -> tuple[tuple[Comparison, datetime], ...]:
    if "updated_at" in parameters:
        # If it were ignored, the answer would hold records that the caller did not ask for.
        _refuse("updated_at must be given as updated_at[gt], updated_at[gte], updated_at[lt] or updated_at[lte]")
    return tuple(
        (comparison, parse_date_time(name, text, or_date=True))
        for comparison in get_args(Comparison)
        if (text := _single(parameters, name := f"updated_at[{comparison}]")) is not None
    )


def parse_date_time(name: str, text: str, *, or_date: bool = False) -> datetime:
    """Read a date-time, or a date as its midnight in UTC."""
    try:
        if _DATE_TIME.fullmatch(text):
            return datetime.fromisoformat(text.upper())
        if or_date and _DATE.fullmatch(text):
            return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        pass
    _refuse(
        f"{name} must be a date-time with an offset (+ is percent-encoded in a URL){' or a date' if or_date else ''}"
    )


def _decode_cursor(cursor: str) -> int:
    try:
        position = int(urlsafe_b64decode(cursor))
    except ValueError:
        position = -1
    if position < 0 or encode_cursor(position) != cursor:
        _refuse("cursor must be a next_cursor of this API")
    return position
