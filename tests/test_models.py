"""How an integration is read: the API is an alpha, and its documentation contradicts itself."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest

from brex_accounting import BrexAccounting, Integration, IntegrationStatus, InvalidResponseError, Outcome

# The example that Brex publishes; it has no `integration_id`, which Brex's schema requires.
PUBLISHED = {
    "id": "int_abc123",
    "vendor": "ERP_A",
    "status": "ACTIVE",
    "created_at": "2025-08-15T10:00:00Z",
    "vendor_account_id": "vendor_account_id",
}


async def read(body: Any) -> Integration:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, json=body))
    async with BrexAccounting("bxt_secret", transport=transport) as brex:
        return await brex.integrations.create("ERP_A", "vendor_account_id")


async def refusal(body: Any) -> InvalidResponseError:
    with pytest.raises(InvalidResponseError) as caught:
        await read(body)
    error = caught.value
    assert (error.outcome, error.attempts, error.status) == (Outcome.UNKNOWN, 1, 200)
    return error


async def test_the_published_example() -> None:
    integration = await read(PUBLISHED)
    assert integration == Integration(
        id="int_abc123",
        vendor="ERP_A",
        vendor_account_id="vendor_account_id",
        status=IntegrationStatus.ACTIVE,
        created_at=datetime(2025, 8, 15, 10, tzinfo=UTC),
    )
    assert integration.unknown_fields == {}


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ({"integration_id": "int_1"}, "int_1"),
        ({"id": "int_1"}, "int_1"),
        ({"integration_id": "int_1", "id": "int_2"}, "int_1"),
        ({"id": "int_2", "integration_id": "int_1"}, "int_1"),
        ({"integration_id": None, "id": "int_1"}, "int_1"),
        ({"integration_id": "", "id": "int_1"}, "int_1"),
        ({"integration_id": "int_1", "id": None}, "int_1"),
    ],
)
async def test_either_spelling_of_the_id(ids: dict[str, object], expected: str) -> None:
    integration = await read({name: value for name, value in PUBLISHED.items() if name != "id"} | ids)
    assert integration.id == expected
    assert integration.unknown_fields == {}


@pytest.mark.parametrize("ids", [{}, {"id": None}, {"id": ""}, {"integration_id": "", "id": None}])
async def test_no_id(ids: dict[str, object]) -> None:
    error = await refusal({name: value for name, value in PUBLISHED.items() if name != "id"} | ids)
    assert "`integration_id`" in str(error)
    assert "`id`" in str(error)


async def test_what_this_version_does_not_know_is_kept() -> None:
    integration = await read(PUBLISHED | {"status": "PAUSED", "rate": 1.10, "owner": {"id": 7, "tags": [None]}})
    assert integration.status == "PAUSED"
    assert integration.status not in {IntegrationStatus.ACTIVE, IntegrationStatus.DISABLED}
    assert (integration.status.value, str(integration.status)) == ("PAUSED", "PAUSED")
    assert integration.unknown_fields == {"rate": Decimal("1.1"), "owner": {"id": 7, "tags": [None]}}


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2025-04-24T16:13:49.959513Z", datetime(2025, 4, 24, 16, 13, 49, 959513, UTC)),
        ("2025-04-24T16:13:49+02:00", datetime(2025, 4, 24, 14, 13, 49, 0, UTC)),
        ("2025-04-24t16:13:49-00:00", datetime(2025, 4, 24, 16, 13, 49, 0, UTC)),
    ],
)
async def test_times(text: str, moment: datetime) -> None:
    created_at = (await read(PUBLISHED | {"created_at": text})).created_at
    assert created_at == moment
    assert isinstance(created_at.utcoffset(), timedelta)


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        *(({name: None}, name) for name in ("vendor", "vendor_account_id", "status", "created_at")),
        *(({name: 5}, name) for name in ("integration_id", "id", "vendor", "vendor_account_id", "status")),
        ({"created_at": "2025-08-15T10:00:00"}, "created_at"),
        ({"created_at": "2025-08-15"}, "created_at"),
        ({"created_at": "yesterday"}, "created_at"),
        ({"vendor": {"id": "SECRET-LEDGER"}}, "vendor"),
    ],
)
async def test_wrong_types(wrong: dict[str, object], where: str) -> None:
    error = await refusal(PUBLISHED | wrong)
    assert f"`$.{where}`" in str(error)
    assert "SECRET-LEDGER" not in repr(vars(error)) + str(error)


@pytest.mark.parametrize("name", ["vendor", "vendor_account_id", "status", "created_at"])
async def test_missing_fields(name: str) -> None:
    error = await refusal({key: value for key, value in PUBLISHED.items() if key != name})
    assert f"`{name}`" in str(error)


@pytest.mark.parametrize(
    "body", [[], [PUBLISHED], "int_1", 5, True, {}, {"integration": PUBLISHED}, {"data": [PUBLISHED]}]
)
async def test_wrong_shapes(body: object) -> None:
    await refusal(body)


async def test_an_integration_is_a_value() -> None:
    one, same = await read(PUBLISHED | {"status": "PAUSED"}), await read(PUBLISHED | {"status": "PAUSED"})
    assert one == same
    assert len({one, same}) == 1
    assert one != await read(PUBLISHED)
    assert copy.copy(one) == copy.deepcopy(one) == pickle.loads(pickle.dumps(one)) == one
    with pytest.raises(AttributeError):
        one.id = "int_2"  # type: ignore[misc]
