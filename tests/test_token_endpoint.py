"""Requests to the token endpoint, and answers of it: no I/O."""

from __future__ import annotations

import base64
import math
from typing import Any
from urllib.parse import parse_qs, unquote_plus

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brex_accounting._auth.token_messages import LONGEST_LIFE, Reply, TokenReply, read_token_reply, token_request
from brex_accounting._auth.tokens import Token
from brex_accounting._http.response import Response, TransportFailure

NOW = 1_800_000_000.0
BEFORE = Token("old access", "old refresh", None, "old scope")
GOOD = {"access_token": "new", "refresh_token": "newer", "expires_in": 3600, "token_type": "Bearer", "scope": "a b"}


def read(status: int, body: object = None, defect: str | None = None, **headers: str) -> TokenReply:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return read_token_reply(Response(status, headers, raw, defect), BEFORE, now=NOW)


def test_a_grant() -> None:
    reply = read(200, GOOD)
    assert (reply.reply, reply.lifetime) == (Reply.GRANTED, 3600.0)
    token = reply.token
    assert token is not None
    assert (token.access_token, token.refresh_token, token.scope) == ("new", "newer", "a b")
    assert token.expires_at is not None
    assert token.expires_at.timestamp() == NOW + 3600
    assert "new" not in repr(reply)


@pytest.mark.parametrize(
    ("change", "refresh", "scope"),
    [
        ({"refresh_token": None}, "old refresh", "a b"),
        ({"refresh_token": ""}, "old refresh", "a b"),
        ({"refresh_token": 7}, "old refresh", "a b"),
        ({"refresh_token": "with space"}, "with space", "a b"),
        ({"scope": None}, "newer", "old scope"),
        ({"scope": ["a"]}, "newer", "old scope"),
        ({"token_type": None}, "newer", "a b"),
        ({"token_type": "bEARER"}, "newer", "a b"),
        ({"error": None}, "newer", "a b"),
    ],
)
def test_a_grant_with_oddities(change: dict[str, Any], refresh: str, scope: str) -> None:
    token = read(200, GOOD | change).token
    assert token is not None
    assert (token.refresh_token, token.scope) == (refresh, scope)


def test_lone_surrogates_in_a_grant() -> None:
    body = b'{"access_token": "new", "refresh_token": "\\ud800", "scope": "\\ud800"}'
    reply = read(200, body)
    assert (reply.reply, reply.token) == (Reply.UNUSABLE, None)
    found = read(200, body.replace(b'"\\ud800"', b'"newer"', 1)).token
    assert found == Token(refresh_token="newer", scope="old scope")


def test_a_page_that_shows_an_answer_is_none() -> None:
    assert read(200, b'<html><pre>{"refresh_token": "example"}</pre>').token is None


@pytest.mark.parametrize(
    ("expires_in", "lifetime"),
    [
        *(
            (3600, 3600.0),
            ("3600", 3600.0),
            (3600.5, 3600.5),
            (20, 20.0),
            (10**30, LONGEST_LIFE),
            ("1e999", LONGEST_LIFE),
        ),
        *((value, math.inf) for value in (None, 0, -1, "", "soon", "nan", True, False, [], {}, 1e-9, -1e30)),
    ],
)
def test_lifetimes(expires_in: object, lifetime: float) -> None:
    reply = read(200, GOOD | {"expires_in": expires_in})
    assert reply.lifetime == lifetime
    assert reply.token is not None
    assert (reply.token.expires_at is None) == (lifetime == math.inf)


@pytest.mark.parametrize(
    ("status", "body", "reply"),
    [
        *((status, {"error": "invalid_grant"}, Reply.INVALID_GRANT) for status in (400, 401, 403)),
        (200, {"error": "invalid_grant"}, Reply.REFUSED),
        (302, {"error": "invalid_grant"}, Reply.REFUSED),
        *((status, {"error": "invalid_grant"}, Reply.RETRYABLE) for status in (429, 500, 503, 520)),
        *((status, GOOD, Reply.UNUSABLE) for status in (301, 307, 400, 404)),
        *(
            (200, body, Reply.UNUSABLE)
            for body in ({}, [], None, 7, "x", b"", b"<html>", b'{"access_token": "n', b"\xff")
        ),
        *(
            (status, {"error": error}, Reply.REFUSED)
            for status in (200, 400, 401)
            for error in ("invalid_client", "unauthorized_client", "invalid_request", "of_their_own")
        ),
        *(
            (status, {"error": error}, Reply.RETRYABLE)
            for status in (200, 400)
            for error in ("server_error", "temporarily_unavailable")
        ),
        *((status, {"error": error}, Reply.UNUSABLE) for status in (200, 400) for error in ("", None, 7, {"code": 1})),
        (408, GOOD, Reply.BROKEN_OFF),
    ],
)
def test_what_an_answer_means(status: int, body: object, reply: Reply) -> None:
    read_ = read(status, body)
    assert read_.reply is reply
    assert read_.token is None
    assert str(status) in read_.text


@pytest.mark.parametrize(
    ("change", "reply", "text"),
    [
        *(
            ({"token_type": kind}, Reply.UNUSABLE, f"the token_type {shown}, not Bearer")
            for kind, shown in (("BearerToken", "BearerToken"), ("mac", "mac"), ([], "something else than text"))
        ),
        ({"access_token": None}, Reply.UNUSABLE, "without an access token"),
        *(
            ({"access_token": token}, Reply.UNUSABLE, "an access token that cannot stand in a header")
            for token in ("", 7, "a b", "a\n", "\u00e9", [])
        ),
        ({"error": "server_error"}, Reply.RETRYABLE, "server_error"),
        ({"error": "invalid_client"}, Reply.REFUSED, "invalid_client"),
        ({"error": {"code": 1}}, Reply.UNUSABLE, "an error that is not a code"),
    ],
)
@pytest.mark.parametrize("status", [200, 201])
def test_a_refresh_token_counts_whatever_else_is_wrong(
    status: int, change: dict[str, Any], reply: Reply, text: str
) -> None:
    read_ = read(status, GOOD | change)
    assert (read_.reply, read_.token) == (reply, Token(refresh_token="newer", scope="a b"))
    assert text in read_.text


@pytest.mark.parametrize("defect", [None, "its body was cut short"])
@pytest.mark.parametrize(("status", "change"), [(201, {}), (202, {"error": ""}), (200, {"token_type": ""})])
def test_what_is_a_grant_all_the_same(status: int, change: dict[str, Any], defect: str | None) -> None:
    assert read(status, GOOD | change, defect).reply is Reply.GRANTED


@pytest.mark.parametrize(
    ("cut", "found"),
    [
        (b'{"refresh_token": "newer", "access_token": "n', "newer"),
        (b'{"refresh_token" :"a\\"b\\u0041\\\\", ', 'a"bA\\'),
        (b'{"access_token": "n", "refresh_token": "new', None),
        (b'{"refresh_token": "newer", "refresh_token": "newest", ', None),
        (b'{"refresh_token": "\\ud800", ', None),
        (b'{"refresh_token": "", ', None),
    ],
)
def test_a_refresh_token_is_found_in_what_was_cut_behind_it(cut: bytes, found: str | None) -> None:
    reply = read(200, cut, "its body was cut short")
    assert reply.reply is Reply.BROKEN_OFF
    assert reply.token == (None if found is None else Token(refresh_token=found, scope="old scope"))
    assert read(400, cut, "its body was cut short") == TokenReply(Reply.UNUSABLE, "the token endpoint answered 400")


@pytest.mark.parametrize(
    ("sent", "timed_out", "reply", "text"),
    [
        (False, False, Reply.RETRYABLE, "could not be reached (because)"),
        (False, True, Reply.RETRYABLE, "could not be reached (because)"),
        (True, False, Reply.BROKEN_OFF, "broke (because)"),
        (True, True, Reply.UNKNOWN, "gave no answer in time"),
    ],
)
def test_no_answer(*, sent: bool, timed_out: bool, reply: Reply, text: str) -> None:
    read_ = read_token_reply(TransportFailure("because", sent=sent, timed_out=timed_out), BEFORE, now=NOW)
    assert (read_.reply, read_.token) == (reply, None)
    assert text in read_.text


def test_retry_after() -> None:
    assert read(429, **{"retry-after": "7"}).retry_after == 7.0
    assert read(503).retry_after is None


@given(
    st.integers(200, 599),
    st.binary()
    | st.recursive(
        st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers(-(2**63), 2**63) | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*GOOD, "error"]) | st.text(), inner),
        max_leaves=8,
    ),
)
def test_anything_may_come(status: int, body: object) -> None:
    reply = read(status, body)
    assert reply.token is None or status < 300
    granted = reply.token is not None and reply.token.access_token is not None
    assert (reply.reply is Reply.GRANTED) == granted
    assert reply.text.isprintable()


@given(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1),
)
def test_credentials(client_id: str, client_secret: str) -> None:
    form = {"grant_type": "refresh_token", "refresh_token": "r +&=/"}
    basic = token_request(client_id, client_secret, "basic", form)
    scheme, _, encoded = basic["headers"]["Authorization"].partition(" ")
    pair = base64.b64decode(encoded).decode("ascii").split(":")
    assert (scheme, [unquote_plus(part) for part in pair]) == ("Basic", [client_id, client_secret])
    assert parse_qs(basic["content"].decode("ascii")) == {name: [value] for name, value in form.items()}
    body = token_request(client_id, client_secret, "body", form)
    assert "Authorization" not in body["headers"]
    sent = parse_qs(body["content"].decode("ascii"))
    assert (sent["client_id"], sent["client_secret"], sent["refresh_token"]) == (
        [client_id],
        [client_secret],
        ["r +&=/"],
    )
    assert (body["method"], body["url"]) == ("POST", "")
