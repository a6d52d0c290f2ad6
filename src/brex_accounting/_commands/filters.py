"""Which records a command is about."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from cyclopts import Parameter, Token

from .dates import read_moment, show
from .options import Flag, Texts
from .standard_streams import note


def _moment(_type: Any, tokens: Sequence[Token]) -> str:
    """Keep the moment as text that nobody can misread: it is written down for a later command."""
    typed = tokens[0].value
    moment = show(read_moment(typed))
    if typed != moment:
        note(f'"{typed}" is understood as {moment}.')
    return moment


def _name(_type: Any, tokens: Sequence[Token]) -> str:
    """Take the name of an enum's value in the case that people like."""
    return tokens[0].value.strip().upper().replace("-", "_")


@Parameter(name="*", group="Filters")
@dataclass(frozen=True, kw_only=True)
class Filters:
    """The filters of `records.pages`, as options."""

    ids: Annotated[
        Texts,
        Parameter(name="--id", help="Only this record; give it several times for several."),
    ] = ()
    review_status: Annotated[
        str | None,
        Parameter(
            converter=_name,
            help="READY_FOR_EXPORT, EXPORTED, REVIEW or PREPARE. It works for cards and reimbursements only.",
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
    single_entry: Annotated[Flag, Parameter(help="Leave out the balancing lines.")] = False

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of `records.pages`."""
        if self.review_status and self.source_type == "BILL":
            note("Brex's filter by review status knows no bills: poll bills by --source-type BILL and --updated-after.")
        return {
            "ids": self.ids or None,
            "review_status": self.review_status,
            "source_type": self.source_type,
            "updated_after": None if self.updated_after is None else datetime.fromisoformat(self.updated_after),
            "single_entry": self.single_entry or None,
        }


ALL = Filters()
