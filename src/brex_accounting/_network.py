"""The rim: the only place that sends, and the only one that knows httpx.

A gate of slots stands before the network, each slot with a transport of its own that holds one connection and is thrown
away when its exchange was cancelled or broke. One shared pool would lose connections for ever when tasks are cancelled
under contention (httpcore issue 1093), and scans itself on every request.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import ssl
import urllib.request
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import httpx

from ._answers import Answer, NoAnswer
from ._arguments import check_positive, refuse

MAX_BODY = 64 * 1024 * 1024
NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)

Transport = httpx.AsyncBaseTransport | Callable[[], httpx.AsyncBaseTransport] | None


def check_base_url(value: object, name: str = "base_url") -> httpx.URL:
    """Check an address that credentials will be sent to. Never repeats it: it may hold a password."""
    if not isinstance(value, str):
        refuse(f"{name} must be a string.")
    try:
        url = httpx.URL(value)
    except httpx.InvalidURL:
        url = httpx.URL()
    if url.scheme not in {"https", "http"} or not url.host:
        refuse(f"{name} must be an address such as https://api.brex.com.")
    if url.userinfo:
        refuse(f"{name} must not hold a user name or password: pass a token as auth.")
    if url.query or url.fragment or "?" in value or "#" in value:
        refuse(f"{name} must not hold a query or a fragment.")
    if url.scheme == "http" and not _is_loopback(url.host):
        refuse(f"{name} must be https: http, which anyone on the way can read, is for loopback only.")
    return url


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True, slots=True)
class Timeout:
    """How long one attempt may take: as a whole (a number), or for each phase (httpx.Timeout)."""

    whole: float | None
    phases: Mapping[str, float | None]

    @classmethod
    def of(cls, value: object) -> Timeout:
        if isinstance(value, httpx.Timeout):
            return cls(None, value.as_dict())
        seconds = check_positive(value, "timeout")
        return cls(seconds, httpx.Timeout(seconds).as_dict())

    def within(self, remaining: float) -> Timeout:
        """The same, but no longer than what remains of the call."""
        phases = {
            name: remaining if seconds is None else min(seconds, remaining) for name, seconds in self.phases.items()
        }
        return Timeout(remaining if self.whole is None else min(self.whole, remaining), phases)


class Slot:
    """One place on the wire."""

    __slots__ = ("_home", "broken", "transport")

    def __init__(self, transport: httpx.AsyncBaseTransport, home: _Slots) -> None:
        self.transport = transport
        self.broken = False
        self._home = home

    def release(self) -> None:
        self._home.release(self)


class _Slots:
    """The slots of one event loop: with a transport each, or around the one that the user brought."""

    def __init__(self, make: Callable[[], httpx.AsyncBaseTransport], *, size: int, shared: bool, owned: bool) -> None:
        self.loop = asyncio.get_running_loop()
        self._gate = asyncio.Semaphore(size)
        self._make = make
        self._shared = make() if shared else None
        self._owned = owned
        self._idle: list[Slot] = []
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False
        self._at_loop_end = self._janitor()

    async def open(self) -> None:
        # asyncio.run ends the loop's async generators while the loop still works: there the connections of a client
        # that was not closed, or that goes on in another loop, are closed without a warning.
        await anext(self._at_loop_end)

    async def aclose(self) -> None:
        await self._at_loop_end.aclose()

    async def acquire(self) -> Slot:
        await self._gate.acquire()
        if self._idle:
            return self._idle.pop()
        try:
            return Slot(self._shared or self._make(), self)
        except BaseException:
            self._gate.release()
            raise

    def release(self, slot: Slot) -> None:
        self._gate.release()
        if self._shared is not None:
            return
        if slot.broken or self._closed:
            # In a task of its own, so that a cancelled call ends at once.
            task = self.loop.create_task(_close_quietly(slot.transport))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)
        else:
            self._idle.append(slot)

    async def _janitor(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            self._closed = True
            idle, self._idle = self._idle, []
            for slot in idle:
                await _close_quietly(slot.transport)
            if self._shared is not None and self._owned:
                await _close_quietly(self._shared)
            if self._closing:
                await asyncio.wait(self._closing)


async def _close_quietly(transport: httpx.AsyncBaseTransport) -> None:
    with contextlib.suppress(httpx.HTTPError, OSError):  # what is thrown away may be broken already
        await transport.aclose()


class _Sending:
    """Learns from httpcore's trace whether a request went out, for a timeout alone does not tell."""

    __slots__ = ("sent", "traced")

    def __init__(self) -> None:
        self.sent = False
        self.traced = False

    async def trace(self, event: str, _info: Mapping[str, Any]) -> None:
        self.traced = True
        if event.endswith("send_request_headers.started"):
            self.sent = True

    @property
    def maybe_sent(self) -> bool:
        return self.sent or not self.traced


class Network:
    """Sends one request at a time for each slot, and tells what came back as a value, never as an exception."""

    def __init__(self, base_url: httpx.URL, transport: Transport, max_connections: int) -> None:
        self._base_url = str(base_url).rstrip("/")
        self._transport = transport
        self._size = max_connections
        self._slots: _Slots | None = None
        self._closed = False
        self._connect = _Connector(base_url)

    def __repr__(self) -> str:
        return self._base_url

    async def acquire(self) -> Slot:
        """Wait for a slot, in the order of arrival. Each slot is released once."""
        if self._closed:
            refuse("The client is closed: make a new one.")
        slots = self._slots
        if slots is None or slots.loop is not asyncio.get_running_loop():
            self._slots = slots = self._new_slots()
            await slots.open()
        return await slots.acquire()

    def _new_slots(self) -> _Slots:
        if self._transport is None:
            return _Slots(self._connect, size=self._size, shared=False, owned=True)
        if isinstance(self._transport, httpx.AsyncBaseTransport):
            transport = self._transport
            return _Slots(lambda: transport, size=self._size, shared=True, owned=False)
        return _Slots(self._transport, size=self._size, shared=True, owned=True)

    async def aclose(self) -> None:
        self._closed = True
        slots, self._slots = self._slots, None
        if slots is not None and slots.loop is asyncio.get_running_loop():
            await slots.aclose()

    async def exchange(
        self, slot: Slot, request: Mapping[str, Any], headers: Mapping[str, str], limit: Timeout
    ) -> Answer | NoAnswer:
        """Send what the generated `get_kwargs` gives, and read the answer, decompressed and up to 64 MiB."""
        sending = _Sending()
        message = httpx.Request(
            request["method"],
            self._base_url + request["url"],
            params=request.get("params"),
            headers={**headers, **request.get("headers", {})},
            content=request.get("content"),
            extensions={"timeout": limit.phases, "trace": sending.trace},
        )
        reading = _Reading()
        slot.broken = True
        try:
            async with asyncio.timeout(limit.whole):
                answer = await reading.run(slot.transport, message)
        except (TimeoutError, httpx.TimeoutException) as error:
            sent = sending.maybe_sent and not isinstance(error, NEVER_SENT)
            return reading.refusal() or NoAnswer("no answer in time", sent=sent, timed_out=True)
        except (httpx.TransportError, OSError) as error:
            sent = sending.maybe_sent and not isinstance(error, NEVER_SENT)
            reason = f"{type(error).__name__}: {error}".removesuffix(": ")
            return reading.so_far("its body was cut short") or NoAnswer(reason, sent=sent, timed_out=False)
        except httpx.DecodingError:
            return reading.so_far("its body cannot be decompressed") or NoAnswer(
                "DecodingError", sent=True, timed_out=False
            )
        slot.broken = answer.too_large
        return answer


class _Reading:
    """An answer on its way in."""

    def __init__(self) -> None:
        self._response: httpx.Response | None = None
        self._body = bytearray()

    async def run(self, transport: httpx.AsyncBaseTransport, request: httpx.Request) -> Answer:
        self._response = response = await transport.handle_async_request(request)
        try:
            async for chunk in response.aiter_bytes():
                if len(self._body) + len(chunk) > MAX_BODY:
                    return Answer(response.status_code, response.headers, b"", too_large=True)
                self._body += chunk
        finally:
            await response.aclose()
        return Answer(response.status_code, response.headers, bytes(self._body))

    def so_far(self, defect: str) -> Answer | None:
        response = self._response
        return response and Answer(response.status_code, response.headers, bytes(self._body), defect)

    def refusal(self) -> Answer | None:
        """A status that says no is an answer whatever became of its body; a success is none without its body."""
        answer = self.so_far("its body was cut short")
        return answer if answer is not None and answer.status >= HTTPStatus.BAD_REQUEST else None


class _Connector:
    """Makes the transport of a slot: one connection, HTTP/1.1, the environment's proxy, one SSL context for all."""

    def __init__(self, base_url: httpx.URL) -> None:
        self._secure = base_url.scheme == "https"
        self._proxy = None if _is_loopback(base_url.host) else _environment_proxy(base_url)
        self._context: ssl.SSLContext | None = None

    def __call__(self) -> httpx.AsyncBaseTransport:
        if self._context is None:
            self._context = httpx.create_ssl_context(verify=self._secure)
        return httpx.AsyncHTTPTransport(
            verify=self._context,
            limits=httpx.Limits(max_connections=1, max_keepalive_connections=1),
            proxy=self._proxy,
        )


def _environment_proxy(url: httpx.URL) -> str | None:
    if urllib.request.proxy_bypass(url.host):
        return None
    proxies = urllib.request.getproxies()
    return proxies.get(url.scheme) or proxies.get("all")
