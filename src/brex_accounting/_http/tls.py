"""One SSL context for all clients and token refreshes of the process."""

from __future__ import annotations

import asyncio
import os
import ssl
import threading
from concurrent.futures import Future

import httpx

from brex_accounting.errors import ConfigurationError, ConnectionFailedError

from .failures import OUT_OF_DESCRIPTORS, is_out_of_descriptors

_Key = tuple[int, bool, str | None, str | None]
_contexts: dict[_Key, Future[ssl.SSLContext]] = {}


async def shared_context(*, verify: bool = True) -> ssl.SSLContext:
    """Return the context for the certificates that SSL_CERT_FILE, SSL_CERT_DIR or else certifi name.

    Reading them takes 20 ms and 1 MiB, so it happens once, in a thread, when a connection first needs them. A process
    that was forked in the middle of it makes its own.
    """
    future = _begin(verify=verify)
    return future.result() if future.done() else await asyncio.wrap_future(future)


def shared_context_now() -> ssl.SSLContext:
    """Return the same to a caller that cannot await it."""
    return _begin(verify=True).result()


def _begin(*, verify: bool) -> Future[ssl.SSLContext]:
    key = (os.getpid(), verify, os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
    new = Future[ssl.SSLContext]()
    new.set_running_or_notify_cancel()  # or the first caller to be cancelled would cancel it for all
    future = _contexts.setdefault(key, new)
    if future is new:
        try:
            threading.Thread(target=_make, args=(key, new), name="brex-accounting-tls", daemon=True).start()
        except RuntimeError:  # no more threads
            _make(key, new)
    return future


def _make(key: _Key, future: Future[ssl.SSLContext]) -> None:
    try:
        context = httpx.create_ssl_context(verify=key[1])
        context.set_alpn_protocols(["http/1.1"])
        # httpcore sets them again for each connection, which frees what a handshake in another thread may be reading.
        setattr(context, "set_alpn_protocols", lambda _: None)  # noqa: B010 - mypy lets nobody assign to a method
    except Exception as error:  # noqa: BLE001 - raised where the context is awaited
        del _contexts[key]  # the next call tries again
        if is_out_of_descriptors(error):
            future.set_exception(ConnectionFailedError(f"The certificates cannot be read: {OUT_OF_DESCRIPTORS}."))
        else:
            future.set_exception(
                ConfigurationError(
                    f"The certificates cannot be read ({type(error).__name__}): check SSL_CERT_FILE and SSL_CERT_DIR, "
                    "or pass ssl_context."
                )
            )
    else:
        future.set_result(context)
