"""What to ask of the token endpoint, and how to read what it answers (RFC 6749 5 and 6). No I/O."""

from __future__ import annotations

import asyncio
import base64
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from http import HTTPStatus
from typing import Any, Literal, TypeGuard
from urllib.parse import quote_plus, urlencode

import msgspec

from brex_accounting._arguments import SURROGATE
from brex_accounting._clock import Clock, Deadline
from brex_accounting._http.addresses import Address, check_base_url
from brex_accounting._http.exchange import Timeout
from brex_accounting._http.network import Network, Transport
from brex_accounting._http.response import Response, TransportFailure, retry_after
from brex_accounting._retry import RetryPolicy
from brex_accounting._text import printable
from brex_accounting_api.codec import decode

from .tokens import Token

LONGEST_LIFE = 10 * 365 * 86400.0
"""Seconds; what is said to live longer is believed so much, which a datetime can hold."""

SHORTEST_LIFE = 1.0
"""Seconds; less is not believed, as each call would need a token of its own."""

_clock = Clock()

ClientAuth = Literal["basic", "body"]


class Reply(Enum):
    """What an answer of the token endpoint means."""

    GRANTED = auto()
    INVALID_GRANT = auto()
    """invalid_grant: this refresh token will never give a token again."""
    REFUSED = auto()
    """It was understood and refused, or makes no sense: asking again changes nothing."""
    RETRYABLE = auto()
    """429 or 5xx, or nothing was sent: asking again may help."""
    UNKNOWN = auto()
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
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    if client_auth == "basic":
        pair = f"{quote_plus(client_id)}:{quote_plus(client_secret)}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    else:
        form = {**form, "client_id": client_id, "client_secret": client_secret}
    return {"method": "POST", "url": "", "headers": headers, "content": urlencode(form).encode()}


def read_token_reply(came: Response | TransportFailure, before: Token, *, now: float) -> TokenReply:
    """Read an answer; `before` is the token that the request used, `now` the wall clock."""
    if isinstance(came, TransportFailure):
        return TokenReply(Reply.UNKNOWN if came.sent else Reply.RETRYABLE, printable(came.reason))
    what = f"the token endpoint answered {came.status}"
    if came.status == HTTPStatus.TOO_MANY_REQUESTS or came.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return TokenReply(Reply.RETRYABLE, what, retry_after=retry_after(came.headers, now))
    if came.status == HTTPStatus.REQUEST_TIMEOUT or (came.status == HTTPStatus.OK and came.defect):
        return TokenReply(Reply.UNKNOWN, f"{what}, {came.defect or 'too late'}")
    document = _read(came.body)
    error = document.get("error")
    if error is not None:
        dead = error == "invalid_grant" and came.status >= HTTPStatus.BAD_REQUEST
        return TokenReply(
            Reply.INVALID_GRANT if dead else Reply.REFUSED,
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


DEADLINE = 30.0
"""Seconds for all attempts of one request."""


async def ask(
    address: str,
    transport: Transport,
    request: Callable[[], dict[str, Any]],
    read: Callable[[Response | TransportFailure], TokenReply],
) -> tuple[Response | TransportFailure, TokenReply]:
    """Ask until there is an answer.

    What was sent and not answered is sent once more: what the first one may have brought is lost in any case.
    """
    policy, deadline, resent = RetryPolicy(), Deadline(DEADLINE, _clock), False
    deadline.start()
    network = Network(check_base_url(address), transport, 1)
    try:
        for attempt in range(policy.max_attempts):
            limit = Timeout.of(min(ATTEMPT_TIMEOUT, max(deadline.remaining(), 0.001)))
            slot = await network.acquire(again=attempt > 0)
            try:
                came = await network.exchange(slot, request(), _HEADERS, limit)
            finally:
                slot.pool.release(slot)
            reply = read(came)
            wait = max(policy.backoff(attempt, _clock), reply.retry_after or 0.0)
            again = reply.reply is Reply.RETRYABLE or (reply.reply is Reply.UNKNOWN and not resent)
            if not again or wait >= deadline.remaining() or attempt + 1 == policy.max_attempts:
                break
            resent = resent or reply.reply is Reply.UNKNOWN
            await _clock.sleep(wait)
        return came, reply
    finally:
        await network.aclose()


ATTEMPT_TIMEOUT = 10.0
_HEADERS = {"Accept-Encoding": "identity"}
"""A grant is short, and the fewer ways there are to misread it, the better."""


LEAST_TIME = 1.0
"""Seconds without which nothing is sent: an answer that comes too late is a token that is lost."""


logger = logging.getLogger("brex_accounting")


@dataclass(frozen=True, slots=True)
class TokenEndpoint:
    """Where tokens are refreshed, and as whom."""

    url: Address
    client_id: str
    client_secret: str = field(repr=False)
    client_auth: ClientAuth
    transport: Transport

    async def refresh(self, token: Token, deadline: Deadline, clock: Clock) -> TokenReply:
        """Ask until there is an answer. What was sent and not answered is sent once more: a server may have a grace."""
        form = {"grant_type": "refresh_token", "refresh_token": token.refresh_token or ""}
        request = token_request(self.client_id, self.client_secret, self.client_auth, form)
        policy, retries, resent = RetryPolicy(), 0, False
        network = Network(self.url, self.transport, 1)
        try:
            while True:
                limit = Timeout.of(min(ATTEMPT_TIMEOUT, max(deadline.remaining(), LEAST_TIME)))
                slot = await network.acquire()
                try:
                    came = await network.exchange(slot, request, _HEADERS, limit)
                except asyncio.CancelledError:  # of something inside: a transport's task, when asyncio.run ends
                    came = TransportFailure("the request was cancelled", sent=True, timed_out=False)
                finally:
                    slot.pool.release(slot)
                reply = read_token_reply(came, token, now=clock.wall())
                if reply.reply is Reply.GRANTED:
                    return reply
                for secret in self._secrets(token):
                    came = came.without(secret)
                text = read_token_reply(came, token, now=clock.wall()).text
                reply = TokenReply(reply.reply, text, retry_after=reply.retry_after)
                wait = max(policy.backoff(retries, clock), reply.retry_after or 0.0)
                again = reply.reply is Reply.RETRYABLE or (reply.reply is Reply.UNKNOWN and not resent)
                if not again or wait + LEAST_TIME > deadline.remaining():
                    return reply
                resent = resent or reply.reply is Reply.UNKNOWN
                retries += 1
                logger.info("token refresh: %s, the next attempt is in %.3f s", reply.reply.name.lower(), wait)
                await clock.sleep(wait)
        finally:
            await network.aclose()

    def _secrets(self, token: Token) -> set[str]:
        """What no text may show, as it is and as it goes over the wire."""
        plain = {self.client_secret, token.refresh_token or self.client_secret}
        pair = f"{quote_plus(self.client_id)}:{quote_plus(self.client_secret)}"
        return plain | {quote_plus(secret) for secret in plain} | {base64.b64encode(pair.encode()).decode()}
