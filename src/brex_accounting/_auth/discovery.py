"""The authorization server: where its endpoints are, and how to ask them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from brex_accounting._clock import Clock
from brex_accounting._http.addresses import check_base_url
from brex_accounting._http.network import Transport
from brex_accounting._http.response import Response, TransportFailure
from brex_accounting._text import printable
from brex_accounting.errors import ConfigurationError, InvalidResponseError, TokenRefreshError
from brex_accounting_api.codec import decode

from .token_endpoint import Reply, TokenReply, ask, read_token_reply
from .tokens import Token

PRODUCTION_ISSUER = "https://accounts-api.brex.com/oauth2/default"
ATTEMPT_TIMEOUT = 10.0
_DISCOVERY = "/.well-known/openid-configuration"
_clock = Clock()


async def discover(issuer: str, transport: Transport) -> tuple[str, str]:
    """Give the authorization endpoint and the token endpoint."""
    home = check_base_url(issuer, "issuer")
    came, reply = await ask(issuer, transport, _discovery_request, _read_discovery)
    if reply.reply is not Reply.GRANTED or isinstance(came, TransportFailure):
        raise TokenRefreshError(f"{home.host} cannot be asked where to begin a consent: {reply.text}.")
    document = _json(came.body) if came.status == HTTPStatus.OK else {}
    endpoints = [document.get(name) for name in ("authorization_endpoint", "token_endpoint")]
    problem = ""
    if came.status != HTTPStatus.OK or not document:
        problem = f"it answered {came.status}, and no discovery document"
    elif document.get("issuer") != issuer:
        problem = "its discovery document is of another issuer"
    elif not (_origin(endpoints[0], query=True) == _origin(endpoints[1]) == _origin(issuer)):
        problem = "its discovery document names endpoints that are not on its own host"
    if problem:
        raise InvalidResponseError(
            f"{home.host} cannot be trusted with a consent: {problem}. Check issuer.",
            status=came.status,
            content_type=came.content_type,
            length=came.length,
        )
    return str(endpoints[0]), str(endpoints[1])


def _discovery_request() -> dict[str, Any]:
    return {"method": "GET", "url": _DISCOVERY, "headers": {"Accept": "application/json"}}


def _read_discovery(came: Response | TransportFailure) -> TokenReply:
    if isinstance(came, TransportFailure):
        return TokenReply(Reply.RETRYABLE, printable(came.reason))
    if came.status == HTTPStatus.OK and (came.defect or came.too_large):
        return TokenReply(Reply.RETRYABLE, f"it answered {came.status}, {came.defect or 'with too much'}")
    return TokenReply(Reply.GRANTED) if came.status in _DEFINITE else read_token_reply(came, Token(), now=_clock.wall())


_DEFINITE = set(range(200, 500)) - {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}


def _json(body: bytes) -> dict[str, Any]:
    try:
        document = decode(Any, body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _origin(address: object, *, query: bool = False) -> tuple[str, str, int | None] | None:
    """Scheme, host and port of an address that credentials may go to; None for any other."""
    try:
        url = check_base_url(address.partition("?")[0] if query and isinstance(address, str) else address)
    except ConfigurationError:
        return None
    return url.scheme, url.host, url.port
