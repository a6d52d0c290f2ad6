"""Read accounting records, and report what became of them in the accounting system."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, NoReturn

from brex_accounting_api.api.accounting_records import get_accounting_record

from ._arguments import check_flag, check_id, check_text
from ._clock import check_asyncio
from ._engine.classify import Operation
from ._records.paging import QUERY, check_ids_of
from ._records.parsing import read_record
from ._records.query import DEFAULT_LIMIT, MAX_IDS, RecordQuery, check_ids, check_limit
from ._records.reporting import REPORT, check_names_all, check_results, report_all, report_request
from ._records.stream import RecordStream, stream, stream_ready, to_page, to_records
from .errors import ConfigurationError
from .models import AccountingRecord, ExportResult, InvalidRecord, RecordPage, ReportOutcome

if TYPE_CHECKING:
    from ._engine.engine import Engine

__all__ = ["RecordStream", "Records"]

GET = Operation("getAccountingRecord", read_record, safe=True)


class Records:
    """The accounting records of the account that the token belongs to.

    ::

        async for record in brex.records.ready_for_export():
            ...
        outcomes = await brex.records.report_all(results)

    The filters of `query`, `pages` and `iterate`:

    - `ids`: only these records. Named twice, a record still comes once. They come in the API's order, not that of
      `ids`. An empty list finds nothing, and nothing is sent.
    - `review_status`: such as READY_FOR_EXPORT. It finds cards and reimbursements only, never bills.
    - `source_type`: CARD, REIMBURSEMENT or BILL. Bills are polled by this and `updated_after`.
    - `updated_after`, `updated_before`: only records whose `updated_at` is later or earlier than this: an aware
      datetime, or ISO 8601 text with an offset. Without `updated_after` the API may leave out, in silence, records that
      have not changed for a while: pass one, however early, if you want all of them.
    - `single_entry`: whether to leave out the balancing lines.

    Every method raises ConfigurationError for invalid arguments, before anything is sent, and can raise any error of
    the tree in `brex_accounting.errors`. Each method lists the errors that have a special meaning for it.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __reduce__(self) -> NoReturn:
        message = "a client's records belong to it: pickle or copy neither"
        raise TypeError(message)

    def ready_for_export(
        self,
        *,
        updated_after: datetime | str | None = None,
        page_size: int = DEFAULT_LIMIT,
        on_invalid: Callable[[InvalidRecord], None] | None = None,
    ) -> RecordStream[AccountingRecord]:
        """Read all records that are READY_FOR_EXPORT: cards, reimbursements and bills, each once.

        It takes two queries, since the filter by review status finds no bills: cards and reimbursements by their review
        status, then all bills, of which only those that are READY_FOR_EXPORT are passed on. Both send a lower bound for
        `updated_at`, however early, since the API may leave out older records without one.

        Args:
            updated_after: Only what changed later than this: an aware datetime, or ISO 8601 text with an offset. None:
                everything. A poll passes the largest `updated_at` that it has seen, less an overlap.
            page_size: How many records to ask for at a time, 1 to 1,000; see `limit` of `query`.
            on_invalid: See `pages`.

        Raises:
            InvalidResponseError: See `pages`.
        """
        query = RecordQuery.of(check_limit(page_size, "page_size"), updated_after=updated_after)
        return stream_ready(self._engine, query, on_invalid)

    async def get(self, record_id: str, *, single_entry: bool | None = None) -> AccountingRecord:
        """Read one record, with fresh `download_uris` for its receipts: they work for 15 minutes.

        Args:
            record_id: The `AccountingRecord.id`.
            single_entry: See the class.

        Raises:
            NotFoundError: There is no such record.
            InvalidResponseError: The record cannot be understood, or is another one.
        """
        single_entry = None if single_entry is None else check_flag(single_entry, "single_entry")
        options = {} if single_entry is None else {"single_entry": single_entry}
        asked = check_id(record_id, "record_id")

        def check(record: AccountingRecord) -> str | None:
            return None if record.id == asked else "its id is not the one that was asked for"

        return await self._engine.call(GET, get_accounting_record.get_kwargs(asked, **options), check=check)

    async def query(
        self,
        *,
        ids: Sequence[str] | None = None,
        review_status: str | None = None,
        source_type: str | None = None,
        updated_after: datetime | str | None = None,
        updated_before: datetime | str | None = None,
        single_entry: bool | None = None,
        limit: int = DEFAULT_LIMIT,
        cursor: str | None = None,
    ) -> RecordPage:
        """Read one page of records, with one request. `iterate` and `pages` read all of them.

        Args:
            ids: See the class; at most 500.
            review_status: See the class.
            source_type: See the class.
            updated_after: See the class.
            updated_before: See the class.
            single_entry: See the class.
            limit: How many records a page may have, 1 to 1,000. Brex's published OpenAPI file names 500 as the maximum:
                above that the server decides, and refuses with a BadRequestError.
            cursor: The `next_cursor` of the page before.

        Raises:
            InvalidResponseError: A record on the page cannot be understood: `record_id` names it, the text says where.
                Or the page holds a record that is not among `ids`.
        """
        check_asyncio()
        query = RecordQuery.of(
            check_limit(limit, "limit"),
            review_status=review_status,
            source_type=source_type,
            updated_after=updated_after,
            updated_before=updated_before,
            single_entry=single_entry,
        )
        checked = None if ids is None else check_ids(ids)
        if cursor is not None:
            check_text(cursor, "cursor")
        if checked is not None and len(checked) > MAX_IDS:
            raise ConfigurationError(
                f"ids has more than the {MAX_IDS} ids that a request may ask for: use iterate or pages."
            )
        if checked == []:
            return RecordPage(items=[], next_cursor=None, has_next_page=False, total_count=0)
        request = query.request(checked, cursor)
        return (await self._engine.call(QUERY, request, check=check_ids_of(checked))).page

    def pages(
        self,
        *,
        ids: Iterable[str] | None = None,
        review_status: str | None = None,
        source_type: str | None = None,
        updated_after: datetime | str | None = None,
        updated_before: datetime | str | None = None,
        single_entry: bool | None = None,
        page_size: int = DEFAULT_LIMIT,
        cursor: str | None = None,
        on_invalid: Callable[[InvalidRecord], None] | None = None,
    ) -> RecordStream[RecordPage]:
        """Read all records, page by page, and fetch the next page while you work on this one.

        To continue later, keep the `next_cursor` of the last page you finished, and pass it as `cursor`. A record that
        the list repeats, because it shifted meanwhile, comes once (by id and version). You may leave the loop any time.

        Args:
            ids: See the class. As many as you like: they are split over requests of at most 500, and of URLs that are
                not too long; then there is no `cursor` to continue from.
            review_status: See the class.
            source_type: See the class.
            updated_after: See the class.
            updated_before: See the class.
            single_entry: See the class.
            page_size: How many records to ask for at a time, 1 to 1,000; see `limit` of `query`.
            cursor: Where to continue: a page's `next_cursor`.
            on_invalid: Called, not awaited, with each record that cannot be understood, before its page is passed on
                without it. What it raises, the step raises.

        Raises:
            InvalidResponseError: A record cannot be understood, and there is no `on_invalid`: `record_id` names it, the
                text says where. Or the cursors lead in a circle, to page after page with nothing new, or nowhere.
        """
        query = RecordQuery.of(
            check_limit(page_size, "page_size"),
            review_status=review_status,
            source_type=source_type,
            updated_after=updated_after,
            updated_before=updated_before,
            single_entry=single_entry,
        )
        return stream(self._engine, query, to_page, ids=ids, cursor=cursor, on_invalid=on_invalid)

    def iterate(
        self,
        *,
        ids: Iterable[str] | None = None,
        review_status: str | None = None,
        source_type: str | None = None,
        updated_after: datetime | str | None = None,
        updated_before: datetime | str | None = None,
        single_entry: bool | None = None,
        page_size: int = DEFAULT_LIMIT,
        cursor: str | None = None,
        on_invalid: Callable[[InvalidRecord], None] | None = None,
    ) -> RecordStream[AccountingRecord]:
        """Read all records, one by one: as `pages`, whose arguments and errors it has."""
        query = RecordQuery.of(
            check_limit(page_size, "page_size"),
            review_status=review_status,
            source_type=source_type,
            updated_after=updated_after,
            updated_before=updated_before,
            single_entry=single_entry,
        )
        return stream(self._engine, query, to_records, ids=ids, cursor=cursor, on_invalid=on_invalid)

    async def report(self, results: Sequence[ExportResult], *, idempotency_key: str | None = None) -> tuple[str, ...]:
        """Report what became of records, with one request: the API takes all of the results, or none.

        `report_all` takes any number, and goes on if one of them is refused.

        Args:
            results: At least one result, and no record twice.
            idempotency_key: 1 to 255 printable ASCII characters; without one, the call makes its own (a UUIDv4).

        Returns:
            The ids of the records that the API updated.

        Raises:
            NotFoundError: There are no such records: `record_ids`.
            DuplicateRecordsError: The API takes several of the results for one record: `record_ids`.
            RecordsNotReadyError: These records are not READY_FOR_EXPORT: `record_ids`. With `outcome` UNKNOWN an
                earlier attempt of this call may have reported them.
            InvalidResponseError: The answer does not name each record that was sent, so what it did is UNKNOWN.
        """
        checked = check_results(results)
        if not checked:
            raise ConfigurationError("results is empty: there is nothing to report.")
        return await self._engine.call(
            REPORT, report_request(checked), idempotency_key=idempotency_key, check=check_names_all(checked)
        )

    async def report_all(self, results: Iterable[ExportResult]) -> list[ReportOutcome]:
        """Report what became of any number of records, and return for each what became of its report.

        They go out in batches of 100, a few at a time. What the API refuses by name is taken out, and the rest is sent
        again. After an attempt in doubt the records are queried before anything is sent again, so that nothing is
        reported twice. Nothing is raised for what the API or the network do: look at each outcome's `status`.

        Cancelling it says nothing about what was reported: repeat it with the same results. Successes that had been
        taken come out as ``already_exported`` then, failures as ``not_ready``.

        Args:
            results: No record twice.

        Returns:
            One outcome for each result, in their order.

        Raises:
            ConfigurationError: Two results are for one record. Nothing was sent.
        """
        return await report_all(self._engine, check_results(results))
