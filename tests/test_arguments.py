"""What callers pass in is checked before anything is sent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
import uuid
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from enum import Enum
from importlib import import_module
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brex_accounting import BrexAccounting, ConfigurationError, Outcome, RateLimit, RetryPolicy, _arguments
from brex_accounting._arguments import check_count, check_datetime, check_flag

Call = Callable[[BrexAccounting, Any], Awaitable[object]]
Requests = list[httpx.Request]

INTEGRATION = {
    "id": "int_1",
    "vendor": "ERP_A",
    "vendor_account_id": "acct-42",
    "status": "ACTIVE",
    "created_at": "2025-08-15T10:00:00Z",
}

WITH_VENDOR: dict[str, Call] = {
    "create": lambda brex, value: brex.integrations.create(value, "acct-42"),
    "ensure": lambda brex, value: brex.integrations.ensure(value, "acct-42", replace=True),
}
WITH_ACCOUNT: dict[str, Call] = {
    "create": lambda brex, value: brex.integrations.create("ERP_A", value),
    "ensure": lambda brex, value: brex.integrations.ensure("ERP_A", value),
}
WITH_ID: dict[str, Call] = {
    "disconnect": lambda brex, value: brex.integrations.disconnect(value),
    "reactivate": lambda brex, value: brex.integrations.reactivate(value),
    "ensure_disconnected": lambda brex, value: brex.integrations.ensure_disconnected(value),
    "ensure_active": lambda brex, value: brex.integrations.ensure_active(value),
}
WITH_KEY: dict[str, Call] = {
    "create": lambda brex, value: brex.integrations.create("ERP_A", "acct-42", idempotency_key=value),
    "disconnect": lambda brex, value: brex.integrations.disconnect("int_1", idempotency_key=value),
    "reactivate": lambda brex, value: brex.integrations.reactivate("int_1", idempotency_key=value),
}
TEXTS = [
    *(pytest.param("vendor", call, id=f"vendor of {name}") for name, call in WITH_VENDOR.items()),
    *(pytest.param("vendor_account_id", call, id=f"account of {name}") for name, call in WITH_ACCOUNT.items()),
    *(pytest.param("integration_id", call, id=f"id of {name}") for name, call in WITH_ID.items()),
]


def short(value: object) -> str:
    return ascii(value)[:40]


@pytest.fixture
def requests() -> Requests:
    return []


@pytest.fixture
def brex(requests: Requests) -> BrexAccounting:
    return client(requests)


def client(requests: Requests, base_url: str = "https://api.test") -> BrexAccounting:
    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        if not request.url.path.endswith("/integration"):
            *_, integration_id, operation = request.url.raw_path.decode().split("/")
            status = "DISABLED" if operation == "disconnect" else "ACTIVE"
            return httpx.Response(200, json=INTEGRATION | {"id": unquote(integration_id), "status": status})
        return httpx.Response(200, json=INTEGRATION | json.loads(request.content))

    return BrexAccounting("bxt_secret", base_url=base_url, transport=httpx.MockTransport(answer))


async def refusal(call: Awaitable[object]) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        await call
    error = caught.value
    assert (error.outcome, error.attempts) == (Outcome.NOT_APPLIED, 0)
    assert error.__context__ is None
    return error


@pytest.mark.parametrize("value", ["", " ", "\t\r\n", "\u00a0\u2003", None, 5, True, b"int_1", ["int_1"], "\ud800"])
@pytest.mark.parametrize(("name", "call"), TEXTS)
async def test_texts(brex: BrexAccounting, requests: Requests, name: str, call: Call, value: object) -> None:
    error = await refusal(call(brex, value))
    assert str(error).startswith(f"{name} ")
    assert requests == []


@pytest.mark.parametrize("value", [".", "..", "x" * 2001, "é" * 1001], ids=short)
@pytest.mark.parametrize("call", WITH_ID.values(), ids=WITH_ID)
async def test_ids_that_are_none(brex: BrexAccounting, requests: Requests, call: Call, value: str) -> None:
    error = await refusal(call(brex, value))
    assert "pass the id that Brex returned" in str(error)
    assert len(str(error)) < 120
    assert requests == []


@pytest.mark.parametrize("prefix", ["", "/brex", "/a%20b/c"])
@pytest.mark.parametrize(
    ("value", "segment"),
    [
        ("int_abc123", "int_abc123"),
        ("a/b", "a%2Fb"),
        ("../../admin", "..%2F..%2Fadmin"),
        ("/", "%2F"),
        ("...", "..."),
        ("a b", "a%20b"),
        (" x ", "%20x%20"),
        ("a?b=c&d", "a%3Fb%3Dc%26d"),
        ("a#b", "a%23b"),
        ("%2e%2e", "%252e%252e"),
        ("%", "%25"),
        ("a\\b", "a%5Cb"),
        ("a;b:c@d", "a%3Bb%3Ac%40d"),
        ("a\r\nX: y", "a%0D%0AX%3A%20y"),
        ("ключ", "%D0%BA%D0%BB%D1%8E%D1%87"),
        ("🧾", "%F0%9F%A7%BE"),
        ("~-._", "~-._"),
        ("x" * 2000, "x" * 2000),
        ("é" * 1000, "%C3%A9" * 1000),
    ],
    ids=short,
)
@pytest.mark.parametrize("action", ["disconnect", "reactivate"])
async def test_ids_are_quoted(requests: Requests, prefix: str, action: str, value: str, segment: str) -> None:
    await WITH_ID[action](client(requests, f"https://api.test{prefix}"), value)
    assert [r.url.raw_path.decode() for r in requests] == [f"{prefix}/v3/accounting/integration/{segment}/{action}"]


@settings(deadline=None, max_examples=50)
@given(st.text(min_size=1, max_size=80).filter(lambda text: text.strip() and text not in {".", ".."}))
def test_every_id_is_one_segment(value: str) -> None:
    requests: Requests = []
    asyncio.run(WITH_ID["disconnect"](client(requests), value))  # type: ignore[arg-type]
    segments = requests[0].url.raw_path.decode().split("/")
    assert len(segments) == 6
    assert (segments[1:4], unquote(segments[4]), segments[5]) == (
        ["v3", "accounting", "integration"],
        value,
        "disconnect",
    )


async def test_members_of_enums_count_as_their_value(brex: BrexAccounting, requests: Requests) -> None:
    class Vendor(str, Enum):  # noqa: UP042 - whose str() is not its value
        A = "ERP_A"

    await brex.integrations.create(Vendor.A, Vendor.A, idempotency_key=Vendor.A)
    await brex.integrations.disconnect(Vendor.A)
    create, disconnect = requests
    assert create.content == b'{"vendor":"ERP_A","vendor_account_id":"ERP_A"}'
    assert create.headers["Idempotency-Key"] == "ERP_A"
    assert disconnect.url.path == "/v3/accounting/integration/ERP_A/disconnect"


async def test_strings_of_a_class_of_their_own(brex: BrexAccounting, requests: Requests) -> None:
    class Text(str):
        __slots__ = ()

        def __str__(self) -> str:
            return "something else"

    await brex.integrations.create(Text("ERP_A"), Text("a"))
    await brex.integrations.disconnect(Text("int_1"))
    assert requests[0].content == b'{"vendor":"ERP_A","vendor_account_id":"a"}'
    assert requests[1].url.path == "/v3/accounting/integration/int_1/disconnect"


async def test_texts_are_sent_as_given(brex: BrexAccounting, requests: Requests) -> None:
    await brex.integrations.create(' "ERP"\n', "ключ🧾")
    assert requests[0].read().decode() == '{"vendor":" \\"ERP\\"\\n","vendor_account_id":"ключ🧾"}'


@pytest.mark.parametrize("key", ["a", "a b", "!~", "x" * 255, str(uuid.UUID(int=4))])
@pytest.mark.parametrize("call", WITH_KEY.values(), ids=WITH_KEY)
async def test_idempotency_keys_are_sent_as_given(
    brex: BrexAccounting, requests: Requests, call: Call, key: str
) -> None:
    await call(brex, key)
    assert [request.headers["Idempotency-Key"] for request in requests] == [key]


@pytest.mark.parametrize(
    "key", ["", "x" * 256, "é", "a\n", "a\r\nX: y", "\x00", "\x7f", " a", "a ", 5, b"a", uuid.UUID(int=4)]
)
@pytest.mark.parametrize("call", WITH_KEY.values(), ids=WITH_KEY)
async def test_idempotency_keys_that_are_none(
    brex: BrexAccounting, requests: Requests, call: Call, key: object
) -> None:
    assert str(await refusal(call(brex, key))).startswith("idempotency_key must ")
    assert requests == []


async def test_without_a_key_each_call_makes_its_own(brex: BrexAccounting, requests: Requests) -> None:
    for call in [*WITH_KEY.values(), *WITH_KEY.values()]:
        await call(brex, None)
    keys = {request.headers["Idempotency-Key"] for request in requests}
    assert len(keys) == len(requests) == 2 * len(WITH_KEY)
    assert all(str(uuid.UUID(key)) == key and uuid.UUID(key).version == 4 for key in keys)


NUMBERS_THAT_ARE_NONE = ["1", None, True, float("nan"), float("inf"), 10**400, 1j, [1]]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("timeout", value) for value in [*NUMBERS_THAT_ARE_NONE, 0, -1, (5, 5)]),
        *(("max_connections", value) for value in [*NUMBERS_THAT_ARE_NONE[:5], 0, -1, 1.0]),
        *(("retry", value) for value in [None, 3, RetryPolicy]),
        *(("rate_limit", value) for value in [1000, (1000, 60.0), RateLimit]),
        *(("transport", value) for value in ["x", httpx.HTTPTransport(verify=False), object()]),
        *(("on_attempt", value) for value in ["x", object(), asyncio.sleep]),
        *(("auth", value) for value in [5, b"bxt_secret", ["bxt_secret"], object()]),
        *(("base_url", value) for value in [5, b"https://api.test", httpx.URL("https://api.test")]),
    ],
)
def test_options_of_a_client(name: str, value: object) -> None:
    options: dict[str, Any] = {"auth": "bxt_secret", name: value}
    with pytest.raises(ConfigurationError, match=f"^{name} must ") as caught:
        BrexAccounting(**options)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("max_attempts", value) for value in [*NUMBERS_THAT_ARE_NONE[:5], 0, -1, 1.5]),
        *(("deadline", value) for value in [*NUMBERS_THAT_ARE_NONE, 0, -0.5]),
        *((name, -1) for name in ("initial_backoff", "max_backoff", "max_retry_after")),
        *(("max_retry_after", value) for value in NUMBERS_THAT_ARE_NONE),
    ],
)
def test_options_of_a_retry_policy(name: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name} must "):
        RetryPolicy(**{name: value})


@pytest.mark.parametrize(
    ("requests", "per", "name"),
    [(0, 60.0, "requests"), (1.5, 60.0, "requests"), (True, 60.0, "requests"), (1, 0, "per"), (1, "60", "per")],
)
def test_options_of_a_rate_limit(requests: Any, per: Any, name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name} must "):
        RateLimit(requests, per=per)


@pytest.mark.parametrize("backoff", [0, 0.0, 3])
def test_waits_may_be_zero(backoff: float) -> None:
    policy = RetryPolicy(initial_backoff=backoff, max_backoff=backoff, max_retry_after=backoff)
    assert policy.initial_backoff == policy.max_backoff == policy.max_retry_after == backoff


@pytest.mark.parametrize("name", ["timeout", "retry"])
@pytest.mark.parametrize("value", [None, "30", 0])
def test_options_of_a_view(brex: BrexAccounting, name: str, value: object) -> None:
    options: dict[str, Any] = {name: value}
    with pytest.raises(ConfigurationError, match=f"^{name} must "):
        brex.with_options(**options)


@pytest.mark.parametrize("made", [None, httpx.HTTPTransport(verify=False), {}])
async def test_a_callable_that_makes_no_transport(made: Any) -> None:
    async with BrexAccounting("bxt_secret", transport=lambda: made) as brex:
        error = await refusal(brex.integrations.disconnect("int_1"))
    assert type(made).__name__ in str(error)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://api.brex.com", "https://api.brex.com"),
        ("https://api.brex.com/", "https://api.brex.com"),
        ("https://api.brex.com:443", "https://api.brex.com"),
        ("https://api.brex.com:8443/a//b/", "https://api.brex.com:8443/a//b"),
        ("https://api.brex.com/a b/../c", "https://api.brex.com/c"),
        ("HTTPS://API.BREX.COM/V3", "https://api.brex.com/V3"),
        ("https://api.brex.com.", "https://api.brex.com."),
        ("https://[2001:db8::1]", "https://[2001:db8::1]"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
        ("http://localhost", "http://localhost"),
        ("http://LOCALHOST:8765", "http://localhost:8765"),
        ("http://127.0.0.1:1", "http://127.0.0.1:1"),
        ("http://127.255.255.254", "http://127.255.255.254"),
        ("http://[::1]:8765", "http://[::1]:8765"),
    ],
)
async def test_addresses(requests: Requests, url: str, target: str) -> None:
    brex = client(requests, url)
    assert repr(brex) == f"<BrexAccounting {target}>"
    await brex.integrations.create("ERP_A", "acct-42")
    assert [str(request.url) for request in requests] == [f"{target}/v3/accounting/integration"]


NO_ADDRESSES = [
    " ",
    "api.brex.com",
    "//api.brex.com",
    "https://",
    "https:///path",
    "https://:443",
    "https:api.brex.com",
    "https://api.brex.com:port",
    "https://[::1",
    "https://\u2603.example",
    " https://api.brex.com",
    "https://api.brex.com\n",
    "https://" + "a" * 70_000,
    "ftp://api.brex.com",
    "file:///etc/passwd",
    "https://api.brex.com?key=hunter2",
    "https://api.brex.com?",
    "https://api.brex.com/#",
    "https://api.brex.com#hunter2",
    "https://user:hunter2@api.brex.com",
    "https://:hunter2@api.brex.com",
    "https://hunter2@api.brex.com",
    "https://user:hunter2@",
    "https://user:hunter2@[bad",
    "https://user:hunter2@api.brex.com:port",
    "https://api.brex.com\\@hunter2",
    "http://api.brex.com",
    "http://user:hunter2@localhost",
    "http://localhost.",
    "http://localhost.evil.test",
    "http://a.localhost",
    "http://127.1",
    "http://127.0.0.1.evil.test",
    "http://128.0.0.1",
    "http://0.0.0.0",
    "http://2130706433",
    "http://[::2]",
]


def refused_address(base_url: str | None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        BrexAccounting("bxt_secret", base_url=base_url)
    assert caught.value.__context__ is None
    assert "hunter2" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("url", ["", "https://api.brex.com\x00", *NO_ADDRESSES], ids=short)
def test_addresses_that_are_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("BREX_BASE_URL", "https://api.test")
    assert refused_address(url).startswith("base_url must ")


@pytest.mark.parametrize("url", NO_ADDRESSES, ids=short)
def test_addresses_of_the_environment_that_are_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("BREX_BASE_URL", url)
    assert refused_address(None).startswith("BREX_BASE_URL must ")


# -- moments, flags and counts: see also test_record_query, where they go out ------------------------------------------


def refused_value(check: Callable[[], object]) -> str:
    with pytest.raises(ConfigurationError) as caught:
        check()
    assert caught.value.__context__ is None
    return str(caught.value)


def test_moments() -> None:
    zone = timezone(timedelta(hours=2, seconds=7))
    assert check_datetime(datetime(2025, 1, 1, 2, 0, 7, tzinfo=zone), "since") == datetime(2025, 1, 1, tzinfo=UTC)
    assert check_datetime("2025-01-01T02:00:00+02:00", "since").utcoffset() == timedelta()
    assert "since has no UTC offset" in refused_value(lambda: check_datetime("2025-01-01", "since"))
    assert "since is outside the years" in refused_value(lambda: check_datetime("0001-01-01T00:00:00+01:00", "since"))
    assert "since has a tzinfo" in refused_value(lambda: check_datetime(datetime(2025, 1, 1, tzinfo=tzinfo()), "since"))
    assert "since must be a datetime" in refused_value(lambda: check_datetime(None, "since"))


@given(st.text() | st.from_regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]{2,15}(Z|[+-][0-9:.]{2,8})", fullmatch=True))
def test_any_text_is_a_moment_or_is_refused(text: str) -> None:
    try:
        moment = check_datetime(text, "since")
    except ConfigurationError as error:
        assert error.__context__ is None  # noqa: PT017
    else:
        with contextlib.suppress(ValueError):  # it takes no t, z and 24:00
            assert moment == datetime.fromisoformat(text)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2025-11-01t09:30:00z", datetime(2025, 11, 1, 9, 30, tzinfo=UTC)),
        ("2025-11-01T09:30Z", datetime(2025, 11, 1, 9, 30, tzinfo=UTC)),
        ("2025-11-01 09:30:00,5+01:00", datetime(2025, 11, 1, 8, 30, 0, 500_000, UTC)),
        ("20251101T093000-0030", datetime(2025, 11, 1, 10, 0, tzinfo=UTC)),
        ("2025-10-31T24:00:00Z", datetime(2025, 11, 1, tzinfo=UTC)),
        ("2025-11-01T23:59:59.9999999Z", datetime(2025, 11, 1, 23, 59, 59, 999_999, UTC)),
    ],
)
def test_text_is_read_as_a_moment(text: str, moment: datetime) -> None:
    assert check_datetime(text, "since") == moment


@pytest.mark.parametrize(
    "text",
    [
        *(
            "2025-11-01T00:00:00+01:75",
            "2025-11-01T00:00:00-05:60",
            "2025-11-01T00:00:00+24:00",
            "2025-11-01T24:00:01Z",
        ),
        *("2025-11-01-05:00Z", "2025-11-01-05:00", "2025-11-01x05:00Z", "2025-11-01T25:00Z", "2025-11-31T00:00Z"),
        *("2025-11-01T00:00:00 Z", " 2025-11-01T00:00:00Z", "01/11/2025", "yesterday", "", "T", "2025-11-01T00:00Z\n"),
        "\u0662\u0660\u0662\u0665-11-01T00:00Z",
    ],
)
def test_text_that_is_not_clearly_a_moment_is_refused(text: str) -> None:
    assert "since must be a datetime, or ISO 8601 text" in refused_value(lambda: check_datetime(text, "since"))


def test_midnight_after_the_last_day_is_outside_the_years() -> None:
    assert "outside the years" in refused_value(lambda: check_datetime("9999-12-31T24:00:00Z", "since"))


def test_flags() -> None:
    assert check_flag(True, "flag") is True
    assert check_flag(False, "flag") is False
    for value in (0, 1, None, "true", [], 1.0):
        assert refused_value(lambda value=value: check_flag(value, "flag")) == "flag must be True or False."


def test_counts() -> None:
    assert [check_count(value, "n", most=9) for value in (1, 9)] == [1, 9]
    assert check_count(10**30, "n") == 10**30
    for value in (0, -1, 10, True, False, 1.0, "1", None, float("inf")):
        assert (
            refused_value(lambda value=value: check_count(value, "n", most=9))
            == "n must be a whole number from 1 to 9."
        )
    assert refused_value(lambda: check_count(0, "n")) == "n must be a whole number of at least 1."
    assert "from 1 to 1,000." in refused_value(lambda: check_count(1001, "n", most=1000))


@pytest.mark.parametrize(
    ("module", "missing", "problem"),
    [
        ("fleet", ["procrastinate", "psycopg"], 'procrastinate is missing: pip install "brex-accounting[fleet]".'),
        ("fleet", ["psycopg_pool"], 'psycopg_pool is missing: pip install "brex-accounting[fleet]".'),
        ("postgres", ["psycopg", "psycopg_pool"], 'psycopg is missing: pip install "brex-accounting[postgres]".'),
    ],
)
def test_what_is_missing_is_in_the_extra_that_is_named(
    monkeypatch: pytest.MonkeyPatch, module: str, missing: list[str], problem: str
) -> None:
    for name in [name for name in sys.modules if re.match(r"brex_accounting\.(fleet|postgres)\b", name)]:
        monkeypatch.delitem(sys.modules, name)
    for name in missing:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigurationError) as caught:
        import_module(f"brex_accounting.{module}")
    assert str(caught.value) == problem


def test_what_is_there_and_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> object:
        raise ImportError("no pq wrapper available.\nAttempts made: CANARY", name=name)

    monkeypatch.setattr(_arguments, "import_module", fail)
    with pytest.raises(ConfigurationError) as caught:
        _arguments.check_extra("postgres", "psycopg")
    assert str(caught.value) == 'psycopg cannot be imported: pip install "psycopg[binary]".'
    assert caught.value.__context__ is None
