"""One request and its response."""

from __future__ import annotations

import contextlib
import ssl
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from http import HTTPStatus
from math import inf
from typing import Any

import httpx

from brex_accounting._arguments import check_positive

from .body import Body
from .connection import holds_more, network_stream
from .failures import NEVER_SENT, by_cause, read_failure
from .response import Response, TransportFailure


@dataclass(frozen=True, slots=True)
class Timeout:
    """How long one attempt may take: as a whole (a number), or each phase of it (httpx.Timeout)."""

    whole: float
    phases: Mapping[str, float | None]
    by_phase: bool = True
    """Whether a phase may have less than the whole."""

    @classmethod
    def of(cls, value: object) -> Timeout:
        if isinstance(value, httpx.Timeout):
            for phase, most in value.as_dict().items():
                if most is not None:
                    check_positive(most, f"The {phase} timeout")
            return cls(inf, value.as_dict())
        seconds = check_positive(value, "timeout")
        return cls(seconds, httpx.Timeout(seconds).as_dict(), by_phase=False)

    def within(self, remaining: float) -> Timeout:
        """The same, but no longer than what remains of the call."""
        if self.whole <= remaining and not self.by_phase:
            return self
        phases = {name: min(inf if most is None else most, remaining) for name, most in self.phases.items()}
        return Timeout(min(self.whole, remaining), phases, self.by_phase)


@dataclass(slots=True, repr=False)
class Message:
    """A request. Its repr shows none of it: tracebacks with locals show reprs."""

    method: str
    url: str
    host: str
    """For the Host header."""
    headers: Mapping[str, str]
    content: bytes | None

    def to_httpx(self, extensions: dict[str, Any]) -> httpx.Request:
        """Make httpx's request. Given a stream, it leaves the headers alone, which takes a third of the time."""
        headers = {"Host": self.host, **self.headers}
        if self.content is not None or self.method != "GET":
            headers["Content-Length"] = str(len(self.content or b""))
        stream = httpx.ByteStream(self.content or b"")
        request = httpx.Request(self.method, parsed(self.url), headers=headers, stream=stream, extensions=extensions)
        request.read()
        return request


class DirectTransport(httpx.AsyncBaseTransport):
    """A transport of ours that can do without httpx's requests and responses."""

    def configure(self, ssl_context: ssl.SSLContext | None, proxy: httpx.Proxy | None) -> None:
        """Use the certificates and the proxy of the client. Raises ConfigurationError."""
        raise NotImplementedError

    def close_idle(self, *streams: Any) -> None:
        """Close these connections, or all, unless a request has them."""
        raise NotImplementedError

    async def send(self, message: Message, limit: Timeout, exchange: Exchange) -> Response:
        """Send a message. Reports to the exchange when the request is about to go out, and what is received."""
        raise NotImplementedError


@dataclass(slots=True)
class Exchange:
    """A request on its way out, and its response on its way in."""

    half_open: Any = None
    """A connection that httpcore does not own yet, and so does not close if its TLS handshake is cancelled."""
    stream: Any = None
    """The connection that the response came over."""
    reusable: bool = False
    """Whether the connection may carry another request."""
    _sent: bool | None = False
    """Whether anything of the request may have gone out; None: the transport does not report it."""
    _connected: bool = False
    _kept: bool = False
    """Whether the request went out on a connection kept from an earlier one."""
    _status: int | None = None
    _headers: Mapping[str, str] = field(init=False, repr=False)
    _body: Body = field(init=False, repr=False)

    async def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Learn from httpcore's trace whether the request was sent; the class of an error does not always say."""
        self.watch()
        if event.endswith(("connect_tcp.complete", "connect_unix_socket.complete")):
            self.half_open = info["return_value"]
            self._connected = True
        elif event.endswith("send_request_headers.started"):
            self.half_open = None
            if info["request"].method != b"CONNECT":
                self.sending(kept=not self._connected)

    def watch(self) -> None:
        """Learn that the transport reports when the request is about to go out."""
        self._sent = self._sent or False

    def sending(self, *, kept: bool) -> None:
        """Learn that the request is about to go out, on a new connection or on one kept from an earlier request."""
        self._sent = True
        self._kept = kept

    def begin(self, status: int, headers: Mapping[str, str], content_encoding: str | None) -> Body:
        """Learn the head of the response; return what takes its body."""
        self._status, self._headers, self._body = status, headers, Body(content_encoding)
        return self._body

    def end(self, *, surplus: bool | None = False) -> Response:
        """Return the response, received to its end; `surplus` None: what lies behind it cannot be seen."""
        response = self._response(self._body.defect, surplus=surplus is True)
        self.reusable = surplus is False and not response.too_large and response.defect is None
        return response

    def _response(self, defect: str | None, *, surplus: bool = False) -> Response:
        assert self._status is not None  # noqa: S101 - it has begun
        return Response(self._status, self._headers, self._body.content, defect, self._body.too_large, surplus)

    async def run(self, transport: httpx.AsyncBaseTransport, message: Message, limit: Timeout) -> Response:
        """Send a message and read the response. Whatever this raises, `ended_by` makes a value of it."""
        if isinstance(transport, DirectTransport):
            self.watch()
            return await transport.send(message, limit, self)
        request = message.to_httpx({"timeout": limit.phases, "trace": self.trace})
        self._sent = None
        response = await transport.handle_async_request(request)
        surplus: bool | None = False
        try:
            if response.is_stream_consumed and not isinstance(response.stream, httpx.ByteStream):
                self.begin(response.status_code, response.headers, None).feed(response.content)  # is decompressed
            else:
                body = self.begin(response.status_code, response.headers, response.headers.get("content-encoding"))
                async for chunk in response.stream:  # type: ignore[union-attr]  # of an asynchronous transport
                    body.feed(chunk)
                    if body.too_large:
                        break
                else:
                    surplus = holds_more(response)
                    if surplus:  # before its pool, which may be the caller's, can use it again
                        await network_stream(response).aclose()
        finally:
            with contextlib.suppress(Exception):  # which would hide how it ended
                await response.aclose()
        self.stream = network_stream(response)
        return self.end(surplus=surplus)

    def ended_by(self, error: Exception) -> Response | TransportFailure:
        """Return what was received before the error. A status that says no counts, whatever happened to its body."""
        error = by_cause(error)
        timed_out = isinstance(error, (TimeoutError, httpx.TimeoutException))
        if self._status is None:
            sent = not isinstance(error, NEVER_SENT) if self._sent is None else self._sent
            return read_failure(error, sent=sent, kept=self._kept)
        if self._status >= HTTPStatus.BAD_REQUEST or not timed_out:
            broken = isinstance(error, zlib.error)
            return self._response(f"its body {'cannot be decompressed' if broken else 'was cut short'}")
        unfinished = self._response("its body did not end in time")
        return replace(read_failure(error, sent=True), unfinished=unfinished)


@lru_cache(maxsize=64)
def parsed(url: str) -> httpx.URL:
    """Parsing takes a tenth of the CPU time of a call, and most calls go to one of a few addresses."""
    return httpx.URL(url)
