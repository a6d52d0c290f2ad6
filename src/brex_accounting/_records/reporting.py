"""Reports any number of results, and finds out what became of each."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from brex_accounting._arguments import check_idempotency_key
from brex_accounting._clock import check_asyncio
from brex_accounting._engine.classify import Operation
from brex_accounting._text import printable
from brex_accounting.errors import (
    BrexError,
    ConfigurationError,
    ConflictError,
    DuplicateRecordsError,
    NotFoundError,
    Outcome,
    RecordsNotReadyError,
    UnprocessableError,
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

from .paging import Prefetcher, check_ids_of
from .parsing import StatusPage, read_status_page, read_updated_ids
from .query import BEFORE_ALL_RECORDS, RecordQuery, split

if TYPE_CHECKING:
    from brex_accounting._engine.engine import Engine

BATCH = 100
BATCHES_AT_ONCE = 4

REPORT = Operation("reportAccountingExportResults", read_updated_ids)


def check_results(results: object) -> list[ExportResult]:
    """Check what a caller passed: results, and no two of them for one record."""
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


def check_names_all(results: Sequence[ExportResult]) -> Callable[[tuple[str, ...]], str | None]:
    """Make the check that an answer names each record that was sent."""

    def check(taken: tuple[str, ...]) -> str | None:
        missing = len({result.record_id for result in results} - set(taken))
        return f"it does not name {missing} of the {len(results)} records that were sent" if missing else None

    return check


def _to_wire(result: ExportResult) -> SuccessfulExportResult | FailedExportResult:
    if isinstance(result, ExportFailed):
        failure = ExportFailureDetails(error_message=result.error_message)
        return FailedExportResult(accounting_record_id=result.record_id, failure=failure)
    success = ExportSuccessDetails(reference_id=result.reference_id, deep_link_url=result.deep_link_url)
    return SuccessfulExportResult(accounting_record_id=result.record_id, success=success)


REPORT_ONCE = replace(REPORT, resend=False)
STATUSES = Operation("queryAccountingRecords", read_status_page, safe=True)


async def report_all(engine: Engine, results: Sequence[ExportResult]) -> list[ReportOutcome]:
    """Report checked results; return an outcome for each, in their order."""
    check_asyncio()
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
    record is unsettled, which means that its status must be queried, nothing is sent.
    """

    def __init__(self, engine: Engine, results: Iterable[ExportResult]) -> None:
        self.outcomes: dict[str, ReportOutcome] = {}
        self._engine = engine
        self._deadline = engine.deadline()
        self._pending = {result.record_id: result for result in results}
        self._in_doubt: dict[str, BrexError] = {}
        """By record, with the error that left it so."""
        self._passed_over = set[str]()
        """Those that a 422 did not name. Brex does not say that it takes all of a request or nothing of it."""
        self._unsettled = set[str]()
        self._pauses = 0
        self._sent: list[ExportResult] = []
        self._key = ""
        self._repeat = False
        self._error: BrexError | None = None

    async def run(self) -> None:
        """Bring every result to its outcome."""
        try:
            await self._report()
        except BaseException:  # cancelled: what the pauses drew led to nothing
            self._engine.repay(self._pauses)
            raise
        if not self._pending:
            self._engine.repay(self._pauses)
        for record_id in list(self._pending):
            self._give_up(record_id)

    async def _report(self) -> None:
        """Send and look by turns, until each result has its outcome or nothing more can be done."""
        go_on = True
        while self._pending and go_on:
            self._error = await self._send()
            if self._error is not None:
                go_on = self._take_out(self._error)
            if self._unsettled:
                go_on = await self._resolve_unknown()

    async def _send(self) -> BrexError | None:
        """Send what is pending, once; return what stood in the way."""
        results = list(self._pending.values())
        if results != self._sent and not self._repeat:
            self._sent, self._key = results, check_idempotency_key(None)
        named, names_all = set[str](), check_names_all(self._sent)

        def check(taken: tuple[str, ...]) -> str | None:
            named.update(taken)
            return names_all(taken)

        problem: BrexError | None = None
        try:
            await self._engine.call(
                REPORT_ONCE,
                report_request(self._sent),
                idempotency_key=self._key,
                deadline=self._deadline,
                check=check,
            )
        except BrexError as error:
            problem = error
        self._repeat = False
        for record_id in self._pending.keys() & named:
            self._end(record_id, "reported")
        return problem if self._pending else None

    def _take_out(self, error: BrexError) -> bool:
        """Take out what the API refused by name; return whether the rest may be sent."""
        named = [each for each in getattr(error, "record_ids", ()) if each in self._pending]
        if isinstance(error, UnprocessableError):
            self._passed_over.update(self._pending.keys() - set(named))
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
        """Query what is unsettled until an answer comes; return whether the rest may be sent."""
        refused = isinstance(self._error, (NotFoundError, RecordsNotReadyError))
        # What goes out again is queried as a whole, with the records whose outcome is known by now.
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
        """Wait as before a retry; return False if there is none."""
        paused = await self._engine.pause(self._pauses, self._deadline)
        self._pauses += paused
        return paused

    async def _look(self, record_ids: Iterable[str]) -> dict[str, ReviewStatus] | None:
        """Query the review status of these records; None if there is no answer."""
        query = RecordQuery(limit=BATCH, updated_after=BEFORE_ALL_RECORDS)
        parts = list(split(sorted(record_ids)))

        async def fetch(part: int, cursor: str | None) -> StatusPage:
            request, check = query.request(parts[part], cursor), check_ids_of(parts[part])
            return await self._engine.call(STATUSES, request, deadline=self._deadline, check=check)

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
        """End a result if the status of its record says what became of it."""
        failed = isinstance(self._pending[record_id], ExportFailed)
        in_doubt = record_id in self._in_doubt
        if status is None:
            if isinstance(self._error, NotFoundError):
                self._end(record_id, "not_found", "There is no such record.", self._error)
        elif status == ReviewStatus.EXPORTED and not failed:
            ours = in_doubt or record_id in self._passed_over
            text = "It was exported, by this call or before it." if ours else "It was exported before this call."
            self._end(record_id, "already_exported", text)
        elif status == ReviewStatus.READY_FOR_EXPORT:
            pass
        elif not failed or not (in_doubt or record_id in self._passed_over):
            self._end(record_id, "not_ready", f"It is {status}, not READY_FOR_EXPORT.", self._error)
        elif in_doubt and repeatable:
            # This may have been our report, and only its answer can say so. An API that honours keys repeats the answer
            # to the very same request; another one refuses it as a whole.
            self._repeat = True
        else:
            why = "whose answer was lost" if in_doubt else "which the API refused because of other records"
            text = f"It is {status}, not READY_FOR_EXPORT: possibly by this report, {why}."
            self._end(record_id, "unknown", text, self._in_doubt.get(record_id, self._error))

    def _give_up(self, record_id: str) -> None:
        named = isinstance(self._error, RecordsNotReadyError) and record_id in self._error.record_ids
        if record_id in self._in_doubt:
            text = "No answer says whether it was taken: look at the record, or report it again."
            self._end(record_id, "unknown", text, self._in_doubt[record_id])
        elif named and not (record_id in self._unsettled and isinstance(self._pending[record_id], ExportSucceeded)):
            self._end(record_id, "not_ready", "It is not READY_FOR_EXPORT.", self._error)
        elif record_id in self._unsettled:  # a success may be EXPORTED already, and nobody could say so
            text = "The API refused it, and no answer says what status the record has: look at it."
            self._end(record_id, "not_applied", text, self._error)
        else:
            self._end(record_id, "not_applied", str(self._error), self._error)

    def _end(
        self, record_id: str, status: ReportStatus, message: str | None = None, error: BrexError | None = None
    ) -> None:
        del self._pending[record_id]
        self.outcomes[record_id] = ReportOutcome(record_id, status, printable(message) if message else None, error)
