"""The client of the token endpoint: asks until there is an answer."""

from __future__ import annotations

import asyncio
import base64
import logging
from dataclasses import dataclass, field
from urllib.parse import quote_plus

from ._addresses import Address
from ._answers import NoAnswer
from ._clock import Clock, Deadline
from ._network import Network, Timeout, Transport
from ._retry import RetryPolicy
from ._token_endpoint import ClientAuth, Reply, TokenReply, read_token_reply, token_request
from ._tokens import Token

ATTEMPT_TIMEOUT = 10.0
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
                    came = await network.exchange(slot, request, {"Accept-Encoding": "gzip"}, limit)
                except asyncio.CancelledError:  # of something inside: a transport's task, when asyncio.run ends
                    came = NoAnswer("the request was cancelled", sent=True, timed_out=False)
                finally:
                    slot.home.release(slot)
                reply = read_token_reply(came, token, now=clock.wall())
                if reply.reply is Reply.GRANTED:
                    return reply
                for secret in self._secrets(token):
                    came = came.without(secret)
                text = read_token_reply(came, token, now=clock.wall()).text
                reply = TokenReply(reply.reply, text, retry_after=reply.retry_after)
                wait = max(policy.backoff(retries, clock), reply.retry_after or 0.0)
                again = reply.reply is Reply.LATER or (reply.reply is Reply.LOST and not resent)
                if not again or wait + LEAST_TIME > deadline.remaining():
                    return reply
                resent = resent or reply.reply is Reply.LOST
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
