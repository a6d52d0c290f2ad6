"""One request and its response."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from math import inf
from typing import Any

import httpx

from brex_accounting._arguments import check_positive

from .aiohttp import by_cause
from .body import Body
from .response import Response, TransportFailure

NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


@dataclass(frozen=True, slots=True)
class Timeout:
    """How long one attempt may take: as a whole (a number), or for each phase (httpx.Timeout)."""

    whole: float
    phases: Mapping[str, float | None]

    @classmethod
    def of(cls, value: object) -> Timeout:
        if isinstance(value, httpx.Timeout):
            for phase, most in value.as_dict().items():
                if most is not None:
                    check_positive(most, f"The {phase} timeout")
            return cls(inf, value.as_dict())
        seconds = check_positive(value, "timeout")
        return cls(seconds, httpx.Timeout(seconds).as_dict())

    def within(self, remaining: float) -> Timeout:
        """The same, but no longer than what remains of the call."""
        phases = {name: min(inf if most is None else most, remaining) for name, most in self.phases.items()}
        return Timeout(min(self.whole, remaining), phases)


@dataclass(slots=True)
class _Exchange:
    """A request on its way out, and its answer on its way in."""

    half_open: Any = None
    """A connection that nobody closes when its TLS handshake is cancelled, for httpcore has not yet taken it over."""
    _handed_over: bool = False
    _traced: bool = False
    _sent: bool = False
    _response: httpx.Response | None = None
    _body: Body = field(default_factory=Body)

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Learn from httpcore's trace whether the request went out, for an error's class alone does not tell."""
        self._traced = True
        if event.endswith("connect_tcp.complete"):
            self.half_open = info["return_value"]
        elif event.endswith("send_request_headers.started"):
            self.half_open = None
            self._sent = self._sent or info["request"].method != b"CONNECT"

    def forget(self) -> None:
        """Let go of the answer, which leads back here by its request's trace: a circle would keep its body for long."""
        self._response = None

    async def run(self, transport: httpx.AsyncBaseTransport, request: httpx.Request) -> Response:
        self._handed_over = True
        self._response = response = await transport.handle_async_request(request)
        try:
            if response.is_stream_consumed and not isinstance(response.stream, httpx.ByteStream):
                self._body.feed(response.content)  # httpx has decompressed it
            else:
                self._body = Body(response.headers.get("content-encoding"))
                async for chunk in response.stream:  # type: ignore[union-attr]  # of an asynchronous transport
                    self._body.feed(chunk)
                    if self._body.too_large:
                        break
        finally:
            with contextlib.suppress(Exception):  # which would hide how it ended
                await response.aclose()
        return self._answer(response, self._body.defect)

    def ended_by(self, error: Exception) -> Response | TransportFailure:
        """Tell what came, as far as it came. A status that says no is an answer whatever became of its body."""
        error = by_cause(error)
        timed_out = isinstance(error, (TimeoutError, httpx.TimeoutException))
        response = self._response
        if response is not None and (response.status_code >= HTTPStatus.BAD_REQUEST or not timed_out):
            broken = isinstance(error, zlib.error)
            return self._answer(response, f"its body {'cannot be decompressed' if broken else 'was cut short'}")
        sent = self._sent if self._traced else self._handed_over and not isinstance(error, NEVER_SENT)
        reason = "no answer in time" if timed_out else f"{type(error).__name__}: {error}".removesuffix(": ")
        return TransportFailure(reason, sent=sent or response is not None, timed_out=timed_out)

    def _answer(self, response: httpx.Response, defect: str | None) -> Response:
        return Response(response.status_code, response.headers, self._body.content, defect, self._body.too_large)
