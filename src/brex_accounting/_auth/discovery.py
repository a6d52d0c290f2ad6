"""The authorization server's discovery document (OpenID Connect Discovery 1.0): where its endpoints are."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec

from brex_accounting._clock import Clock
from brex_accounting._engine.failure import advise
from brex_accounting._engine.refusals import Advice
from brex_accounting._http.addresses import check_base_url
from brex_accounting._http.response import Response, TransportFailure, retry_after
from brex_accounting._text import printable
from brex_accounting.errors import ConfigurationError, InvalidResponseError, TokenRefreshError

from .token_endpoint import Route, persist
from .token_messages import ClientAuth, Reply, TokenReply, is_of_the_proxy, read_object

PRODUCTION_ISSUER = "https://accounts-api.brex.com/oauth2/default"
ANSWER_TIMEOUT = 10.0
_PATH = "/.well-known/openid-configuration"


class Server(msgspec.Struct, frozen=True):
    """What the document says of an authorization server."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    client_auth: ClientAuth
    """How a client authenticates, if it supports both ways: HTTP Basic."""
    promises_iss: bool
    """Whether a callback names the issuer (RFC 9207)."""


class _DiscoveryReply(TokenReply, frozen=True):
    server: Server | None = None
    error: InvalidResponseError | None = None


async def discover(issuer: str, route: Route, clock: Clock) -> Server:
    """Read the discovery document of an issuer."""
    home = check_base_url(issuer, "issuer")

    def read(response: Response | TransportFailure, _: float) -> _DiscoveryReply:
        return _read(response, issuer, clock.wall())

    async def attempt() -> _DiscoveryReply:
        return await route.send(home, _request, read, seconds=ANSWER_TIMEOUT, clock=clock)

    reply = await persist(attempt, clock)
    if reply.error is not None:
        raise reply.error
    if reply.server is None:
        raise TokenRefreshError(
            f"A consent cannot begin: {home.host} does not say where its endpoints are ({reply.text}). Try again later."
        )
    return reply.server


def _request() -> dict[str, Any]:
    return {"method": "GET", "url": _PATH, "headers": {"Accept-Encoding": "identity"}}


def _read(response: Response | TransportFailure, issuer: str, now: float) -> _DiscoveryReply:
    if isinstance(response, TransportFailure):
        reply = Reply.UNUSABLE if is_of_the_proxy(response) else Reply.RETRYABLE
        return _DiscoveryReply(reply, printable(response.reason))
    status, what = response.status, f"it answered {response.status}"
    if status in _PASSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _DiscoveryReply(Reply.RETRYABLE, what, retry_after=retry_after(response.headers, now))
    document = read_object(response.body) if status == HTTPStatus.OK else None
    if status == HTTPStatus.OK and document is None and (response.defect or response.too_large):
        return _DiscoveryReply(Reply.RETRYABLE, f"{what}, {response.defect or 'with too much'}")
    problem = f"{what} without a discovery document" if document is None else _find_problem(document, issuer)
    if document is None or problem:
        error = InvalidResponseError(status=status, content_type=response.content_type, length=response.length)
        facts = f"{check_base_url(issuer).host} cannot be trusted with a consent: {problem}"
        advise(error, facts, Advice.CHECK_THE_ISSUER)
        return _DiscoveryReply(Reply.UNUSABLE, error=error)
    methods = document.get("token_endpoint_auth_methods_supported")
    supported = methods if isinstance(methods, list) else ["client_secret_basic"]
    only_in_body = "client_secret_post" in supported and "client_secret_basic" not in supported
    server = Server(
        issuer,
        document["authorization_endpoint"],
        document["token_endpoint"],
        "body" if only_in_body else "basic",
        document.get("authorization_response_iss_parameter_supported") is True,
    )
    return _DiscoveryReply(Reply.GRANTED, server=server)


_PASSING = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}


def _find_problem(document: dict[str, Any], issuer: str) -> str:
    """Return why the document cannot be trusted; "": it can."""
    if document.get("issuer") != issuer:
        return "its discovery document is of another issuer"
    authorization = _origin(document.get("authorization_endpoint"), query=True)
    if not (authorization == _origin(document.get("token_endpoint")) == _origin(issuer)):
        return "its discovery document names endpoints that are not on its own host"
    return ""


def _origin(address: object, *, query: bool = False) -> tuple[str, str, int | None] | None:
    """Scheme, host and port of an address that credentials may go to; None for any other."""
    if query and isinstance(address, str) and "#" not in address:
        address = address.partition("?")[0]
    try:
        url = check_base_url(address)
    except ConfigurationError:
        return None
    return url.scheme, url.host, url.port
