"""Fetching a description: what servers may answer instead, and addresses that are not asked."""

from __future__ import annotations

from typing import Any

import pytest

from scripts.download import download
from scripts.read_description import RefusedError
from tests.support.file_server import Serve
from tests.support.marks import not_src

pytestmark = not_src


def check_download(url: str, shown: str, **limits: Any) -> None:
    with pytest.raises(RefusedError) as caught:
        download(url, **limits)
    assert shown in str(caught.value)
    assert str(caught.value).endswith(".")


def test_says_what_a_server_answered_in_place_of_a_description(serve: Serve) -> None:
    check_download(serve("/gone", status=404), "answered 404 Not Found: find out where Brex serves the file now")
    check_download(serve("/down", b"x", status=503), "answered 503 Service Unavailable")
    check_download(serve("/page", b"\xef\xbb\xbf <html>"), "answered with a web page, not an OpenAPI description")
    check_download(serve("/large", b"x" * 2048), "is larger than 1 KiB", largest=1024)
    check_download(serve("/slow", b"x"), "is too slow", longest=-1.0)
    check_download(serve("/zip", b"x", Content_Encoding="gzip"), "with a compression that was not requested")
    check_download(serve("/cut", b"x", Content_Length="9"), "cannot be fetched (peer closed connection")
    check_download(serve("/loop", status=302, Location="/loop"), "is one redirect too many")
    check_download(serve("/out", status=302, Location="http://example.com/x"), "is not an https address")
    check_download(serve("/file", status=302, Location="file:///etc/passwd"), "is not an https address")


@pytest.mark.parametrize("url", ["http://example.com/api.yaml", "ftp://127.0.0.1/x", "file:///etc/passwd", "api.yaml"])
def test_asks_no_address_that_is_not_https(url: str) -> None:
    check_download(url, "is not an https address: download the description yourself")


def test_says_that_it_is_offline() -> None:
    check_download("https://nowhere.invalid/api.yaml", "go online, or download it yourself and pass FILE=…")
