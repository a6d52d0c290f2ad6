"""Looks into a connection of httpcore, for what it does not show: what was received beyond a response."""

from __future__ import annotations

import ssl
from typing import Any

import httpx


def network_stream(response: httpx.Response) -> Any:
    """The stream of the connection that a response came over; None if it came over none of httpcore's."""
    return response.extensions.get("network_stream")


def is_closed(stream: Any) -> bool:
    """Whether the peer has closed an idle connection, or sent something that nobody asked for."""
    return bool(stream.get_extra_info("is_readable"))


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
        tls = stream.get_extra_info("ssl_object")
        if tls is not None and _has_decrypted(tls):
            return True
        stream = stream._stream  # noqa: SLF001
        while hasattr(stream, "transport_stream"):
            stream = stream.transport_stream
        unread = bool(stream._protocol.read_queue)  # noqa: SLF001
    except AttributeError:  # another release of httpcore or anyio, or HTTP/2
        return None
    return unread if tls is None else (None if unread else False)  # under TLS it may be a notice of its own


def _has_decrypted(tls: ssl.SSLObject) -> bool:
    try:
        return bool(tls.read(1))
    except ssl.SSLError:  # nothing, as a rule
        return False
