"""The commands login, logout and whoami: processes, real sockets, and an httpx client that plays the browser."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import httpx
import msgspec
import pytest

from brex_accounting import BrexAccounting, OAuth2, SQLiteTokenStore, StoredToken, Token
from brex_accounting._auth import onboarding
from brex_accounting._auth.discovery import PRODUCTION_ISSUER
from brex_accounting._auth.grant_store import StoreFailure
from brex_accounting._auth.oauth2 import PRODUCTION_TOKEN_URL
from brex_accounting._auth.tokens import store_key
from brex_accounting._clock import Clock
from brex_accounting._commands import app as cli
from brex_accounting._commands import login as commands
from brex_accounting._commands.exit_codes import StopError
from brex_accounting._commands.logins import Login
from brex_accounting.sandbox import AuthorizationOptions, Sandbox
from tests.support.commands import RUN, environment

SECRET = "CANARY-client-secret"


class World(NamedTuple):
    sandbox: Sandbox
    url: str
    path: Path

    @property
    def issuer(self) -> str:
        return f"{self.url}/oauth2/default"

    @property
    def token_url(self) -> str:
        return f"{self.issuer}/v1/token"

    @asynccontextmanager
    async def command(
        self, *arguments: str, code: str = RUN, **variables: str
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        grant = {
            "BREX_CLIENT_ID": "client",
            "BREX_CLIENT_SECRET": SECRET,
            "BREX_ACCOUNT": "acme",
            "BREX_TOKEN_STORE": str(self.path),
            "BREX_BASE_URL": self.url,
        }
        issuer = ["--issuer", self.issuer] if arguments[0] == "login" and "BREX_TOKEN_URL" not in variables else []
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-W", "error", "-c", code, *arguments, *issuer,
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env=environment(**grant | variables),
        )  # fmt: skip
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()

    async def run(self, *arguments: str, **variables: str) -> tuple[int | None, str, str]:
        async with self.command(*arguments, **variables) as process:
            return await ended(process)

    async def stored(self, token_url: str | None = None) -> StoredToken | None:
        return await SQLiteTokenStore(self.path).load(store_key(token_url or self.token_url, "client", "acme"))


async def ended(process: asyncio.subprocess.Process) -> tuple[int | None, str, str]:
    output, errors = await asyncio.wait_for(process.communicate(), 30)
    assert "Traceback" not in errors.decode()
    assert SECRET not in output.decode() + errors.decode()
    return process.returncode, output.decode(), errors.decode()


async def address(process: asyncio.subprocess.Process) -> str:
    """Read what it prints, as far as the address."""
    assert process.stdout is not None
    async for line in process.stdout:
        if line.startswith(b"http"):
            return line.decode().strip()
    raise AssertionError((await process.communicate())[1].decode())


@asynccontextmanager
async def world(tmp_path: Path, **options: Any) -> AsyncIterator[World]:
    authorization = AuthorizationOptions(client_id="client", client_secret=SECRET, **options)
    async with Sandbox(records=1, authorization=authorization) as sandbox, sandbox.serve() as url:
        yield World(sandbox, url, tmp_path / "tokens.sqlite")


async def test_login_whoami_logout(tmp_path: Path) -> None:
    async with world(tmp_path) as w, httpx.AsyncClient(follow_redirects=True) as browser:
        assert await w.run("whoami") == (
            1,
            "",
            f"brex-accounting: nothing is stored for 'acme' in {w.path}: run brex-accounting login.\n",
        )
        assert await w.run("logout") == (0, f"Nothing is stored for 'acme' in {w.path}.\n", "")

        async with w.command("login", "--no-browser") as process:
            page = await browser.get(await address(process))
            assert (page.status_code, page.headers["cache-control"]) == (200, "no-store")
            assert "You are logged in" in page.text
            code, output, errors = await ended(process)
        assert (code, errors) == (0, "")
        assert f"the tokens are stored for 'acme' in {w.path}." in output
        assert output.endswith(f"The commands find them. For BrexAccounting() set BREX_TOKEN_URL={w.token_url}.\n")
        stored = await w.stored()
        assert stored is not None
        assert stored.token.refresh_token is not None
        assert stored.token.access_token is not None

        code, output, errors = await w.run("whoami")
        assert (code, errors) == (0, "")
        assert re.search(r"^access token: +expires 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC$", output, re.MULTILINE)
        assert "accounting.record.read" in output
        assert "grant:         good" in output
        assert stored.token.refresh_token not in output
        assert stored.token.access_token not in output
        assert await w.run("whoami", "--issuer", w.issuer) == (0, output, "")
        assert await w.run("whoami", BREX_TOKEN_URL=w.token_url) == (0, output, "")
        assert (await w.run("whoami", "--issuer", "https://other.example"))[0] == 1
        code, output, errors = await w.run("records", "list", "--json")
        assert (code, errors, output.count("\n")) == (0, "", 1)

        store = SQLiteTokenStore(w.path)
        auth = OAuth2("client", SECRET, account="acme", store=store, token_url=w.token_url)
        async with BrexAccounting(auth, base_url=w.url) as brex:
            await brex.integrations.create("ERP_A", "a")

        code, output, errors = await w.run("logout")
        assert (code, errors) == (0, "")
        assert output == f"Logged out: the tokens of 'acme' in {w.path} are gone. Brex was not told.\n"
        gone = await w.stored()
        assert gone == StoredToken(Token(), 2, dead=True, seed_fingerprint=stored.seed_fingerprint)
        code, output, _ = await w.run("whoami")
        assert (code, "must consent again" in output) == (0, True)


async def test_the_browser_is_opened(tmp_path: Path) -> None:
    code = f"import pathlib, webbrowser; webbrowser.open = pathlib.Path({str(tmp_path / 'opened')!r}).write_text; {RUN}"
    async with world(tmp_path) as w, httpx.AsyncClient(follow_redirects=True) as browser:
        async with w.command("login", code=code) as process:
            url = await address(process)
            await browser.get(url)
            assert (await ended(process))[0] == 0
        assert (tmp_path / "opened").read_text() == url


async def test_a_browser_that_does_not_open(tmp_path: Path) -> None:
    code = f"import webbrowser; webbrowser.open = lambda url: 1 / 0; {RUN}"
    async with (
        world(tmp_path) as w,
        httpx.AsyncClient(follow_redirects=True) as browser,
        w.command("login", code=code) as process,
    ):
        await browser.get(await address(process))
        status, _, errors = await ended(process)
        assert (status, errors) == (0, "")


async def test_ctrl_c(tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.command("login", "--no-browser") as process:
        await address(process)
        process.send_signal(signal.SIGINT)
        status, _, errors = await ended(process)
        assert (status, errors) == (130, "brex-accounting: interrupted.\n")


async def test_a_customer_who_refuses(tmp_path: Path) -> None:
    async with world(tmp_path, consents=False) as w, httpx.AsyncClient(follow_redirects=True) as browser:
        async with w.command("login", "--no-browser") as process:
            page = await browser.get(await address(process))
            assert (page.status_code, "not logged in" in page.text) == (400, True)
            code, _, errors = await ended(process)
        assert code == 4
        assert errors.startswith("brex-accounting: There is no consent for 'acme' (access_denied")
        assert errors.count("\n") == 1
        assert await w.stored() is None


async def test_a_wrong_state(tmp_path: Path) -> None:
    async with world(tmp_path) as w, httpx.AsyncClient() as browser:
        async with w.command("login", "--no-browser") as process:
            url = httpx.URL(await address(process))
            await browser.get(url.params["redirect_uri"], params={"state": "forged", "code": "x"})
            code, _, errors = await ended(process)
        assert (code, "state" in errors, errors.count("\n")) == (2, True, 1)
        assert not w.sandbox.authorization.requests


async def test_a_wrong_secret(tmp_path: Path) -> None:
    async with world(tmp_path) as w, httpx.AsyncClient(follow_redirects=True) as browser:
        async with w.command("login", "--no-browser", BREX_CLIENT_SECRET="CANARY-wrong") as process:
            await browser.get(await address(process))
            code, output, errors = await ended(process)
        assert (code, "invalid_client" in errors, errors.count("\n")) == (4, True, 1)
        assert "CANARY" not in output + errors


async def test_nobody_consents(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        code, _, errors = await w.run("login", "--no-browser", "--timeout", "0.2")
        assert (code, errors) == (1, "brex-accounting: nobody consented within 0.2 s; nothing was stored.\n")


async def test_what_else_knocks(tmp_path: Path) -> None:
    async with (
        world(tmp_path) as w,
        httpx.AsyncClient(follow_redirects=True) as browser,
        w.command("login", "--no-browser") as process,
    ):
        url = await address(process)
        home = httpx.URL(httpx.URL(url).params["redirect_uri"])
        assert (await browser.get(home.copy_with(path="/favicon.ico"))).status_code == 404
        assert (await browser.post(home)).status_code == 404
        _, idle = await asyncio.open_connection("127.0.0.1", home.port)  # browsers do that, to be fast
        reader, garbage = await asyncio.open_connection("127.0.0.1", home.port)
        garbage.write(b"x" * 2**17)
        with contextlib.suppress(ConnectionError):
            assert await reader.read() == b""
        assert (await browser.get(url)).status_code == 200
        assert (await ended(process))[0] == 0
        for writer in (idle, garbage):
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


async def test_a_port_in_use(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        async with world(tmp_path) as w:
            assert await w.run("login", "--no-browser", "--port", port) == (
                1,
                "",
                f"brex-accounting: cannot listen on port {port}: it is in use. Choose another with --port.\n",
            )


async def test_a_chosen_port(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    async with world(tmp_path) as w, w.command("login", "--no-browser", "--port", str(port)) as process:
        assert httpx.URL(await address(process)).params["redirect_uri"] == f"http://127.0.0.1:{port}/callback"


async def test_a_file_that_is_refused_is_refused_before_the_consent(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.path.touch(0o644)
        code, output, errors = await w.run("login", "--no-browser")
        assert (code, output, "chmod 600" in errors) == (2, "", True)


@pytest.mark.parametrize(
    ("arguments", "variables", "problem"),
    [
        (["login"], {"BREX_CLIENT_SECRET": ""}, "the client secret is missing: set BREX_CLIENT_SECRET."),
        (["login", "--port", "70000"], {}, "--port must be a number from 0 to 65535."),
        (["login", "--param", "prompt"], {}, "--param must be NAME=VALUE, such as prompt=consent."),
        (["login", "--param", "state=x"], {}, "--param must not set state: login sets it."),
        (["login", "--timeout", "0"], {}, "--timeout must be a number of seconds, more than 0."),
        (
            ["whoami"],
            {"BREX_ACCOUNT": "", "BREX_TOKEN_STORE": ""},
            "pass --account (or BREX_ACCOUNT), --store (or BREX_TOKEN_STORE).",
        ),
        (["logout"], {"BREX_CLIENT_ID": ""}, "pass --client-id (or BREX_CLIENT_ID)."),
    ],
)
async def test_what_makes_no_sense(
    tmp_path: Path, arguments: list[str], variables: dict[str, str], problem: str
) -> None:
    async with world(tmp_path) as w:
        assert await w.run(*arguments, **variables) == (2, "", f"brex-accounting: {problem}\n")
        assert not w.sandbox.requests


async def test_an_issuer_that_is_none(tmp_path: Path) -> None:
    async with Sandbox() as sandbox, sandbox.serve() as url:
        w = World(sandbox, f"{url}/nothing", tmp_path / "tokens")
        code, _, errors = await w.run("login", "--no-browser")
        assert (code, "cannot be trusted with a consent" in errors, errors.count("\n")) == (5, True, 1)


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


async def log_in(w: World, *arguments: str, **variables: str) -> tuple[int | None, str, str]:
    async with (
        httpx.AsyncClient(follow_redirects=True) as browser,
        w.command("login", "--no-browser", *arguments, **variables) as process,
    ):
        await browser.get(await address(process))
        return await ended(process)


async def test_the_issuer_of_a_token_url(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        code, _, errors = await log_in(w, BREX_TOKEN_URL=w.token_url, BREX_TOKEN="bxt_x", BREX_REFRESH_TOKEN="other")
        assert (code, errors) == (
            0,
            (
                "brex-accounting: BREX_TOKEN is set, and comes before these tokens: unset it.\n"
                "brex-accounting: BREX_REFRESH_TOKEN is of another consent, and would replace these tokens: unset it.\n"
            ),
        )
        other = {"BREX_TOKEN_URL": f"{w.url}/token"}
        assert await w.run("login", "--no-browser", "--issuer", w.issuer, **other) == (
            1,
            "",
            f"brex-accounting: BREX_TOKEN_URL is not the token endpoint of {w.issuer}: correct it, or unset it.\n",
        )
        code, _, errors = await w.run("login", "--no-browser", **other)
        assert (code, "pass --issuer" in errors) == (2, True)


async def test_what_a_server_wants_beside(tmp_path: Path) -> None:
    async with world(tmp_path, offline_access_needs_prompt=True) as w:
        code, _, errors = await log_in(w)
        assert code == 4
        assert "although offline_access was asked for. Log in again with --param prompt=consent, without" in errors
        assert (await log_in(w, "--param", "prompt=consent", "--param", "login_hint=a=b"))[0] == 0


async def test_fewer_scopes_and_credentials_in_the_body(tmp_path: Path) -> None:
    scopes = ("openid", "offline_access", "accounting.record.read")
    async with world(tmp_path, allowed_scopes=scopes, auth_methods=("client_secret_post",)) as w:
        code, output, errors = await log_in(w)
        assert (code, errors) == (
            0,
            (
                "brex-accounting: the consent of 'acme' does not grant all that was asked for: "
                "accounting.integration.read accounting.integration.write accounting.record.write\n"
            ),
        )
        assert output.endswith(f"set BREX_TOKEN_URL={w.token_url} and BREX_CLIENT_AUTH=body.\n")
        stored = await w.stored()
        assert stored is not None
        old = msgspec.structs.replace(stored, token=msgspec.structs.replace(stored.token, access_token=None), version=9)
        await SQLiteTokenStore(w.path).save(store_key(w.token_url, "client", "acme"), old, expected_version=1)
        assert (await w.run("records", "list"))[0] == 0
        assert [request.client_auth for request in w.sandbox.authorization.requests] == ["body", "body"]
        code, _, errors = await w.run("records", "list", BREX_CLIENT_AUTH="digest")
        assert (code, errors) == (2, 'brex-accounting: BREX_CLIENT_AUTH must be "basic" or "body".\n')


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
