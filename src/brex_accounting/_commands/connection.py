"""Which API a command talks to, and for whom."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter

from brex_accounting._retry import RetryPolicy
from brex_accounting.auth import from_environment
from brex_accounting.client import BrexAccounting
from brex_accounting.errors import ConfigurationError

from .logins import variables_of_login

RETRY = RetryPolicy()
GLOBAL_OPTIONS = ("--base-url", "--account", "--timeout")


@Parameter(name="*", group="Connection")
@dataclass(frozen=True, kw_only=True)
class Connection:
    """The options of every command that calls the API."""

    base_url: Annotated[str | None, Parameter(help="Where the API is; BREX_BASE_URL by default, else Brex.")] = None
    account: Annotated[
        str | None, Parameter(help="Whose tokens in BREX_TOKEN_STORE to use; BREX_ACCOUNT by default.")
    ] = None
    timeout: Annotated[float, Parameter(help="Seconds for one attempt; a command may take several.")] = 30.0

    def client(self) -> BrexAccounting:
        """Make a client. Raises ConfigurationError where the options, or the environment, cannot be right."""
        if self.account is not None and os.environ.get("BREX_TOKEN"):
            raise ConfigurationError("BREX_TOKEN is set, and belongs to one account: unset it to use --account.")
        account = {} if self.account is None else {"BREX_ACCOUNT": self.account}
        auth = from_environment(account | variables_of_login(self.account))
        return BrexAccounting(auth, base_url=self.base_url, timeout=self.timeout, retry=RETRY)

    def as_typed(self) -> list[str]:
        """What to type for the same connection."""
        base_url = [] if self.base_url is None else ["--base-url", self.base_url]
        account = [] if self.account is None else ["--account", self.account]
        return base_url + account


HERE = Connection()
