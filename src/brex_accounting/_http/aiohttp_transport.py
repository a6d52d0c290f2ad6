"""The transport on aiohttp; imported when somebody makes one, since aiohttp is an extra."""

from __future__ import annotations

import ssl
from base64 import b64encode
from contextvars import ContextVar
from functools import lru_cache
from io import BytesIO
from typing import Any
from weakref import WeakSet

import aiohttp
import httpx
import httpx_aiohttp
import yarl

from brex_accounting.errors import ConfigurationError

from .connection import is_socket_readable
from .connector import KEEP_ALIVE
from .exchange import DirectTransport, Exchange, Message, Timeout
from .response import Response
from .tls import shared_context_now

LONGEST_LINE = 65536
"""Bytes of a line of the response's head: aiohttp's own limit, 8,190, is below what gateways send."""

_exchange: ContextVar[Exchange | None] = ContextVar("brex_accounting_exchange", default=None)


class _Connector(aiohttp.TCPConnector):
    """Reports when a request has its connection: what fails before was never sent."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._used = WeakSet[Any]()

    async def connect(self, *args: Any, **options: Any) -> Any:
        connection = await super().connect(*args, **options)
        while (kept := connection.protocol in self._used) and not _is_clean(connection.protocol):
            connection.close()
            connection = await super().connect(*args, **options)
        self._used.add(connection.protocol)
        exchange = _exchange.get()
        if exchange is not None:
            exchange.sending(kept=kept)
            exchange.stream = connection.protocol
        return connection

    def close_idle(self, *protocols: Any) -> None:
        """Close these connections, or all, unless a request has them."""
        for protocol in protocols or list(self._used):
            if protocol not in self._acquired:
                protocol.close()


def _is_clean(protocol: Any) -> bool:
    """Whether nothing was received, not even the end, since the last response."""
    return not _holds_more(protocol) and not is_socket_readable(protocol.transport.get_extra_info("socket"))


def _holds_more(protocol: Any) -> bool:
    """Whether another response, or a part of one, was received behind the last.

    aiohttp looks only once, at the end of a response, and not for a part: that is in its parser, which gives it away
    when it is told that nothing follows. Each request gets a parser of its own.
    """
    if getattr(protocol, "_buffer", None) or getattr(protocol, "_tail", None):
        return True
    parser = getattr(protocol, "_parser", None)
    if parser is None:
        return False
    try:
        return parser.feed_eof() is not None or bool(getattr(parser, "_lines", None))  # the latter in pure Python
    except Exception:  # noqa: BLE001 - it is in the middle of a body
        return True


class AiohttpTransport(httpx_aiohttp.AiohttpTransport, DirectTransport):
    """httpx-aiohttp's transport, which our own requests go around: its conversions take as long as aiohttp itself."""

    def __init__(self, max_connections: int) -> None:
        self._limit = max_connections
        self._proxy: dict[str, Any] = {}
        self._connector: _Connector | None = None
        super().__init__(verify=shared_context_now(), client=self._open)

    def configure(self, ssl_context: ssl.SSLContext | None, proxy: httpx.Proxy | None) -> None:
        if ssl_context is not None:
            self.ssl_context = ssl_context
        if proxy is not None and proxy.url.scheme.startswith("socks"):
            raise ConfigurationError("aiohttp cannot use a SOCKS proxy: name an HTTP proxy, or leave out transport.")
        if proxy is not None:
            credentials = None if proxy.raw_auth is None else b64encode(b":".join(proxy.raw_auth)).decode()
            headers = {} if credentials is None else {"Proxy-Authorization": f"Basic {credentials}"}
            self._proxy = {"proxy": str(proxy.url), "proxy_headers": headers}

    def _open(self) -> aiohttp.ClientSession:
        self._connector = _Connector(limit=self._limit, keepalive_timeout=KEEP_ALIVE, ssl=self.ssl_context)
        session = aiohttp.ClientSession(
            connector=self._connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            max_line_size=LONGEST_LINE,
            max_field_size=LONGEST_LINE,
        )
        if hasattr(session, "_retry_connection"):  # a second GET that nobody counts, or waits before
            session._retry_connection = False  # noqa: SLF001
        return session

    def close_idle(self, *streams: Any) -> None:
        if self._connector is not None:
            self._connector.close_idle(*streams)

    async def send(self, message: Message, limit: Timeout, exchange: Exchange) -> Response:
        if not isinstance(self.client, aiohttp.ClientSession):
            self.client = self._open()
        before = _exchange.set(exchange)
        try:
            async with self.client.request(
                message.method,
                _yarl(message.url),
                headers=message.headers,
                data=_data(message.content),
                allow_redirects=False,
                timeout=_phases(limit) if limit.by_phase else _NO_LIMIT,  # the whole is limited by the caller
                **self._proxy,
            ) as response:
                encodings = response.headers.getall("Content-Encoding", ())
                body = exchange.begin(response.status, response.headers, ", ".join(encodings))
                while chunk := await response.content.readany():
                    body.feed(chunk)
                    if body.too_large:
                        break
        finally:
            _exchange.reset(before)
        return exchange.end(surplus=_holds_more(exchange.stream))


_NO_LIMIT = aiohttp.ClientTimeout(total=None)


def _phases(limit: Timeout) -> aiohttp.ClientTimeout:
    phases = limit.phases
    return aiohttp.ClientTimeout(
        total=None, connect=phases["pool"], sock_connect=phases["connect"], sock_read=phases["read"]
    )


def _data(content: bytes | None) -> bytes | BytesIO | None:
    """Aiohttp warns of more than a mebibyte in one piece."""
    return BytesIO(content) if content and len(content) > 2**20 else content or None


@lru_cache(maxsize=64)
def _yarl(url: str) -> yarl.URL:
    """Parse an address as it is, since quoting it anew would change it."""
    return yarl.URL(url, encoded=True)
