"""Fetch the description from where Brex serves it."""

from __future__ import annotations

import time

import httpx

from scripts.read_description import RefusedError, in_one_line

URL = "https://developer.brex.com/_bundle/openapi/accounting_api.yaml"
LARGEST = 16 * 1024 * 1024
LONGEST = 60.0
MOST_REDIRECTS = 5
LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def download(url: str, *, largest: int = LARGEST, longest: float = LONGEST) -> bytes:
    """Fetch a file over https, or over http from this machine. Raises RefusedError, which says what to do."""
    try:
        return _download(httpx.URL(url), largest, time.monotonic() + longest)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        reason = in_one_line(error)
    raise RefusedError(f"{url} cannot be fetched ({reason}): go online, or download it yourself and pass FILE=….")


def _download(url: httpx.URL, largest: int, deadline: float) -> bytes:
    # Not decoded: what counts against the limit is what is kept.
    headers = {"Accept-Encoding": "identity", "User-Agent": "brex-accounting update-description"}
    with httpx.Client(headers=headers, timeout=15.0) as client:
        for _ in range(MOST_REDIRECTS + 1):
            if url.scheme != "https" and not (url.scheme == "http" and url.host in LOOPBACK):
                raise RefusedError(f"{url} is not an https address: download the description yourself and pass FILE=….")
            with client.stream("GET", url) as answer:
                if answer.next_request is None:
                    return _read(answer, largest, deadline)
                url = answer.next_request.url
    raise RefusedError(f"{url} is one redirect too many: download the description yourself and pass FILE=….")


def _read(answer: httpx.Response, largest: int, deadline: float) -> bytes:
    if answer.status_code != httpx.codes.OK:
        words = f"{answer.status_code} {answer.reason_phrase}".rstrip()
        raise RefusedError(f"{answer.url} answered {words}: find out where Brex serves the file now, and pass FILE=….")
    content = bytearray()
    for piece in answer.iter_raw():
        content += piece
        if len(content) > largest:
            raise RefusedError(
                f"{answer.url} is larger than {largest // 1024} KiB, too large for a description: pass FILE=…."
            )
        if time.monotonic() > deadline:
            raise RefusedError(f"{answer.url} is too slow: download it yourself and pass FILE=….")
    kind = answer.headers.get("Content-Type", "").lower()
    if "html" in kind or content.removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"<":
        raise RefusedError(f"{answer.url} answered with a web page, not an OpenAPI description: pass FILE=….")
    if answer.headers.get("Content-Encoding", "identity") != "identity":
        raise RefusedError(f"{answer.url} answered with a compression that was not requested: pass FILE=….")
    return bytes(content)
