"""A loopback redirect (RFC 8252 7.3): where the browser comes back to when there is no web application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from brex_accounting._clock import TimeLimit

PATH = "/callback"
DONE = "You are logged in. You can close this page."
FAILED = "You are not logged in: the terminal says why. You can close this page."
REQUEST_TIMEOUT = 10.0
LAST_WORDS = 5.0
"""Seconds for the page that tells the browser how it ended."""


class Redirect:
    """A server on 127.0.0.1 that waits for the browser to come back."""

    def __init__(self) -> None:
        self.arrived: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.page = FAILED
        self._ended = asyncio.Event()
        self._tasks = set[asyncio.Task[None]]()
        self._browser: asyncio.Task[None] | None = None

    async def listen(self, port: int) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port, limit=2**14)
        self.uri = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}{PATH}"

    @asynccontextmanager
    async def answering(self) -> AsyncIterator[None]:
        """Answer the browser in the end, whatever happens."""
        try:
            yield
        finally:
            self._ended.set()
            self._server.close()
            if self._browser is not None:
                await asyncio.wait([self._browser], timeout=LAST_WORDS)
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.get_running_loop().create_task(self._answer(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            # Whoever sends no HTTP, or sends it too slowly, is not the browser.
            with suppress(OSError, ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
                with TimeLimit(REQUEST_TIMEOUT):
                    head = await reader.readuntil(b"\r\n\r\n")
                writer.write(await self._reply(head.partition(b"\r\n")[0].decode("latin-1")))
                with TimeLimit(REQUEST_TIMEOUT):
                    await writer.drain()
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _reply(self, request_line: str) -> bytes:
        method, _, rest = request_line.partition(" ")
        target = rest.partition(" ")[0]
        if method != "GET" or target.partition("?")[0] != PATH:
            return _http("404 Not Found", "There is nothing here.")
        if self.arrived.done():
            return _http("409 Conflict", "This login has had its answer.")
        self._browser = asyncio.current_task()
        self.arrived.set_result(f"{self.uri.removesuffix(PATH)}{target}")
        await self._ended.wait()
        return _http("200 OK" if self.page == DONE else "400 Bad Request", self.page)


def _http(status: str, text: str) -> bytes:
    body = f'<!DOCTYPE html><html lang="en"><title>brex-accounting</title><p>{text}</p></html>'.encode()
    headers = (
        f"HTTP/1.1 {status}",
        "Content-Type: text/html; charset=utf-8",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "Referrer-Policy: no-referrer",  # the address holds the code
        "Connection: close",
    )
    return "\r\n".join(headers).encode() + b"\r\n\r\n" + body
