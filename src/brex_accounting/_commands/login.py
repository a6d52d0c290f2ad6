"""login, logout and whoami: the commands around a grant."""

from __future__ import annotations

import errno
import os
import sys
import threading
import webbrowser
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from getpass import getpass
from typing import Annotated, NamedTuple
from urllib.parse import quote

import msgspec
from cyclopts import Parameter

from brex_accounting._auth.consent import begin_consent, finish_consent
from brex_accounting._auth.discovery import PRODUCTION_ISSUER
from brex_accounting._auth.oauth2 import PRODUCTION_TOKEN_URL
from brex_accounting._auth.sqlite_store import SQLiteTokenStore
from brex_accounting._auth.tokens import Token, store_key
from brex_accounting._clock import TimeLimit
from brex_accounting._commands.loopback import DONE, Redirect

from .exit_codes import Code, stop
from .options import check_port
from .signals import run

SAVES = 4
_AS_IT_IS = "".join(map(chr, range(0x21, 0x7F)))


@Parameter(name="*", group="Whose tokens")
@dataclass(frozen=True, kw_only=True)
class Grant:
    """The options of every command around a grant."""

    client_id: Annotated[str | None, Parameter(help="The partner's client id; BREX_CLIENT_ID by default.")] = None
    account: Annotated[str | None, Parameter(help="Your name for the customer; BREX_ACCOUNT by default.")] = None
    store: Annotated[str | None, Parameter(help="The SQLite file of the tokens; BREX_TOKEN_STORE by default.")] = None
    issuer: Annotated[str, Parameter(help="The authorization server.")] = PRODUCTION_ISSUER


FROM_ENVIRONMENT = Grant()


def login(
    *,
    grant: Grant = FROM_ENVIRONMENT,
    port: int = 0,
    browser: bool = True,
    timeout: float = 300.0,
) -> None:
    """Get a customer's consent in the browser, and put the tokens into the store.

    The client secret comes from BREX_CLIENT_SECRET, or is asked for.

    Args:
        port: The port of 127.0.0.1 that the browser comes back to; 0 picks a free one. It has to be registered.
        browser: Whether to open the browser, or only to print the address.
        timeout: Seconds to wait for the consent.
    """
    place = _place(grant)
    if not 0 < timeout < threading.TIMEOUT_MAX:
        stop("--timeout must be a number of seconds, more than 0.", Code.USAGE)
    check_port(port)
    _run(_login(place, _client_secret(), grant.issuer, port, timeout, browser=browser))


def logout(*, grant: Grant = FROM_ENVIRONMENT) -> None:
    """Forget a customer's tokens. Brex is not told: the customer ends the access in Brex's dashboard."""
    _run(_logout(_place(grant), grant.issuer))


def whoami(*, grant: Grant = FROM_ENVIRONMENT) -> None:
    """Show what is stored for a customer, and until when; no secret. Nothing is sent."""
    _run(_whoami(_place(grant), grant.issuer))


class _Place(NamedTuple):
    """Whose tokens, and where they are."""

    client_id: str
    account: str
    store: str

    @property
    def name(self) -> str:
        return f"{self.account!r} in {self.store}"


def _place(grant: Grant) -> _Place:
    """Take from the environment what no option gives."""
    given = {
        "--client-id (or BREX_CLIENT_ID)": grant.client_id or os.environ.get("BREX_CLIENT_ID", ""),
        "--account (or BREX_ACCOUNT)": grant.account or os.environ.get("BREX_ACCOUNT", ""),
        "--store (or BREX_TOKEN_STORE)": grant.store or os.environ.get("BREX_TOKEN_STORE", ""),
    }
    missing = [name for name, value in given.items() if not value]
    if missing:
        stop(f"pass {', '.join(missing)}.", Code.USAGE)
    return _Place(*given.values())


def _client_secret() -> str:
    secret = os.environ.get("BREX_CLIENT_SECRET", "")
    if not secret and sys.stdin is not None and sys.stdin.isatty():
        with suppress(EOFError, KeyboardInterrupt):
            secret = getpass("Client secret: ")
    return secret or stop("the client secret is missing: set BREX_CLIENT_SECRET.", Code.USAGE)


def _run(command: Coroutine[None, None, str | None]) -> None:
    """Run a command that returns what stood in its way."""
    try:
        problem = run(command)
    except OSError as error:  # of the store, whose errors say all of it
        problem = str(error) or type(error).__name__
    if problem is not None:
        stop(problem)


def _say(text: str) -> None:
    print("".join(each if each.isprintable() or each == "\n" else " " for each in text), flush=True)  # noqa: T201


# -- what the commands do --


async def _login(
    place: _Place,
    client_secret: str,
    issuer: str,
    port: int,
    wait: float,
    *,
    browser: bool,
) -> str | None:
    store = SQLiteTokenStore(place.store)
    await store.load("")  # a file that will be refused is refused before the customer consents
    redirect = Redirect()
    try:
        await redirect.listen(port)
    except OSError as error:
        reason = "it is in use" if error.errno == errno.EADDRINUSE else type(error).__name__
        return f"cannot listen on port {port}: {reason}. Choose another with --port."
    async with redirect.answering():
        consent = await begin_consent(place.client_id, redirect.uri, issuer=issuer)
        url = quote(consent.url, safe=_AS_IT_IS)  # an issuer's address may hold what does something to a terminal
        _say(f"To consent, open this address in the browser of this machine:\n\n{url}\n")
        if browser:
            # In a thread that nobody waits for: a browser in the terminal comes back only when it is left.
            threading.Thread(target=_open, args=(url,), daemon=True).start()
        try:
            with TimeLimit(wait):
                callback_url = await redirect.arrived
        except TimeoutError:
            return f"nobody consented within {wait:g} s; nothing was stored."
        await finish_consent(
            consent,
            callback_url,
            client_id=place.client_id,
            client_secret=client_secret,
            account=place.account,
            store=store,
        )
        redirect.page = DONE
    _say(f"Logged in: the tokens are stored for {place.name}.")
    token_url = _token_url(issuer)
    if token_url != PRODUCTION_TOKEN_URL:
        _say(f'Use them with OAuth2(…, token_url="{token_url}").')
    if await store.load(store_key(token_url, place.client_id, place.account)) is None:
        _say("The token endpoint is not where whoami and logout look for it: they will not find these tokens.")
    return None


async def _logout(place: _Place, issuer: str) -> str | None:
    store, key = SQLiteTokenStore(place.store), store_key(_token_url(issuer), place.client_id, place.account)
    if await store.load(key) is None:
        _say(f"Nothing is stored for {place.name}.")
        return None
    async with store.lock(key):
        for _ in range(SAVES):
            stored = await store.load(key)
            if stored is None:
                break
            # The store keeps the fingerprint, so that a seed that is still in the environment does not come back.
            gone = msgspec.structs.replace(stored, token=Token(), version=stored.version + 1, dead=True)
            if await store.save(key, gone, expected_version=stored.version):
                _say(f"Logged out: the tokens of {place.name} are gone. Brex was not told.")
                return None
    return "other processes keep saving: try again."


async def _whoami(place: _Place, issuer: str) -> str | None:
    store = SQLiteTokenStore(place.store)
    stored = await store.load(store_key(_token_url(issuer), place.client_id, place.account))
    if stored is None:
        return f"nothing is stored for {place.name}: run brex-accounting login."
    token = stored.token
    lines = {
        "account": place.account,
        "client id": place.client_id,
        "store": place.store,
        "scopes": token.scope or "not known",
        "access token": "none" if token.access_token is None else _lifetime(token.expires_at),
        "refresh token": "none" if token.refresh_token is None else "stored",
        "grant": "ended: the customer must consent again (brex-accounting login)"
        if stored.dead
        else "good, when last used",
    }
    _say("\n".join(f"{name + ':':<15}{value}" for name, value in lines.items()))
    return None


def _lifetime(expires_at: datetime | None) -> str:
    if expires_at is None:
        return "stored; when it expires is not known"
    verb = "expires" if expires_at > datetime.now(UTC) else "expired"
    return f"{verb} {expires_at:%Y-%m-%d %H:%M:%S} UTC"


def _token_url(issuer: str) -> str:
    """Brex's, and the sandbox's: to look into the store needs no network."""
    return f"{issuer.rstrip('/')}/v1/token"


def _open(url: str) -> None:
    with suppress(Exception):  # the address is printed too
        webbrowser.open(url)
