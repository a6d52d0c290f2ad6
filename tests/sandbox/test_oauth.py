"""The authorization server over HTTP: in-process, and a few over real sockets."""

import asyncio
import json
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, quote_plus, urlencode, urlsplit

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brex_accounting.sandbox import AuthorizationOptions, Fault, Sandbox
from brex_accounting.sandbox._grants import fingerprint

ISSUER = "/oauth2/default"
TOKEN = f"{ISSUER}/v1/token"
AUTHORIZE = f"{ISSUER}/v1/authorize"
DISCOVERY = f"{ISSUER}/.well-known/openid-configuration"
INTEGRATION = "/v3/accounting/integration"
RECORDS = "/v3/accounting/records"
ERP_A = {"vendor": "ERP_A", "vendor_account_id": "acct-42"}
REDIRECT = "http://127.0.0.1:7777/callback"
READ = "accounting.record.read"
WRITE = "accounting.record.write"
VERIFIER = "v" * 43
CHALLENGE = urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).decode().rstrip("=")
ODD = AuthorizationOptions(client_id="id: +%&=é", client_secret="sécret:+%/&= 日")


class Time:
    """A clock that is set by hand, and a sleep that ends when told to."""

    def __init__(self) -> None:
        self.now = 1_767_323_045.5
        self.asleep = asyncio.Semaphore(0)
        self.wake = asyncio.Event()

    async def sleep(self, _seconds: float) -> None:
        self.asleep.release()
        await self.wake.wait()


def basic(client_id: str, client_secret: str, encode: Callable[[str], str] = quote_plus) -> dict[str, str]:
    pair = f"{encode(client_id)}:{encode(client_secret)}"
    return {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}


class Client:
    """A client of the authorization server, as simple as can be."""

    def __init__(self, sandbox: Sandbox, url: str | None = None) -> None:
        transport = sandbox.transport if url is None else None
        self.http = httpx.AsyncClient(transport=transport, base_url=url or sandbox.url, trust_env=False)
        self.server = sandbox.authorization

    async def ask(self, *, headers: Any = None, **form: str) -> httpx.Response:
        by_default = basic(self.server.client_id, self.server.client_secret)
        return await self.http.post(TOKEN, data=form, headers=by_default if headers is None else headers)

    async def refresh(self, token: str, **form: str) -> httpx.Response:
        return await self.ask(grant_type="refresh_token", refresh_token=token, **form)

    async def redeem(self, code: str, **form: str) -> httpx.Response:
        by_default = {"redirect_uri": REDIRECT, "code_verifier": VERIFIER}
        return await self.ask(**{"grant_type": "authorization_code", "code": code} | by_default | form)

    async def authorize(self, **query: str | None) -> httpx.Response:
        by_default = {
            "response_type": "code",
            "client_id": self.server.client_id,
            "redirect_uri": REDIRECT,
            "scope": f"openid offline_access {READ}",
            "state": "s&t=a té",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        }
        asked = {name: value for name, value in (by_default | query).items() if value is not None}
        return await self.http.get(AUTHORIZE, params=asked)

    async def call(self, token: str, method: str = "GET", **options: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token}"} | options.pop("headers", {})
        return await self.http.request(method, RECORDS, headers=headers, **options)


def refused(response: httpx.Response, code: str, status: int = 400) -> str:
    assert (response.status_code, response.json()["error"]) == (status, code)
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Cache-Control"] == "no-store"
    assert ("WWW-Authenticate" in response.headers) is (status == 401)
    assert set(response.json()) == {"error", "error_description"}
    description: str = response.json()["error_description"]
    return description


def callback(response: httpx.Response) -> dict[str, str]:
    assert response.status_code == 302, response.text
    location = response.headers["Location"]
    assert location.startswith((f"{REDIRECT}?", f"{REDIRECT}&"))
    return {name: value for name, (value,) in parse_qs(urlsplit(location).query).items()}


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
async def sandbox(time: Time) -> AsyncIterator[Sandbox]:
    async with Sandbox(records=5, clock=lambda: time.now, sleep=time.sleep) as sandbox:
        yield sandbox


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[Client]:
    client = Client(sandbox)
    async with client.http:
        yield client


class TestOptions:
    """Other ways of an authorization server; each takes effect at once."""

    def choose(self, client: Client, **options: Any) -> None:
        client.server.options = replace(client.server.options, **options)

    @pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
    async def test_one_way_to_authenticate(self, client: Client, method: str) -> None:
        self.choose(client, auth_methods=(method,))
        assert (await client.http.get(DISCOVERY)).json()["token_endpoint_auth_methods_supported"] == [method]
        form = {"grant_type": "refresh_token", "refresh_token": client.server.new_grant()}
        secret = {"client_id": client.server.client_id, "client_secret": client.server.client_secret}
        by_basic, by_post = (await client.ask(**form), await client.ask(headers={}, **form, **secret))
        if method == "client_secret_post":
            by_basic, by_post = by_post, by_basic
        assert by_basic.status_code == 200
        assert method not in refused(by_post, "invalid_client", 401)

    async def test_a_callback_without_iss(self, client: Client) -> None:
        self.choose(client, sends_iss=False)
        assert (await client.http.get(DISCOVERY)).json()["authorization_response_iss_parameter_supported"] is False
        assert callback(await client.authorize()).keys() == {"code", "state"}

    async def test_iss_promised_and_not_sent(self, client: Client, sandbox: Sandbox) -> None:
        self.choose(client, sends_iss=False)
        promise = {"authorization_response_iss_parameter_supported": True}
        sandbox.fault(Fault("merge_json", operation="discovery", json=promise))
        assert (await client.http.get(DISCOVERY)).json().items() >= promise.items()

    async def test_fewer_scopes_than_asked_for(self, client: Client) -> None:
        self.choose(client, allowed_scopes=(READ, "offline_access"))
        code = callback(await client.authorize(scope=f"openid offline_access {READ} {WRITE}"))["code"]
        answer = (await client.redeem(code)).json()
        assert set(answer["scope"].split()) == {READ, "offline_access"}
        assert "refresh_token" in answer
        self.choose(client, allowed_scopes=())
        assert callback(await client.authorize())["error"] == "access_denied"

    @pytest.mark.parametrize(
        ("prompt", "granted"), [(None, False), ("login", False), ("consent", True), ("login consent", True)]
    )
    async def test_offline_access_needs_prompt(self, client: Client, prompt: str | None, granted: bool) -> None:
        self.choose(client, offline_access_needs_prompt=True)
        code = callback(await client.authorize(prompt=prompt))["code"]
        answer = (await client.redeem(code)).json()
        assert ("refresh_token" in answer) is granted
        assert ("offline_access" in answer["scope"]) is granted
        self.choose(client, offline_access_needs_prompt=False)
        code = callback(await client.authorize(prompt=prompt))["code"]
        assert "refresh_token" in (await client.redeem(code)).json()


class TestDiscovery:
    async def test_the_document(self, sandbox: Sandbox, client: Client) -> None:
        response = await client.http.get(DISCOVERY)
        assert response.json() == {
            "issuer": "https://sandbox.invalid/oauth2/default",
            "authorization_endpoint": "https://sandbox.invalid/oauth2/default/v1/authorize",
            "token_endpoint": "https://sandbox.invalid/oauth2/default/v1/token",
            "scopes_supported": [
                "accounting.integration.read",
                "accounting.integration.write",
                "accounting.record.read",
                "accounting.record.write",
                "offline_access",
                "openid",
            ],
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
        }
        assert (sandbox.issuer, sandbox.token_url) == (response.json()["issuer"], response.json()["token_endpoint"])

    async def test_in_process_any_host_is_the_sandbox(self, client: Client) -> None:
        """So that the defaults, which point at Brex, can be tried."""
        response = await client.http.get(f"https://accounts-api.brex.com{DISCOVERY}")
        assert response.json()["issuer"] == "https://accounts-api.brex.com/oauth2/default"

    @pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "a b", "", "127.0.0.1:x"])
    async def test_a_host_that_is_not_the_sandboxs(self, client: Client, host: str) -> None:
        for path in (DISCOVERY, f"{AUTHORIZE}?{urlencode({'client_id': client.server.client_id})}"):
            response = await client.http.get(f"http://127.0.0.1:9{path}", headers={"Host": host})
            assert response.status_code == 400
            assert "Host" in response.text

    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            *(("GET", TOKEN, 405), ("POST", AUTHORIZE, 405), ("POST", DISCOVERY, 405), ("GET", "/oauth2/", 404)),
            *(("POST", f"{TOKEN}/", 404), ("GET", "/oauth2/default", 404), ("POST", "/oauth2/default/v1%2Ftoken", 404)),
        ],
    )
    async def test_nothing_else(self, client: Client, method: str, path: str, status: int) -> None:
        response = await client.http.request(method, path)
        assert response.status_code == status
        assert client.server.requests.maxlen
        assert not client.server.requests


class TestTokens:
    async def test_a_refresh(self, sandbox: Sandbox, client: Client) -> None:
        token = client.server.new_grant(scopes=[READ, "offline_access"])
        response = await client.refresh(token)
        assert response.json() == {
            "token_type": "Bearer",
            "access_token": response.json()["access_token"],
            "refresh_token": response.json()["refresh_token"],
            "expires_in": 3600,
            "scope": "accounting.record.read offline_access",
        }
        assert (response.headers["Cache-Control"], response.headers["Pragma"]) == ("no-store", "no-cache")
        assert (await client.refresh(response.json()["refresh_token"])).status_code == 200
        assert "rotated and then reused" in refused(await client.refresh(token), "invalid_grant")
        assert client.server.reuse_events == 1
        assert [request.path for request in sandbox.requests] == [TOKEN] * 3

    async def test_without_rotation(self, client: Client) -> None:
        client.server.options = replace(client.server.options, rotation="omit", expires_in=1)
        response = await client.refresh(client.server.new_grant())
        assert set(response.json()) == {"token_type", "access_token", "expires_in", "scope"}
        assert response.json()["expires_in"] == 1

    @pytest.mark.parametrize("options", [AuthorizationOptions(), ODD])
    async def test_client_authentication(self, options: AuthorizationOptions) -> None:
        async with Sandbox(authorization=options) as sandbox:
            client = Client(sandbox)
            who = (client.server.client_id, client.server.client_secret)
            form = {"grant_type": "refresh_token", "refresh_token": client.server.new_grant()}
            body = {"client_id": who[0], "client_secret": who[1]}
            responses = [
                await client.ask(headers=basic(*who), **form | {"refresh_token": "x"}),
                await client.ask(headers={}, **form | body | {"refresh_token": "x"}),
                await client.ask(headers=basic(*who), client_id=who[0], **form),
            ]
            assert [response.json().get("error") for response in responses] == ["invalid_grant", "invalid_grant", None]
            assert [line.client_auth for line in client.server.requests] == ["basic", "body", "basic"]
            refused(await client.ask(headers=basic(*who), **form | body), "invalid_request")
            refused(await client.ask(headers=basic(*who), client_id="other", **form), "invalid_request")
            refused(await client.ask(headers=basic(*who), client_secret=who[1], **form), "invalid_request")
            assert client.server.reuse_events == 0

    @pytest.mark.parametrize("encode", [str, lambda text: text.replace("%", "%25").replace("+", "%2B")])
    async def test_basic_is_form_encoded_first(self, encode: Callable[[str], str]) -> None:
        async with Sandbox(authorization=ODD) as sandbox:
            client = Client(sandbox)
            headers = basic(client.server.client_id, client.server.client_secret, encode)
            refused(await client.ask(headers=headers, grant_type="refresh_token"), "invalid_client", 401)

    @pytest.mark.parametrize(("encode", "status"), [(str, 401), (quote_plus, 400)])
    async def test_basic_is_ascii(self, encode: Callable[[str], str], status: int) -> None:
        async with Sandbox(authorization=AuthorizationOptions(client_secret="sécret")) as sandbox:
            client = Client(sandbox)
            headers = basic(client.server.client_id, "sécret", encode)
            assert (await client.ask(headers=headers, grant_type="refresh_token")).status_code == status

    async def test_wrong_authentication(self, client: Client) -> None:
        who = (client.server.client_id, client.server.client_secret)
        form = {"grant_type": "refresh_token", "refresh_token": client.server.new_grant()}
        token = b64encode(f"{who[0]}:{who[1]}".encode()).decode()
        for headers in (
            *(basic(who[0], "wrong"), basic("wrong", who[1]), basic(who[0], ""), basic("", "")),
            *({"Authorization": text} for text in ("", "Basic", "Basic !", f"Bearer {token}", token, "Basic \xe9")),
            *(basic(*who, lambda text: text + "%"), basic(*who, lambda text: text + "%ff"), {}),
            {"Authorization": f"Basic {b64encode(who[0].encode()).decode()}"},
        ):
            encoded = {name: value.encode("latin-1") for name, value in headers.items()}
            refused(await client.ask(headers=encoded, **form), "invalid_client", 401)
        refused(await client.ask(headers={}, client_id=who[0], **form), "invalid_client", 401)
        refused(await client.ask(headers={}, client_secret=who[1], **form), "invalid_client", 401)
        assert client.server.is_live(form["refresh_token"])

    async def test_refusals(self, client: Client) -> None:
        token = client.server.new_grant(scopes=[READ])
        assert "missing" in refused(await client.ask(refresh_token=token), "invalid_request")
        assert "missing" in refused(await client.ask(grant_type="refresh_token"), "invalid_request")
        assert "missing" in refused(await client.ask(grant_type="refresh_token", refresh_token=""), "invalid_request")
        assert "missing" in refused(await client.ask(grant_type="authorization_code", code="x"), "invalid_request")
        refused(await client.ask(grant_type="password", username="a", password="b"), "unsupported_grant_type")
        refused(await client.refresh("unknown"), "invalid_grant")
        refused(await client.refresh(token, scope="accounting.record.write"), "invalid_scope")
        assert [(line.outcome, line.grant_type) for line in client.server.requests][-3:] == [
            ("unsupported_grant_type", "password"),
            ("invalid_grant", "refresh_token"),
            ("invalid_scope", "refresh_token"),
        ]
        assert (await client.refresh(token, scope=READ)).json()["scope"] == READ

    @pytest.mark.parametrize(
        ("content", "content_type"),
        [
            ("{form}", "application/json"),
            ("{form}", ""),
            ("{form}&refresh_token=x", "application/x-www-form-urlencoded"),
            ("{form}&grant_type=refresh_token", "application/x-www-form-urlencoded"),
            ("{form}&scope=%", "application/x-www-form-urlencoded"),
            ("{form}&scope=%ff", "application/x-www-form-urlencoded"),
            ("{form}&scope=é", "application/x-www-form-urlencoded; charset=utf-8"),
        ],
    )
    async def test_forms_that_are_none(self, client: Client, content: str, content_type: str) -> None:
        form = urlencode({"grant_type": "refresh_token", "refresh_token": client.server.new_grant()})
        headers = basic(client.server.client_id, client.server.client_secret) | {"Content-Type": content_type}
        body = content.format(form=form).encode()
        refused(await client.http.post(TOKEN, content=body, headers=headers), "invalid_request")

    async def test_parameters_in_the_url(self, sandbox: Sandbox, client: Client) -> None:
        form = {"grant_type": "refresh_token", "refresh_token": client.server.new_grant()}
        headers = basic(client.server.client_id, client.server.client_secret)
        refused(await client.http.post(TOKEN, params=form, data=form, headers=headers), "invalid_request")
        assert "refresh_" not in repr(sandbox.requests)

    @given(
        content=st.binary(max_size=60)
        | st.dictionaries(st.sampled_from(["grant_type", "refresh_token", "code", "scope"]), st.text()).map(
            lambda form: urlencode({name: value.encode(errors="ignore") for name, value in form.items()}).encode()
        ),
        authorization=st.binary(max_size=40) | st.binary(max_size=40).map(lambda pair: b"Basic " + b64encode(pair)),
    )
    async def test_nothing_makes_a_server_error(self, content: bytes, authorization: bytes) -> None:
        sandbox, sent = Sandbox(), list[Any]()

        async def receive() -> Any:
            return {"type": "http.request", "body": content}

        async def send(message: Any) -> None:
            sent.append(message)

        headers = [(b"content-type", b"application/x-www-form-urlencoded"), (b"authorization", authorization)]
        scope = {"type": "http", "method": "POST", "raw_path": TOKEN.encode(), "query_string": b"", "headers": headers}
        await sandbox.app(scope, receive, send)
        assert sent[0]["status"] in {400, 401}
        assert json.loads(sent[1]["body"])["error"] in {"invalid_request", "invalid_client"}


class TestTheApi:
    async def test_tokens_live_as_long_as_they_do(self, time: Time, client: Client) -> None:
        first = (await client.refresh(client.server.new_grant())).json()
        assert (await client.call(first["access_token"])).status_code == 200
        time.now += 3599
        second = (await client.refresh(first["refresh_token"])).json()
        assert (await client.call(first["access_token"])).status_code == 200
        time.now += 1
        statuses = [(await client.call(each["access_token"])).status_code for each in (first, second)]
        assert statuses == [401, 200]
        client.server.expire_access_tokens()
        assert (await client.call(second["access_token"])).status_code == 401

    async def test_revoked(self, client: Client) -> None:
        token = client.server.new_grant()
        issued = (await client.refresh(token)).json()
        await client.refresh(token)
        response = await client.call(issued["access_token"])
        assert (response.status_code, response.json()["error_code"]) == (401, "UNAUTHORIZED")

    async def test_a_refresh_token_is_no_access_token(self, client: Client) -> None:
        assert (await client.call(client.server.new_grant())).status_code == 401

    async def test_scopes(self, client: Client) -> None:
        issued = (await client.refresh(client.server.new_grant(), scope=READ)).json()
        headers = {"Authorization": f"Bearer {issued['access_token']}"}
        assert (await client.http.get(RECORDS, headers=headers)).status_code == 200
        response = await client.http.post(INTEGRATION, json=ERP_A, headers=headers)
        assert (response.status_code, response.json()["error_code"]) == (403, "FORBIDDEN")

    async def test_an_idempotency_key_outlives_its_access_token(self, client: Client) -> None:
        """The replay after a 401 comes with the same key and another token."""
        first = (await client.refresh(client.server.new_grant())).json()
        second = (await client.refresh(first["refresh_token"])).json()
        other = (await client.refresh(client.server.new_grant("another account"))).json()
        bodies = list[bytes]()
        for issued in (first, second, other):
            headers = {"Authorization": f"Bearer {issued['access_token']}", "Idempotency-Key": "k1"}
            response = await client.http.post(INTEGRATION, json=ERP_A, headers=headers)
            bodies.append(response.content)
            disconnect = f"{INTEGRATION}/{response.json()['integration_id']}/disconnect"
            await client.http.post(disconnect, headers={"Authorization": headers["Authorization"]})
        assert bodies[0] == bodies[1] != bodies[2]

    async def test_the_rate_limit_outlives_the_access_token(self, time: Time) -> None:
        async with Sandbox(rate_limit=(1, 60), clock=lambda: time.now) as sandbox:
            client = Client(sandbox)
            first = (await client.refresh(client.server.new_grant())).json()
            second = (await client.refresh(first["refresh_token"])).json()
            other = (await client.refresh(client.server.new_grant("another account"))).json()
            statuses = [(await client.call(each["access_token"])).status_code for each in (first, second, other)]
        assert statuses == [200, 429, 200]


class TestConsent:
    async def test_from_consent_to_a_record(self, client: Client) -> None:
        answer = callback(await client.authorize())
        assert answer == {"code": answer["code"], "state": "s&t=a té", "iss": "https://sandbox.invalid/oauth2/default"}
        issued = (await client.redeem(answer["code"])).json()
        assert issued["scope"] == "accounting.record.read offline_access openid"
        assert (await client.call(issued["access_token"])).status_code == 200
        assert (await client.refresh(issued["refresh_token"])).status_code == 200
        assert "used before" in refused(await client.redeem(answer["code"]), "invalid_grant")
        assert (await client.call(issued["access_token"])).status_code == 401
        assert client.server.requests[0].fingerprint == fingerprint(answer["code"])
        assert {line.grant for line in client.server.requests} == {client.server.grants[0]}

    async def test_the_answer_is_not_for_caches_or_referrers(self, client: Client) -> None:
        response = await client.authorize()
        assert (response.headers["Cache-Control"], response.headers["Referrer-Policy"]) == ("no-store", "no-referrer")

    async def test_a_redirect_uri_with_a_query(self, client: Client) -> None:
        answer = callback(await client.authorize(redirect_uri=f"{REDIRECT}?a=b", state=None))
        assert set(answer) == {"a", "code", "iss"}
        refused(await client.redeem(answer["code"]), "invalid_grant")

    async def test_a_registered_redirect_uri(self) -> None:
        uri = "https://erp.example/brex"
        async with Sandbox(authorization=AuthorizationOptions(redirect_uris=(uri,))) as sandbox:
            response = await Client(sandbox).authorize(redirect_uri=uri)
        assert response.headers["Location"].startswith(f"{uri}?")

    async def test_without_pkce(self, client: Client) -> None:
        answer = callback(await client.authorize(code_challenge=None, code_challenge_method=None))
        assert (await client.redeem(answer["code"], code_verifier="")).status_code == 200

    @pytest.mark.parametrize(
        ("query", "code"),
        [
            ({"response_type": None}, "invalid_request"),
            ({"response_type": "token"}, "unsupported_response_type"),
            ({"scope": None}, "invalid_scope"),
            ({"scope": "nonsense"}, "invalid_scope"),
            ({"code_challenge_method": "plain"}, "invalid_request"),
            ({"code_challenge_method": None}, "invalid_request"),
            ({"code_challenge": None}, "invalid_request"),
            ({"code_challenge": "short"}, "invalid_request"),
        ],
    )
    async def test_errors_go_to_the_client(self, client: Client, query: dict[str, str | None], code: str) -> None:
        answer = callback(await client.authorize(**query))
        assert set(answer) == {"error", "error_description", "state", "iss"}
        assert (answer["error"], answer["state"]) == (code, "s&t=a té")

    async def test_a_customer_who_refuses(self, client: Client) -> None:
        client.server.options = replace(client.server.options, consents=False)
        assert callback(await client.authorize())["error"] == "access_denied"

    @pytest.mark.parametrize(
        "query",
        [
            *({"client_id": None}, {"client_id": "nobody"}, {"redirect_uri": None}),
            *({"redirect_uri": "https://evil.example/"}, {"redirect_uri": "http://localhost:7777/callback"}),
            {"redirect_uri": "javascript:alert(1)", "response_type": None},
        ],
    )
    async def test_no_redirect_before_it_is_trusted(self, client: Client, query: dict[str, str | None]) -> None:
        response = await client.authorize(**query)
        assert (response.status_code, response.headers["Content-Type"]) == (400, "text/html; charset=utf-8")
        assert "Location" not in response.headers
        assert "evil" not in response.text

    @pytest.mark.parametrize(
        "more", ["redirect_uri=https://evil.example/", "client_id=nobody", "state=%", "state=%ff", "state=%C3%A9%"]
    )
    async def test_no_redirect_for_what_cannot_be_read(self, client: Client, more: str) -> None:
        query = urlencode({"client_id": client.server.client_id, "redirect_uri": REDIRECT, "response_type": "code"})
        response = await client.http.get(f"{AUTHORIZE}?{query}&{more}")
        assert (response.status_code, response.headers.get("Location")) == (400, None)

    @pytest.mark.parametrize(("more", "has_state"), [("state=a&state=b", False), ("state=a&scope=b&scope=c", True)])
    async def test_parameters_that_are_there_twice(self, client: Client, more: str, has_state: bool) -> None:
        query = urlencode({"client_id": client.server.client_id, "redirect_uri": REDIRECT, "response_type": "code"})
        answer = callback(await client.http.get(f"{AUTHORIZE}?{query}&{more}"))
        assert (answer["error"], "state" in answer) == ("invalid_request", has_state)


class TestFaults:
    @pytest.mark.parametrize("applied", [False, True])
    @pytest.mark.parametrize(
        ("fault", "status"),
        [
            ({"kind": "status", "status": 429, "retry_after": "7"}, 429),
            ({"kind": "status", "status": 503, "body": "empty"}, 503),
            ({"kind": "status", "status": 400, "json": {"error": "temporarily_unavailable"}}, 400),
            ({"kind": "html"}, 200),
            ({"kind": "json", "json": {}}, 200),
            ({"kind": "json", "json": []}, 200),
            ({"kind": "json", "json": None}, 200),
            ({"kind": "json", "json": {"error": "invalid_grant"}}, 200),
        ],
    )
    async def test_another_answer(
        self, sandbox: Sandbox, client: Client, fault: dict[str, Any], status: int, applied: bool
    ) -> None:
        token = client.server.new_grant()
        sandbox.fault(Fault(**fault, operation="token", applied=applied))
        response = await client.refresh(token)
        assert response.status_code == status
        assert response.headers.get("Retry-After") == fault.get("retry_after")
        if "json" in fault:
            assert response.json() == fault["json"]
        assert client.server.is_live(token) is not applied
        (line,) = client.server.requests
        assert (line.fault, line.outcome) == (fault["kind"], "issued" if applied else None)
        assert (line.grant, line.fingerprint) == (client.server.grants[0], fingerprint(token))

    @pytest.mark.parametrize(
        ("patch", "changed"),
        [
            ({"expires_in": "3600"}, {"expires_in": "3600"}),
            *[({"expires_in": value}, {"expires_in": value}) for value in list[Any]([0, -1, 10**30, 1.5, True, []])],
            ({"expires_in": None}, {}),
            ({"refresh_token": None, "token_type": "mac"}, {"token_type": "mac"}),
            ({}, {}),
        ],
    )
    async def test_a_changed_answer(
        self, sandbox: Sandbox, client: Client, patch: dict[str, Any], changed: dict[str, Any]
    ) -> None:
        sandbox.fault(Fault("merge_json", operation="token", json=patch))
        answer = (await client.refresh(client.server.new_grant())).json()
        assert answer.items() >= changed.items()
        absent = patch.keys() - changed.keys()
        assert answer.keys() == {"token_type", "access_token", "refresh_token", "expires_in", "scope"} - absent
        assert client.server.is_live(answer["access_token"])

    async def test_a_changed_answer_of_the_api(self, sandbox: Sandbox, client: Client) -> None:
        before = await client.call(sandbox.token)
        sandbox.fault(Fault("merge_json", json={"total_count": 7, "more": {"a": None, "b": {"c": 1.5}}}))
        after = await client.call(sandbox.token)
        assert after.json() == before.json() | {"total_count": 7, "more": {"b": {"c": 1.5}}}
        amounts = [re.findall('"amount":([^{,}]+)', response.text) for response in (before, after)]
        assert amounts[0] == amounts[1] != []

    async def test_a_page_is_not_changed(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.fault(Fault("merge_json", operation="authorize", json=[]))
        assert "code" in callback(await client.authorize())

    @pytest.mark.parametrize(("kind", "applied"), [("reset_before", False), ("reset_after", True)])
    async def test_resets(self, sandbox: Sandbox, client: Client, kind: Any, applied: bool) -> None:
        token = client.server.new_grant()
        sandbox.fault(Fault(kind, operation="token"))
        with pytest.raises(httpx.ReadError):
            await client.refresh(token)
        again = await client.refresh(token)
        assert (again.status_code, client.server.reuse_events) == ((400, 1) if applied else (200, 0))
        assert client.server.grants[0].in_flight_max == 1

    async def test_the_grace_mends_a_lost_answer(self, sandbox: Sandbox, client: Client) -> None:
        client.server.options = replace(client.server.options, grace=30)
        token = client.server.new_grant()
        sandbox.fault(Fault("reset_after", operation="token"))
        with pytest.raises(httpx.ReadError):
            await client.refresh(token)
        answer = (await client.refresh(token)).json()
        assert client.server.is_live(answer["refresh_token"])
        assert [line.outcome for line in client.server.requests] == ["issued", "repeated"]

    async def test_a_cut_body(self, sandbox: Sandbox, client: Client) -> None:
        token = client.server.new_grant()
        sandbox.fault(Fault("cut_body", operation="token"))
        with pytest.raises(httpx.RemoteProtocolError):
            await client.refresh(token)
        assert not client.server.is_live(token)

    @pytest.mark.parametrize("applied", [False, True])
    async def test_what_is_in_flight(self, time: Time, sandbox: Sandbox, client: Client, applied: bool) -> None:
        token, other = client.server.new_grant("a"), client.server.new_grant("b")
        sandbox.fault(Fault("delay", operation="token", seconds=9, times=4, applied=applied))
        asking = [asyncio.create_task(client.refresh(each)) for each in (token, token, other, "unknown")]
        for _ in asking:
            await time.asleep.acquire()
        assert client.server.is_live(other) is not applied
        assert [grant.in_flight for grant in client.server.grants] == [2, 1]
        time.wake.set()
        await asyncio.gather(*asking)
        assert [(grant.in_flight, grant.in_flight_max) for grant in client.server.grants] == [(0, 2), (0, 1)]
        assert client.server.reuse_events == 1

    async def test_faults_of_the_other_endpoints(self, sandbox: Sandbox, client: Client) -> None:
        issuer = "https://evil.example"
        sandbox.fault(
            Fault("status", operation="authorize", status=500),
            Fault("merge_json", operation="discovery", json={"issuer": issuer}),
        )
        assert (await client.http.get(DISCOVERY)).json()["issuer"] == issuer
        assert (await client.authorize()).status_code == 500
        assert "code" in callback(await client.authorize())

    async def test_a_fault_of_any_operation_is_one_of_the_api(self, sandbox: Sandbox, client: Client) -> None:
        sandbox.fault(Fault("status"))
        issued = (await client.refresh(client.server.new_grant())).json()
        assert [(await client.call(issued["access_token"])).status_code for _ in range(2)] == [503, 200]

    def test_json_that_is_none(self) -> None:
        with pytest.raises(ValueError, match="json"):
            Fault("json", json={1, 2})


class TestSecrets:
    async def test_none_is_shown(self, sandbox: Sandbox, client: Client) -> None:
        token = client.server.new_grant()
        code = callback(await client.authorize())["code"]
        issued = [(await client.refresh(token)).json(), (await client.redeem(code)).json()]
        log = await client.http.get("/_sandbox/requests", headers={"Authorization": f"Bearer {sandbox.token}"})
        shown = log.text + repr([sandbox, sandbox.requests, client.server, client.server.requests])
        shown += repr([client.server.grants, client.server.options])
        for secret in (token, code, client.server.client_secret, CHALLENGE, VERIFIER):
            assert secret not in shown
        for answer in issued:
            assert answer["access_token"] not in shown
            assert answer["refresh_token"] not in shown

    def test_they_are_random(self) -> None:
        servers = [Sandbox().authorization for _ in range(2)]
        secrets = {secret for server in servers for secret in (server.client_secret, server.new_grant())}
        assert len(secrets) == 4
        assert servers[0].client_id != servers[1].client_id


class TestOverSockets:
    async def test_consent_and_refresh(self) -> None:
        async with Sandbox(records=1) as sandbox, sandbox.serve() as url:
            client = Client(sandbox, url)
            async with client.http:
                document = (await client.http.get(DISCOVERY)).json()
                assert (document["issuer"], document["token_endpoint"]) == (f"{url}{ISSUER}", f"{url}{TOKEN}")
                answer = callback(await client.authorize())
                assert answer["iss"] == document["issuer"]
                issued = (await client.redeem(answer["code"])).json()
                again = (await client.refresh(issued["refresh_token"])).json()
                assert (await client.call(again["access_token"])).status_code == 200
                by_name = await client.http.get(DISCOVERY, headers={"Host": "localhost:1"})
                assert by_name.json()["issuer"] == "http://localhost:1/oauth2/default"
                assert (await client.http.get(DISCOVERY, headers={"Host": "evil.example"})).status_code == 400

    async def test_a_lost_answer(self) -> None:
        async with Sandbox() as sandbox, sandbox.serve() as url:
            client = Client(sandbox, url)
            async with client.http:
                token = client.server.new_grant()
                for kind, error in (("reset_before", httpx.ReadError), ("cut_body", httpx.RemoteProtocolError)):
                    sandbox.fault(Fault(kind, operation="token"))  # type: ignore[arg-type]
                    with pytest.raises(error):
                        await client.refresh(token)
                refused(await client.refresh(token), "invalid_grant")
                assert client.server.reuse_events == 1
                assert client.server.grants[0].in_flight_max == 1

    async def test_many_at_once(self) -> None:
        async with Sandbox() as sandbox, sandbox.serve() as url:
            client = Client(sandbox, url)
            async with client.http:
                sandbox.fault(Fault("delay", operation="token", seconds=0.05, times=10))
                token = client.server.new_grant()
                responses = await asyncio.gather(*[client.refresh(token) for _ in range(10)])
                assert sorted(response.status_code for response in responses) == [200] + [400] * 9
                assert (client.server.grants[0].reuse_events, client.server.grants[0].revoked) == (9, True)
                assert client.server.grants[0].in_flight_max == 10
