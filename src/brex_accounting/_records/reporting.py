"""Reports any number of results, and finds out for each what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from brex_accounting._arguments import check_idempotency_key
from brex_accounting._engine.classify import Operation
from brex_accounting._text import printable
from brex_accounting.errors import (
    BrexError,
    ConfigurationError,
    ConflictError,
    DuplicateRecordsError,
    InvalidResponseError,
    NotFoundError,
    Outcome,
    RecordsNotReadyError,
)
from brex_accounting.models import (
    ExportFailed,
    ExportResult,
    ExportSucceeded,
    ReportOutcome,
    ReportStatus,
    ReviewStatus,
)
from brex_accounting_api.api.accounting_records import report_accounting_export_results
from brex_accounting_api.models import (
    ExportFailureDetails,
    ExportSuccessDetails,
    FailedExportResult,
    ReportExportResultsRequest,
    SuccessfulExportResult,
)

from .paging import Prefetcher
from .parsing import StatusPage, read_status_page, read_updated_ids
from .query import RecordQuery, split

if TYPE_CHECKING:
    from brex_accounting._engine.call import Engine

BATCH = 100
BATCHES_AT_ONCE = 4

REPORT = Operation("reportAccountingExportResults", read_updated_ids)


def check_results(results: object) -> list[ExportResult]:
    """Check what a caller passed: results, and none of them for a record that another one is for."""
    if isinstance(results, (str, bytes)) or not isinstance(results, Iterable):
        raise ConfigurationError("results must be several results, such as a list of ExportSucceeded and ExportFailed.")
    checked = list(results)
    seen = set[str]()
    for result in checked:
        if not isinstance(result, (ExportSucceeded, ExportFailed)):
            raise ConfigurationError(
                f"results must hold ExportSucceeded and ExportFailed, not {type(result).__name__}."
            )
        if result.record_id in seen:
            raise ConfigurationError(
                f"results holds more than one result for the record {printable(result.record_id)}: report each once."
            )
        seen.add(result.record_id)
    return checked


def report_request(results: Sequence[ExportResult]) -> Mapping[str, Any]:
    """What to send to report these."""
    body = ReportExportResultsRequest(results=[_to_wire(result) for result in results])
    return report_accounting_export_results.get_kwargs(body=body)


def _to_wire(result: ExportResult) -> SuccessfulExportResult | FailedExportResult:
    if isinstance(result, ExportFailed):
        failure = ExportFailureDetails(error_message=result.error_message)
        return FailedExportResult(accounting_record_id=result.record_id, failure=failure)
    success = ExportSuccessDetails(reference_id=result.reference_id, deep_link_url=result.deep_link_url)
    return SuccessfulExportResult(accounting_record_id=result.record_id, success=success)


REPORT_ONCE = replace(REPORT, resend=False)
STATUSES = Operation("queryAccountingRecords", read_status_page, safe=True)


async def report_all(engine: Engine, results: Sequence[ExportResult]) -> list[ReportOutcome]:
    """Report results of which no two are for one record; return an outcome for each, in their order."""
    batches = [_Batch(engine, results[start : start + BATCH]) for start in range(0, len(results), BATCH)]
    waiting = iter(batches)

    async def work() -> None:
        for batch in waiting:
            await batch.run()

    async with asyncio.TaskGroup() as group:
        for _ in range(min(BATCHES_AT_ONCE, len(batches))):
            group.create_task(work())
    outcomes = {record_id: outcome for batch in batches for record_id, outcome in batch.outcomes.items()}
    return [outcomes[result.record_id] for result in results]


class _Batch:
    """Results that go out together, under one deadline.

    A result is pending until it has its outcome, and in doubt once it was sent and no definite answer came. While its
    record is unsettled, which means that it has to be looked at, nothing is sent.
    """

    def __init__(self, engine: Engine, results: Iterable[ExportResult]) -> None:
        self.outcomes: dict[str, ReportOutcome] = {}
        self._engine = engine
        self._deadline = engine.deadline()
        self._pending = {result.record_id: result for result in results}
        self._in_doubt: dict[str, BrexError] = {}
        """By record, with the error that left it so."""
        self._unsettled = set[str]()
        self._pauses = 0
        self._sent: list[ExportResult] = []
        self._key = ""
        self._repeat = False
        self._error: BrexError | None = None

    async def run(self) -> None:
        """Bring every result to its outcome."""
        go_on = True
        while self._pending and go_on:
            self._error = await self._send()
            if self._error is not None:
                go_on = self._take_out(self._error)
            if self._unsettled:
                go_on = await self._resolve_unknown()
        if not self._pending:
            self._engine.repay(self._pauses)
        for record_id in list(self._pending):
            self._give_up(record_id)

    async def _send(self) -> BrexError | None:
        """Send what is pending, once; return what stood in the way."""
        results = list(self._pending.values())
        if results != self._sent and not self._repeat:
            self._sent, self._key = results, check_idempotency_key(None)
        request = report_request(self._sent)
        try:
            taken = await self._engine.call(REPORT_ONCE, request, idempotency_key=self._key, deadline=self._deadline)
        except BrexError as error:
            return error
        finally:
            self._repeat = False
        for record_id in self._pending.keys() & set(taken):
            self._end(record_id, "reported")
        if not self._pending:
            return None
        return InvalidResponseError(
            f"{REPORT.name}: the answer passes over some of the records.",
            outcome=Outcome.UNKNOWN,
            operation=REPORT.name,
            attempts=1,
            idempotency_key=self._key,
        )

    def _take_out(self, error: BrexError) -> bool:
        """Take out what the API refused by name; tell whether the rest may be sent."""
        named = [each for each in getattr(error, "record_ids", ()) if each in self._pending]
        if error.outcome is Outcome.UNKNOWN:
            self._in_doubt.update(dict.fromkeys(self._pending, error))
            self._unsettled.update(self._pending)
        elif isinstance(error, NotFoundError) and named:
            for record_id in named:
                self._end(record_id, "not_found", "There is no such record.", error)
        elif isinstance(error, DuplicateRecordsError) and named:
            for record_id in named:
                self._give_up(record_id)
        elif isinstance(error, RecordsNotReadyError):
            self._unsettled.update(named or self._pending)
        elif isinstance(error, ConflictError) or (isinstance(error, NotFoundError) and error.error_code == "NOT_FOUND"):
            self._unsettled.update(self._pending)
        else:
            return False
        return True

    async def _resolve_unknown(self) -> bool:
        """Look at what is unsettled, until that was possible; tell whether the rest may be sent."""
        refused = isinstance(self._error, (NotFoundError, RecordsNotReadyError))
        # What goes out again is looked at as a whole, also those of it whose outcome is known by now.
        record_ids = self._unsettled if refused else {result.record_id for result in self._sent}
        go_on = refused or await self._pause()
        while (statuses := await self._look(record_ids)) is None:
            if not go_on:
                return False
            go_on = await self._pause()
        left = len(self._pending)
        for record_id in self._unsettled:
            self._compare(record_id, statuses.get(record_id), repeatable=go_on and not refused)
        self._unsettled.clear()
        if refused and len(self._pending) == left:  # the API contradicts itself, or changes right now
            return await self._pause()
        return go_on

    async def _pause(self) -> bool:
        """Wait as before a retry, or tell that there is none."""
        paused = await self._engine.pause(self._pauses, self._deadline)
        self._pauses += paused
        return paused

    async def _look(self, record_ids: Iterable[str]) -> dict[str, ReviewStatus] | None:
        """Query how far these records are; None: that cannot be had now."""
        query, parts = RecordQuery(limit=BATCH), list(split(sorted(record_ids)))

        async def fetch(part: int, cursor: str | None) -> StatusPage:
            return await self._engine.call(STATUSES, query.request(parts[part], cursor), deadline=self._deadline)

        pages, statuses = Prefetcher(STATUSES.name, len(parts), None, fetch), dict[str, ReviewStatus]()
        try:
            while (page := await pages.next()) is not None:
                statuses.update((record.id, record.review_status) for record in page.items)
        except BrexError:
            return None
        finally:
            await pages.close()
        return statuses

    def _compare(self, record_id: str, status: ReviewStatus | None, *, repeatable: bool) -> None:
        """End a result if how far its record is tells what became of it."""
        failed = isinstance(self._pending[record_id], ExportFailed)
        if status is None:
            if isinstance(self._error, NotFoundError):
                self._end(record_id, "not_found", "There is no such record.", self._error)
        elif status == ReviewStatus.EXPORTED and not failed:
            lost = record_id in self._in_doubt
            by = "by this call, whose answer was lost, or before it" if lost else "before this call"
            self._end(record_id, "already_exported", f"It was exported {by}.")
        elif status == ReviewStatus.READY_FOR_EXPORT:
            pass
        elif not failed or record_id not in self._in_doubt:
            self._end(record_id, "not_ready", f"It is {status}, not READY_FOR_EXPORT.", self._error)
        elif repeatable:
            # Maybe this was our report, and only its answer can tell. Where keys are honoured, the very same request
            # brings it once more; elsewhere it is refused as a whole.
            self._repeat = True
        else:
            text = f"It is {status}, not READY_FOR_EXPORT: maybe by this report, whose answer was lost."
            self._end(record_id, "unknown", text, self._in_doubt[record_id])

    def _give_up(self, record_id: str) -> None:
        if record_id in self._in_doubt:
            text = "No answer told whether it was taken: look at the record, or report it again."
            self._end(record_id, "unknown", text, self._in_doubt[record_id])
        elif record_id in self._unsettled and isinstance(self._pending[record_id], ExportSucceeded):
            text = "The API did not take it, and no answer told whether the record is EXPORTED already: look at it."
            self._end(record_id, "unknown", text, self._error)
        elif isinstance(self._error, RecordsNotReadyError) and record_id in self._error.record_ids:
            self._end(record_id, "not_ready", "It is not READY_FOR_EXPORT.", self._error)
        else:
            self._end(record_id, "not_applied", str(self._error), self._error)

    def _end(
        self, record_id: str, status: ReportStatus, message: str | None = None, error: BrexError | None = None
    ) -> None:
        del self._pending[record_id]
        self.outcomes[record_id] = ReportOutcome(record_id, status, printable(message) if message else None, error)
