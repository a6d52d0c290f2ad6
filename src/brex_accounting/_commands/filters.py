"""Which records a command is about."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from cyclopts import Parameter, Token

from brex_accounting._records.query import BEFORE_ALL_RECORDS
from brex_accounting.models import AccountingRecord, InvalidRecord, RecordPage
from brex_accounting.records import Records, RecordStream

from .dates import read_moment, show
from .exit_codes import Code, stop
from .options import Flag, Texts
from .standard_streams import note


def _moment(_type: Any, tokens: Sequence[Token]) -> str:
    """Return the moment as unambiguous text, which is saved for a later command."""
    typed = tokens[0].value
    moment = show(read_moment(typed))
    if typed != moment:
        note(f'"{typed}" is understood as {moment}.')
    return moment


def _name(_type: Any, tokens: Sequence[Token]) -> str:
    """Accept the name of an enum's value in any case."""
    return tokens[0].value.strip().upper().replace("-", "_")


@Parameter(name="*", group="Filters")
@dataclass(frozen=True, kw_only=True)
class Filters:
    """Which records to read, as options."""

    ready: Annotated[
        Flag,
        Parameter(
            help="All that is READY_FOR_EXPORT: cards, reimbursements and bills. Of the other filters only "
            "--updated-after goes with it."
        ),
    ] = False
    ids: Annotated[
        Texts,
        Parameter(name="--id", help="Only this record; repeat it for more."),
    ] = ()
    review_status: Annotated[
        str | None,
        Parameter(
            converter=_name,
            help="READY_FOR_EXPORT, EXPORTED, REVIEW or PREPARE. It finds cards and reimbursements only.",
        ),
    ] = None
    source_type: Annotated[str | None, Parameter(converter=_name, help="CARD, REIMBURSEMENT or BILL.")] = None
    updated_after: Annotated[
        str | None,
        Parameter(
            converter=_moment,
            help='Only what changed after this: "1 Nov 2025", 2025-11-01T09:30+01:00, … Without a zone it is UTC.',
        ),
    ] = None
    updated_before: Annotated[
        str | None, Parameter(converter=_moment, help="Only what changed before this, and not since.")
    ] = None
    single_entry: Annotated[Flag, Parameter(help="Leave out the balancing lines.")] = False

    def check(self) -> None:
        """Refuse filters that do not go together."""
        others = {
            "--id": self.ids,
            "--review-status": self.review_status,
            "--source-type": self.source_type,
            "--updated-before": self.updated_before,
            "--single-entry": self.single_entry,
        }
        surplus = [name for name, value in others.items() if value]
        if self.ready and surplus:
            stop(f"--ready does not go with {surplus[0]}: leave one of them out.", Code.USAGE)
        if self.review_status and self.source_type == "BILL":
            note("Brex's filter by review status finds no bills: use --ready, or leave --review-status out.")
        elif self.review_status == "READY_FOR_EXPORT" and not self.source_type and not self.ids:
            note("The filter by review status finds no bills: --ready finds cards, reimbursements and bills.")

    def pages(
        self,
        records: Records,
        page_size: int,
        on_invalid: Callable[[InvalidRecord], None],
        cursor: str | None = None,
    ) -> AsyncGenerator[RecordPage, None]:
        """Read what they find, page by page. Those of --ready have no cursor."""
        # Without a lower bound Brex leaves out older records, in silence.
        after = BEFORE_ALL_RECORDS if self.updated_after is None else datetime.fromisoformat(self.updated_after)
        if self.ready:
            ready = records.ready_for_export(updated_after=after, page_size=page_size, on_invalid=on_invalid)
            return _batches(ready, page_size)
        found = records.pages(
            ids=self.ids or None,
            review_status=self.review_status,
            source_type=self.source_type,
            updated_after=after,
            updated_before=None if self.updated_before is None else datetime.fromisoformat(self.updated_before),
            single_entry=self.single_entry or None,
            page_size=page_size,
            cursor=cursor,
            on_invalid=on_invalid,
        )
        return _each(found)


async def _each(pages: RecordStream[RecordPage]) -> AsyncGenerator[RecordPage, None]:
    async with pages:
        async for page in pages:
            yield page


async def _batches(records: RecordStream[AccountingRecord], size: int) -> AsyncGenerator[RecordPage, None]:
    batch = list[AccountingRecord]()
    async with records:
        async for record in records:
            if len(batch) == size:  # so another one follows
                yield RecordPage(items=batch, next_cursor=None, has_next_page=True)
                batch = []
            batch.append(record)
    yield RecordPage(items=batch, next_cursor=None, has_next_page=False)


ALL = Filters()
