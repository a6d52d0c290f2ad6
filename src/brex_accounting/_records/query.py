"""The filters of queryAccountingRecords, checked, and the requests that they make. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from brex_accounting._arguments import check_count, check_datetime, check_flag, check_text
from brex_accounting.errors import ConfigurationError
from brex_accounting_api.api.accounting_records import query_accounting_records

DEFAULT_LIMIT = 100
MAX_LIMIT = 1000
MAX_IDS = 500
MAX_ID_CHARACTERS = 4500
"""Characters of a URL for ids. With the address, the other parameters and a cursor it stays under 6,000."""
BEFORE_ALL_RECORDS = datetime(2000, 1, 1, tzinfo=UTC)
"""A lower bound for `updated_at` that finds all: without one the API may leave out older records. Not 1970-01-01: a
server may take zero to mean no bound."""


@dataclass(frozen=True, slots=True)
class RecordQuery:
    """The filters of a query, as they go out."""

    limit: int = DEFAULT_LIMIT
    review_status: str | None = None
    source_type: str | None = None
    updated_after: datetime | None = None
    updated_before: datetime | None = None
    single_entry: bool | None = None

    @classmethod
    def of(
        cls,
        limit: int,
        *,
        review_status: object = None,
        source_type: object = None,
        updated_after: object = None,
        updated_before: object = None,
        single_entry: object = None,
    ) -> RecordQuery:
        """Check the filters that a caller passed. Raises ConfigurationError."""
        return cls(
            limit=limit,
            review_status=None if review_status is None else check_text(review_status, "review_status"),
            source_type=None if source_type is None else check_text(source_type, "source_type"),
            updated_after=None if updated_after is None else check_datetime(updated_after, "updated_after"),
            updated_before=None if updated_before is None else check_datetime(updated_before, "updated_before"),
            single_entry=None if single_entry is None else check_flag(single_entry, "single_entry"),
        )

    def request(self, ids: Sequence[str] | None, cursor: str | None) -> Mapping[str, Any]:
        """What to send for one page.

        The parameters carry their wire names: how the generated function names its arguments, and the enum classes it
        wants, depend on how a revision of the description writes them.
        """
        params = {
            "ids": None if ids is None else list(ids),
            "review_status": self.review_status,
            "limit": self.limit,
            "cursor": cursor,
            "single_entry": self.single_entry,
            "source_type": self.source_type,
            "updated_at[gt]": None if self.updated_after is None else self.updated_after.isoformat(),
            "updated_at[lt]": None if self.updated_before is None else self.updated_before.isoformat(),
        }
        sent = {name: value for name, value in params.items() if value is not None}
        return query_accounting_records.get_kwargs() | {"params": sent}


def check_limit(limit: object, name: str) -> int:
    return check_count(limit, name, most=MAX_LIMIT)


def check_ids(ids: object) -> list[str]:
    """Check record ids, and leave out repeated ones."""
    if isinstance(ids, (str, bytes)) or not isinstance(ids, Iterable):
        raise ConfigurationError("ids must be several ids, such as a list of strings.")
    checked = list(dict.fromkeys(check_text(each, "An id of ids") for each in ids))
    if any(_characters(each) > MAX_ID_CHARACTERS for each in checked):
        raise ConfigurationError("An id of ids is longer than any id: pass the ids that Brex returned.")
    return checked


def split(ids: Sequence[str]) -> Iterator[list[str]]:
    """Split ids into as few requests as their number and the length of a URL allow."""
    part: list[str] = []
    characters = 0
    for each in ids:
        if part and (len(part) == MAX_IDS or characters + _characters(each) > MAX_ID_CHARACTERS):
            yield part
            part, characters = [], 0
        part.append(each)
        characters += _characters(each)
    if part:
        yield part


def _characters(record_id: str) -> int:
    return len("&ids=") + len(quote(record_id, safe=""))
