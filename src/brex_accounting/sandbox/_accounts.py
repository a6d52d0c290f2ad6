"""Customers' Brex accounts, each with its own tokens and books."""

import secrets
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from ._grants import ACCOUNT, Caller
from ._records import sample_records
from ._samples import SERIALS
from ._scopes import ALL_SCOPES, RECORD_READ
from ._state import IdKey, State
from ._webhooks import COMPANY, Webhooks

_MAX_DAYS: Final = 36_500


@dataclass(frozen=True, slots=True, eq=False)
class Account:
    """A customer's Brex account.

    Attributes:
        name: the name that grants refer to.
        token: an access token with all scopes.
        read_only_token: an access token with no scope but accounting.record.read.
        state: the integrations, the records and the ledger of exports.
    """

    name: str
    token: str = field(repr=False)
    read_only_token: str = field(repr=False)
    state: State = field(repr=False)

    def add_record(self, fields: Mapping[str, Any] | None = None, /, **more: Any) -> str:
        """Add a record with these fields, under their names on the wire, and return its id.

        Any field is accepted, unpublished and nonsensical ones too; required ones that are missing get sensible
        defaults. Amounts may be Decimals, times aware datetimes. A READY_FOR_EXPORT record is announced by webhook.

        Raises:
            ValueError: The id is taken, or id, source_type, review_status, version or updated_at are invalid:
                queries depend on them.
        """
        (record_id,) = self.state.add_records([{**(fields or {}), **more}])
        return record_id

    def add_records(self, records: Iterable[Mapping[str, Any]], /) -> list[str]:
        """Add records like add_record, all or none; one webhook event announces those that are READY_FOR_EXPORT."""
        return self.state.add_records(records)

    def edit_record(self, record_id: str, fields: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        """Replace these fields; `version` and `updated_at` go up unless they are among them.

        A record that becomes READY_FOR_EXPORT is announced by webhook.

        Raises:
            LookupError: There is no such record.
            ValueError: See add_record.
        """
        self.state.edit_record(record_id, {**(fields or {}), **more})


class Accounts:
    """All accounts; the first exists from the start.

    Attributes:
        by_name: each account by its name.
    """

    def __init__(
        self,
        *,
        id_key: IdKey,
        now: Callable[[], datetime],
        webhooks: Webhooks,
        recent_days: float | None,
    ) -> None:
        self.by_name: dict[str, Account] = {}
        self._callers: dict[str, Caller] = {}
        self._id_key = id_key
        self._now = now
        self._webhooks = webhooks
        self.recent_days = recent_days

    @property
    def recent_days(self) -> float | None:
        """How many days a list without a lower bound for updated_at goes back; None means all the way."""
        return self._recent_days

    @recent_days.setter
    def recent_days(self, days: float | None) -> None:
        if days is not None and (type(days) not in {int, float} or not 0 <= days <= _MAX_DAYS):
            raise ValueError(f"recent_days must be a number of days from 0 to {_MAX_DAYS}")
        self._recent_days = days

    @property
    def first(self) -> Account:
        """The account that exists from the start."""
        return self.by_name[ACCOUNT]

    def add(self, name: str, records: int | Iterable[Mapping[str, Any]], token: str | None) -> Account:
        """Add an account with this many samples, or with these records; ValueError when an argument is invalid."""
        if not name or name in self.by_name:
            raise ValueError("name must not be empty or the name of another account")
        if token is not None and not token.startswith("bxt_"):
            raise ValueError("token must begin with bxt_")
        if token in self._callers:
            raise ValueError("token must not be the token of another account")
        if isinstance(records, int) and not 0 <= records < SERIALS:
            raise ValueError("records must not be negative")
        account = Account(name, token or _new_token(), _new_token(), self._new_state(name, records))
        self._callers[account.token] = Caller(account.token, ALL_SCOPES, name)
        self._callers[account.read_only_token] = Caller(account.read_only_token, frozenset({RECORD_READ}), name)
        self.by_name[name] = account
        return account

    def of(self, name: str) -> Account:
        """Return the account with this name; any other name stands for the first account."""
        return self.by_name.get(name, self.first)

    def caller(self, token: str) -> Caller | None:
        """Return the caller that this user token identifies."""
        return self._callers.get(token)

    def _new_state(self, name: str, records: int | Iterable[Mapping[str, Any]]) -> State:
        serial = len(self.by_name) * SERIALS
        company = COMPANY if name == ACCOUNT else f"company_{name}"
        samples = sample_records(records, first_serial=serial) if isinstance(records, int) else []
        state = State(
            records=samples,
            id_key=self._id_key,
            now=self._now,
            new_id=lambda: secrets.token_hex(8),
            on_ready=lambda ready: self._webhooks.announce(ready, company_id=company),
            reach=self._reach,
            serial=serial,
        )
        if not isinstance(records, int):
            state.add_records(records)
        return state

    def _reach(self) -> timedelta | None:
        return None if self._recent_days is None else timedelta(self._recent_days)


def _new_token() -> str:
    return f"bxt_{secrets.token_urlsafe(32)}"
