"""Requests to an authorization server, sent so that nothing that works only once is spent twice."""

from __future__ import annotations

import asyncio
import base64
import logging
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from math import inf
from typing import Any, TypeVar
from urllib.parse import quote_plus

import msgspec

from brex_accounting._clock import Clock, Deadline
from brex_accounting._http.addresses import Address
from brex_accounting._http.connector import Transport, check_connecting
from brex_accounting._http.exchange import Timeout
from brex_accounting._http.network import Network
from brex_accounting._http.response import Response, TransportFailure
from brex_accounting._retry import RetryPolicy
from brex_accounting._text import Secret

from .token_messages import ClientAuth, Reply, TokenReply, read_token_reply, token_request
from .tokens import Token

RETRY_WINDOW = 30.0
"""Seconds from the first attempt within which another one may begin."""
ANSWER_TIMEOUT = 30.0
"""Seconds to wait for the answer to a request that spends something, at the most."""
CONNECT_TIMEOUT = 10.0

R = TypeVar("R", bound=TokenReply)

logger = logging.getLogger("brex_accounting")


class Retries:
    """When to send a request again, and when to give up."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._window = Deadline(RETRY_WINDOW, clock)
        self._attempts = 0
        self._resent = False

    def begin(self) -> None:
        """An attempt begins."""
        self._window.start()

    def wait_after(self, reply: TokenReply) -> float | None:
        """Return the seconds to wait before the next attempt; None: there is none.

        What may have been processed is sent once more if the connection broke, since that is soon and a server may have
        a grace; never after a timeout.
        """
        again = reply.reply is Reply.RETRYABLE or (reply.reply is Reply.BROKEN_OFF and not self._resent)
        wait = max(RetryPolicy().backoff(self._attempts, self._clock), reply.retry_after or 0.0)
        if not again or wait >= self._window.remaining():
            return None
        self._resent = self._resent or reply.reply is Reply.BROKEN_OFF
        self._attempts += 1
        logger.info("authorization server: %s, the next attempt is in %.3f s", reply.text, wait)
        return wait


async def persist(attempt: Callable[[], Awaitable[R]], clock: Clock) -> R:
    """Make attempts until one comes to something definite, or the time is over."""
    retries = Retries(clock)
    while True:
        retries.begin()
        reply = await attempt()
        wait = None if reply.token is not None else retries.wait_after(reply)
        if wait is None:
            return reply
        await clock.sleep(wait)


@dataclass(frozen=True, slots=True)
class Route:
    """How requests reach an authorization server."""

    transport: Transport
    ssl_context: ssl.SSLContext | None
    proxy: str | None = field(repr=False)

    def __post_init__(self) -> None:
        check_connecting(self.transport, self.ssl_context, self.proxy)

    async def send(
        self,
        url: Address,
        request: Callable[[], dict[str, Any]],
        read: Callable[[Response | TransportFailure, float], R],
        *,
        seconds: float,
        clock: Clock,
    ) -> R:
        """Send a request on a connection of its own.

        Args:
            url: Where to.
            request: Makes the request.
            read: Reads what comes, given the seconds that it took.
            seconds: How long to wait for the answer.
            clock: Measures the time that it took.
        """
        phases = {"connect": min(seconds, CONNECT_TIMEOUT), "read": None, "write": None, "pool": None}
        network = Network(url, self.transport, 1, ssl_context=self.ssl_context, proxy=self.proxy)
        try:
            slot = await network.acquire()
            began = clock.monotonic()
            try:
                response = await network.exchange(slot, request(), {}, Timeout(seconds, phases))
            except asyncio.CancelledError:
                if _is_cancelled():
                    raise
                response = TransportFailure("the request was cancelled", sent=True, timed_out=False)
            finally:
                slot.pool.release(slot)
            return read(response, clock.monotonic() - began)
        finally:
            await network.aclose()


def _is_cancelled() -> bool:
    """Return whether this task was cancelled, and not something inside: a transport's task, when asyncio.run ends."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


@dataclass(frozen=True, slots=True)
class TokenEndpoint:
    """Where tokens come from, and who asks for them."""

    url: Address
    client_id: str
    client_secret: str = field(repr=False)
    client_auth: ClientAuth
    route: Route

    async def refresh(self, token: Token, clock: Clock, seconds: float) -> TokenReply:
        """Ask once for an access token (RFC 6749 6), and wait so long for the answer."""
        form = {"grant_type": "refresh_token", "refresh_token": Secret(token.refresh_token or "")}
        return await self._send(form, token, clock, seconds)

    async def redeem(
        self, code: Secret, code_verifier: Secret, redirect_uri: str, scope: str, clock: Clock
    ) -> TokenReply:
        """Ask once for what a code gives (RFC 6749 4.1.3). An answer that names no scope grants all that was asked."""
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": code_verifier,
        }
        return await self._send(form, Token(scope=scope), clock)

    async def _send(self, form: dict[str, str], before: Token, clock: Clock, seconds: float = inf) -> TokenReply:
        hidden = self._as_sent(self.client_secret, *(value for value in form.values() if isinstance(value, Secret)))

        def request() -> dict[str, Any]:
            return token_request(self.client_id, self.client_secret, self.client_auth, form)

        def read(response: Response | TransportFailure, seconds: float) -> TokenReply:
            sent_at = clock.wall() - seconds
            reply = read_token_reply(response, before, now=sent_at)
            if reply.reply is Reply.GRANTED:
                return msgspec.structs.replace(reply, lifetime=reply.lifetime - seconds)
            if reply.reply is Reply.UNKNOWN:
                text = f"the token endpoint gave no answer in {seconds:.0f} s"
                return msgspec.structs.replace(reply, text=text)
            for secret in hidden:
                response = response.without(secret)
            return msgspec.structs.replace(reply, text=read_token_reply(response, before, now=sent_at).text)

        return await self.route.send(self.url, request, read, seconds=min(seconds, ANSWER_TIMEOUT), clock=clock)

    def _as_sent(self, *secrets: str) -> set[Secret]:
        """Return secrets as they are and as they go over the wire."""
        pair = f"{quote_plus(self.client_id)}:{quote_plus(self.client_secret)}"
        return set(map(Secret, (*secrets, *map(quote_plus, secrets), base64.b64encode(pair.encode()).decode())))
