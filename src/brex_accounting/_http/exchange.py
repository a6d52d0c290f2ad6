"""One request and its response."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from math import inf
from typing import Any

import httpx

from brex_accounting._arguments import check_positive

from .aiohttp import by_cause
from .body import Body
from .connection import holds_more, network_stream
from .failures import NEVER_SENT, read_failure
from .response import Response, TransportFailure


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
class Exchange:
    """A request on its way out, and its response on its way in."""

    half_open: Any = None
    """A connection that nobody closes when its TLS handshake is cancelled, for httpcore has not yet taken it over."""
    stream: Any = None
    """The connection that the response came over."""
    reusable: bool = False
    """Whether the connection may carry another request."""
    _handed_over: bool = False
    _traced: bool = False
    _sent: bool = False
    _response: httpx.Response | None = None
    _body: Body = field(default_factory=Body)

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Learn from httpcore's trace whether the request went out, since an error's class alone does not say so."""
        self._traced = True
        if event.endswith("connect_tcp.complete"):
            self.half_open = info["return_value"]
        elif event.endswith("send_request_headers.started"):
            self.half_open = None
            self._sent = self._sent or info["request"].method != b"CONNECT"

    def forget(self) -> None:
        """Let go of the response, which leads back here by its request's trace: a cycle would keep its body alive."""
        self._response = None

    async def run(self, transport: httpx.AsyncBaseTransport, request: httpx.Request) -> Response:
        self._handed_over = True
        self._response = response = await transport.handle_async_request(request)
        surplus: bool | None = False
        try:
            if response.is_stream_consumed and not isinstance(response.stream, httpx.ByteStream):
                self._body.feed(response.content)  # httpx has decompressed it
            else:
                self._body = Body(response.headers.get("content-encoding"))
                async for chunk in response.stream:  # type: ignore[union-attr]  # of an asynchronous transport
                    self._body.feed(chunk)
                    if self._body.too_large:
                        break
                else:
                    surplus = holds_more(response)
                    if surplus:  # before its pool, which may be the caller's, can use it again
                        await network_stream(response).aclose()
        finally:
            with contextlib.suppress(Exception):  # which would hide how it ended
                await response.aclose()
        received = self._receive(response, self._body.defect, surplus=surplus is True)
        if not (received.too_large or received.defect) and surplus is False:
            self.stream = network_stream(response)
            self.reusable = True
        return received

    def ended_by(self, error: Exception) -> Response | TransportFailure:
        """Return what was received, as far as it was. A status that says no counts, whatever happened to its body."""
        error = by_cause(error)
        timed_out = isinstance(error, (TimeoutError, httpx.TimeoutException))
        response = self._response
        if response is not None and (response.status_code >= HTTPStatus.BAD_REQUEST or not timed_out):
            broken = isinstance(error, zlib.error)
            return self._receive(response, f"its body {'cannot be decompressed' if broken else 'was cut short'}")
        sent = self._sent if self._traced else self._handed_over and not isinstance(error, NEVER_SENT)
        if response is None:
            return read_failure(error, sent=sent)
        unfinished = self._receive(response, "its body did not end in time")
        return replace(read_failure(error, sent=True), unfinished=unfinished)

    def _receive(self, response: httpx.Response, defect: str | None, *, surplus: bool = False) -> Response:
        return Response(
            response.status_code, response.headers, self._body.content, defect, self._body.too_large, surplus
        )
