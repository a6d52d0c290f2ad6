"""The sandbox over real sockets."""

import asyncio
import contextlib
import secrets
import socket
import struct
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Final

import h11
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from ._app import TRACE_ID
from ._delays import Delays
from ._outage import OutageSwitch
from ._wire import error

_MAX_PORT: Final = 65535
# struct linger: on, for 0 seconds.
_RESET_ON_CLOSE: Final = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


@contextlib.asynccontextmanager
async def serve(app: ASGIApp, delays: Delays, outages: OutageSwitch, *, host: str, port: int) -> AsyncIterator[str]:
    """Serve in this event loop while the context lasts, and yield the URL."""

    async def with_connection(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = {"connection": _Connection(scope["state"]["transport"], delays)}
        await app(scope, receive, send)

    if not 0 <= port <= _MAX_PORT:
        raise ValueError("port must be a number from 0 to 65535")
    listener = _listen(host, port)
    config = uvicorn.Config(
        with_connection,
        http=_Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=75,
    )
    server = _Server(config, delays, outages, listener)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    loop = asyncio.get_running_loop()
    try:
        with outages.informs(lambda _: loop.call_soon_threadsafe(server.refuse)):
            # uvicorn before 0.41 leaves its sockets open if it is stopped while it starts.
            await server.ready.wait()
            yield _url(listener)
    finally:
        server.should_exit = True
        await serving


def _listen(host: str, port: int) -> socket.socket:
    family, _, _, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE | socket.AI_NUMERICSERV
    )[0]
    return socket.create_server(address[:2], family=family)


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    # The wildcard is not an address to connect to.
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers, which does not wait for clients to finish and can refuse connections."""

    def __init__(self, config: uvicorn.Config, delays: Delays, outages: OutageSwitch, listener: socket.socket) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        self._delays = delays
        self._outages = outages
        self._address, self._family = listener.getsockname()[:2], listener.family
        self._refusing: asyncio.Task[None] | None = None

    def refuse(self) -> None:
        """Refuse connections for as long as the outage lasts."""
        if self._refusing is None and self._outages.refuses_for and not self.should_exit:
            self._refusing = asyncio.create_task(self._refuse())

    async def _refuse(self) -> None:
        await self._stop_accepting()
        for server in self.servers:
            server.close()
        # A bound socket that does not listen keeps the port and refuses connections.
        held = socket.socket(self._family)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(self._address)
        for connection in self.server_state.connections:
            connection.transport.close()
        while self._outages.refuses_for and not self.should_exit:
            await self._delays.pause(self._outages.refuses_for)
        if self.should_exit:
            held.close()
        else:
            await super().startup([held])
        self._refusing = None
        self.refuse()  # in case another outage began meanwhile

    async def _stop_accepting(self) -> None:
        # asyncio loses a connection that it has accepted, but not yet set up, when its server is closed.
        loop = asyncio.get_running_loop()
        with contextlib.suppress(NotImplementedError):  # on Windows
            for listener in [each for server in self.servers for each in server.sockets]:
                loop.remove_reader(listener.fileno())
        for _ in range(3):  # accepted, set up, known here
            await asyncio.sleep(0)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        finally:
            self.ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._delays.end()
        if self._refusing is not None:
            await self._refusing
        for server in self.servers:
            server.close()
        for connection in self.server_state.connections:
            connection.transport.abort()
        await super().shutdown(sockets)


class _Protocol(H11Protocol):
    """uvicorn's protocol, which also passes on its transport and answers junk with the API's error envelope."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # Headers and body are two writes: Nagle's algorithm would hold the second back until the client's delayed ACK.
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.app_state = {**self.app_state, "transport": transport}

    def send_400_response(self, msg: str) -> None:
        reply = error(400, "INVALID_REQUEST", msg)
        headers = [
            ("Content-Type", reply.media_type),
            ("Content-Length", str(len(reply.body))),
            ("Connection", "close"),
            (TRACE_ID, secrets.token_hex(16)),
        ]
        events = (
            h11.Response(status_code=reply.status, headers=headers, reason="Bad Request"),
            h11.Data(data=reply.body),
            h11.EndOfMessage(),
        )
        for event in events:
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


class _Connection:
    """A connection, for faults that break it."""

    def __init__(self, transport: asyncio.Transport, delays: Delays) -> None:
        self._transport = transport
        self.close = transport.close
        self.pause = delays.pause

    def hold_back(self) -> None:
        self._cork(held=True)

    def send_along(self, data: bytes) -> None:
        self._transport.write(data)
        self._cork(held=False)

    def _cork(self, *, held: bool) -> None:
        # Without TCP_CORK the surplus is sent at once, but in its own segment.
        if hasattr(socket, "TCP_CORK"):
            connection = self._transport.get_extra_info("socket")
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, held)

    def reset(self) -> None:
        # Otherwise the kernel would send FIN, and the client would see an end, not a reset.
        connection = self._transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._transport.abort()
