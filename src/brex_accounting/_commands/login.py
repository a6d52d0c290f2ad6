"""login, logout and whoami: the commands around a grant."""

from __future__ import annotations

import errno
import os
import sys
import threading
import webbrowser
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass
from datetime import UTC, datetime
from getpass import getpass
from typing import Annotated, Literal, NamedTuple
from urllib.parse import quote

from cyclopts import Parameter

from brex_accounting._auth.consent import OURS, begin_consent, server_of
from brex_accounting._auth.grant_store import StoreFailure
from brex_accounting._auth.oauth2 import PRODUCTION_TOKEN_URL
from brex_accounting._auth.onboarding import forget_grant
from brex_accounting._auth.redemption import finish_consent
from brex_accounting._auth.sqlite_store import SQLiteTokenStore
from brex_accounting._auth.tokens import is_known, store_key
from brex_accounting._clock import TimeLimit
from brex_accounting._text import Secret

from .exit_codes import Code, stop
from .logins import Login, find_token_url, issuer_of, note_login
from .loopback import DONE, Redirect
from .options import Texts, check_port
from .signals import run
from .standard_streams import note, noting_log

_AS_IT_IS = "".join(map(chr, range(0x21, 0x7F)))


@Parameter(name="*", group="Whose tokens")
@dataclass(frozen=True, kw_only=True)
class Grant:
    """The options of every command around a grant."""

    client_id: Annotated[str | None, Parameter(help="The partner's client id; BREX_CLIENT_ID by default.")] = None
    account: Annotated[str | None, Parameter(help="Your name for the customer; BREX_ACCOUNT by default.")] = None
    store: Annotated[str | None, Parameter(help="The SQLite file of the tokens; BREX_TOKEN_STORE by default.")] = None
    issuer: Annotated[
        str | None, Parameter(help="The authorization server; that of BREX_TOKEN_URL by default, else Brex.")
    ] = None


FROM_ENVIRONMENT = Grant()


def login(
    *,
    grant: Grant = FROM_ENVIRONMENT,
    param: Texts = (),
    client_auth: Annotated[
        Literal["basic", "body"] | None, Parameter(env_var="BREX_CLIENT_AUTH", show_default=False)
    ] = None,
    port: int = 0,
    browser: bool = True,
    timeout: float = 300.0,
) -> None:
    """Get a customer's consent in the browser, and put the tokens into the store.

    The client secret comes from BREX_CLIENT_SECRET, or is asked for. Every command finds the tokens again.

    Args:
        param: A further parameter of the address where the customer consents, such as prompt=consent; may be given
            several times.
        client_auth: How the client's credentials are sent: as HTTP Basic, or in the body. By default as the
            authorization server says.
        port: The port of 127.0.0.1 that the browser comes back to; 0 picks a free one. It has to be registered.
        browser: Whether to open the browser, or only to print the address.
        timeout: Seconds to wait for the consent.
    """
    place = _place(grant)
    if not 0 < timeout < threading.TIMEOUT_MAX:
        stop("--timeout must be a number of seconds, more than 0.", Code.USAGE)
    check_port(port)
    way = _Way(issuer_of(grant.issuer), _params(param), client_auth, port, timeout, browser=browser)
    _run(_login(place, Secret(_client_secret()), way))


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


@dataclass(frozen=True, slots=True)
class _Way:
    """How to get a consent."""

    issuer: str
    params: dict[str, str]
    client_auth: Literal["basic", "body"] | None
    port: int
    wait: float
    _: KW_ONLY
    browser: bool


def _params(given: tuple[str, ...]) -> dict[str, str]:
    params = {}
    for each in given:
        name, _, value = each.partition("=")
        if not name or not value:
            stop("--param must be NAME=VALUE, such as prompt=consent.", Code.USAGE)
        if name in OURS:
            stop(f"--param must not set {name}: login sets it.", Code.USAGE)
        params[name] = value
    return params


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


async def _login(place: _Place, client_secret: str, way: _Way) -> str | None:
    store = SQLiteTokenStore(place.store)
    await store.load("")  # a file that will be refused is refused before the customer consents
    redirect = Redirect()
    try:
        await redirect.listen(way.port)
    except OSError as error:
        reason = "it is in use" if error.errno == errno.EADDRINUSE else type(error).__name__
        return f"cannot listen on port {way.port}: {reason}. Choose another with --port."
    async with redirect.answering():
        consent = await begin_consent(place.client_id, redirect.uri, issuer=way.issuer, extra=way.params)
        named = os.environ.get("BREX_TOKEN_URL")
        if named and named != server_of(consent).token_endpoint:
            return f"BREX_TOKEN_URL is not the token endpoint of {way.issuer}: correct it, or unset it."
        url = quote(consent.url, safe=_AS_IT_IS)  # an issuer's address may hold what does something to a terminal
        _say(f"To consent, open this address in the browser of this machine:\n\n{url}\n")
        if way.browser:
            # In a thread that nobody waits for: a browser in the terminal comes back only when it is left.
            threading.Thread(target=_open, args=(url,), daemon=True).start()
        try:
            with TimeLimit(way.wait):
                callback_url = await redirect.arrived
        except TimeoutError:
            return f"nobody consented within {way.wait:g} s; nothing was stored."
        server = server_of(consent)
        client_auth = way.client_auth or server.client_auth
        with noting_log("brex_accounting"):
            await finish_consent(
                consent,
                callback_url,
                client_id=place.client_id,
                client_secret=client_secret,
                account=place.account,
                store=store,
                client_auth=client_auth,
            )
        redirect.page = DONE
    _say(f"Logged in: the tokens are stored for {place.name}.")
    return await _hand_over(place, store, Login(server.issuer, server.token_endpoint, client_auth))


async def _hand_over(place: _Place, store: SQLiteTokenStore, login: Login) -> str | None:
    """See to it that whoever needs the tokens finds them."""
    variables = {"BREX_TOKEN_URL": login.token_url, "BREX_CLIENT_AUTH": login.client_auth}
    if other := [
        f"{name}={value}" for name, value in variables.items() if value not in {PRODUCTION_TOKEN_URL, "basic"}
    ]:
        _say(f"The commands find them. For BrexAccounting() set {' and '.join(other)}.")
    if os.environ.get("BREX_TOKEN"):
        note("brex-accounting: BREX_TOKEN is set, and comes before these tokens: unset it.")
    stored = await store.load(store_key(login.token_url, place.client_id, place.account))
    if os.environ.get("BREX_REFRESH_TOKEN") and not is_known(os.environ["BREX_REFRESH_TOKEN"], stored):
        note("brex-accounting: BREX_REFRESH_TOKEN is of another consent, and would replace these tokens: unset it.")
    try:
        await note_login(store, place.client_id, place.account, login)
    except StoreFailure as failure:
        return f"the commands will not find the tokens ({failure}): set BREX_TOKEN_URL={login.token_url}."
    return None


async def _logout(place: _Place, issuer: str | None) -> str | None:
    store = SQLiteTokenStore(place.store)
    token_url = await find_token_url(store, place.client_id, place.account, issuer)
    if await store.load(store_key(token_url, place.client_id, place.account)) is None:
        _say(f"Nothing is stored for {place.name}.")
        return None
    await forget_grant(store, client_id=place.client_id, account=place.account, token_url=token_url)
    _say(f"Logged out: the tokens of {place.name} are gone. Brex was not told.")
    return None


async def _whoami(place: _Place, issuer: str | None) -> str | None:
    store = SQLiteTokenStore(place.store)
    token_url = await find_token_url(store, place.client_id, place.account, issuer)
    stored = await store.load(store_key(token_url, place.client_id, place.account))
    if stored is None:
        return f"nothing is stored for {place.name}: run brex-accounting login."
    token = stored.token
    lines = {
        "account": place.account,
        "client id": place.client_id,
        "store": place.store,
        "token URL": token_url,
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


def _open(url: str) -> None:
    with suppress(Exception):  # the address is printed too
        webbrowser.open(url)
