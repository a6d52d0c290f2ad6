"""A raw HTTP/1.1 server that misbehaves on purpose, and counts what it sees."""

import asyncio
import contextlib
import json
import socket
import ssl
import struct
import zlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Self

from tests.support.calls import EVERYTHING

Fault = Callable[["Request"], Awaitable[None]]
JSON = json.dumps(EVERYTHING).encode()


@dataclass
class Request:
    """What came, and what can be done to its connection."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    reader: asyncio.StreamReader = field(repr=False)
    writer: asyncio.StreamWriter = field(repr=False)
    connection: int = 0
    """Of the server's connections, the how manieth this one is."""

    async def write(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def gone(self) -> None:
        """Wait until the client has closed the connection."""
        while await self.reader.read(65536):
            pass

    def close(self) -> None:
        self.writer.close()

    def reset(self) -> None:
        self.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class FaultServer:
    """Each request takes the next fault, the last one stays; `talk` instead does as it likes with a connection.

    A connection that is idle for `idle` seconds is closed.
    """

    def __init__(
        self,
        *faults: Fault,
        talk: Fault | None = None,
        port: int = 0,
        ssl_context: ssl.SSLContext | None = None,
        idle: float | None = None,
    ) -> None:
        self.faults = list(faults) or [ok]
        self.talk, self.port, self.ssl_context, self.idle = talk, port, ssl_context, idle
        self.requests: list[Request] = []
        self.accepted = self.open = self.at_work = self.most = 0
        self._handlers = set[asyncio.Task[None]]()
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, backlog=1000, ssl=self.ssl_context
        )
        self.port = self._server.sockets[0].getsockname()[1]
        self.url = f"http{'s' if self.ssl_context else ''}://127.0.0.1:{self.port}"
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._server.close()
        for handler in self._handlers:
            handler.cancel()
        await asyncio.gather(*self._handlers, return_exceptions=True)

    @property
    def keys(self) -> list[str | None]:
        return [request.headers.get("idempotency-key") for request in self.requests]

    async def closes_all(self, left: int = 0) -> None:
        """Wait until the client has no more than so many connections open."""
        await self._until(lambda: self.open <= left)

    async def received(self, requests: int) -> None:
        """Wait until so many requests have come."""
        await self._until(lambda: len(self.requests) >= requests)

    async def _until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(30.0):
            while not reached():
                self._changed.clear()
                await self._changed.wait()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handler = asyncio.current_task()
        assert handler is not None
        self._handlers.add(handler)
        self.accepted += 1
        self.open += 1
        try:
            await self._talk(reader, writer, self.accepted)
        except (OSError, EOFError):
            pass  # the client has gone
        finally:
            self.open -= 1
            self._changed.set()
            self._handlers.discard(handler)
            writer.transport.abort()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int) -> None:
        if self.talk:
            await self.talk(Request("", "", {}, b"", reader, writer, connection))
            return
        while not writer.is_closing():
            request = await self._read(reader, writer, connection)
            self.requests.append(request)
            self._changed.set()
            fault = self.faults.pop(0) if len(self.faults) > 1 else self.faults[0]
            self.at_work += 1
            self.most = max(self.most, self.at_work)
            try:
                await fault(request)
            finally:
                self.at_work -= 1
            if self.idle is not None:
                try:
                    reader.feed_data(await asyncio.wait_for(reader.read(65536), self.idle))
                except TimeoutError:
                    return

    @staticmethod
    async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int) -> Request:
        head, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")[:-2]
        method, target, _version = head.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        return Request(method, target, headers, body, reader, writer, connection)


# -- answers -----------------------------------------------------------------------------------------------------------


def head(status: int = 200, length: int | None = None, content_type: str = "application/json", **headers: str) -> bytes:
    named = {"content_type": content_type} | ({} if length is None else {"content_length": str(length)}) | headers
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in named.items())
    return f"HTTP/1.1 {status} Whatever\r\n{lines}\r\n".encode()


def raw(*pieces: bytes | float, then: str = "stay") -> Fault:
    """Write these bytes as they are, wait where a number stands; then stay, close, reset, or stall."""

    async def fault(request: Request) -> None:
        for piece in pieces:
            if isinstance(piece, bytes):
                await request.write(piece)
            else:
                await asyncio.sleep(piece)
        if then == "close":
            request.close()
        elif then == "reset":
            await asyncio.sleep(0.01)  # or what was written would be lost too
            request.reset()
        elif then == "stall":
            await request.gone()

    return fault


def reply(status: int = 200, body: bytes = JSON, content_type: str = "application/json", **headers: str) -> Fault:
    return raw(head(status, len(body), content_type, **headers) + body)


def drip(start: bytes, piece: bytes, gap: float) -> Fault:
    """Never end, and never be silent for long."""

    async def fault(request: Request) -> None:
        await request.write(start)
        while True:
            await request.write(piece)
            await asyncio.sleep(gap)

    return fault


def chunked(body: bytes, *, end: bytes = b"0\r\n\r\n") -> bytes:
    return head(transfer_encoding="chunked") + b"%x\r\n%s\r\n" % (len(body), body) + end


def gzip_of_zeros(mebibytes: int) -> bytes:
    """As good as a compressed body can be, made without compressing all of it."""
    compress = zlib.compressobj(9, wbits=-15)
    block = compress.compress(bytes(1024 * 1024)) + compress.flush(zlib.Z_FULL_FLUSH)
    return bytes([0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255]) + block * mebibytes


ok = reply()
reset = raw(then="reset")
close = raw(then="close")
stall = raw(then="stall")


# -- where nobody answers ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def closed_port() -> Iterator[str]:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{bound.getsockname()[1]}"


@contextlib.contextmanager
def never_accepting() -> Iterator[str]:
    """A socket that listens and never accepts, its queue full: whoever connects waits."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listening, contextlib.ExitStack() as waiting:
        address = listening.getsockname()
        for _ in range(3):
            filler = waiting.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(address)
        yield f"http://127.0.0.1:{address[1]}"
