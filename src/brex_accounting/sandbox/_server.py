"""The sandbox over real sockets, on loopback only."""

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
from ._wire import error

_HOST: Final = "127.0.0.1"
_MAX_PORT: Final = 65535
# struct linger: on, and no time to linger.
_RESET_ON_CLOSE: Final = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)


@contextlib.asynccontextmanager
async def serve(app: ASGIApp, delays: Delays, *, port: int) -> AsyncIterator[str]:
    """Serve in this event loop while the context lasts, and yield the URL."""

    async def with_connection(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = {"connection": _Connection(scope["state"]["transport"], delays)}
        await app(scope, receive, send)

    if not 0 <= port <= _MAX_PORT:
        raise ValueError("ports go from 0 to 65535")
    listener = socket.create_server((_HOST, port))
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
    server = _Server(config, delays)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        # Before 0.41 a uvicorn that is stopped while it starts leaves its sockets open.
        await server.ready.wait()
        yield f"http://{_HOST}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving


class _Server(uvicorn.Server):
    """uvicorn, but signals are the program's business, and it does not wait for its clients."""

    def __init__(self, config: uvicorn.Config, delays: Delays) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()
        self._delays = delays

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        finally:
            self.ready.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        self._delays.end()
        for connection in self.server_state.connections:
            connection.transport.abort()
        await super().shutdown(sockets)


class _Protocol(H11Protocol):
    """uvicorn's protocol, but it hands its transport on, and answers junk in the API's own words."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
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
    """A socket's connection, for the faults that break it."""

    def __init__(self, transport: asyncio.Transport, delays: Delays) -> None:
        self._transport = transport
        self.close = transport.close
        self.pause = delays.pause

    def reset(self) -> None:
        # Without this the kernel would say goodbye with FIN: the client would see an end, not a reset.
        connection = self._transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        self._transport.abort()
