"""examples/fleet/app.py: from a customer's consent and a webhook to records that are booked and reported."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import sys
from functools import partial
from types import ModuleType
from typing import Any

import pytest

from brex_accounting import OAuth2, save_grant
from brex_accounting.sandbox import AuthorizationOptions, Sandbox
from tests.support.examples import EXAMPLES
from tests.support.postgres import new_database
from tests.test_webhook_service import serve


def load(token_url: str) -> ModuleType:
    """Import it afresh, as each process does."""
    spec = importlib.util.spec_from_file_location("fleet_example", EXAMPLES / "fleet" / "app.py")
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.OAuth2 = partial(OAuth2, token_url=token_url)
    module.save_grant = partial(save_grant, token_url=token_url)
    return module  # type: ignore[no-any-return]


async def test_from_a_consent_and_a_webhook_to_the_books(monkeypatch: pytest.MonkeyPatch) -> None:
    options = AuthorizationOptions(client_id="client-id", client_secret="client-secret")
    async with Sandbox(authorization=options) as sandbox, sandbox.serve() as url:
        customer = sandbox.add_account("customer-7", records=3)
        token_url = sandbox.token_url.replace(sandbox.url, url)
        for name, value in {
            "DATABASE_URL": new_database(),
            "BREX_BASE_URL": url,
            "BREX_CLIENT_ID": "client-id",
            "BREX_CLIENT_SECRET": "client-secret",
            "BREX_WEBHOOK_SECRETS": sandbox.webhooks.secret,
        }.items():
            monkeypatch.setenv(name, value)
        for _ in range(2):  # a second time changes nothing
            await asyncio.to_thread(load(token_url).main, ["tables"])
        monkeypatch.setattr(sys, "stdin", io.StringIO(sandbox.authorization.new_grant("customer-7")))
        await asyncio.to_thread(load(token_url).main, ["onboard", "customer-7", "company_customer-7"])

        example: Any = load(token_url)
        booked = list[str]()

        async def book(record: Any) -> str:
            booked.append(record.id)
            return f"JE-{record.id}"

        async def find(record: Any) -> str | None:
            return f"JE-{record.id}" if record.id in booked else None

        example.book, example.find = book, find
        assert [account async for account in example.accounts()] == ["customer-7"]
        async with serve(example.web) as receiver:
            sandbox.webhooks.register(f"{receiver}webhooks/brex")
            sandbox.webhooks.announce(list(customer.state.records), company_id="company_customer-7")
            sandbox.webhooks.announce(["accr_1"], company_id="company_of_a_stranger")
            await sandbox.webhooks.settled()
            assert {delivery.outcome for delivery in sandbox.webhooks.deliveries} == {"delivered"}
            assert (await example.stores.exports("customer-7").status()).ready == 3
            await example.app.run_worker_async(wait=False, install_signal_handlers=False, listen_notify=False)
            assert (await example.stores.exports("customer-7").status()).exported == 3
        assert sorted(booked) == sorted(customer.state.records)
        assert len(customer.state.exports) == 3


def test_anything_else_shows_how_to_use_it() -> None:
    with pytest.raises(SystemExit, match=r"python app\.py work"):
        load("https://accounts.example").main(["walk"])
