"""A server of files, to fetch descriptions from."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, headers, body = self.server.answers[self.path]  # type: ignore[attr-defined]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        pass


Serve = Callable[..., str]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Serve one more answer, and return its address."""
    monkeypatch.setenv("NO_PROXY", "*")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.answers = {}  # type: ignore[attr-defined]

        def add(path: str, body: bytes = b"", status: int = 200, **headers: str) -> str:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            server.answers[path] = (status, named, body)  # type: ignore[attr-defined]
            return f"http://127.0.0.1:{server.server_port}{path}"

        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield add
        server.shutdown()
        thread.join()
