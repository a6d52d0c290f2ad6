"""What to ask of the token endpoint, and how to read what it answers (RFC 6749 5 and 6). No I/O."""

from __future__ import annotations

import base64
import math
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from http import HTTPStatus
from typing import Any, Literal, TypeGuard
from urllib.parse import quote_plus, urlencode

import msgspec

from brex_accounting_api.types import decode

from ._answers import Answer, NoAnswer, printable, retry_after
from ._arguments import SURROGATE
from ._tokens import Token

LONGEST_LIFE = 10 * 365 * 86400.0
"""Seconds; what is said to live longer is believed so much, which a datetime can hold."""

SHORTEST_LIFE = 1.0
"""Seconds; less is not believed, as each call would need a token of its own."""

ClientAuth = Literal["basic", "body"]


class Reply(Enum):
    """What an answer of the token endpoint means."""

    GRANTED = auto()
    DEAD = auto()
    """invalid_grant: this refresh token will never give a token again."""
    REFUSED = auto()
    """It was understood and refused, or makes no sense: asking again changes nothing."""
    LATER = auto()
    """429 or 5xx, or nothing was sent: asking again may help."""
    LOST = auto()
    """It was sent, and what came of it is not known: the refresh token may be used up."""


class TokenReply(msgspec.Struct, frozen=True):
    """An answer of the token endpoint, read. Its text holds no secret."""

    reply: Reply
    text: str = ""
    token: Token | None = None
    lifetime: float = math.inf
    """Seconds, by what the endpoint said; infinite where it said nothing that makes sense."""
    retry_after: float | None = None


def token_request(client_id: str, client_secret: str, client_auth: ClientAuth, form: dict[str, str]) -> dict[str, Any]:
    """Make a token request, with the client's credentials in a header (RFC 6749 2.3.1) or in the body."""
    headers = {"Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}
    if client_auth == "basic":
        pair = f"{quote_plus(client_id)}:{quote_plus(client_secret)}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    else:
        form = {**form, "client_id": client_id, "client_secret": client_secret}
    return {"method": "POST", "url": "", "headers": headers, "content": urlencode(form).encode()}


def read_token_reply(came: Answer | NoAnswer, before: Token, *, now: float) -> TokenReply:
    """Read an answer; `before` is the token that the request used, `now` the wall clock."""
    if isinstance(came, NoAnswer):
        return TokenReply(Reply.LOST if came.sent else Reply.LATER, printable(came.reason))
    what = f"the token endpoint answered {came.status}"
    if came.status == HTTPStatus.TOO_MANY_REQUESTS or came.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return TokenReply(Reply.LATER, what, retry_after=retry_after(came.headers, now))
    if came.status == HTTPStatus.REQUEST_TIMEOUT or (came.status == HTTPStatus.OK and came.defect):
        return TokenReply(Reply.LOST, f"{what}, {came.defect or 'too late'}")
    document = _read(came.body)
    error = document.get("error")
    if error is not None:
        dead = error == "invalid_grant" and came.status >= HTTPStatus.BAD_REQUEST
        return TokenReply(
            Reply.DEAD if dead else Reply.REFUSED,
            f"{what} {printable(error) if isinstance(error, str) else 'with an error'}",
        )
    if came.status != HTTPStatus.OK:
        return TokenReply(Reply.REFUSED, what)
    return _granted(document, before, what, now)


def _read(body: bytes) -> dict[str, Any]:
    try:
        document = decode(Any, body)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _granted(document: dict[str, Any], before: Token, what: str, now: float) -> TokenReply:
    access_token, refresh_token, scope = (document.get(name) for name in ("access_token", "refresh_token", "scope"))
    kind = document.get("token_type")
    bearer = kind is None or (isinstance(kind, str) and kind.lower() == "bearer")
    if not _is_token(access_token) or " " in access_token or not bearer:
        return TokenReply(Reply.REFUSED, f"{what} without a bearer token")
    lifetime = _lifetime(document.get("expires_in"))
    token = Token(
        access_token=access_token,
        refresh_token=refresh_token if _is_token(refresh_token) else before.refresh_token,
        expires_at=None if math.isinf(lifetime) else datetime.fromtimestamp(now, UTC) + timedelta(seconds=lifetime),
        scope=scope if isinstance(scope, str) and not SURROGATE.search(scope) else before.scope,
    )
    return TokenReply(Reply.GRANTED, token=token, lifetime=lifetime)


def _is_token(value: object) -> TypeGuard[str]:
    """By RFC 6749 (A.12, A.17) a token may hold spaces; in a header it cannot."""
    return isinstance(value, str) and bool(value) and value.isascii() and value.isprintable()


def _lifetime(value: object) -> float:
    try:
        seconds = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]  # anything may come
    except (TypeError, ValueError, OverflowError):
        return math.inf
    return min(seconds, LONGEST_LIFE) if seconds >= SHORTEST_LIFE else math.inf
