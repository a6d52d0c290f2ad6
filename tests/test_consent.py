"""A customer's consent, against the sandbox's authorization server."""

from __future__ import annotations

import asyncio
import json
import pickle
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
import trio

from brex_accounting import (
    BrexAccounting,
    BrexError,
    ConfigurationError,
    Consent,
    InvalidResponseError,
    MemoryTokenStore,
    OAuth2,
    ReauthorizationRequiredError,
    SQLiteTokenStore,
    StoredToken,
    Token,
    TokenRefreshError,
    begin_consent,
    finish_consent,
    save_grant,
)
from brex_accounting._auth import consent as _consent
from brex_accounting._auth import grant_store, onboarding, redemption
from brex_accounting._auth.tokens import fingerprint, store_key
from brex_accounting._clock import Clock
from brex_accounting.sandbox import AuthorizationOptions, Fault, Sandbox
from tests.support.fault_server import FaultServer, reply
from tests.support.leaks import assert_holds_no
from tests.support.tls import CERTIFICATE, client_context, server_context

REDIRECT = "https://partner.example/brex?tenant=7"


@pytest.fixture(autouse=True)
def _no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    real, ahead = Clock(), [0.0]

    async def sleep(seconds: float) -> None:
        ahead[0] += seconds
        await asyncio.sleep(0)

    clock = Clock(monotonic=lambda: real.monotonic() + ahead[0], sleep=sleep)
    for module in (_consent, redemption, onboarding):
        monkeypatch.setattr(module, "_clock", clock)


class World:
    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.server = sandbox.authorization
        self.store: Any = MemoryTokenStore()
        self.key = store_key(sandbox.token_url, self.server.client_id, "acme")

    async def begin(self, **options: Any) -> Consent:
        given = {"issuer": self.sandbox.issuer, "transport": self.sandbox.transport}
        return await begin_consent(self.server.client_id, REDIRECT, **given | options)

    async def visit(self, consent: Consent) -> str:
        """What the customer's browser does: where it is sent to."""
        async with httpx.AsyncClient(transport=self.sandbox.transport) as browser:
            answer = await browser.get(consent.url)
        assert answer.status_code == 302, answer.text
        return answer.headers["location"]

    async def finish(self, consent: Consent, callback_url: str, **options: Any) -> None:
        given = {
            "client_id": self.server.client_id,
            "client_secret": self.server.client_secret,
            "account": "acme",
            "store": self.store,
            "transport": self.sandbox.transport,
        }
        await finish_consent(consent, callback_url, **given | options)

    async def stored(self) -> StoredToken:
        stored = await self.store.load(self.key)
        assert stored is not None
        return stored

    def client(self, refresh_token: str | None = None) -> BrexAccounting:
        auth = OAuth2(
            self.server.client_id,
            self.server.client_secret,
            account="acme",
            store=self.store,
            refresh_token=refresh_token,
            token_url=self.sandbox.token_url,
            transport=self.sandbox.transport,
        )
        return BrexAccounting(auth, base_url=self.sandbox.url, transport=self.sandbox.transport)


@asynccontextmanager
async def world(**options: Any) -> AsyncIterator[World]:
    async with Sandbox(authorization=AuthorizationOptions(redirect_uris=(REDIRECT,), **options)) as sandbox:
        yield World(sandbox)


def changed(url: str, **fields: str | None) -> str:
    return str(httpx.URL(url).copy_merge_params({k: v for k, v in fields.items() if v is not None})) + "".join(
        f"&{k}" for k, v in fields.items() if v is None
    )


# -- the good end --


async def test_the_url() -> None:
    async with world() as w:
        consent, other = await w.begin(), await w.begin()
        query = {name: values[0] for name, values in parse_qs(urlsplit(consent.url).query).items()}
        assert consent.url.startswith(f"{w.sandbox.issuer}/v1/authorize?")
        assert query == {
            "response_type": "code",
            "client_id": w.server.client_id,
            "redirect_uri": REDIRECT,
            "scope": "openid offline_access accounting.integration.read accounting.integration.write "
            "accounting.record.read accounting.record.write",
            "state": consent.state,
            "code_challenge": query["code_challenge"],
            "code_challenge_method": "S256",
        }
        assert consent.redirect_uri == REDIRECT
        assert 43 <= len(consent.code_verifier) <= 128
        assert consent.code_verifier not in consent.url
        assert {consent.state, consent.code_verifier} & {other.state, other.code_verifier} == set()
        assert not w.server.requests


async def test_a_consent_gives_what_calls_need() -> None:
    async with world() as w:
        consent = await w.begin()
        consent = pickle.loads(pickle.dumps(consent))
        await w.finish(consent, await w.visit(consent))
        stored = await w.stored()
        assert stored.token.refresh_token is not None
        assert (stored.version, stored.dead) == (1, False)
        assert stored.seed_fingerprint == fingerprint(stored.token.refresh_token)
        async with w.client() as brex:
            await brex.integrations.create("ERP_A", "a")
        [request] = w.server.requests
        assert (request.grant_type, request.client_auth, request.outcome) == ("authorization_code", "basic", "issued")


async def test_the_host_of_the_callback_does_not_matter() -> None:
    async with world() as w:
        consent = await w.begin()
        callback = await w.visit(consent)
        await w.finish(consent, f"/brex?{urlsplit(callback).query}")
        assert (await w.stored()).token.access_token is not None


async def test_a_new_consent_replaces_a_dead_grant_and_an_old_seed_does_not_replace_it() -> None:
    async with world() as w:
        seed = w.server.new_grant()
        async with w.client(seed) as brex:
            await brex.integrations.create("ERP_A", "a")
        stored = await w.stored()
        w.server.revoke()
        dead = StoredToken(Token(), stored.version + 1, dead=True, seed_fingerprint=stored.seed_fingerprint)
        await w.store.save(w.key, dead, expected_version=stored.version)
        async with w.client(seed) as brex:
            with pytest.raises(ReauthorizationRequiredError):
                await brex.integrations.create("ERP_A", "a")
            consent = await w.begin()
            await w.finish(consent, await w.visit(consent))
            stored = await w.stored()
            assert stored.token.refresh_token is not None
            assert (stored.dead, stored.seed_fingerprint) == (False, fingerprint(stored.token.refresh_token))
            assert stored.former_seeds == (fingerprint(seed),)
            await brex.integrations.create("ERP_A", "a")
        async with w.client(seed) as brex:
            await brex.integrations.create("ERP_A", "a")
        assert await w.stored() == stored
        assert w.server.reuse_events == 0


async def test_scopes_that_the_answer_does_not_name_are_those_asked_for() -> None:
    async with world() as w:
        consent = await w.begin(scopes=["offline_access", "accounting.record.read"])
        callback = await w.visit(consent)
        w.sandbox.fault(Fault("merge_json", operation="token", json={"scope": None}))
        await w.finish(consent, callback)
        assert (await w.stored()).token.scope == "offline_access accounting.record.read"


async def test_over_a_socket_and_sqlite(tmp_path: Any) -> None:
    async with world() as w, w.sandbox.serve() as url:
        consent = await begin_consent(w.server.client_id, "http://127.0.0.1:1/cb", issuer=f"{url}/oauth2/default")
        async with httpx.AsyncClient() as browser:
            callback = (await browser.get(consent.url)).headers["location"]
        store = SQLiteTokenStore(tmp_path / "tokens")
        await w.finish(consent, callback, store=store, transport=None)
        key = store_key(f"{url}/oauth2/default/v1/token", w.server.client_id, "acme")
        assert await store.load(key) is not None


async def test_a_cancelled_redemption_goes_on() -> None:
    async with world() as w:
        consent = await w.begin()
        callback = await w.visit(consent)
        w.sandbox.fault(Fault("delay", operation="token", seconds=0.1))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(w.finish(consent, callback), 0.02)
        await asyncio.wait(redemption._under_way)
        assert (await w.stored()).token.access_token is not None
        assert len(w.server.requests) == 1


async def test_transient_trouble_is_waited_out() -> None:
    async with world() as w:
        w.sandbox.fault(
            Fault("status", operation="discovery"),
            Fault("reset_before", operation="discovery"),
            Fault("cut_body", operation="discovery"),
            Fault("status", operation="token", status=429),
            Fault("reset_before", operation="token"),
        )
        consent = await w.begin()
        await w.finish(consent, await w.visit(consent))
        assert (await w.stored()).token.access_token is not None


# -- what the callback can be --


@pytest.mark.parametrize(
    ("fields", "error", "text"),
    [
        ({"state": "forged"}, ConfigurationError, "forged"),
        ({"state": "\udc80"}, ConfigurationError, "not an answer|forged"),
        ({"iss": "https://evil.example"}, ConfigurationError, "does not name the authorization server"),
        ({"code": ""}, ConfigurationError, "neither a code nor an error"),
        ({"error": "access_denied", "error_description": "No,%0Athanks."}, ReauthorizationRequiredError, "No, thanks."),
        ({"error": "server_error"}, TokenRefreshError, "server_error"),
    ],
)
async def test_callbacks_that_are_refused(fields: dict[str, str], error: type[BrexError], text: str) -> None:
    async with world() as w:
        consent = await w.begin()
        query = {name: values[0] for name, values in parse_qs(urlsplit(await w.visit(consent)).query).items()} | fields
        callback = f"{REDIRECT}&{'&'.join(f'{name}={value}' for name, value in query.items())}"
        with pytest.raises(error, match=text) as caught:
            await w.finish(consent, callback)
        assert type(caught.value) is error
        assert not w.server.requests
        assert await w.store.load(w.key) is None


@pytest.mark.parametrize("callback", ["", REDIRECT, f"{REDIRECT}&code=x", f"{REDIRECT}&state=a&state=b", "http://["])
async def test_what_is_no_callback(callback: Any) -> None:
    async with world() as w:
        with pytest.raises(ConfigurationError, match="not an answer to a consent"):
            await w.finish(await w.begin(), callback)


@pytest.mark.parametrize("callback", [None, httpx.URL(f"{REDIRECT}&state=x&code=CANARY"), b"/?code=CANARY"])
async def test_a_callback_that_is_not_text(callback: Any) -> None:
    async with world() as w:
        with pytest.raises(ConfigurationError, match="callback_url must be a string, such as") as caught:
            await w.finish(await w.begin(), callback)
        assert_holds_no("CANARY", caught.value)


async def test_a_customer_who_refuses() -> None:
    async with world(consents=False) as w:
        consent = await w.begin()
        with pytest.raises(ReauthorizationRequiredError, match="'acme' \\(access_denied"):
            await w.finish(consent, await w.visit(consent))


# -- what the token endpoint can answer --


async def test_a_code_works_once() -> None:
    async with world() as w:
        consent = await w.begin()
        callback = await w.visit(consent)
        await w.finish(consent, callback)
        before = await w.stored()
        with pytest.raises(TokenRefreshError, match=r"its code works only once: .* invalid_grant\. Begin") as caught:
            await w.finish(consent, callback)
        assert type(caught.value) is TokenRefreshError
        assert await w.stored() == before


async def test_another_verifier() -> None:
    async with world() as w:
        consent, other = await w.begin(), await w.begin()
        stolen = changed(await w.visit(consent), state=other.state)
        with pytest.raises(TokenRefreshError, match="invalid_grant"):
            await w.finish(other, stolen)


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", status=500, times=99),
        Fault("status", status=401, json={"error": "invalid_client"}),
        Fault("status", status=400, json={"error": "CANARY-secret"}),
        Fault("status", status=302),
        Fault("html"),
        Fault("json", json={}),
        Fault("json", json=[]),
        Fault("cut_body", times=2),
        Fault("reset_after", times=2),
        Fault("merge_json", json={"refresh_token": None}),
    ],
)
async def test_no_token(fault: Fault) -> None:
    async with world(client_secret="CANARY-secret") as w:
        await w.store.save(w.key, StoredToken(Token("a", "b"), 3), expected_version=None)
        consent = await w.begin()
        callback = await w.visit(consent)
        w.sandbox.fault(replace(fault, operation="token"))
        with pytest.raises(TokenRefreshError, match="'acme' could not be redeemed") as caught:
            await w.finish(consent, callback)
        assert (await w.stored()).token == Token("a", "b")
        code = parse_qs(urlsplit(callback).query)["code"][0]
        shown = shown_by(caught.value)
        for secret in ("CANARY-secret", consent.code_verifier, code, consent.state):
            assert secret not in shown


def shown_by(error: BaseException) -> str:
    """What a logger could write of an error: our own frames with their locals, causes included."""
    assert error.__cause__ is None
    assert error.__context__ is None
    lines = [repr(error), str(error), repr(pickle.dumps(error))]
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if "/brex_accounting/" in frame.f_code.co_filename:
            lines.append(repr(frame.f_locals))
    assert len(lines) > 3
    return "".join(lines)


async def test_nothing_of_a_consent_is_shown() -> None:
    async with world() as w:
        consent = await w.begin()
        shown = repr(consent) + str(consent) + f"{[consent]}"
        assert "Consent(" in shown
        assert consent.state not in shown
        assert consent.code_verifier not in shown


# -- stores that fail --


class Sulking(MemoryTokenStore):
    def __init__(self, *, saves: int = 0, loads: bool = True, racing: int = 0) -> None:
        super().__init__()
        self.saves, self.loads, self.racing = saves, loads, racing

    async def load(self, key: str) -> StoredToken | None:
        if not self.loads:
            raise OSError("CANARY")
        return await super().load(key)

    async def save(self, key: str, stored: StoredToken, *, expected_version: int | None) -> bool:
        if self.saves:
            self.saves -= 1
            raise OSError("CANARY")
        if self.racing:
            self.racing -= 1
            before = self._stored.get(key)
            self._stored[key] = StoredToken(Token("other"), 1 + (before.version if before else 0))
        return await super().save(key, stored, expected_version=expected_version)


@pytest.mark.parametrize("store", [Sulking(saves=2), Sulking(racing=2)])
async def test_saving_is_tried_again(store: Sulking) -> None:
    async with world() as w:
        w.store = store
        consent = await w.begin()
        await w.finish(consent, await w.visit(consent))
        assert (await w.stored()).token.refresh_token is not None
        assert len(w.server.requests) == 1


@pytest.mark.parametrize(
    ("store", "reason"),
    [(Sulking(saves=99), "the token store could not save"), (Sulking(racing=99), "others keep")],
)
async def test_a_save_that_fails_for_good(store: Sulking, reason: str) -> None:
    async with world() as w:
        w.store = store
        consent = await w.begin()
        with pytest.raises(TokenRefreshError, match=rf"could not be saved, and is lost \({reason}") as caught:
            await w.finish(consent, await w.visit(consent))
        assert "CANARY" not in shown_by(caught.value)


async def test_a_store_that_cannot_be_had_costs_no_code() -> None:
    async with world() as w:
        consent = await w.begin()
        callback = await w.visit(consent)
        with pytest.raises(TokenRefreshError, match="was not redeemed: the token store could not be read"):
            await w.finish(consent, callback, store=Sulking(loads=False))
        assert not w.server.requests
        await w.finish(consent, callback)


async def test_a_store_that_says_why(tmp_path: Any) -> None:
    (tmp_path / "tokens").write_text("no database")
    (tmp_path / "tokens").chmod(0o644)
    async with world() as w:
        consent = await w.begin()
        with pytest.raises(ConfigurationError, match="chmod 600"):
            await w.finish(consent, await w.visit(consent), store=SQLiteTokenStore(tmp_path / "tokens"))
        assert not w.server.requests


# -- what discovery says --


@pytest.mark.parametrize(
    ("methods", "client_auth", "used"),
    [
        (("client_secret_basic", "client_secret_post"), None, "basic"),
        (("client_secret_post",), None, "body"),
        (("client_secret_basic",), None, "basic"),
        (("client_secret_basic", "client_secret_post"), "body", "body"),
    ],
)
async def test_the_credentials_go_the_way_that_discovery_names(
    methods: tuple[Any, ...], client_auth: Any, used: str
) -> None:
    async with world(auth_methods=methods) as w:
        consent = pickle.loads(pickle.dumps(await w.begin()))
        await w.finish(consent, await w.visit(consent), client_auth=client_auth)
        assert [request.client_auth for request in w.server.requests] == [used]


@pytest.mark.parametrize("methods", [None, "client_secret_post", ["private_key_jwt"], []])
async def test_without_a_word_of_it_they_go_as_basic(methods: Any) -> None:
    async with world() as w:
        change = {"token_endpoint_auth_methods_supported": methods}
        w.sandbox.fault(Fault("merge_json", operation="discovery", json=change))
        assert _consent.server_of(await w.begin()).client_auth == "basic"


@pytest.mark.parametrize("promised", [True, False])
async def test_the_issuer_in_the_callback(*, promised: bool) -> None:
    async with world(sends_iss=promised) as w:
        consent = await w.begin()
        callback = await w.visit(consent)
        assert ("iss" in httpx.URL(callback).params) == promised
        without = str(httpx.URL(callback).copy_remove_param("iss"))
        if promised:
            with pytest.raises(ConfigurationError, match="does not name the authorization server"):
                await w.finish(consent, without)
            assert not w.server.requests
        await w.finish(consent, callback)


async def test_further_parameters_and_a_server_that_wants_them() -> None:
    async with world(offline_access_needs_prompt=True) as w:
        consent = await w.begin()
        with pytest.raises(TokenRefreshError, match="although offline_access was asked for") as caught:
            await w.finish(consent, await w.visit(consent))
        assert 'extra={"prompt": "consent"}' in str(caught.value)
        consent = await w.begin(extra={"prompt": "consent", "login_hint": "a&b=c d"})
        query = parse_qs(urlsplit(consent.url).query)
        assert (query["prompt"], query["login_hint"]) == (["consent"], ["a&b=c d"])
        await w.finish(consent, await w.visit(consent))
        assert (await w.stored()).token.refresh_token is not None
        consent = await w.begin(scopes=["accounting.record.read"])
        with pytest.raises(TokenRefreshError, match=r"no refresh token\. .* with the scope offline_access\."):
            await w.finish(consent, await w.visit(consent))


@pytest.mark.parametrize("extra", [None, "prompt=consent", {"state": "x"}, {"prompt": 1}, {"": "x"}, {"prompt": ""}])
async def test_parameters_that_make_no_sense(extra: Any) -> None:
    async with world() as w:
        with pytest.raises(ConfigurationError, match="extra must"):
            await w.begin(extra=extra)
        assert not w.sandbox.requests


async def test_fewer_scopes_than_asked_for_are_reported(caplog: pytest.LogCaptureFixture) -> None:
    allowed = ("openid", "offline_access", "accounting.record.read")
    async with world(allowed_scopes=allowed) as w:
        consent = await w.begin(scopes=["offline_access", "accounting.record.write", "accounting.record.read"])
        await w.finish(consent, await w.visit(consent))
        [record] = caplog.records
        assert record.getMessage() == (
            "the consent of 'acme' does not grant all that was asked for: accounting.record.write"
        )
        caplog.clear()
        consent = await w.begin(scopes=["offline_access", "accounting.record.read"])
        callback = await w.visit(consent)
        w.sandbox.fault(Fault("merge_json", operation="token", json={"scope": "accounting.record.read"}))
        await w.finish(consent, callback)  # a server need not name offline_access
        assert not caplog.records


# -- certificates and proxies --


def json_reply(document: dict[str, Any]) -> Any:
    return reply(200, json.dumps(document).encode())


@pytest.mark.parametrize("by", ["ssl_context", "SSL_CERT_FILE"])
async def test_certificates_of_ones_own(monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    async with FaultServer(ssl_context=server_context()) as server:
        server.faults = [
            json_reply(dict.fromkeys(("issuer", "authorization_endpoint", "token_endpoint"), server.url)),
            json_reply({"access_token": "a", "refresh_token": "r", "token_type": "Bearer"}),
        ]
        options: dict[str, Any] = {"ssl_context": client_context()} if by == "ssl_context" else {}
        if not options:
            monkeypatch.setenv(by, str(CERTIFICATE))
        consent = await begin_consent("c", REDIRECT, issuer=server.url, **options)
        callback, store = f"{REDIRECT}&state={consent.state}&code=x", MemoryTokenStore()
        given = {"client_id": "c", "client_secret": "s", "account": "a", "store": store, **options}
        await finish_consent(consent, callback, **given)
        assert await store.load(store_key(server.url, "c", "a")) is not None


async def test_a_proxy_of_ones_own() -> None:
    """One that refuses says so at once: it would do so again."""
    async with FaultServer(reply(407, b"")) as server, world() as w:
        options: dict[str, Any] = {"proxy": f"http://user:CANARY@127.0.0.1:{server.port}", "transport": None}
        with pytest.raises(TokenRefreshError, match="proxy") as caught:
            await begin_consent("c", REDIRECT, issuer="https://issuer.test", **options)
        assert_holds_no("CANARY", caught.value)
        consent = await w.begin()
        with pytest.raises(TokenRefreshError, match=r"could not be redeemed.*proxy") as caught:
            await w.finish(consent, await w.visit(consent), **options)
        assert_holds_no("CANARY", caught.value)
        assert [request.method for request in server.requests] == ["CONNECT", "CONNECT"]


# -- odd answers --


@pytest.mark.parametrize(
    "fault",
    [
        Fault("replace_status", status=201),
        Fault("bom"),
        Fault("encode", encoding="gzip", members=2),
        Fault("encode", encoding="utf-8"),
    ],
)
async def test_an_odd_answer_that_is_a_grant(fault: Fault) -> None:
    async with world() as w, w.sandbox.serve() as url:
        consent = await w.begin(issuer=f"{url}/oauth2/default", transport=None)
        async with httpx.AsyncClient() as browser:
            callback = (await browser.get(consent.url)).headers["location"]
        w.sandbox.fault(replace(fault, operation="token"))
        await w.finish(consent, callback, transport=None)
        assert len(w.server.requests) == 1


@pytest.mark.parametrize("change", [{"token_type": "mac"}, {"access_token": None}, {"error": {"code": 1}}])
async def test_a_refresh_token_is_stored_whatever_else_comes(change: Any) -> None:
    async with world() as w:
        consent = await w.begin()
        callback = await w.visit(consent)
        w.sandbox.fault(Fault("merge_json", operation="token", json=change))
        with pytest.raises(TokenRefreshError, match="'acme' is stored with its refresh token, but the token endpoint"):
            await w.finish(consent, callback)
        async with w.client() as brex:
            await brex.integrations.create("ERP_A", "a")
        assert w.server.reuse_events == 0


# -- where it runs, and what names it --


@pytest.mark.parametrize(
    ("function", "arguments", "options"),
    [
        (begin_consent, ("c", REDIRECT), {}),
        (finish_consent, (None, ""), {"client_id": "c", "client_secret": "s", "account": "a", "store": None}),
        (save_grant, (None,), {"client_id": "c", "account": "a", "refresh_token": "r"}),
    ],
)
def test_under_trio_one_clear_sentence(function: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="needs asyncio") as caught:
        trio.run(partial(function, *arguments, **options))
    assert caught.value.__context__ is None


async def test_the_public_place_is_named() -> None:
    async with world() as w:
        consent = await w.begin()
        assert type(consent).__module__ == OAuth2.__module__ == "brex_accounting"
        assert b"_auth" not in pickle.dumps(consent)
        assert pickle.loads(pickle.dumps(consent)) == consent


# -- consents that were given elsewhere --


async def test_a_grant_is_saved_used_and_replaced() -> None:
    async with world() as w:
        grant = {"client_id": w.server.client_id, "account": "acme", "token_url": w.sandbox.token_url}
        first, second = w.server.new_grant(), w.server.new_grant("other")
        await save_grant(w.store, refresh_token=first, **grant)
        async with w.client() as brex:
            await brex.integrations.create("ERP_A", "a")
            used = await w.stored()
            await save_grant(w.store, refresh_token=first, **grant)
            assert await w.stored() == used  # it is used up
            await save_grant(w.store, refresh_token=second, **grant)
            assert (await w.stored()).token == Token(refresh_token=second)
            await save_grant(w.store, refresh_token=first, **grant)
            assert (await w.stored()).token == Token(refresh_token=second)
        async with w.client(first) as brex:  # a seed from before
            await brex.integrations.create("ERP_A", "a")
        async with w.client(second) as brex:
            await brex.integrations.create("ERP_A", "a")
        assert w.server.reuse_events == 0


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"client_id": ""}, "client_id"),
        ({"account": " "}, "account"),
        ({"refresh_token": "CANARY CANARY"}, "refresh_token must"),
        ({"token_url": "http://example.com"}, "token_url must"),
    ],
)
async def test_a_grant_that_makes_no_sense(wrong: dict[str, Any], text: str) -> None:
    given: dict[str, Any] = {"client_id": "c", "account": "a", "refresh_token": "r"}
    with pytest.raises(ConfigurationError, match=text) as caught:
        await save_grant(MemoryTokenStore(), **given | wrong)
    assert_holds_no("CANARY", caught.value)
    with pytest.raises(ConfigurationError, match="store must"):
        await save_grant("store", **given)  # type: ignore[arg-type]


async def test_a_grant_that_cannot_be_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grant_store, "STORE_TIMEOUT", 0.0)
    token = "CANARY" + "-refresh"
    with pytest.raises(TokenRefreshError, match="'a' was not saved: the token store could not be read") as caught:
        await save_grant(Sulking(loads=False), client_id="c", account="a", refresh_token=token)
    assert_holds_no("CANARY", caught.value)


# -- arguments --


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"client_id": ""}, "client_id is empty"),
        ({"client_secret": ""}, "client_secret must be"),
        ({"client_secret": None}, "client_secret must be"),
        ({"client_secret": "\udc80"}, "lone surrogate"),
        ({"account": 7}, "account must be"),
        ({"store": {}}, "store must be"),
        ({"client_auth": "digest"}, "client_auth must be"),
        ({"proxy": "x y"}, "proxy"),
        ({"ssl_context": True}, "ssl_context must be"),
    ],
)
async def test_wrong_arguments(options: dict[str, Any], text: str) -> None:
    async with world() as w:
        consent = await w.begin()
        with pytest.raises(ConfigurationError, match=text):
            await w.finish(consent, await w.visit(consent), **options)
        with pytest.raises(ConfigurationError, match=f"consent must be|{text}"):
            await w.finish("consent", "", **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("redirect_uri", "options", "text"),
    [
        (7, {}, "redirect_uri must be a string"),
        ("/callback", {}, "redirect_uri must be an address"),
        ("http://partner.example/cb", {}, "redirect_uri must be https"),
        (f"{REDIRECT}#x", {}, "fragment"),
        (REDIRECT, {"scopes": "openid"}, "scopes must be a list"),
        (REDIRECT, {"scopes": ["openid offline_access"]}, "scopes must be a list"),
        (REDIRECT, {"scopes": [7]}, "scopes must be a list"),
        (REDIRECT, {"scopes": None}, "scopes must be a list"),
        (REDIRECT, {"scopes": iter(["openid"])}, "scopes must be a list"),
        (REDIRECT, {"issuer": "http://issuer.example"}, "issuer must be https"),
        (REDIRECT, {"issuer": None}, "issuer must be a string"),
    ],
)
async def test_what_cannot_be_begun(redirect_uri: Any, options: dict[str, Any], text: str) -> None:
    async with world() as w:
        with pytest.raises(ConfigurationError, match=text):
            await begin_consent("c", redirect_uri, **{"transport": w.sandbox.transport} | options)
        assert not w.sandbox.requests


# -- the discovery document --


@pytest.mark.parametrize(
    "fault",
    [
        Fault("merge_json", json={"issuer": "https://evil.example/oauth2/default"}),
        Fault("merge_json", json={"issuer": None}),
        Fault("merge_json", json={"token_endpoint": "https://evil.example/v1/token"}),
        Fault("merge_json", json={"token_endpoint": None}),
        Fault("merge_json", json={"token_endpoint": 7}),
        Fault("merge_json", json={"authorization_endpoint": "https://evil.example/v1/authorize"}),
        Fault("merge_json", json={"authorization_endpoint": "javascript:alert(1)"}),
        Fault("html"),
        Fault("json", json=[]),
        Fault("status", status=404),
        Fault("status", status=302),
    ],
)
async def test_a_document_that_is_not_to_be_trusted(fault: Fault) -> None:
    async with world() as w:
        w.sandbox.fault(replace(fault, operation="discovery"))
        with pytest.raises(InvalidResponseError, match="cannot be trusted with a consent") as caught:
            await w.begin()
        assert caught.value.status == (fault.status if fault.kind == "status" else 200)


@pytest.mark.parametrize(
    "fault", [Fault("status", times=99), Fault("reset_before", times=99), Fault("cut_body", times=99)]
)
async def test_a_server_that_does_not_answer(fault: Fault) -> None:
    async with world() as w:
        w.sandbox.fault(replace(fault, operation="discovery"))
        with pytest.raises(TokenRefreshError, match="does not say where its endpoints are"):
            await w.begin()


async def test_an_authorization_endpoint_with_a_query() -> None:
    async with world() as w:
        endpoint = f"{w.sandbox.issuer}/v1/authorize?tenant=7"
        w.sandbox.fault(Fault("merge_json", operation="discovery", json={"authorization_endpoint": endpoint}))
        assert (await w.begin()).url.startswith(f"{endpoint}&response_type=code&")
