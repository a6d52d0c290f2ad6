"""The sandbox in-process: an httpx transport on which broken connections look as they do on a socket."""

import asyncio
from collections.abc import AsyncIterator

import httpx
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ._delays import Delays
from ._outage import OutageSwitch


class InProcessTransport(httpx.AsyncBaseTransport):
    """Runs the application in the caller's event loop; a request goes on when its caller gives up, as on a server."""

    def __init__(self, app: ASGIApp, delays: Delays, outages: OutageSwitch) -> None:
        self._app = app
        self._delays = delays
        self._outages = outages
        self._exchanges: set[asyncio.Task[httpx.Response]] = set()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer, or raise what httpx raises for a broken connection or a late answer."""
        if self._outages.refuses_for:
            raise httpx.ConnectError("the sandbox refuses connections")
        exchange = asyncio.create_task(_Exchange(self._app, self._delays).run(request))
        self._exchanges.add(exchange)
        exchange.add_done_callback(self._finished)
        done, _ = await asyncio.wait([exchange], timeout=request.extensions.get("timeout", {}).get("read"))
        if not done:
            raise httpx.ReadTimeout("the sandbox did not answer in time")
        return exchange.result()

    async def stop(self) -> None:
        """End the delays and wait for the exchanges whose callers gave up."""
        self._delays.end()
        await asyncio.gather(*self._exchanges, return_exceptions=True)

    def _finished(self, exchange: asyncio.Task[httpx.Response]) -> None:
        self._exchanges.discard(exchange)
        if not exchange.cancelled():
            exchange.exception()  # retrieved, even if the caller gave up


class _Exchange:
    """One request, its answer and their connection."""

    def __init__(self, app: ASGIApp, delays: Delays) -> None:
        self._app = app
        self._broken = False
        self._started = False
        self.pause = delays.pause

    def reset(self) -> None:
        self._broken = True

    close = reset

    def hold_back(self) -> None:
        """Do nothing: no connection could hold surplus data."""

    def send_along(self, _: bytes) -> None:
        """Drop what only a connection could carry."""

    async def run(self, request: httpx.Request) -> httpx.Response:
        response = await httpx.ASGITransport(self._serve).handle_async_request(request)
        if self._broken:
            response.stream = _CutStream(response)
        return response

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def receive_until_broken() -> Message:
            return {"type": "http.disconnect"} if self._broken else await receive()

        async def send_and_note(message: Message) -> None:
            self._started = True
            await send(message)

        scope["state"] = {"connection": self}
        await self._app(scope, receive_until_broken, send_and_note)
        if self._broken:
            if not self._started:
                raise httpx.ReadError("the sandbox reset the connection")
            await send({"type": "http.response.body"})


class _CutStream(httpx.AsyncByteStream):
    """A body that ends before its Content-Length."""

    def __init__(self, response: httpx.Response) -> None:
        assert isinstance(response.stream, httpx.AsyncByteStream)  # noqa: S101  # what ASGITransport gives
        self._stream = response.stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._stream:
            yield chunk
        raise httpx.RemoteProtocolError("peer closed connection without sending complete message body")
