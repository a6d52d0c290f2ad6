"""Addresses: of the API and of proxies, the caller's and the environment's."""

from __future__ import annotations

import urllib.request
from contextlib import suppress
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brex_accounting import BrexAccounting, Outcome, RetryPolicy, aiohttp_transport, errors
from brex_accounting._http.addresses import check_base_url
from brex_accounting._http.proxies import check_proxy, environment_proxy
from brex_accounting.errors import ConfigurationError
from tests.support.calls import CASES, TOKEN
from tests.support.fault_server import FaultServer, ok, raw, reply
from tests.support.leaks import assert_holds_no

BOTH = pytest.mark.parametrize("transport", [None, aiohttp_transport], ids=["httpx", "aiohttp"])


@pytest.mark.parametrize(
    "url",
    [
        *("https://xn--", "https://xn--.test", "https://a.xn--", "https://xn--a", "https://xn--\x00.test"),
        *("https://", "https:///path", "https://:443", "https://[", "https://[::1", "https://[x]", "https://a..test"),
        *("https://api.test:0", "https://api.test:65536", "https://api.test:-1", "https://api.test:x"),
        *("https://a b.test", "https://a%20b.test", "https://-api.test", "https://\u2024.test", "https://\ud800.test"),
        *("ftp://api.test", "api.test", "//api.test", "https:api.test", "", " ", "\x00", "https://" + "a" * 70_000),
    ],
)
def test_is_no_base_url(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        BrexAccounting(TOKEN, base_url=url)
    assert "base_url must be" in str(caught.value)


@given(st.one_of(st.text(), st.text().map("https://{}".format), st.text().map("https://xn--{}/".format)))
def test_any_text_is_a_base_url_or_a_configuration_error(text: str) -> None:
    with suppress(ConfigurationError):
        url = check_base_url(text)
        assert url.host
        assert httpx.Request("GET", f"{str(url).rstrip('/')}/v3/thing").url.raw_host == url.raw_host


# -- proxies -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """One without proxies."""
    for name in (*(f"{kind}_proxy" for kind in ("http", "https", "all", "no")), "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("no_proxy", "url", "direct"),
    [
        ("api.test", "https://api.test", True),
        ("api.test:443", "https://api.test", True),
        ("api.test:443", "https://api.test:443/v9", True),
        ("api.test:8443", "https://api.test", False),
        ("api.test:8443", "https://api.test:8443", True),
        ("*.api.test", "https://api.test", True),
        ("*.test", "https://api.test", True),
        ("*.test:443", "https://api.test", True),
        ("*.test:80", "https://api.test", False),
        (".test", "https://api.test", True),
        (".test.", "https://api.test.", True),
        ("test", "https://api.test", True),
        ("est", "https://api.test", False),
        ("api.test.example", "https://api.test", False),
        ("API.Test", "https://api.test", True),
        ("other.test, api.test", "https://api.test", True),
        ("other.test api.test", "https://api.test", True),
        ("*", "https://api.test", True),
        ("*:443", "https://api.test", True),
        ("*:80", "https://api.test", False),
        ("10.1.2.3", "https://10.1.2.3", True),
        ("10.0.0.0/8", "https://10.1.2.3", True),
        ("10.0.0.0/8", "https://11.1.2.3", False),
        ("2001:db8::1", "https://[2001:db8::1]", True),
        ("[2001:db8::1]", "https://[2001:db8::1]", True),
        ("[2001:db8::1]:443", "https://[2001:db8::1]", True),
        ("[2001:db8::1]:80", "https://[2001:db8::1]", False),
        ("2001:db8::/32", "https://[2001:db8::1]", True),
        ("", "https://api.test", False),
        (",", "https://api.test", False),
        ("nowhere", "https://127.0.0.1", True),
        ("nowhere", "http://localhost:8765", True),
    ],
)
def test_no_proxy(environment: pytest.MonkeyPatch, no_proxy: str, url: str, direct: bool) -> None:
    environment.setenv("ALL_PROXY", "http://proxy.test:3128")
    environment.setenv("NO_PROXY", no_proxy)
    assert (environment_proxy(httpx.URL(url)) is None) is direct


def test_what_the_system_was_told_counts_too(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("HTTPS_PROXY", "http://proxy.test:3128")
    environment.setattr(urllib.request, "proxy_bypass", lambda host: host == "api.test")
    assert environment_proxy(httpx.URL("https://api.test")) is None
    assert environment_proxy(httpx.URL("https://other.test")) is not None


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"])
def test_the_proxy_of_the_environment(environment: pytest.MonkeyPatch, name: str) -> None:
    environment.setenv(name, "user:p%40ss@proxy.test:3128")
    proxy = environment_proxy(httpx.URL("https://api.test"))
    assert proxy is not None
    assert (str(proxy.url), proxy.auth) == ("http://proxy.test:3128", ("user", "p@ss"))
    environment.setenv(name, "")
    assert environment_proxy(httpx.URL("https://api.test")) is None


ODD_PROXIES = [
    ("socks5://user:canary@proxy.test", 'names a SOCKS proxy, which needs another package: pip install "httpx'),
    ("socks5h://proxy.test:1080", "names a SOCKS proxy, which needs another package"),
    ("SOCKS5://proxy.test:1080", "names a SOCKS proxy, which needs another package"),
    ("socks4://proxy.test:1080", "names a SOCKS proxy of a kind that is not supported"),
    ("socks://proxy.test:1080", "names a SOCKS proxy of a kind that is not supported"),
    ("gopher://user:canary@proxy.test", "is not the address of a proxy"),
    ("http://", "is not the address of a proxy"),
    ("http://xn--", "is not the address of a proxy"),
    ("http://user:canary@proxy test", "is not the address of a proxy"),
    ("proxy.test:99999", "is not the address of a proxy"),
    ("\x00canary", "is not the address of a proxy"),
]


@pytest.mark.parametrize(("proxy", "says"), ODD_PROXIES)
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "all_proxy"])
async def test_an_odd_proxy_of_the_environment(
    environment: pytest.MonkeyPatch, name: str, proxy: str, says: str
) -> None:
    if "\x00" not in proxy:  # no environment holds that
        environment.setenv(name, proxy)
        async with BrexAccounting(TOKEN, base_url="https://api.test") as brex:
            with pytest.raises(ConfigurationError) as caught:
                await brex.integrations.create("ERP_A", "acct-42")
        assert str(caught.value).startswith(f"{name} {says}")
        assert_holds_no("canary", caught.value)


@pytest.mark.parametrize(("proxy", "says"), [*ODD_PROXIES, (7, "must be a string"), ("", "is not the address")])
def test_an_odd_proxy_of_the_caller(proxy: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^proxy ") as caught:
        BrexAccounting(TOKEN, proxy=proxy)
    assert says in str(caught.value)
    assert "canary" not in str(caught.value)


def test_socks_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("brex_accounting._http.proxies.find_spec", lambda _: object())
    assert check_proxy("socks5://proxy.test:1080").url.scheme == "socks5"


@BOTH
@pytest.mark.parametrize(
    ("status", "attempts", "says"),
    [
        (401, 1, "the proxy answered 401. It changed nothing: check the user name and password"),
        (407, 1, "the proxy answered 407. It changed nothing: check the user name and password"),
        (403, 1, "the proxy answered 403. It changed nothing: ask who runs the proxy"),
        (502, 2, "the proxy answered 502. It changed nothing: check the network"),
        (429, 2, "the proxy answered 429. It changed nothing: check the network"),
    ],
)
async def test_a_proxy_that_refuses(transport: Any, status: int, attempts: int, says: str) -> None:
    refusal = raw(f"HTTP/1.1 {status} not canary\r\nContent-Length: 0\r\n\r\n".encode())
    async with (
        FaultServer(refusal) as proxy,
        BrexAccounting(
            TOKEN,
            base_url="https://api.test",
            proxy=f"http://user:canary@127.0.0.1:{proxy.port}",
            transport=transport,
            retry=RetryPolicy(max_attempts=2, initial_backoff=0.0),
        ) as brex,
    ):
        with pytest.raises(errors.ConnectionFailedError) as caught:
            await CASES[0].call(brex._engine, None)
    assert says in str(caught.value)
    assert (caught.value.outcome, caught.value.attempts) == (Outcome.NOT_APPLIED, attempts)
    assert len(proxy.requests) == attempts
    assert {request.headers["proxy-authorization"] for request in proxy.requests} == {"Basic dXNlcjpjYW5hcnk="}
    assert_holds_no("canary", caught.value)


@BOTH
async def test_a_proxy_of_the_caller_counts_on_loopback_too(transport: Any) -> None:
    async with (
        FaultServer(ok, reply(407, b"")) as proxy,
        BrexAccounting(
            TOKEN, base_url="http://localhost:9", proxy=f"127.0.0.1:{proxy.port}", transport=transport
        ) as brex,
    ):
        await CASES[0].call(brex._engine, None)
        with pytest.raises(errors.APIError, match="check the user name and password in the address of the proxy"):
            await CASES[0].call(brex._engine, None)
    assert {request.target for request in proxy.requests} == {"http://localhost:9/v3/accounting/integration"}


async def test_aiohttp_has_no_socks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("brex_accounting._http.proxies.find_spec", lambda _: object())
    async with BrexAccounting(TOKEN, proxy="socks5://proxy.test", transport=aiohttp_transport) as brex:
        with pytest.raises(ConfigurationError, match="aiohttp cannot use a SOCKS proxy"):
            await CASES[0].call(brex._engine, None)


# -- what goes together ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "option", [{"proxy": "http://proxy.test"}, {"ssl_context": httpx.create_ssl_context(verify=False)}]
)
async def test_a_transport_has_its_own(option: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="leave out ssl_context and proxy"):
        BrexAccounting(TOKEN, transport=httpx.MockTransport(lambda _: httpx.Response(200)), **option)
    async with BrexAccounting(TOKEN, transport=httpx.AsyncHTTPTransport, **option) as brex:
        with pytest.raises(ConfigurationError, match="leave out ssl_context and proxy"):
            await CASES[0].call(brex._engine, None)


def test_an_ssl_context_is_one() -> None:
    with pytest.raises(ConfigurationError, match=r"ssl_context must be an ssl\.SSLContext"):
        BrexAccounting(TOKEN, ssl_context="ca.pem")  # type: ignore[arg-type]
