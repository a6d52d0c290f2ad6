"""The commands login, logout and whoami: real sockets, and httpx that plays the browser."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import msgspec
import pytest

from brex_accounting import (
    BrexAccounting,
    MemoryTokenStore,
    OAuth2,
    SQLiteTokenStore,
    StoredToken,
    Token,
    TokenRefreshError,
)
from brex_accounting._auth import onboarding
from brex_accounting._auth.discovery import PRODUCTION_ISSUER
from brex_accounting._auth.grant_store import GrantStore, StoreFailure
from brex_accounting._auth.oauth2 import PRODUCTION_TOKEN_URL
from brex_accounting._auth.tokens import store_key
from brex_accounting._clock import Clock
from brex_accounting._commands import app as cli
from brex_accounting._commands import login as commands
from brex_accounting._commands.exit_codes import StopError
from brex_accounting._commands.logins import Login, find_login, find_token_url, note_login
from brex_accounting.sandbox import AuthorizationOptions, Sandbox
from tests.support.commands import Ended, Servers, World, ended

SECRET = "CANARY-client-secret"


def get(url: str) -> httpx.Response:
    return httpx.get(url, follow_redirects=True)


class OAuthWorld(World):
    """A world where tokens come from a login."""

    def __init__(self, path: Path, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.path = path
        self.issuer = f"{self.url}/oauth2/default"
        self.token_url = f"{self.issuer}/v1/token"
        self._visited = Future[Any]()

    @property
    def variables(self) -> dict[str, str]:
        return {
            "BREX_CLIENT_ID": "client",
            "BREX_CLIENT_SECRET": SECRET,
            "BREX_ACCOUNT": "acme",
            "BREX_TOKEN_STORE": str(self.path),
            "BREX_BASE_URL": self.url,
        }

    def run(self, *arguments: str, **variables: str) -> Ended:
        told = super().run(*arguments, **variables)
        assert SECRET not in told.out + told.err
        return told

    def log_in(self, *arguments: str, visit: Callable[[str], object] | None = None, **variables: str) -> Ended:
        """Log in; `visit` is what the browser does."""
        visited = self._visited = Future[Any]()

        def browse(url: str) -> None:
            try:
                visited.set_result((visit or get)(url))
            except Exception as error:
                visited.set_exception(error)
                raise

        self._monkeypatch.setattr(commands.webbrowser, "open", browse)
        issuer = () if "BREX_TOKEN_URL" in variables or "--issuer" in arguments else ("--issuer", self.issuer)
        return self.run("login", *issuer, *arguments, **variables)

    @property
    def page(self) -> httpx.Response:
        """What the browser shows in the end."""
        page = self._visited.result(20)
        assert isinstance(page, httpx.Response)
        return page

    @property
    def stored(self) -> StoredToken | None:
        return asyncio.run(SQLiteTokenStore(self.path).load(self.key))

    @property
    def key(self) -> str:
        return store_key(self.token_url, "client", "acme")


@pytest.fixture
def world(
    servers: Servers, monkeypatch: pytest.MonkeyPatch, capfd: Any, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[OAuthWorld]:
    """With the options of the authorization server that `@pytest.mark.parametrize("world", …, indirect=True)` gives."""
    options = AuthorizationOptions(client_id="client", client_secret=SECRET, **getattr(request, "param", {}))
    sandbox = Sandbox(records=1, authorization=options)
    with servers.serve(sandbox) as url:
        yield OAuthWorld(tmp_path / "tokens.sqlite", sandbox, url, monkeypatch, capfd)


def test_login_whoami_logout(world: OAuthWorld) -> None:
    w = world
    told = w.run("whoami")
    assert (told.code, told.problem) == (
        1,
        f"nothing is stored for 'acme' in {w.path}: run brex-accounting login.",
    )
    assert w.run("logout") == Ended(0, f"Nothing is stored for 'acme' in {w.path}.\n", "")

    told = w.log_in()
    assert (told.code, told.err) == (0, "")
    assert (w.page.status_code, w.page.headers["cache-control"]) == (200, "no-store")
    assert "You are logged in" in w.page.text
    assert f"the tokens are stored for 'acme' in {w.path}." in told.out
    assert told.out.endswith(f"The commands find them. For BrexAccounting() set BREX_TOKEN_URL={w.token_url}.\n")
    stored = w.stored
    assert stored is not None
    assert stored.token.refresh_token is not None
    assert stored.token.access_token is not None

    told = w.run("whoami")
    assert (told.code, told.err) == (0, "")
    assert re.search(r"^access token: +expires 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC$", told.out, re.MULTILINE)
    assert "accounting.record.read" in told.out
    assert "grant:         good" in told.out
    assert stored.token.refresh_token not in told.out
    assert stored.token.access_token not in told.out
    assert w.run("whoami", "--issuer", w.issuer) == w.run("whoami", BREX_TOKEN_URL=w.token_url) == told
    assert w.run("whoami", "--issuer", "https://other.example").code == 1

    async def call() -> None:
        auth = OAuth2("client", SECRET, account="acme", store=SQLiteTokenStore(w.path), token_url=w.token_url)
        async with BrexAccounting(auth, base_url=w.url) as brex:
            await brex.integrations.create("ERP_A", "a")

    asyncio.run(call())
    assert w.run("logout") == Ended(
        0, f"Logged out: the tokens of 'acme' in {w.path} are gone. Brex was not told.\n", ""
    )
    assert w.stored == StoredToken(Token(), 2, dead=True, seed_fingerprint=stored.seed_fingerprint)
    told = w.run("whoami")
    assert (told.code, "must consent again" in told.out) == (0, True)
    told = w.run("records", "list")
    assert (told.code, told.problem.endswith("consent again, with brex-accounting login.")) == (4, True)
    assert "no refresh token is stored" in told.problem  # and not that the server refused one


def test_every_command_finds_the_tokens(world: OAuthWorld, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert world.log_in().code == 0
    (tmp_path / "erp_after_login.py").write_text("async def book(record): return record.id")
    results = tmp_path / "results.csv"
    results.write_text("record_id,status\naccr_000000000000,success\n")
    monkeypatch.syspath_prepend(tmp_path)
    for words in (
        "records list --ready",
        "records get accr_000000000000",
        f"records export {tmp_path / 'all.csv'}",
        "integrations ensure ERP_A acct-1",
        f"worker run erp_after_login:book --store {tmp_path / 'exports.db'} --upsert --once",
        f"records report {results}",
    ):
        told = world.run(*words.split())
        assert told.code == 0, told.err


def test_a_browser_that_does_not_open(world: OAuthWorld) -> None:
    def fail(url: str) -> None:
        get(url)
        raise RuntimeError

    told = world.log_in(visit=fail)
    assert (told.code, told.err) == (0, "")


def test_ctrl_c(world: OAuthWorld) -> None:
    with world.process("login", "--no-browser", "--issuer", world.issuer) as process:
        assert process.stdout is not None
        address = next(line for line in process.stdout if line.startswith("http"))
        assert address.startswith(f"{world.issuer}/v1/authorize?")
        process.send_signal(signal.SIGINT)
        told = ended(process)
    assert (told.code, told.problem) == (130, "interrupted.")


@pytest.mark.parametrize("world", [{"consents": False}], indirect=True)
def test_a_customer_who_refuses(world: OAuthWorld) -> None:
    told = world.log_in()
    assert (world.page.status_code, "not logged in" in world.page.text) == (400, True)
    assert told.code == 4
    assert told.problem.startswith("There is no consent for 'acme' (access_denied")
    assert world.stored is None


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ({"state": "forged", "code": "x"}, "The callback's state is not this consent's"),
        ({"code": "x"}, "The browser came back with what is not an answer to a consent. Log in again."),
    ],
)
def test_a_callback_that_is_not_ours(world: OAuthWorld, query: dict[str, str], problem: str) -> None:
    told = world.log_in(visit=lambda url: httpx.get(httpx.URL(url).params["redirect_uri"], params=query))
    assert (told.code, told.problem.startswith(problem)) == (2, True)
    assert not world.sandbox.authorization.requests


def test_a_wrong_secret(world: OAuthWorld) -> None:
    told = world.log_in(BREX_CLIENT_SECRET="CANARY-wrong")
    assert (told.code, "invalid_client. Log in again." in told.problem) == (4, True)
    assert "CANARY" not in told.out + told.err


def test_nobody_consents(world: OAuthWorld) -> None:
    told = world.log_in("--no-browser", "--timeout", "0.05")
    assert (told.code, told.problem) == (1, "nobody consented within 0.05 s; nothing was stored.")


def test_what_else_knocks(world: OAuthWorld) -> None:
    idle = list[socket.socket]()

    def visit(url: str) -> httpx.Response:
        home = httpx.URL(httpx.URL(url).params["redirect_uri"])
        assert httpx.get(home.copy_with(path="/favicon.ico")).status_code == 404
        assert httpx.post(home).status_code == 404
        idle.append(socket.create_connection(("127.0.0.1", home.port or 0)))  # browsers do that, to be fast
        with contextlib.suppress(ConnectionError), socket.create_connection(("127.0.0.1", home.port or 0)) as garbage:
            garbage.sendall(b"x" * 2**17)
            assert garbage.recv(1) == b""
        return get(url)

    assert world.log_in(visit=visit).code == 0
    idle[0].close()
    assert world.page.status_code == 200


def test_a_port_in_use(world: OAuthWorld) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        told = world.log_in("--port", port)
    problem = f"cannot listen on port {port}: it is in use. Choose another with --port."
    assert (told.code, told.out, told.problem) == (1, "", problem)


def test_a_chosen_port(world: OAuthWorld) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    asked = list[str]()

    def visit(url: str) -> httpx.Response:
        asked.append(httpx.URL(url).params["redirect_uri"])
        return get(url)

    assert world.log_in("--port", str(port), visit=visit).code == 0
    assert asked == [f"http://127.0.0.1:{port}/callback"]


def test_a_file_that_is_refused_is_refused_before_the_consent(world: OAuthWorld) -> None:
    world.path.touch(0o644)
    told = world.log_in()
    assert (told.code, told.out, "chmod 600" in told.problem) == (2, "", True)


@pytest.mark.parametrize(
    ("arguments", "variables", "problem"),
    [
        (["login"], {"BREX_CLIENT_SECRET": ""}, "the client secret is missing: set BREX_CLIENT_SECRET."),
        (["login", "--port", "70000"], {}, "--port must be a number from 0 to 65535."),
        (["login", "--param", "prompt"], {}, "--param must be NAME=VALUE, such as prompt=consent."),
        (["login", "--param", "state=x"], {}, "--param must not set state: login sets it."),
        (["login", "--timeout", "0"], {}, "--timeout must be a number of seconds, more than 0."),
        (["login", "--issuer", "http://brex.example"], {}, "--issuer must be https"),
        (
            ["whoami"],
            {"BREX_ACCOUNT": "", "BREX_TOKEN_STORE": ""},
            "pass --account (or BREX_ACCOUNT), --store (or BREX_TOKEN_STORE).",
        ),
        (["logout"], {"BREX_CLIENT_ID": ""}, "pass --client-id (or BREX_CLIENT_ID)."),
        (["records", "list"], {"BREX_CLIENT_AUTH": "digest"}, 'BREX_CLIENT_AUTH must be "basic" or "body".'),
        (["records", "list"], {"BREX_TOKEN_URL": "http://brex.example"}, "BREX_TOKEN_URL must be https"),
    ],
)
def test_what_makes_no_sense(world: OAuthWorld, arguments: list[str], variables: dict[str, str], problem: str) -> None:
    told = world.run(*arguments, **variables)
    assert (told.code, told.out, told.problem.startswith(problem)) == (2, "", True), told
    assert not world.sandbox.requests


def test_an_issuer_that_is_none(world: OAuthWorld) -> None:
    told = world.log_in("--issuer", f"{world.url}/nothing")
    assert (told.code, told.problem.endswith("without a discovery document. Check --issuer.")) == (5, True)


def test_the_issuer_of_a_token_url(world: OAuthWorld) -> None:
    told = world.log_in(BREX_TOKEN_URL=world.token_url, BREX_TOKEN="bxt_x", BREX_REFRESH_TOKEN="other")
    assert told.code == 0
    assert told.err.splitlines() == [
        "brex-accounting: BREX_TOKEN is set, and comes before these tokens: unset it.",
        "brex-accounting: BREX_REFRESH_TOKEN is of another consent, and would replace these tokens: unset it.",
    ]
    other = {"BREX_TOKEN_URL": f"{world.url}/token"}
    told = world.log_in("--issuer", world.issuer, **other)
    assert (told.code, told.problem) == (
        1,
        f"BREX_TOKEN_URL is not the token endpoint of {world.issuer}: correct it, or unset it.",
    )
    told = world.log_in(**other)
    assert (told.code, told.problem.endswith("pass --issuer.")) == (2, True)


@pytest.mark.parametrize("world", [{"offline_access_needs_prompt": True}], indirect=True)
def test_what_a_server_wants_beside(world: OAuthWorld) -> None:
    told = world.log_in()
    assert told.code == 4
    assert "although offline_access was asked for. Log in again with --param prompt=consent, without" in told.problem
    assert world.log_in("--param", "prompt=consent", "--param", "login_hint=a=b").code == 0


POST = {"allowed_scopes": ("offline_access", "accounting.record.read"), "auth_methods": ("client_secret_post",)}


@pytest.mark.parametrize("world", [POST], indirect=True)
def test_fewer_scopes_and_credentials_in_the_body(world: OAuthWorld) -> None:
    told = world.log_in()
    assert told.code == 0
    assert told.problem == (
        "the consent of 'acme' does not grant all that was asked for: "
        "openid accounting.integration.read accounting.integration.write accounting.record.write"
    )
    assert told.out.endswith(f"set BREX_TOKEN_URL={world.token_url} and BREX_CLIENT_AUTH=body.\n")
    stored = world.stored
    assert stored is not None
    old = msgspec.structs.replace(stored, token=msgspec.structs.replace(stored.token, access_token=None), version=9)
    assert asyncio.run(SQLiteTokenStore(world.path).save(world.key, old, expected_version=1))
    assert world.run("records", "list").code == 0
    assert [request.client_auth for request in world.sandbox.authorization.requests] == ["body", "body"]


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    monkeypatch.setattr(sys, "argv", ["brex-accounting", *arguments])
    with pytest.raises(SystemExit) as exited:
        cli.main()
    return exited.value.code


@pytest.mark.parametrize(
    ("token", "lines"),
    [
        (Token("CANARY", "CANARY", datetime.now(UTC) - timedelta(1)), ["access token:  expired 20", "not known"]),
        (Token("CANARY"), ["stored; when it expires is not known", "refresh token: none"]),
        (Token(refresh_token="CANARY"), ["access token:  none", "refresh token: stored"]),
    ],
)
def test_whoami(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, token: Token, lines: list[str]
) -> None:
    store = SQLiteTokenStore(tmp_path / "tokens")
    key = store_key(PRODUCTION_TOKEN_URL, "client", "acme")
    asyncio.run(store.save(key, StoredToken(token, 0), expected_version=None))
    options = ("--client-id", "client", "--account", "acme", "--store", str(tmp_path / "tokens"))
    assert not run(monkeypatch, "whoami", *options)
    output = capsys.readouterr().out
    assert all(line in output for line in lines)
    assert "CANARY" not in output
    assert not run(monkeypatch, "logout", *options)
    assert asyncio.run(store.load(key)) == StoredToken(Token(), 1, dead=True)


def test_the_secret_is_asked_for_at_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BREX_CLIENT_SECRET", raising=False)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(commands, "getpass", lambda _: "typed")
    assert commands._client_secret() == "typed"
    monkeypatch.setattr(commands, "getpass", lambda _: "")
    with pytest.raises(StopError, match="the client secret is missing"):
        commands._client_secret()


async def test_logout_while_others_save(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    store, key = SQLiteTokenStore(tmp_path / "tokens"), store_key(PRODUCTION_TOKEN_URL, "client", "acme")
    await store.save(key, StoredToken(Token("a"), 0), expected_version=None)
    save, answers = SQLiteTokenStore.save, iter([False])

    async def losing(self: SQLiteTokenStore, key: str, stored: StoredToken, *, expected_version: int | None) -> bool:
        return next(answers, True) and await save(self, key, stored, expected_version=expected_version)

    monkeypatch.setattr(SQLiteTokenStore, "save", losing)
    monkeypatch.setattr(onboarding, "_clock", Clock(sleep=lambda _: asyncio.sleep(0)))
    assert await commands._logout(commands._Place("client", "acme", str(tmp_path / "tokens")), None) is None
    stored = await store.load(key)
    assert stored is not None
    assert stored.dead


@pytest.mark.parametrize(
    ("issuer", "named", "found"),
    [
        (None, "", "https://a.example/token"),
        (None, "https://b.example/token", "https://b.example/token"),
        ("https://a.example/oauth", "https://b.example/token", "https://a.example/token"),
        ("https://c.example/", "", "https://c.example/v1/token"),
    ],
)
async def test_where_the_tokens_are_from(
    monkeypatch: pytest.MonkeyPatch, issuer: str | None, named: str, found: str
) -> None:
    monkeypatch.setenv("BREX_TOKEN_URL", named)
    store = MemoryTokenStore()
    assert await find_token_url(store, "client", "acme", None) == (named or PRODUCTION_TOKEN_URL)
    await note_login(store, "client", "acme", Login(PRODUCTION_ISSUER, PRODUCTION_TOKEN_URL, "basic"))
    await note_login(store, "client", "acme", Login("https://a.example/oauth", "https://a.example/token", "body"))
    assert await find_token_url(store, "client", "acme", issuer) == found
    assert await find_token_url(store, "client", "other", None) == (named or PRODUCTION_TOKEN_URL)


async def test_a_login_that_cannot_be_looked_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    async def fail(_: GrantStore) -> None:
        raise StoreFailure("the disk is gone")

    monkeypatch.setattr(GrantStore, "load", fail)
    with pytest.raises(TokenRefreshError, match="'acme' logged in: the disk is gone") as caught:
        await find_login(SQLiteTokenStore(tmp_path / "tokens"), "client", "acme")
    assert caught.value.__context__ is None


async def test_a_login_that_cannot_be_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fail(*_: object) -> None:
        raise StoreFailure("the disk is full")

    monkeypatch.setattr(commands, "note_login", fail)
    place, store = commands._Place("client", "acme", str(tmp_path / "tokens")), SQLiteTokenStore(tmp_path / "tokens")
    login = Login(PRODUCTION_ISSUER, PRODUCTION_TOKEN_URL, "basic")
    assert await commands._hand_over(place, store, login) == (
        f"the commands will not find the tokens (the disk is full): set BREX_TOKEN_URL={PRODUCTION_TOKEN_URL}."
    )
    assert capsys.readouterr().out == ""


def test_no_address_does_anything_to_a_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The issuer's discovery document says where to consent."""
    evil = "https://issuer.example/\x1b[31m\x7f\x9b\u202egnp\u2066/é?state=a%20b&x=~"

    async def begin(*_args: object, **_options: object) -> SimpleNamespace:
        return SimpleNamespace(url=evil)

    monkeypatch.setattr(commands, "begin_consent", begin)
    monkeypatch.setenv("BREX_CLIENT_SECRET", SECRET)
    grant = commands.Grant(client_id="client", account="acme", store=str(tmp_path / "tokens.db"))
    with pytest.raises(StopError, match="nobody consented"):
        commands.login(grant=grant, browser=False, timeout=0.01)
    [address] = [line for line in capsys.readouterr().out.splitlines() if line.startswith("https")]
    assert address == ("https://issuer.example/%1B[31m%7F%C2%9B%E2%80%AEgnp%E2%81%A6/%C3%A9?state=a%20b&x=~")
