"""The state machine: integrations, records and the export ledger, and what each operation does to them."""

import operator
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Final, Literal

from ._records import Record, new_record, read_fields
from ._requests import REVIEW_STATUSES, ExportResult, RecordQuery, encode_cursor
from ._wire import JSON, Reply, error, success, timestamp, to_json

IdKey = Literal["integration_id", "id", "both"]
READY: Final = "READY_FOR_EXPORT"
_COMPARE: Final = {"gt": operator.gt, "gte": operator.ge, "lt": operator.lt, "lte": operator.le}


@dataclass(slots=True)
class Integration:
    """An integration of the account; at most one is ACTIVE."""

    id: str
    vendor: str
    vendor_account_id: str
    created_at: datetime
    status: Literal["ACTIVE", "DISABLED"] = "ACTIVE"


@dataclass(frozen=True, slots=True)
class Export:
    """An entry of the export ledger: a result that was applied, and when."""

    result: ExportResult
    applied_at: datetime


class State:
    """One account's books.

    `records` are ordered by their index. `now` returns the time, `new_id` what follows `int_` in an integration's id.
    `on_ready` receives the records that became READY_FOR_EXPORT together. `reach` returns how far back a list without a
    lower bound for updated_at goes; None means all the way. New records are numbered from `serial`.
    """

    def __init__(
        self,
        *,
        records: Iterable[Record] = (),
        id_key: IdKey = "integration_id",
        now: Callable[[], datetime],
        new_id: Callable[[], str],
        on_ready: Callable[[Sequence[str]], object] = lambda _: None,
        reach: Callable[[], timedelta | None] = lambda: None,
        serial: int = 0,
    ) -> None:
        self.integrations: dict[str, Integration] = {}
        self.records: dict[str, Record] = {record.id: record for record in records}
        self.exports: list[Export] = []
        self._next_index = len(self.records)
        self._id_keys = ("id", "integration_id") if id_key == "both" else (id_key,)
        self._now = now
        self._new_id = new_id
        self._on_ready = on_ready
        self._reach = reach
        self._serial = serial

    @property
    def active_integration(self) -> Integration | None:
        """The one ACTIVE integration, if any."""
        return next((each for each in self.integrations.values() if each.status == "ACTIVE"), None)

    def add_records(self, given: Iterable[Mapping[str, object]]) -> list[str]:
        """Add records with these fields, all or none, and return their ids."""
        added: dict[str, Record] = {}
        for index, fields in enumerate(given, start=self._next_index):
            record = new_record(index, self._serial + index, read_fields(fields), self._now())
            if record.id in self.records or record.id in added:
                raise ValueError(f"the id {to_json(record.id)} is taken")
            added[record.id] = record
        self._next_index += len(added)
        self.records |= added
        self._announce([each.id for each in added.values() if each.review_status == READY])
        return list(added)

    def edit_record(self, record_id: str, given: Mapping[str, object]) -> None:
        """Replace fields of a record; LookupError when it does not exist."""
        self._edit([record_id], read_fields(given))

    def set_review_status(self, record_ids: str | Iterable[str], review_status: str) -> None:
        """Move one or several records to any review status, as an accountant does in the Brex dashboard.

        LookupError when one of them does not exist; then none is moved.
        """
        if review_status not in REVIEW_STATUSES:
            raise ValueError(f"review_status must be one of {', '.join(REVIEW_STATUSES)}")
        ids = [record_ids] if isinstance(record_ids, str) else record_ids
        self._edit(list(dict.fromkeys(ids)), {"review_status": review_status})

    def _edit(self, record_ids: Sequence[str], fields: Mapping[str, JSON]) -> None:
        for record_id in record_ids:
            if record_id not in self.records:
                raise LookupError(f"no accounting record has the id {to_json(record_id)}")
        before = {record_id: self.records[record_id].review_status for record_id in record_ids}
        for record_id in record_ids:
            self.records[record_id].change(fields, self._now())
        self._announce([each for each in record_ids if self.records[each].review_status == READY != before[each]])

    def _announce(self, ready: Sequence[str]) -> None:
        if ready:
            self._on_ready(ready)

    def create(self, vendor: str, vendor_account_id: str) -> Reply:
        """Answer createIntegration."""
        active = self.active_integration
        if active is None:
            active = Integration(f"int_{self._new_id()}", vendor, vendor_account_id, self._now())
            self.integrations[active.id] = active
        elif active.vendor != vendor:
            return _active_integration_exists(active, vendor)
        elif active.vendor_account_id != vendor_account_id:
            return error(
                HTTPStatus.CONFLICT,
                "VENDOR_ACCOUNT_ID_MISMATCH",
                "An active integration of this vendor exists for another vendor account.",
                {
                    "existing_integration_id": active.id,
                    "existing_vendor_account_id": active.vendor_account_id,
                    "requested_vendor_account_id": vendor_account_id,
                },
            )
        return self._integration(active)

    def disconnect(self, integration_id: str) -> Reply:
        """Answer disconnectIntegration."""
        integration = self.integrations.get(integration_id)
        if integration is None:
            return _not_found("integration", integration_id)
        if integration.status != "ACTIVE":
            return error(
                HTTPStatus.CONFLICT,
                "INTEGRATION_NOT_ACTIVE",
                "The integration is not active.",
                {"integration_id": integration.id, "current_status": integration.status},
            )
        integration.status = "DISABLED"
        return self._integration(integration)

    def reactivate(self, integration_id: str) -> Reply:
        """Answer reactivateIntegration."""
        integration = self.integrations.get(integration_id)
        if integration is None:
            return _not_found("integration", integration_id)
        active = self.active_integration
        if active is not None:
            return _active_integration_exists(active, integration.vendor)
        integration.status = "ACTIVE"
        return self._integration(integration)

    def get(self, record_id: str, *, single_entry: bool) -> Reply:
        """Answer getAccountingRecord."""
        record = self.records.get(record_id)
        if record is None:
            return _not_found("accounting record", record_id)
        return success(record.to_json(single_entry=single_entry))

    def query(self, query: RecordQuery) -> Reply:
        """Answer queryAccountingRecords, in the order in which records were created: no change affects it."""
        selected = self._select(query)
        start = bisect_right(selected, query.after, key=operator.attrgetter("index"))
        page = selected[start : start + query.limit]
        more = start + query.limit < len(selected)
        return success(
            {
                "items": [record.to_json(single_entry=query.single_entry) for record in page],
                "total_count": len(selected),
                "next_cursor": encode_cursor(page[-1].index) if more else None,
                "has_next_page": more,
            }
        )

    def report(self, results: Sequence[ExportResult]) -> Reply:
        """Answer reportAccountingExportResults: all results are applied, or none."""
        ids = [result.record_id for result in results]
        refusal = self._refuse_report(ids)
        if refusal is not None:
            return refusal
        now = self._now()
        for result in results:
            # A failed record leaves READY_FOR_EXPORT; that it goes to REVIEW is our choice.
            moved: dict[str, JSON] = {"review_status": "EXPORTED" if result.error_message is None else "REVIEW"}
            self.records[result.record_id].change(moved, now)
            self.exports.append(Export(result, now))
        return success({"updated_accounting_record_ids": ids})

    def _refuse_report(self, ids: Sequence[str]) -> Reply | None:
        duplicates = [record_id for record_id, count in Counter(ids).items() if count > 1]
        if duplicates:
            return error(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "DUPLICATE_ACCOUNTING_RECORD_IDS",
                "A record is named more than once.",
                {"duplicate_accounting_record_ids": duplicates},
            )
        unknown = [record_id for record_id in ids if record_id not in self.records]
        if unknown:
            return error(
                HTTPStatus.NOT_FOUND,
                "NOT_FOUND",
                "Some of the records do not exist.",
                {"not_found_export_entry_source_ids": unknown},
            )
        not_ready = [each for each in ids if self.records[each].review_status != READY]
        if not_ready:
            return error(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "ACCOUNTING_RECORD_NOT_READY_FOR_EXPORT",
                "Some of the records are not ready for export.",
                {"not_ready_for_export_accounting_record_ids": not_ready},
            )
        return None

    def _select(self, query: RecordQuery) -> list[Record]:
        selected = list(self.records.values())
        if query.ids is not None:
            found = [self.records[record_id] for record_id in query.ids if record_id in self.records]
            selected = sorted(found, key=operator.attrgetter("index"))
        if query.review_status is not None:
            # This filter ignores bills.
            selected = [
                record
                for record in selected
                if record.review_status == query.review_status and record.source_type != "BILL"
            ]
        if query.source_type is not None:
            selected = [record for record in selected if record.source_type == query.source_type]
        bounds = [(_COMPARE[comparison], moment) for comparison, moment in query.updated_at]
        reach = self._reach()
        if reach is not None and not any(comparison in {"gt", "gte"} for comparison, _ in query.updated_at):
            bounds.append((operator.ge, self._now() - reach))
        for compare, moment in bounds:
            selected = [record for record in selected if compare(record.updated_at, moment)]
        return selected

    def _integration(self, integration: Integration) -> Reply:
        body: dict[str, JSON] = dict.fromkeys(self._id_keys, integration.id)
        body["vendor"] = integration.vendor
        body["vendor_account_id"] = integration.vendor_account_id
        body["status"] = integration.status
        body["created_at"] = timestamp(integration.created_at)
        return success(body)


def _active_integration_exists(active: Integration, requested_vendor: str) -> Reply:
    return error(
        HTTPStatus.CONFLICT,
        "ACTIVE_INTEGRATION_EXISTS",
        "An active integration exists.",
        {
            "existing_integration_id": active.id,
            "existing_vendor": active.vendor,
            "requested_vendor": requested_vendor,
        },
    )


def _not_found(what: str, resource_id: str) -> Reply:
    return error(HTTPStatus.NOT_FOUND, "NOT_FOUND", f"No {what} has the id {to_json(resource_id)}.")
