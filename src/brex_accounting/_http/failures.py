"""What a transport's exception says: whether the request was sent, and why there is no response."""

from __future__ import annotations

import errno
import os
import re
import socket
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any

import httpx

from .response import Cause, TransportFailure

NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
OUT_OF_DESCRIPTORS = "too many open files: this process has used up its file descriptors"


def read_failure(error: Exception, *, sent: bool, kept: bool = False) -> TransportFailure:
    """Make a value of an exception.

    Args:
        error: What the transport raised before any of the response came.
        sent: Whether anything of the request may have reached the server.
        kept: Whether it went out on a connection kept from an earlier request.
    """
    if isinstance(error, (TimeoutError, httpx.TimeoutException)):
        return TransportFailure("no answer in time", sent=sent, timed_out=True)
    if isinstance(error, httpx.ProxyError) and (status := re.match(r"[1-5]\d\d\b", str(error))):
        return _proxy_failure(int(status[0]), sent=sent)
    if not sent and is_out_of_descriptors(error):
        return TransportFailure(OUT_OF_DESCRIPTORS, sent=False, timed_out=False, cause=Cause.DESCRIPTORS)
    text = str(error)
    if isinstance(error, httpx.ProtocolError):  # h11 quotes what it did not understand, or would not send
        text = "" if isinstance(error, httpx.LocalProtocolError) else text.partition(":")[0]
    broke_off = isinstance(error, httpx.NetworkError) or text.startswith("Server disconnected")
    cause = Cause.KEPT_CONNECTION if kept and broke_off else Cause.OTHER
    return TransportFailure(f"{type(error).__name__}: {text}".removesuffix(": "), sent, timed_out=False, cause=cause)


def by_cause(error: Exception) -> Exception:
    """Translate what aiohttp raised into httpx's terms.

    httpx-aiohttp calls every broken connection a timeout of connecting, which promises that nothing was sent: not true
    of a reset. And aiohttp quotes what it could not read: the body of an answer, which no error may show.
    """
    cause: Any = error if _is_of_aiohttp(error) else error.__cause__
    if not _is_of_aiohttp(cause):
        return error
    names = {kind.__name__ for kind in type(cause).__mro__}
    translated = next(translate(cause) for name, translate in _OF_AIOHTTP.items() if name in names)
    translated.__cause__ = cause
    return translated


def _is_of_aiohttp(error: object) -> bool:
    return type(error).__module__.startswith("aiohttp.")


_OF_AIOHTTP: dict[str, Callable[[Any], Exception]] = {
    "ConnectionTimeoutError": lambda cause: httpx.ConnectTimeout(str(cause)),
    "ServerTimeoutError": lambda cause: httpx.ReadTimeout(str(cause)),
    "ClientHttpProxyError": lambda cause: httpx.ProxyError(str(cause.status)),
    "ClientConnectorCertificateError": lambda cause: httpx.ConnectError(str(cause.certificate_error)),
    "ClientConnectorError": lambda cause: httpx.ConnectError(str(cause.os_error)),
    "ClientResponseError": lambda _: httpx.RemoteProtocolError("the answer is not HTTP"),
    "ServerDisconnectedError": lambda _: httpx.ReadError("Server disconnected without sending a response."),
    "Exception": lambda cause: httpx.ReadError(str(cause)),
}
"""By the name of a class, the first that fits: aiohttp is an extra."""


def _proxy_failure(status: int, *, sent: bool) -> TransportFailure:
    """Make a value of what a proxy answered; its own words are left out, since they may repeat the credentials."""
    cause = Cause.OTHER
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.PROXY_AUTHENTICATION_REQUIRED}:
        cause = Cause.PROXY_CREDENTIALS
    elif 400 <= status < 500 and status not in {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS}:  # noqa: PLR2004 - 4xx
        cause = Cause.PROXY_REFUSAL
    return TransportFailure(f"the proxy answered {status}", sent=sent, timed_out=False, cause=cause)


def is_out_of_descriptors(error: BaseException) -> bool:
    """Whether a system call failed because of it, or the lookup of a name, whose error does not say why."""
    for link in _links(error):
        if isinstance(link, OSError) and link.errno in {errno.EMFILE, errno.ENFILE}:
            return True
        if isinstance(link, socket.gaierror):
            try:
                os.close(os.open(os.devnull, os.O_RDONLY))
            except OSError as now:
                return now.errno in {errno.EMFILE, errno.ENFILE}
    return False


def _links(error: BaseException) -> Iterator[BaseException]:
    """Yield an exception, its causes and contexts, and the members of groups."""
    seen = set[int]()
    to_do = [error]
    while to_do:
        link = to_do.pop()
        if id(link) not in seen:
            seen.add(id(link))
            yield link
            members = link.exceptions if isinstance(link, BaseExceptionGroup) else ()
            to_do += [other for other in (link.__cause__, link.__context__, *members) if other is not None]
