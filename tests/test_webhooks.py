"""What is taken for a webhook of Brex's, and what is not, whatever a sender sends."""

from __future__ import annotations

import codecs
import gzip
import hmac
import json
import pickle
import subprocess
import sys
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, get_args

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from brex_accounting import (
    ConfigurationError,
    Outcome,
    RecordsReadyForExport,
    UnknownEvent,
    WebhookVerificationError,
    verify_webhook,
    webhooks,
)
from brex_accounting._clock import Clock
from brex_accounting.errors import WebhookReason
from tests.support.leaks import assert_holds_no

MACHINE_CLOCK = webhooks._CLOCK
NOW = 1_767_323_045
SECRET = "whsec_" + b64encode(b"a secret of 24 bytes 123").decode()
OTHER = "whsec_" + b64encode(b"another one, as long as").decode()
FULLWIDTH = "".join(chr(0xFF10 + int(digit)) for digit in str(NOW))
READY = {
    "event_type": "ACCOUNTING_RECORD_READY_FOR_EXPORT",
    "accounting_record_ids": ["accr_1", "accr_2"],
    "company_id": "company_1",
}
BODY = json.dumps(READY).encode()
EVENT = RecordsReadyForExport(webhook_id="msg_1", record_ids=("accr_1", "accr_2"), company_id="company_1")


@pytest.fixture(autouse=True, scope="module")
def _time_stands_still() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(webhooks, "_CLOCK", Clock(wall=lambda: float(NOW)))
        yield


def signature(body: bytes, secret: str = SECRET, webhook_id: str = "msg_1", timestamp: object = NOW) -> str:
    """Sign as the scheme says, without the library that the facade signs with."""
    key = secret.removeprefix("whsec_")
    digest = hmac.digest(b64decode(key), f"{webhook_id}.{timestamp}.".encode() + body, "sha256")
    return f"v1,{b64encode(digest).decode()}"


def signed(body: bytes, secret: str = SECRET, webhook_id: str = "msg_1", timestamp: object = NOW) -> dict[str, str]:
    return {
        "Webhook-Id": webhook_id,
        "Webhook-Timestamp": str(timestamp),
        "Webhook-Signature": signature(body, secret, webhook_id, timestamp),
    }


def refused(body: bytes, headers: Mapping[str, Any], secrets: Any = SECRET, **options: Any) -> WebhookReason | None:
    with pytest.raises(WebhookVerificationError) as caught:
        verify_webhook(body, headers, secrets, **options)
    error = caught.value
    assert error.reason in get_args(WebhookReason)
    assert (error.outcome, error.operation, error.attempts) == (Outcome.NOT_APPLIED, None, 0)
    assert (error.__cause__, error.__context__) == (None, None)
    assert str(error).isprintable()
    assert len(str(error)) < 200
    return error.reason


class TestGenuine:
    def test_an_event(self) -> None:
        assert verify_webhook(BODY, signed(BODY), SECRET) == EVENT

    def test_the_vector_that_the_scheme_publishes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(webhooks, "_CLOCK", Clock(wall=lambda: 1_614_265_330.0))
        headers = {
            "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "webhook-timestamp": "1614265330",
            "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        }
        # Genuine, but no event of Brex's.
        body = b'{"test": 2432232314}'
        assert refused(body, headers, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw") == "unreadable_body"
        assert refused(body + b" ", headers, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw") == "wrong_signature"

    @pytest.mark.parametrize(
        ("change", "record_ids", "company_id"),
        [
            ({"accountingRecordIds": ["a", "b"], "companyId": "c"}, ("a", "b"), "c"),
            ({"accounting_record_ids": ["a"], "companyId": "c"}, ("a",), "c"),
            ({"accounting_record_ids": ["a"], "accountingRecordIds": ["b"]}, ("a",), None),
            ({"accounting_record_ids": None, "accountingRecordIds": ["b"], "company_id": None}, ("b",), None),
            ({"accounting_record_ids": []}, (), None),
            ({"accounting_record_ids": ["a", "a"], "more": {"x": 1}}, ("a", "a"), None),
        ],
    )
    def test_both_spellings(self, change: dict[str, Any], record_ids: tuple[str, ...], company_id: str | None) -> None:
        body = json.dumps({"event_type": READY["event_type"]} | change).encode()
        event = verify_webhook(body, signed(body), SECRET)
        assert event == RecordsReadyForExport(webhook_id="msg_1", record_ids=record_ids, company_id=company_id)

    @pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "GZIP", "gzip, identity"])
    @pytest.mark.parametrize("bom", [b"", codecs.BOM_UTF8])
    def test_a_compressed_body(self, encoding: str, bom: bytes) -> None:
        """The signature is over what was compressed; a server may have decompressed it and left the header."""
        body = bom + BODY
        headers = signed(body) | {"content-encoding": encoding}
        members = gzip.compress(body[:20]) + gzip.compress(b"") + gzip.compress(body[20:])
        for sent in (gzip.compress(body), members, body):
            assert verify_webhook(sent, headers, SECRET) == EVENT

    @pytest.mark.parametrize("encoding", ["", "identity", "utf-8", "UTF8", "none", "br", "deflate"])
    def test_an_encoding_that_says_nothing(self, encoding: str) -> None:
        assert verify_webhook(BODY, signed(BODY) | {"Content-Encoding": encoding}, SECRET) == EVENT

    def test_a_byte_order_mark_is_signed_too(self) -> None:
        body = codecs.BOM_UTF8 + BODY
        assert verify_webhook(body, signed(body), SECRET) == EVENT
        assert refused(body, signed(BODY)) == "wrong_signature"

    def test_many_records(self) -> None:
        ids = [f"accr_{number:020d}" for number in range(100_000)]
        body = json.dumps(READY | {"accounting_record_ids": ids}).encode()
        event = verify_webhook(body, signed(body), SECRET)
        assert isinstance(event, RecordsReadyForExport)
        assert event.record_ids == tuple(ids)

    def test_another_type(self) -> None:
        body = b'{"event_type":"EXPENSE_PAYMENT_UPDATED","amount":90071992547409.93,"n":7,"tiny":[0.10]}'
        event = verify_webhook(body, signed(body), SECRET)
        assert isinstance(event, UnknownEvent)
        assert (event.webhook_id, event.event_type) == ("msg_1", "EXPENSE_PAYMENT_UPDATED")
        assert event.payload["amount"] == Decimal("90071992547409.93")
        assert str(event.payload["tiny"][0]) == "0.10"
        assert event.payload["n"] == 7

    def test_events_are_values(self) -> None:
        other = b'{"event_type":"X"}'
        for body in (BODY, other):
            event = verify_webhook(body, signed(body), SECRET)
            assert pickle.loads(pickle.dumps(event)) == event
            assert {event} == {verify_webhook(body, signed(body), SECRET)}
            with pytest.raises(AttributeError):
                event.webhook_id = "msg_2"  # type: ignore[misc]

    def test_the_body_is_taken_byte_for_byte(self) -> None:
        body = json.dumps(READY | {"memo": "Zoë 😀"}, ensure_ascii=False, indent=1).encode() + b"\r\n"
        assert verify_webhook(body, signed(body), SECRET) == EVENT
        assert refused(body.strip(), signed(body)) == "wrong_signature"


class TestHeaders:
    @pytest.mark.parametrize("spell", [str.lower, str.upper, str.title, str.swapcase])
    def test_names_in_any_case(self, spell: Any) -> None:
        assert verify_webhook(BODY, {spell(name): value for name, value in signed(BODY).items()}, SECRET) == EVENT

    def test_headers_of_web_frameworks(self) -> None:
        assert verify_webhook(BODY, httpx.Headers(signed(BODY)), SECRET) == EVENT
        assert verify_webhook(BODY, Headers(signed(BODY)), SECRET) == EVENT

    @pytest.mark.parametrize("name", ["Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"])
    def test_missing(self, name: str) -> None:
        headers: dict[str, Any] = {other: value for other, value in signed(BODY).items() if other != name}
        assert refused(BODY, headers) == "missing_header"
        assert refused(BODY, headers | {name: ""}) == "missing_header"
        assert refused(BODY, headers | {name: None}) == "missing_header"
        assert refused(BODY, headers | {name: ["x"]}) == "malformed_header"
        assert refused(BODY, headers | {name: b"x"}) == "malformed_header"
        assert refused(BODY, {}) == "missing_header"

    @pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp"])
    def test_twice(self, name: str) -> None:
        assert refused(BODY, signed(BODY) | {name: "1"}) == "malformed_header"
        raw = [(key.lower().encode(), value.encode()) for key, value in signed(BODY).items()]
        assert refused(BODY, Headers(raw=[*raw, (name.encode(), b"1")])) == "malformed_header"

    def test_two_headers_of_signatures(self) -> None:
        raw = [(key.lower().encode(), value.encode()) for key, value in signed(BODY).items()]
        wrong = (b"webhook-signature", signature(BODY, OTHER).encode())
        assert verify_webhook(BODY, Headers(raw=[wrong, *raw]), SECRET) == EVENT
        assert verify_webhook(BODY, Headers(raw=[*raw, wrong]), SECRET) == EVENT

    @pytest.mark.parametrize("webhook_id", ["", "é", "msg\n1", "\ud800", "x" * 256, "\x00"])
    def test_ids_that_are_none(self, webhook_id: str) -> None:
        assert refused(BODY, signed(BODY) | {"Webhook-Id": webhook_id}) in {"missing_header", "malformed_header"}

    def test_the_id_is_signed(self) -> None:
        assert refused(BODY, signed(BODY) | {"Webhook-Id": "msg_2"}) == "wrong_signature"
        # What is signed is joined by points: they cannot be moved.
        moved = signed(BODY, webhook_id=f"msg.{NOW}", timestamp=NOW) | {"Webhook-Id": "msg"}
        assert refused(f"{NOW}.".encode() + BODY, moved) == "unreadable_body"


class TestTime:
    @pytest.mark.parametrize(
        ("age", "reason"),
        [(-301, "future_timestamp"), (-300, None), (0, None), (300, None), (301, "stale_timestamp")],
    )
    def test_tolerance_both_ways(self, age: int, reason: str | None) -> None:
        headers = signed(BODY, timestamp=NOW - age)
        if reason is None:
            assert verify_webhook(BODY, headers, SECRET) == EVENT
        else:
            assert refused(BODY, headers) == reason
        assert verify_webhook(BODY, headers, SECRET, tolerance=301) == EVENT
        if age:
            assert refused(BODY, headers, tolerance=0) in {"future_timestamp", "stale_timestamp"}

    @pytest.mark.parametrize(
        "timestamp",
        [
            f" {NOW}",
            f"{NOW}\n",
            f"+{NOW}",
            f"0{NOW}",
            f"{NOW}.0",
            f"{NOW}.5",
            "-1",
            "nan",
            "inf",
            "1e9",
            "1e400",
            "1_767_323_045",
            FULLWIDTH,
            "9" * 11,
            "9" * 5000,
            "2026-01-02T03:04:05Z",
            "\ud800",
        ],
    )
    def test_what_is_no_timestamp(self, timestamp: str) -> None:
        assert refused(BODY, signed(BODY) | {"Webhook-Timestamp": timestamp}) == "malformed_header"

    def test_the_ends_of_time(self) -> None:
        assert refused(BODY, signed(BODY, timestamp=0)) == "stale_timestamp"
        assert refused(BODY, signed(BODY, timestamp=9_999_999_999)) == "future_timestamp"
        for timestamp in (0, 9_999_999_999):
            assert verify_webhook(BODY, signed(BODY, timestamp=timestamp), SECRET, tolerance=1e11) == EVENT

    def test_the_timestamp_is_signed(self) -> None:
        assert refused(BODY, signed(BODY) | {"Webhook-Timestamp": str(NOW + 1)}) == "wrong_signature"

    def test_the_text_says_how_far_off_it_is(self) -> None:
        with pytest.raises(WebhookVerificationError, match="900 seconds ago, and the tolerance is 300"):
            verify_webhook(BODY, signed(BODY, timestamp=NOW - 900), SECRET)
        with pytest.raises(WebhookVerificationError, match="900 seconds in the future by this machine's clock"):
            verify_webhook(BODY, signed(BODY, timestamp=NOW + 900), SECRET)

    def test_the_time_is_the_machine_s(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(webhooks, "_CLOCK", MACHINE_CLOCK)
        assert verify_webhook(BODY, signed(BODY, timestamp=int(time.time())), SECRET) == EVENT
        assert refused(BODY, signed(BODY, timestamp=int(time.time()) - 400)) == "stale_timestamp"
        monkeypatch.setattr(time, "time", lambda: NOW + 0.25)  # as whoever tests a service of their own does
        assert verify_webhook(BODY, signed(BODY), SECRET) == EVENT


class TestSignatures:
    @pytest.mark.parametrize("secrets", [[SECRET, OTHER], (OTHER, SECRET), [SECRET]])
    def test_several_secrets(self, secrets: list[str]) -> None:
        assert verify_webhook(BODY, signed(BODY, SECRET), secrets) == EVENT
        if OTHER in secrets:
            assert verify_webhook(BODY, signed(BODY, OTHER), secrets) == EVENT
        else:
            assert refused(BODY, signed(BODY, OTHER), secrets) == "wrong_signature"

    @pytest.mark.parametrize(
        "secret", [SECRET, SECRET.removeprefix("whsec_"), f" {SECRET}\n", b64encode(b"x" * 25).decode().rstrip("=")]
    )
    def test_spellings_of_a_secret(self, secret: str) -> None:
        key = secret.strip() + "=" * (-len(secret.strip().removeprefix("whsec_")) % 4)
        assert verify_webhook(BODY, signed(BODY, key), secret) == EVENT

    @pytest.mark.parametrize(
        "others",
        ["v1a,AAAA", "v1", "v1,", ",", ",,,", "v2,x v1,%%%%", "v1,é", "v1,\ud800", "v1,A v1,AA v1,AAA", "  \t"],
    )
    def test_a_valid_signature_among_others(self, others: str) -> None:
        valid = signature(BODY)
        for signatures in (f"{others} {valid}", f"{valid} {others}", f"{others} {valid} {others}"):
            assert verify_webhook(BODY, signed(BODY) | {"Webhook-Signature": signatures}, SECRET) == EVENT
        assert refused(BODY, signed(BODY) | {"Webhook-Signature": others}) == "wrong_signature"

    def test_both_signatures_of_a_rotation(self) -> None:
        both = f"{signature(BODY, OTHER)} {signature(BODY, SECRET)}"
        for secret in (SECRET, OTHER, [SECRET, OTHER]):
            assert verify_webhook(BODY, signed(BODY) | {"Webhook-Signature": both}, secret) == EVENT

    @pytest.mark.parametrize(
        "change", [str.lower, lambda s: s[:-1], lambda s: f"{s}=", lambda s: s.removeprefix("v1,")]
    )
    def test_other_versions_and_spellings_do_not_count(self, change: Any) -> None:
        assert refused(BODY, signed(BODY) | {"Webhook-Signature": change(signature(BODY))}) == "wrong_signature"

    def test_version_v1a_does_not_count_even_with_the_right_value(self) -> None:
        value = signature(BODY).removeprefix("v1,")
        assert refused(BODY, signed(BODY) | {"Webhook-Signature": f"v1a,{value} v2,{value}"}) == "wrong_signature"

    def test_all_are_compared_whichever_fits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        compared = list[int]()

        def compare(one: bytes, other: bytes) -> bool:
            compared.append(0)
            return one == other

        monkeypatch.setattr(hmac, "compare_digest", compare)
        three = [signature(BODY), signature(BODY, OTHER), "v1,AAAA"]
        for _ in three:
            three.append(three.pop(0))
            compared.clear()
            verify_webhook(BODY, signed(BODY) | {"Webhook-Signature": " ".join(three)}, [SECRET, OTHER])
            assert len(compared) == 6

    def test_a_long_list(self) -> None:
        many = " ".join(["v1,AAAA"] * 1000 + [signature(BODY)])
        assert verify_webhook(BODY, signed(BODY) | {"Webhook-Signature": many}, SECRET) == EVENT
        assert refused(BODY, signed(BODY) | {"Webhook-Signature": "x" * 1_000_000}) == "too_large"


class TestBodies:
    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"null",
            b"[]",
            b'"text"',
            b"{}",
            BODY[:-1],
            b"\xef\xbb\xbf" * 2 + BODY,
            BODY.decode().encode("utf-16"),
            BODY + b"\xff",
            b'{"event_type":null}',
            b'{"event_type":""}',
            b'{"event_type":7}',
            b'{"event_type":"X","n":NaN}',
            b'{"event_type":"X","n":1e99999999999999999999}',
            b'{"event_type":"X","n":' + b"9" * 5000 + b"}",
            b'{"event_type":"X","text":"\\ud800"}',
            b'{"event_type":"X","deep":' + b"[" * 200_000 + b"]" * 200_000 + b"}",
            b"[" * 1_000_000,
            *(
                json.dumps({"event_type": READY["event_type"]} | rest).encode()
                for rest in (
                    {},
                    {"accounting_record_ids": "accr_1"},
                    {"accounting_record_ids": {"accr_1": 1}},
                    {"accounting_record_ids": [1]},
                    {"accounting_record_ids": [None]},
                    {"accounting_record_ids": [["accr_1"]]},
                    {"accounting_record_ids": ["accr_1", " "]},
                    {"accounting_record_ids": ["accr_1"], "company_id": 7},
                )
            ),
        ],
    )
    def test_signed_and_unreadable(self, body: bytes) -> None:
        assert refused(body, signed(body)) == "unreadable_body"

    def test_a_byte_order_mark_is_signed_and_passed_over(self) -> None:
        marked = b"\xef\xbb\xbf" + BODY
        assert verify_webhook(marked, signed(marked), SECRET) == EVENT
        assert refused(marked, signed(BODY)) == "wrong_signature"

    def test_truncated(self) -> None:
        assert {refused(BODY[:length], signed(BODY)) for length in range(len(BODY))} == {"wrong_signature"}

    def test_huge(self) -> None:
        largest = BODY + b" " * (webhooks.MAX_BODY - len(BODY))
        assert verify_webhook(largest, signed(largest), SECRET) == EVENT
        assert refused(largest + b" ", signed(largest + b" ")) == "too_large"

    def test_nothing_is_parsed_before_it_is_verified(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(webhooks, "_DECODER", None)
        assert refused(BODY, signed(BODY, OTHER)) == "wrong_signature"


class TestCallers:
    @pytest.mark.parametrize(
        "secrets",
        [
            "",
            " ",
            "whsec_",
            "whsec_hunter2!",
            "hunter2-hunter2_",
            "hunter2hunter2hunter2hunter2é",
            "hunte",
            "hunter2==",
            "====",
            [],
            (),
            [SECRET, ""],
            [SECRET, None],
            [SECRET, b"aHVudGVyMg=="],
            b"aHVudGVyMg==",
            None,
            7,
            {"hunter2": 1},
            [[SECRET]],
        ],
    )
    def test_secrets_that_are_none(self, secrets: Any) -> None:
        with pytest.raises(ConfigurationError, match="secret") as caught:
            verify_webhook(BODY, signed(BODY), secrets)
        assert caught.value.__context__ is None
        for secret in ("hunter2", "aHVudGVyMg", SECRET.removeprefix("whsec_")):
            assert_holds_no(secret, caught.value)

    @pytest.mark.parametrize("body", [BODY.decode(), bytearray(BODY), READY, None])
    def test_bodies_that_are_none(self, body: Any) -> None:
        with pytest.raises(ConfigurationError, match="body must be bytes"):
            verify_webhook(body, signed(BODY), SECRET)

    @pytest.mark.parametrize("headers", [None, [("Webhook-Id", "msg_1")], "Webhook-Id: msg_1"])
    def test_headers_that_are_none(self, headers: Any) -> None:
        with pytest.raises(ConfigurationError, match="headers must be a mapping"):
            verify_webhook(BODY, headers, SECRET)

    @pytest.mark.parametrize("tolerance", [-1, -0.001, float("nan"), float("inf"), 10**400, True, "300", None])
    def test_tolerances_that_are_none(self, tolerance: Any) -> None:
        with pytest.raises(ConfigurationError, match="tolerance") as caught:
            verify_webhook(BODY, signed(BODY), SECRET, tolerance=tolerance)
        assert_holds_no(SECRET.removeprefix("whsec_"), caught.value)


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (BODY, {}),
        (BODY, signed(BODY, "dGhpcmQ=")),
        (BODY, signed(BODY, "dGhpcmQ=", timestamp=1)),
        (b"\xff", signed(b"\xff", "dGhpcmQ=")),
        (b'{"x":"accr_1"}', signed(b'{"x":"accr_1"}')),
    ],
)
def test_no_secret_hangs_on_an_error(body: bytes, headers: dict[str, str]) -> None:
    given = headers.get("Webhook-Signature")
    expected = [one[3:] for secret in (SECRET, OTHER) if (one := signature(body, secret)) != given]
    with pytest.raises(WebhookVerificationError) as caught:
        verify_webhook(body, headers, [SECRET, OTHER])
    error = caught.value
    for secret in (SECRET[6:], OTHER[6:], *expected):
        assert_holds_no(secret, error)
    assert "accr_" not in f"{error}{error!r}{vars(error)}"
    twin = pickle.loads(pickle.dumps(error))
    assert (str(twin), twin.reason) == (str(error), error.reason)


def test_a_receiver_needs_no_http_client() -> None:
    script = (
        "import sys; from brex_accounting import verify_webhook; print(*{n.partition('.')[0] for n in sys.modules})"
    )
    run = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert not {"httpx", "brex_accounting_api", "starlette"} & set(run.stdout.split())


# Compressed by the tests: gzip writes the time into it, and ids of tests must not change between two processes.
COMPRESSED: dict[str, Callable[[], bytes]] = {
    "whole": lambda: gzip.compress(BODY),
    "cut short": lambda: gzip.compress(BODY)[:-9],
    "damaged": lambda: gzip.compress(BODY)[:40] + b"\0" * 9,
    "another body": lambda: gzip.compress(BODY + b" "),
    "not text": lambda: gzip.compress(b"\xff" * 9),
    "too large": lambda: gzip.compress(b"\0" * (webhooks.MAX_BODY + 1)),
    "a bomb": lambda: gzip.compress(gzip.compress(b"\0" * 2**28)),
}


@pytest.mark.parametrize(
    ("body", "encoding", "reason"),
    [
        ("whole", "", "unreadable_body"),
        ("whole", "br", "unreadable_body"),
        ("cut short", "gzip", "unreadable_body"),
        ("damaged", "gzip", "unreadable_body"),
        ("another body", "gzip", "wrong_signature"),
        ("not text", "gzip", "unreadable_body"),
        ("too large", "gzip", "too_large"),
        ("a bomb", "gzip", "unreadable_body"),
    ],
)
def test_a_compressed_body_that_is_refused(body: str, encoding: str, reason: WebhookReason) -> None:
    assert refused(COMPRESSED[body](), signed(BODY) | {"Content-Encoding": encoding}) == reason


anything = st.text(st.characters(codec=None, exclude_categories=()), max_size=40) | st.sampled_from(
    ["nan", "inf", "1e400", "-1", FULLWIDTH, str(NOW), "v1,AAAA", "v1,", "whsec_", signature(BODY)]
)
names = st.sampled_from(["Webhook-Id", "webhook-timestamp", "WEBHOOK-SIGNATURE", "webhook-signature"]) | anything


@given(
    body=st.binary(max_size=200) | st.just(BODY) | st.integers(1, 3000).map(lambda depth: b"[" * depth),
    headers=st.dictionaries(names, anything, max_size=6),
    tolerance=st.floats(0, 1e300),
)
@example(body=b"[" * 1_000_000, headers=signed(b"[" * 1_000_000), tolerance=300.0)
def test_whatever_is_sent(body: bytes, headers: dict[str, str], tolerance: float) -> None:
    assert refused(body, headers, [SECRET, OTHER], tolerance=tolerance)  # nobody can sign without the secret


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)
payloads = st.fixed_dictionaries(
    {},
    optional={
        "event_type": st.just(READY["event_type"]) | json_values,
        "accounting_record_ids": st.lists(st.text()) | json_values,
        "accountingRecordIds": st.lists(st.text()) | json_values,
        "company_id": json_values,
        "companyId": json_values,
    },
)


@given(body=payloads.map(lambda payload: json.dumps(payload).encode()) | st.binary())
def test_whatever_is_signed(body: bytes) -> None:
    event, reason = None, None
    try:
        event = verify_webhook(body, signed(body), SECRET)
    except WebhookVerificationError as error:
        reason = error.reason
    if event is None:
        assert reason == "unreadable_body"
        return
    payload = json.loads(body)
    if isinstance(event, RecordsReadyForExport):
        ids = payload.get("accounting_record_ids")
        assert list(event.record_ids) == (payload["accountingRecordIds"] if ids is None else ids)
    else:
        assert event.event_type == payload["event_type"] != READY["event_type"]


@given(
    secrets=st.lists(st.binary(min_size=1), min_size=1, max_size=3, unique=True),
    extra=st.lists(st.text(st.characters(codec=None, exclude_categories=()))),
    data=st.data(),
)
def test_any_one_signature_by_any_one_secret_will_do(
    secrets: list[bytes], extra: list[str], data: st.DataObject
) -> None:
    spelled = ["whsec_" + b64encode(secret).decode() for secret in secrets]
    by = data.draw(st.sampled_from(spelled))
    signatures = [*extra, signature(BODY, by)]
    headers = signed(BODY) | {"Webhook-Signature": " ".join(data.draw(st.permutations(signatures)))}
    assert verify_webhook(BODY, headers, spelled) == EVENT
    flipped = BODY.replace(b"accr_1", b"accr_9")
    assert refused(flipped, headers, spelled) == "wrong_signature"
