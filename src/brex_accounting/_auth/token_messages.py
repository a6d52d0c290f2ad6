"""What to ask of the token endpoint, and how to read what it answers (RFC 6749 5 and 6). No I/O."""

from __future__ import annotations

import base64
import math
import re
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from http import HTTPStatus
from typing import Any, Literal, TypeGuard, cast, get_args
from urllib.parse import quote_plus, urlencode

import msgspec

from brex_accounting._arguments import SURROGATE, VISIBLE_ASCII
from brex_accounting._http.response import Cause, Response, TransportFailure, retry_after
from brex_accounting._text import printable
from brex_accounting.errors import ConfigurationError
from brex_accounting_api.codec import decode

from .tokens import Token

LONGEST_LIFE = 10 * 365 * 86400.0
"""Seconds; a longer `expires_in` counts as this much, which a datetime can hold."""

SHORTEST_LIFE = 1.0
"""Seconds; a shorter `expires_in` is ignored: each call would need a token of its own."""

ClientAuth = Literal["basic", "body"]

_NOT_NOW = {"temporarily_unavailable", "server_error"}
"""Error codes that stand for 503 and 500 (RFC 6749 4.1.2.1)."""
_CUT_REFRESH_TOKEN = re.compile(rb'"refresh_token"\s*:\s*("(?:[^"\\]|\\.)*")')
_ABSENT = (None, "")
"""Some serializers write an empty string for what is absent."""


def check_client_auth(value: object, name: str = "client_auth") -> ClientAuth:
    if value not in get_args(ClientAuth):
        raise ConfigurationError(f'{name} must be "basic" or "body".')
    return cast("ClientAuth", value)


class Reply(Enum):
    """What an answer of the token endpoint means."""

    GRANTED = auto()
    INVALID_GRANT = auto()
    """invalid_grant: this refresh token will never give a token again."""
    REFUSED = auto()
    """Refused for a reason that is understood, such as invalid_client: asking again changes nothing."""
    UNUSABLE = auto()
    """An answer that makes no sense, such as HTML. The refresh token may be spent: it is not sent again right away."""
    RETRYABLE = auto()
    """429, 5xx, or nothing was sent: asking again may help."""
    BROKEN_OFF = auto()
    """The connection broke, or 408: the request may not have been processed. It is sent once more."""
    UNKNOWN = auto()
    """No answer in time. The server may have spent the refresh token: it is not sent again right away."""


class TokenReply(msgspec.Struct, frozen=True):
    """An answer of the token endpoint, read. Its text holds no secret."""

    reply: Reply
    text: str = ""
    token: Token | None = None
    """What to save, also when the answer is not a grant: a refresh token came with it."""
    lifetime: float = math.inf
    """Seconds that the access token lives from when it was asked for; infinite if the endpoint did not say."""
    retry_after: float | None = None


def token_request(client_id: str, client_secret: str, client_auth: ClientAuth, form: dict[str, str]) -> dict[str, Any]:
    """Make a token request, with the client's credentials in a header (RFC 6749 2.3.1) or in the body."""
    headers = {
        "Accept-Encoding": "identity",  # one thing less that can go wrong with an answer that comes once
        "Content-Type": "application/x-www-form-urlencoded",
    }
    if client_auth == "basic":
        pair = f"{quote_plus(client_id)}:{quote_plus(client_secret)}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    else:
        form = {**form, "client_id": client_id, "client_secret": client_secret}
    return {"method": "POST", "url": "", "headers": headers, "content": urlencode(form).encode()}


def read_token_reply(response: Response | TransportFailure, before: Token, *, now: float) -> TokenReply:
    """Read an answer; `before` is the token that the request used, `now` the wall clock when it was sent."""
    if isinstance(response, TransportFailure):
        return _read_failure(response, before, now)
    status = response.status
    what = f"the token endpoint answered {status}"
    if status == HTTPStatus.TOO_MANY_REQUESTS or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return TokenReply(Reply.RETRYABLE, what, retry_after=retry_after(response.headers, now))
    if HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES:
        return _read_success(response, before, what, now)
    if status == HTTPStatus.REQUEST_TIMEOUT:
        return TokenReply(Reply.BROKEN_OFF, what)
    error = (read_object(response.body) or {}).get("error")
    if error == "invalid_grant" and status >= HTTPStatus.BAD_REQUEST:
        return TokenReply(Reply.INVALID_GRANT, f"{what} invalid_grant")
    return _read_error(error, what)


def _read_failure(failure: TransportFailure, before: Token, now: float) -> TokenReply:
    if failure.unfinished is not None:
        reply = read_token_reply(failure.unfinished, before, now=now)
        if reply.token is not None:
            return reply
    reason = printable(failure.reason)
    if is_of_the_proxy(failure):
        return TokenReply(Reply.UNUSABLE, f"{reason}: check the proxy, its user name and its password")
    if not failure.sent:
        return TokenReply(Reply.RETRYABLE, f"the token endpoint could not be reached ({reason})")
    if failure.timed_out:
        return TokenReply(Reply.UNKNOWN, "the token endpoint gave no answer in time")
    return TokenReply(Reply.BROKEN_OFF, f"the connection to the token endpoint broke ({reason})")


def is_of_the_proxy(failure: TransportFailure) -> bool:
    """Return whether the proxy refused, which it will do again."""
    return failure.cause in {Cause.PROXY_CREDENTIALS, Cause.PROXY_REFUSAL}


def read_object(body: bytes) -> dict[str, Any] | None:
    """Read a JSON object; None if it is not one."""
    try:
        document = decode(Any, body)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _read_error(error: object, what: str) -> TokenReply:
    if not isinstance(error, str) or not error:
        return TokenReply(Reply.UNUSABLE, what if error is None else f"{what} with an error that is not a code")
    return TokenReply(Reply.RETRYABLE if error in _NOT_NOW else Reply.REFUSED, f"{what} {printable(error)}")


def _read_success(response: Response, before: Token, what: str, now: float) -> TokenReply:
    """Read a 2xx. A refresh token in it replaces the one that was sent, whatever else is wrong with it."""
    document = read_object(response.body)
    problem: TokenReply | None
    if document is not None:
        problem = _find_problem(document, what)
    elif response.defect:
        problem = TokenReply(Reply.BROKEN_OFF, f"{what}, {response.defect}")
    else:
        problem = TokenReply(Reply.UNUSABLE, f"{what} with something else than a JSON object")
    if document is None:
        document = {"refresh_token": _find_refresh_token(response.body)}
    refresh_token, scope = document.get("refresh_token"), document.get("scope")
    token = Token(
        refresh_token=refresh_token if _is_text(refresh_token) else before.refresh_token,
        scope=scope if _is_text(scope) else before.scope,
    )
    if problem is not None:
        return msgspec.structs.replace(problem, token=token if _is_text(refresh_token) else None)
    lifetime = _lifetime(document.get("expires_in"))
    expires_at = None if math.isinf(lifetime) else datetime.fromtimestamp(now, UTC) + timedelta(seconds=lifetime)
    token = msgspec.structs.replace(token, access_token=document["access_token"], expires_at=expires_at)
    return TokenReply(Reply.GRANTED, token=token, lifetime=lifetime)


def _find_problem(document: dict[str, Any], what: str) -> TokenReply | None:
    """Return why a 2xx is not a grant; None: it is."""
    error, access_token, kind = (document.get(name) for name in ("error", "access_token", "token_type"))
    if error not in _ABSENT:
        return _read_error(error, what)
    if access_token is None:
        return TokenReply(Reply.UNUSABLE, f"{what} without an access token")
    if not isinstance(access_token, str) or not VISIBLE_ASCII.fullmatch(access_token):
        return TokenReply(Reply.UNUSABLE, f"{what} with an access token that cannot stand in a header")
    if kind not in _ABSENT and not (isinstance(kind, str) and kind.lower() == "bearer"):
        shown = printable(kind) if isinstance(kind, str) else "something else than text"
        return TokenReply(Reply.UNUSABLE, f"{what} with the token_type {shown}, not Bearer")
    return None


def _find_refresh_token(body: bytes) -> str | None:
    """Find the refresh token in a JSON object that was cut short behind it, or is damaged elsewhere."""
    body = body.lstrip()
    found = _CUT_REFRESH_TOKEN.findall(body) if body.startswith(b"{") else []
    try:
        value = decode(Any, found[0]) if len(found) == 1 else None
    except ValueError:
        return None
    return value if _is_text(value) else None


def _is_text(value: object) -> TypeGuard[str]:
    """Return whether a form can carry this. RFC 6749 A.17 allows less, but a server takes back what it gave."""
    return isinstance(value, str) and bool(value) and not SURROGATE.search(value)


def _lifetime(value: object) -> float:
    try:
        seconds = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]  # anything may come
    except (TypeError, ValueError, OverflowError):
        return math.inf
    return min(seconds, LONGEST_LIFE) if seconds >= SHORTEST_LIFE else math.inf
