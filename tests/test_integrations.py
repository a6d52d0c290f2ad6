"""The integrations of an account: what each method sends, and how it ends."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from pytest_httpx import HTTPXMock

from brex_accounting import (
    BrexAccounting,
    BrexError,
    CallTimeoutError,
    ConfigurationError,
    ForbiddenError,
    IntegrationExistsError,
    IntegrationNotActiveError,
    IntegrationStatus,
    NotFoundError,
    Outcome,
    RetryPolicy,
    ServerError,
    TokenRefreshError,
    VendorAccountMismatchError,
    client,
)
from brex_accounting._clock import Clock
from brex_accounting.integrations import _add_earlier_steps

BASE = "http://localhost"
PATHS = {
    "create": "/v3/accounting/integration",
    "disconnect 1": "/v3/accounting/integration/int_1/disconnect",
    "disconnect 2": "/v3/accounting/integration/int_2/disconnect",
    "reactivate 1": "/v3/accounting/integration/int_1/reactivate",
}
REPLACED = ["create", "disconnect 2", "create"]


@pytest.fixture
def brex() -> BrexAccounting:
    """A client that tries twice, at once."""
    return BrexAccounting("bxt_secret", base_url=BASE, retry=RetryPolicy(max_attempts=2, initial_backoff=0))


def integration(number: int, status: str = "ACTIVE") -> httpx.Response:
    body = {"vendor": "ERP_A", "vendor_account_id": "acct-42", "created_at": "2025-08-15T10:00:00Z"}
    return httpx.Response(200, json=body | {"id": f"int_{number}", "status": status})


def refusal(status: int, code: str, **details: Any) -> httpx.Response:
    return httpx.Response(status, json={"error_code": code, "message": "So it is.", "details": details})


def exists(number: int) -> httpx.Response:
    return refusal(409, "ACTIVE_INTEGRATION_EXISTS", existing_integration_id=f"int_{number}")


def not_active(status: str) -> httpx.Response:
    return refusal(409, "INTEGRATION_NOT_ACTIVE", integration_id="int_2", current_status=status)


MISMATCH = refusal(409, "VENDOR_ACCOUNT_ID_MISMATCH", existing_integration_id="int_2")
FORBIDDEN = refusal(403, "FORBIDDEN")
NOT_FOUND = refusal(404, "NOT_FOUND")
DOWN = httpx.Response(503)


class Story:
    """The answers to come, in their order; each is used once, and none is left."""

    def __init__(self, mock: HTTPXMock) -> None:
        self._mock = mock

    def __call__(self, *answers: httpx.Response) -> None:
        for answer in answers:
            self._mock.add_response(
                method="POST", status_code=answer.status_code, headers=answer.headers, content=answer.content
            )

    @property
    def requests(self) -> list[httpx.Request]:
        return self._mock.get_requests()

    @property
    def steps(self) -> list[str]:
        names = {path: name for name, path in PATHS.items()}
        return [names[request.url.path] for request in self.requests]

    @property
    def keys(self) -> list[str]:
        return [request.headers["Idempotency-Key"] for request in self.requests]


@pytest.fixture
def story(httpx_mock: HTTPXMock) -> Story:
    return Story(httpx_mock)


# -- the three operations ----------------------------------------------------------------------------------------------


async def test_create(brex: BrexAccounting, story: Story) -> None:
    story(integration(1))
    created = await brex.integrations.create(vendor="ERP_A", vendor_account_id="acct-42", idempotency_key="key")
    assert (created.id, created.status) == ("int_1", IntegrationStatus.ACTIVE)
    [request] = story.requests
    assert (request.method, str(request.url)) == ("POST", f"{BASE}/v3/accounting/integration")
    assert json.loads(request.content) == {"vendor": "ERP_A", "vendor_account_id": "acct-42"}
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["Authorization"] == "Bearer bxt_secret"
    assert request.headers["Accept"] == "application/json"
    assert request.headers["User-Agent"].startswith("brex-accounting/")
    assert story.keys == ["key"]


@pytest.mark.parametrize(("action", "status"), [("disconnect", "DISABLED"), ("reactivate", "ACTIVE")])
async def test_disconnect_and_reactivate(brex: BrexAccounting, story: Story, action: str, status: str) -> None:
    story(integration(1, status))
    changed = await getattr(brex.integrations, action)("int_1", idempotency_key="key")
    assert (changed.id, changed.status) == ("int_1", status)
    [request] = story.requests
    assert (request.method, str(request.url)) == ("POST", f"{BASE}/v3/accounting/integration/int_1/{action}")
    assert request.content == b""
    assert request.headers["Content-Length"] == "0"
    assert "Content-Type" not in request.headers
    assert story.keys == ["key"]


async def test_the_same_create_later_is_a_new_request(brex: BrexAccounting, story: Story) -> None:
    story(integration(1), integration(1, "DISABLED"), integration(2))
    await brex.integrations.create("ERP_A", "acct-42")
    await brex.integrations.disconnect("int_1")
    assert (await brex.integrations.create("ERP_A", "acct-42")).id == "int_2"
    assert len(set(story.keys)) == 3


@pytest.mark.parametrize("operation", ["create", "disconnect", "reactivate"])
async def test_a_retry_sends_the_same_again(brex: BrexAccounting, story: Story, operation: str) -> None:
    story(DOWN, integration(1, "DISABLED" if operation == "disconnect" else "ACTIVE"))
    arguments = ("ERP_A", "acct-42") if operation == "create" else ("int_1",)
    await getattr(brex.integrations, operation)(*arguments)
    first, second = story.requests
    assert (first.url, first.content, first.headers) == (second.url, second.content, second.headers)


async def test_a_disconnect_that_may_have_been_our_own(brex: BrexAccounting, story: Story) -> None:
    story(DOWN, not_active("DISABLED"))
    with pytest.raises(IntegrationNotActiveError) as caught:
        await brex.integrations.disconnect("int_2")
    error = caught.value
    assert (error.outcome, error.attempts, error.current_status) == (Outcome.UNKNOWN, 2, "DISABLED")


async def test_a_disconnect_that_was_not(brex: BrexAccounting, story: Story) -> None:
    story(not_active("DISABLED"))
    with pytest.raises(IntegrationNotActiveError) as caught:
        await brex.integrations.disconnect("int_2")
    assert (caught.value.outcome, caught.value.attempts) == (Outcome.NOT_APPLIED, 1)


# -- ensure ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("replace", [False, True])
async def test_ensure_creates(brex: BrexAccounting, story: Story, replace: bool) -> None:
    story(integration(1))
    assert (await brex.integrations.ensure("ERP_A", "acct-42", replace=replace)).id == "int_1"
    assert story.steps == ["create"]
    assert json.loads(story.requests[0].content) == {"vendor": "ERP_A", "vendor_account_id": "acct-42"}


@pytest.mark.parametrize(
    ("conflict", "kind"), [(exists(2), IntegrationExistsError), (MISMATCH, VendorAccountMismatchError)]
)
async def test_ensure_replaces_nothing_unasked(
    brex: BrexAccounting, story: Story, conflict: httpx.Response, kind: type[BrexError]
) -> None:
    story(conflict)
    with pytest.raises(kind) as caught:
        await brex.integrations.ensure("ERP_A", "acct-42")
    assert (caught.value.outcome, caught.value.disconnected_integration_id) == (Outcome.NOT_APPLIED, None)
    assert story.steps == ["create"]


@pytest.mark.parametrize("conflict", [exists(2), MISMATCH])
@pytest.mark.parametrize("disconnected", [integration(2, "DISABLED"), not_active("DISABLED")])
async def test_ensure_replaces(
    brex: BrexAccounting, story: Story, conflict: httpx.Response, disconnected: httpx.Response
) -> None:
    story(conflict, disconnected, integration(3))
    assert (await brex.integrations.ensure("ERP_A", "acct-42", replace=True)).id == "int_3"
    assert story.steps == REPLACED
    assert story.requests[0].content == story.requests[2].content
    assert len(set(story.keys)) == 3


@pytest.mark.parametrize("existing", [None, "", " ", ".", "..", 7, "x" * 5000], ids=lambda value: repr(value)[:9])
async def test_ensure_needs_the_id_of_what_stands_in_the_way(
    brex: BrexAccounting, story: Story, existing: object
) -> None:
    story(refusal(409, "ACTIVE_INTEGRATION_EXISTS", existing_integration_id=existing))
    with pytest.raises(IntegrationExistsError) as caught:
        await brex.integrations.ensure("ERP_A", "acct-42", replace=True)
    assert (caught.value.outcome, caught.value.disconnected_integration_id) == (Outcome.NOT_APPLIED, None)
    assert story.steps == ["create"]


async def test_ensure_replaces_once_even_when_it_loses_the_race(brex: BrexAccounting, story: Story) -> None:
    story(exists(2), integration(2, "DISABLED"), exists(3))
    with pytest.raises(IntegrationExistsError) as caught:
        await brex.integrations.ensure("ERP_A", "acct-42", replace=True)
    error = caught.value
    assert (error.existing_integration_id, error.disconnected_integration_id) == ("int_3", "int_2")
    assert (error.outcome, error.operation, error.attempts) == (Outcome.UNKNOWN, "createIntegration", 1)
    assert (error.__context__, error.__cause__) == (None, None)
    assert "ensure disconnected int_2" in str(error)
    assert story.steps == REPLACED


@pytest.mark.parametrize(
    ("answers", "kind"),
    [([FORBIDDEN], ForbiddenError), ([MISMATCH], VendorAccountMismatchError), ([DOWN, DOWN], ServerError)],
)
async def test_ensure_tells_what_it_disconnected(
    brex: BrexAccounting, story: Story, answers: list[httpx.Response], kind: type[BrexError]
) -> None:
    story(exists(2), integration(2, "DISABLED"), *answers)
    with pytest.raises(kind) as caught:
        await brex.integrations.ensure("ERP_A", "acct-42", replace=True)
    assert (caught.value.outcome, caught.value.disconnected_integration_id) == (Outcome.UNKNOWN, "int_2")
    assert caught.value.idempotency_key == story.keys[-1]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(FORBIDDEN, ForbiddenError), (NOT_FOUND, NotFoundError), (not_active("PAUSED"), IntegrationNotActiveError)],
)
async def test_ensure_when_the_disconnect_is_refused(
    brex: BrexAccounting, story: Story, answer: httpx.Response, kind: type[BrexError]
) -> None:
    story(exists(2), answer)
    with pytest.raises(kind) as caught:
        await brex.integrations.ensure("ERP_A", "acct-42", replace=True)
    error = caught.value
    assert (error.outcome, error.operation) == (Outcome.NOT_APPLIED, "disconnectIntegration")
    assert error.disconnected_integration_id is None
    assert "int_2" in str(error)
    assert story.steps == REPLACED[:2]


async def test_ensure_when_the_disconnect_is_in_doubt(brex: BrexAccounting, story: Story) -> None:
    story(exists(2), DOWN, DOWN)
    with pytest.raises(ServerError) as caught:
        await brex.integrations.ensure("ERP_A", "acct-42", replace=True)
    error = caught.value
    assert (error.outcome, error.operation) == (Outcome.UNKNOWN, "disconnectIntegration")
    assert error.disconnected_integration_id == "int_2"
    assert "int_2" in str(error)


@pytest.mark.parametrize(
    ("disconnect", "disconnected", "outcome"),
    [
        ([DOWN, not_active("DISABLED")], "int_2", Outcome.UNKNOWN),  # it may have been ours
        ([not_active("DISABLED")], None, Outcome.NOT_APPLIED),  # it was not
    ],
)
async def test_ensure_when_the_obstacle_is_gone_already(
    brex: BrexAccounting,
    story: Story,
    disconnect: list[httpx.Response],
    disconnected: str | None,
    outcome: Outcome,
) -> None:
    story(exists(2), *disconnect, FORBIDDEN)
    with pytest.raises(ForbiddenError) as caught:
        await brex.integrations.ensure("ERP_A", "acct-42", replace=True)
    assert (caught.value.disconnected_integration_id, caught.value.outcome) == (disconnected, outcome)


async def test_what_ensure_does_not_know_to_be_disconnected(brex: BrexAccounting, story: Story) -> None:
    story(exists(2), not_active("DISABLED"), DOWN, DOWN)
    with pytest.raises(ServerError) as caught:
        await brex.integrations.ensure("ERP_A", "acct-42", replace=True)
    assert (caught.value.disconnected_integration_id, caught.value.outcome) == (None, Outcome.UNKNOWN)


@pytest.mark.parametrize(("disconnected", "doubt"), [(True, False), (False, True)])
def test_an_error_of_ensure_that_a_queue_rebuilds_knows_its_earlier_steps(disconnected: bool, doubt: bool) -> None:
    error = TokenRefreshError("No token.", outcome=Outcome.NOT_APPLIED, operation="createIntegration")
    _add_earlier_steps(error, "int_2", disconnected=disconnected, doubt=doubt)
    for each in (error, TokenRefreshError(*json.loads(json.dumps(error.args)))):
        assert each.outcome is Outcome.UNKNOWN
        assert each.disconnected_integration_id == ("int_2" if disconnected else None)


@pytest.mark.parametrize(("answers", "kind"), [([FORBIDDEN], ForbiddenError), ([DOWN, DOWN], ServerError)])
async def test_ensure_ends_with_an_error_of_the_first_create(
    brex: BrexAccounting, story: Story, answers: list[httpx.Response], kind: type[BrexError]
) -> None:
    story(*answers)
    with pytest.raises(kind) as caught:
        await brex.integrations.ensure("ERP_A", "acct-42", replace=True)
    assert "ensure" not in str(caught.value)
    assert caught.value.disconnected_integration_id is None


@pytest.mark.parametrize(
    ("deadline", "step", "disconnected", "outcome"),
    [
        (50.0, "disconnectIntegration", None, Outcome.NOT_APPLIED),
        (100.0, "createIntegration", "int_2", Outcome.UNKNOWN),
    ],
)
async def test_the_steps_of_ensure_share_one_deadline(
    monkeypatch: pytest.MonkeyPatch, deadline: float, step: str, disconnected: str | None, outcome: Outcome
) -> None:
    now = 0.0

    def handle(request: httpx.Request) -> httpx.Response:
        nonlocal now
        now += 50.0
        return exists(2) if request.url.path == PATHS["create"] else integration(2, "DISABLED")

    monkeypatch.setattr(client, "Clock", lambda: Clock(monotonic=lambda: now))
    retry = RetryPolicy(deadline=deadline)
    brex = BrexAccounting("bxt_secret", base_url=BASE, retry=retry, transport=httpx.MockTransport(handle))
    with pytest.raises(CallTimeoutError) as caught:
        await brex.integrations.ensure("ERP_A", "acct-42", replace=True)
    error = caught.value
    assert (error.operation, error.attempts, error.outcome) == (step, 0, outcome)
    assert error.disconnected_integration_id == disconnected
    for _ in range(3):  # the next calls have deadlines of their own
        await brex.integrations.disconnect("int_2")


async def test_a_client_that_is_closed_in_the_middle_of_ensure() -> None:
    answers = [exists(2), integration(2, "DISABLED")]

    async def handle(request: httpx.Request) -> httpx.Response:
        if request.url.path == PATHS["disconnect 2"]:
            await open_for_now.aclose()
        return answers.pop(0)

    open_for_now = BrexAccounting("bxt_secret", base_url=BASE, transport=httpx.MockTransport(handle))
    with pytest.raises(ConfigurationError) as caught:
        await open_for_now.integrations.ensure("ERP_A", "acct-42", replace=True)
    assert (caught.value.disconnected_integration_id, caught.value.outcome) == ("int_2", Outcome.UNKNOWN)


# -- ensure_disconnected and ensure_active -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answers",
    [
        [integration(2, "DISABLED")],
        [not_active("DISABLED")],
        [DOWN, integration(2, "DISABLED")],
        [DOWN, not_active("DISABLED")],
    ],
)
async def test_ensure_disconnected(brex: BrexAccounting, story: Story, answers: list[httpx.Response]) -> None:
    story(*answers)
    await brex.integrations.ensure_disconnected("int_2")
    assert story.steps == ["disconnect 2"] * len(answers)


@pytest.mark.parametrize(
    ("answers", "kind", "outcome"),
    [
        ([NOT_FOUND], NotFoundError, Outcome.NOT_APPLIED),
        ([FORBIDDEN], ForbiddenError, Outcome.NOT_APPLIED),
        ([not_active("PAUSED")], IntegrationNotActiveError, Outcome.NOT_APPLIED),
        ([refusal(409, "INTEGRATION_NOT_ACTIVE")], IntegrationNotActiveError, Outcome.NOT_APPLIED),
        ([DOWN, not_active("PAUSED")], IntegrationNotActiveError, Outcome.UNKNOWN),
        ([DOWN, DOWN], ServerError, Outcome.UNKNOWN),
    ],
)
async def test_ensure_disconnected_fails(
    brex: BrexAccounting, story: Story, answers: list[httpx.Response], kind: type[BrexError], outcome: Outcome
) -> None:
    story(*answers)
    with pytest.raises(kind) as caught:
        await brex.integrations.ensure_disconnected("int_2")
    assert (caught.value.outcome, caught.value.disconnected_integration_id) == (outcome, None)


@pytest.mark.parametrize("answers", [[integration(1)], [exists(1)], [DOWN, integration(1)], [DOWN, exists(1)]])
async def test_ensure_active(brex: BrexAccounting, story: Story, answers: list[httpx.Response]) -> None:
    story(*answers)
    await brex.integrations.ensure_active("int_1")
    assert story.steps == ["reactivate 1"] * len(answers)


@pytest.mark.parametrize(
    ("answers", "kind", "outcome"),
    [
        ([NOT_FOUND], NotFoundError, Outcome.NOT_APPLIED),
        ([exists(2)], IntegrationExistsError, Outcome.NOT_APPLIED),
        ([refusal(409, "ACTIVE_INTEGRATION_EXISTS")], IntegrationExistsError, Outcome.NOT_APPLIED),
        ([DOWN, exists(2)], IntegrationExistsError, Outcome.UNKNOWN),
        ([DOWN, DOWN], ServerError, Outcome.UNKNOWN),
    ],
)
async def test_ensure_active_fails(
    brex: BrexAccounting, story: Story, answers: list[httpx.Response], kind: type[BrexError], outcome: Outcome
) -> None:
    story(*answers)
    with pytest.raises(kind) as caught:
        await brex.integrations.ensure_active("int_1")
    assert caught.value.outcome is outcome
