"""Looks into httpcore's connections for what httpcore does not show: data received beyond a response."""

from __future__ import annotations

import select
import socket
import ssl
import sys
from typing import Any

import httpx


def network_stream(response: httpx.Response) -> Any:
    """The stream of the connection that a response came over; None if it came over none of httpcore's."""
    return response.extensions.get("network_stream")


def is_closed(stream: Any) -> bool:
    """Whether the peer has closed an idle connection, or sent something that nobody asked for."""
    try:
        return bool(stream.get_extra_info("is_readable"))
    except Exception:  # noqa: BLE001 - what cannot be looked into is of no use
        return True


def is_socket_readable(sock: socket.socket) -> bool:
    """Whether there is something to read, if only the end of the stream."""
    if sys.platform == "win32":
        return bool(select.select([sock], [], [], 0)[0])
    poll = select.poll()  # select takes no descriptor above 1,023
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def holds_more(response: httpx.Response) -> bool | None:
    """Whether something was received beyond this answer, which was read to its end; None if that cannot be seen.

    httpcore would take it for the answer to the next request. It may lie in the buffer of h11, in that of TLS, or in
    the queue of anyio; what is still in the socket, httpcore sees itself.
    """
    stream: Any = network_stream(response)
    if stream is None:
        return False
    body: Any = response.stream
    try:
        if body._httpcore_stream._stream._connection._h11_state.trailing_data[0]:  # noqa: SLF001
            return True
        stream = stream._stream  # noqa: SLF001
        encrypted = hasattr(stream, "transport_stream")
        if encrypted and _has_decrypted(stream._ssl_object):  # noqa: SLF001
            return True
        while hasattr(stream, "transport_stream"):
            stream = stream.transport_stream
        unread = bool(stream._protocol.read_queue)  # noqa: SLF001
    except AttributeError:  # another release of httpcore or anyio, or HTTP/2
        return None
    return None if unread and encrypted else unread  # it may be a notice of TLS itself


def _has_decrypted(tls: ssl.SSLObject) -> bool:
    try:
        return bool(tls.read(1))
    except ssl.SSLError:  # nothing, as a rule
        return False
