"""Where a customer's consent begins: authorization code with PKCE (RFC 6749 4.1, RFC 7636)."""

from __future__ import annotations

import re
import secrets
import ssl
from base64 import urlsafe_b64encode
from collections.abc import Mapping, Sequence
from hashlib import sha256
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

from msgspec.structs import astuple

from brex_accounting._arguments import SURROGATE, check_text
from brex_accounting._clock import Clock, check_asyncio
from brex_accounting._http.addresses import check_base_url
from brex_accounting._http.connector import Transport
from brex_accounting._text import veil
from brex_accounting.errors import ConfigurationError

from .discovery import PRODUCTION_ISSUER, Server, discover
from .token_endpoint import Route
from .tokens import _Veiled

OFFLINE_ACCESS = "offline_access"
SCOPES = (
    "openid",
    OFFLINE_ACCESS,
    "accounting.integration.read",
    "accounting.integration.write",
    "accounting.record.read",
    "accounting.record.write",
)

_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749 3.3
OURS = {"response_type", "client_id", "redirect_uri", "scope", "state", "code_challenge", "code_challenge_method"}
_clock = Clock()


class _Begun(_Veiled, frozen=True, kw_only=True):
    """What a consent holds for us: a `Server`, as a tuple, so that a pickle names no class of ours but `Consent`."""

    _server: tuple[Any, ...]


class Consent(_Begun, frozen=True):
    """A consent that was begun: keep it (in the customer's session) until the customer comes back.

    It can be pickled. Its repr shows nothing of it.
    """

    __module__ = "brex_accounting"  # pickles name the public place

    url: str
    """Where to send the customer's browser."""
    state: str
    """What must come back with the browser, to tell its callback from a forged one."""
    code_verifier: str
    """What proves that whoever redeems the code began the consent (PKCE): a secret."""
    redirect_uri: str
    """Where the browser comes back to."""


def server_of(consent: Consent) -> Server:
    """Return the authorization server that a consent was begun with."""
    return Server(*consent._server)  # noqa: SLF001 - for us, not for callers


async def begin_consent(
    client_id: str,
    redirect_uri: str,
    *,
    scopes: Sequence[str] = SCOPES,
    issuer: str = PRODUCTION_ISSUER,
    extra: Mapping[str, str] = MappingProxyType({}),
    ssl_context: ssl.SSLContext | None = None,
    proxy: str | None = None,
    transport: Transport = None,
) -> Consent:
    """Begin to ask a customer for consent: send the customer's browser to the `url` of what this returns.

    Args:
        client_id: The partner's client id.
        redirect_uri: Where the browser comes back to, as registered with Brex; https, or http on loopback.
        scopes: What to ask for. Without ``offline_access`` there is no refresh token, and `finish_consent` fails.
        issuer: The authorization server. Its discovery document names the endpoints, which must be on its host.
        extra: Further parameters of the authorization URL, such as ``{"prompt": "consent"}``, without which some
            servers give no refresh token to a customer who consented before.
        ssl_context: As for `OAuth2`.
        proxy: As for `OAuth2`.
        transport: As for `OAuth2`.

    Raises:
        ConfigurationError: An argument cannot be right; nothing was sent.
        TokenRefreshError: The authorization server gives no answer now.
        InvalidResponseError: Its discovery document cannot be read, or is not to be trusted.
    """
    proxy = veil(proxy)
    check_asyncio()
    route = Route(transport, ssl_context, proxy)
    check_text(client_id, "client_id")
    _check_redirect_uri(redirect_uri)
    _check_scopes(scopes)
    _check_extra(extra)
    server = await discover(issuer, route, _clock)
    state, code_verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
    query = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "scope": " ".join(scopes),
        "state": state,
        "code_challenge": urlsafe_b64encode(sha256(code_verifier.encode()).digest()).decode().rstrip("="),
        "code_challenge_method": "S256",
    }
    endpoint = server.authorization_endpoint
    url = f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode({**query, **extra})}"
    return Consent(url, state, code_verifier, redirect_uri, _server=astuple(server))


def _check_redirect_uri(value: object) -> None:
    if isinstance(value, str) and "#" in value:
        raise ConfigurationError("redirect_uri must not hold a fragment.")
    check_base_url(value.partition("?")[0] if isinstance(value, str) else value, "redirect_uri")


def _check_scopes(scopes: object) -> None:
    given = scopes if isinstance(scopes, Sequence) and not isinstance(scopes, str) else [None]
    if not all(isinstance(scope, str) and _SCOPE.fullmatch(scope) for scope in given):
        raise ConfigurationError("scopes must be a list of strings, each one scope: no spaces in them, none empty.")


def _check_extra(extra: object) -> None:
    if not isinstance(extra, Mapping) or not all(
        isinstance(text, str) and text and not SURROGATE.search(text) for pair in extra.items() for text in pair
    ):
        raise ConfigurationError("extra must map strings to strings, none of them empty.")
    if ours := sorted(OURS & extra.keys()):
        raise ConfigurationError(f"extra must not hold {ours[0]}: begin_consent sets it.")
