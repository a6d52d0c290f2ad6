"""Which token a call carries, and that nothing shows it."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from brex_accounting import (
    PRODUCTION_TOKEN_URL,
    BrexAccounting,
    ConfigurationError,
    OAuth2,
    UnauthorizedError,
    UserToken,
)
from brex_accounting.auth import from_environment

SECRET = "bxt_hunter2"


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*GRANT, "BREX_REFRESH_TOKEN", "BREX_TOKEN", "BREX_TOKEN_URL", "BREX_CLIENT_AUTH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("BREX_BASE_URL", raising=False)


async def authorization(auth: str | UserToken | None) -> str:
    """What a request of a client with this auth carries."""
    seen = []

    def refuse(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers.get_list("Authorization"))
        return httpx.Response(401, json={"type": "UNAUTHORIZED", "message": f"Bad token {SECRET}"})

    async with BrexAccounting(auth, transport=httpx.MockTransport(refuse)) as brex:
        with pytest.raises(UnauthorizedError) as caught:
            await brex.integrations.disconnect("int_1")
    assert "hunter2" not in repr((caught.value, vars(caught.value)))
    [[value]] = seen
    return str(value)


@pytest.mark.parametrize("auth", [SECRET, UserToken(SECRET)])
async def test_a_token_is_sent_once_and_shown_never(monkeypatch: pytest.MonkeyPatch, auth: str | UserToken) -> None:
    monkeypatch.setenv("BREX_TOKEN", "bxt_of_the_environment")
    assert await authorization(auth) == f"Bearer {SECRET}"


async def test_without_one_it_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BREX_TOKEN", SECRET)
    assert await authorization(None) == f"Bearer {SECRET}"


@pytest.mark.parametrize("value", [None, ""])
def test_no_token_at_all(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    if value is not None:
        monkeypatch.setenv("BREX_TOKEN", value)
    with pytest.raises(ConfigurationError) as caught:
        BrexAccounting()
    assert str(caught.value) == (
        "There is no token: pass auth, or set BREX_TOKEN, or BREX_CLIENT_ID, BREX_CLIENT_SECRET, BREX_ACCOUNT, "
        "BREX_TOKEN_STORE."
    )


GRANT = {
    "BREX_CLIENT_ID": "client",
    "BREX_CLIENT_SECRET": SECRET,
    "BREX_ACCOUNT": "acme",
    "BREX_TOKEN_STORE": "tokens.db",
}


@pytest.mark.parametrize("left_out", [(name,) for name in GRANT] + [("BREX_CLIENT_ID", "BREX_ACCOUNT")])
def test_a_grant_that_is_set_in_part(monkeypatch: pytest.MonkeyPatch, left_out: tuple[str, ...]) -> None:
    for name, value in GRANT.items():
        if name not in left_out:
            monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as caught:
        BrexAccounting()
    assert f"{', '.join(left_out)} {'is' if len(left_out) == 1 else 'are'} missing" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_grant_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    here = {"BREX_TOKEN_STORE": str(tmp_path / "tokens.db"), "BREX_REFRESH_TOKEN": "seed"}
    for name, value in (GRANT | here).items():
        monkeypatch.setenv(name, value)
    auth = from_environment()
    assert isinstance(auth, OAuth2)
    endpoint = auth._refresher._endpoint
    assert (endpoint.client_id, endpoint.client_secret) == ("client", SECRET)
    assert (auth._account, auth._refresher._seed) == ("acme", "seed")
    assert (str(endpoint.url), endpoint.client_auth) == (PRODUCTION_TOKEN_URL, "basic")
    assert str(tmp_path / "tokens.db") in repr(auth)
    assert SECRET not in repr(auth)


def test_another_token_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    other = {"BREX_TOKEN_URL": "https://issuer.example/token", "BREX_CLIENT_AUTH": "body"}
    for name, value in (GRANT | other).items():
        monkeypatch.setenv(name, value)
    auth = from_environment()
    assert isinstance(auth, OAuth2)
    endpoint = auth._refresher._endpoint
    assert (str(endpoint.url), endpoint.client_auth) == ("https://issuer.example/token", "body")
    for name, value in (("BREX_TOKEN_URL", "http://issuer.example/token"), ("BREX_CLIENT_AUTH", "digest")):
        monkeypatch.setenv(name, value)
        with pytest.raises(ConfigurationError, match=f"^{name} must"):
            BrexAccounting()
        monkeypatch.setenv(name, other[name])


def test_a_user_token_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in GRANT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("BREX_TOKEN", SECRET)
    assert isinstance(from_environment(), UserToken)


NO_TOKENS = ["", " ", f"{SECRET}\n", f" {SECRET}", f"Bearer {SECRET}", f"{SECRET}é", "bxt_\x7fhunter2"]


@pytest.mark.parametrize("token", NO_TOKENS)
@pytest.mark.parametrize("use", [UserToken, BrexAccounting])
def test_what_is_no_token(use: Callable[[str], object], token: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^The token must ") as caught:
        use(token)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("token", NO_TOKENS[1:])
def test_what_is_no_token_in_the_environment(monkeypatch: pytest.MonkeyPatch, token: str) -> None:
    monkeypatch.setenv("BREX_TOKEN", token)
    with pytest.raises(ConfigurationError, match=r"^BREX_TOKEN must ") as caught:
        BrexAccounting()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("token", [None, 5, SECRET.encode(), UserToken(SECRET)])
def test_what_is_no_string(token: object) -> None:
    with pytest.raises(ConfigurationError, match=r"^The token must "):
        UserToken(token)  # type: ignore[arg-type]


def test_a_token_shows_nothing() -> None:
    token = UserToken(SECRET)
    assert repr(token) == str(token) == f"{token}" == "UserToken(…)"
    assert not hasattr(token, "__dict__")


async def test_a_copy_of_a_token_works_too() -> None:
    assert await authorization(copy.deepcopy(UserToken(SECRET))) == f"Bearer {SECRET}"
