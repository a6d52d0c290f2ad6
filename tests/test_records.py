"""`brex.records` as its users hold it: one record, one page, and a hundred thousand of them over a real socket.

`RECORDS=100000 python -m pytest tests/test_records.py` streams so many; fewer without.
"""

from __future__ import annotations

import copy
import gc
import os
import pickle
import re
import sqlite3
import tracemalloc
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from brex_accounting import (
    AccountingRecord,
    BadRequestError,
    BrexAccounting,
    ConfigurationError,
    InvalidResponseError,
    NotFoundError,
    Outcome,
    RateLimit,
    RecordPage,
    RetryPolicy,
    SourceType,
    errors,
)
from brex_accounting.records import Records
from brex_accounting.sandbox import Fault, Sandbox
from tests.support.calls import TOKEN, Rig, answer
from tests.support.fault_server import FaultServer, Request, head
from tests.support.leaks import assert_holds_no
from tests.support.marks import many
from tests.support.project import ROOT
from tests.support.records import RECORD, page, record, write

virtual = pytest.mark.virtual_time

# -- one record --------------------------------------------------------------------------------------------------------


@virtual
@pytest.mark.parametrize(("flag", "query"), [(None, b""), (True, b"single_entry=true"), (False, b"single_entry=false")])
async def test_get(flag: bool | None, query: bytes) -> None:
    rig = Rig(answer(200, write(RECORD)))
    found = await Records(rig.engine).get("accr_1", single_entry=flag)
    assert (type(found), found.id, found.amount.amount) == (AccountingRecord, "accr_1", Decimal("100.50"))
    [request] = rig.requests
    assert (request.method, request.url.path, request.url.query) == ("GET", "/v3/accounting/records/accr_1", query)
    assert "Idempotency-Key" not in request.headers


@virtual
async def test_an_id_stays_in_its_segment() -> None:
    rig = Rig(answer(200, write(record("../x?y=é"))))
    await Records(rig.engine).get("../x?y=é")
    assert rig.requests[0].url.raw_path == b"/v3/accounting/records/..%2Fx%3Fy%3D%C3%A9"


@virtual
@pytest.mark.parametrize("value", ["", " ", ".", "..", None, 5, b"accr_1", ["accr_1"], "x" * 2001])
async def test_what_is_no_id(value: Any) -> None:
    rig = Rig()
    with pytest.raises(ConfigurationError, match=r"^record_id "):
        await Records(rig.engine).get(value)
    assert rig.requests == []


@virtual
@pytest.mark.parametrize("value", [0, 1, "true", "", []])
async def test_what_is_no_flag(value: Any) -> None:
    rig = Rig()
    with pytest.raises(ConfigurationError, match=r"^single_entry "):
        await Records(rig.engine).get("accr_1", single_entry=value)
    assert rig.requests == []


@virtual
async def test_a_record_that_cannot_be_understood_is_named() -> None:
    rig = Rig(answer(200, write(record(version="JANE"))))
    with pytest.raises(InvalidResponseError) as caught:
        await Records(rig.engine).get("accr_1")
    error = caught.value
    assert (error.record_id, error.operation, error.attempts) == ("accr_1", "getAccountingRecord", 1)
    assert "the record accr_1: Expected `int`, got `str` - at `$.version`. Look at the record in Brex" in str(error)
    assert_holds_no("JANE", error)
    assert_holds_no(TOKEN, error)


@virtual
@pytest.mark.parametrize("other", ["accr_2", "ACCR_1", "accr_1 ", ""])
async def test_no_other_record_passes_for_the_one_that_was_asked_for(other: str) -> None:
    rig = Rig(answer(200, write(record(other, memo="JANE"))))
    with pytest.raises(InvalidResponseError, match="it does not answer this request: its id is not") as caught:
        await Records(rig.engine).get("accr_1")
    assert (caught.value.outcome, caught.value.attempts) == (Outcome.NOT_APPLIED, 1)
    assert_holds_no("JANE", caught.value)


@virtual
@pytest.mark.parametrize("readable", [True, False])
async def test_nor_a_page_that_holds_a_record_that_was_not_asked_for(readable: bool) -> None:
    stranger = record("accr_9") if readable else record("accr_9", version="seven")
    rig, heard = Rig(answer(200, page(record("accr_1"), stranger))), list[Any]()
    records, wanted = Records(rig.engine), ["accr_1", "accr_2"]
    for asked in (
        anext(records.iterate(ids=wanted, on_invalid=heard.append)),
        anext(records.pages(ids=wanted, on_invalid=heard.append)),
        *([records.query(ids=wanted), anext(records.iterate(ids=wanted))] if readable else []),
    ):
        with pytest.raises(InvalidResponseError, match="it holds a record that was not asked for"):
            await asked
    assert heard == []
    assert (await anext(records.iterate(ids=["accr_9", "accr_1"], on_invalid=heard.append))).id == "accr_1"


async def test_the_connection_of_such_an_answer_is_thrown_away() -> None:
    """Whatever comes on it may be the answer to this request, or to the one before."""
    answers = iter([record("accr_2"), record("accr_1"), record("accr_1")])
    connections = list[object]()

    async def handle(request: Request) -> None:
        connections.append(request.connection)
        body = write(next(answers))
        await request.write(head(length=len(body)) + body)

    async with FaultServer(handle) as server, BrexAccounting(TOKEN, base_url=server.url) as brex:
        with pytest.raises(InvalidResponseError):
            await brex.records.get("accr_1")
        for _ in range(2):
            await brex.records.get("accr_1")
    assert connections[0] != connections[1]
    assert connections[1] == connections[2]


@virtual
async def test_an_error_may_hold_any_number() -> None:
    huge = b'{"error_code":"INVALID_REQUEST","message":"No","details":{"limit":1e99999999999999999999}}'
    rig = Rig(answer(400, huge))
    with pytest.raises(BadRequestError) as caught:
        await Records(rig.engine).query()
    assert (caught.value.error_code, caught.value.details) == ("INVALID_REQUEST", {"limit": "1e99999999999999999999"})
    assert caught.value.__context__ is None


@virtual
async def test_a_page_names_its_bad_record() -> None:
    rig = Rig(answer(200, page(record("accr_0"), record("accr_1", amount={"amount": "JANE", "currency": "USD"}))))
    with pytest.raises(
        InvalidResponseError, match=r"the record accr_1: Invalid decimal string - at `\$.amount.amount`"
    ):
        await Records(rig.engine).query()


@virtual
@pytest.mark.parametrize("item", [b"null", b'{"id":5}', b'{"memo":"x"}'])
async def test_what_to_do_about_a_bad_record_whose_id_is_bad_too(item: bytes) -> None:
    rig = Rig(answer(200, b'{"items":[%s],"has_next_page":false}' % item))
    with pytest.raises(InvalidResponseError, match=r"a readable id: .* Pass on_invalid to iterate or pages") as caught:
        await Records(rig.engine).query()
    assert caught.value.record_id is None


@virtual
@pytest.mark.parametrize("cut", [rb'"\ud83d"', b'"\xff"', b"[" * 5000 + b"]" * 5000])
async def test_half_an_emoji_loses_no_page(cut: bytes) -> None:
    body = page(record("accr_0"), record("accr_1", memo="@"), record("accr_2")).replace(b'"@"', cut)
    rig = Rig(answer(200, body))
    with pytest.raises(InvalidResponseError) as caught:
        await Records(rig.engine).query()
    if b"[" not in cut:
        assert caught.value.record_id == "accr_1"
    heard: list[Any] = []
    found = [each.id async for each in Records(rig.engine).iterate(on_invalid=heard.append)]
    assert (found, len(heard)) == (["accr_0", "accr_2"], 1)


def test_records_belong_to_their_client() -> None:
    records = BrexAccounting("bxt_x").records
    for twin in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="pickle or copy neither"):
            twin(records)


# -- against the sandbox -----------------------------------------------------------------------------------------------


def in_process(sandbox: Sandbox, **options: Any) -> BrexAccounting:
    options = {"retry": RetryPolicy(initial_backoff=0)} | options
    return BrexAccounting(sandbox.token, base_url=sandbox.url, transport=sandbox.transport, **options)


async def test_the_sandbox_s_records() -> None:
    async with Sandbox(records=250) as sandbox, in_process(sandbox) as brex:
        for literal in ("90071992547409.93", "0.1", "1e2"):
            sandbox.add_record(amount={"amount": Decimal(literal), "currency": "USD"})
        found = [each async for each in brex.records.iterate(page_size=40)]
        assert [each.id for each in found] == list(sandbox.state.records)
        assert all(each.is_balanced for each in found)
        assert not any([each.is_balanced async for each in brex.records.iterate(single_entry=True)])
        amounts = {each.amount.amount for each in found}
        assert {Decimal("90071992547409.93"), Decimal("0.1"), Decimal(100), Decimal("1284750.35")} <= amounts
        assert "CARD_EXPENSE_ADJUSTMENT" in {each.type for each in found}
        bills = [each async for each in brex.records.iterate(source_type="BILL", updated_after="2025-04-24T20:00:00Z")]
        assert {each.source_type for each in bills} == {SourceType.BILL}
        assert {each.id for each in bills} < {each.id for each in found if each.source_type == "BILL"}
        some = [found[n].id for n in (7, 3, 7, 200)]
        assert [each.id async for each in brex.records.iterate(ids=some)] == [found[n].id for n in (3, 7, 200)]
        assert await brex.records.get(found[5].id) == found[5]
        with pytest.raises(NotFoundError):
            await brex.records.get("accr_none")


async def test_faults_on_the_way_lose_nothing() -> None:
    retry = RetryPolicy(max_attempts=6, initial_backoff=0)
    async with Sandbox(records=200) as sandbox, in_process(sandbox, retry=retry) as brex:
        sandbox.fault(*(Fault(kind) for kind in ("reset_before", "cut_body", "html", "status", "reset_after")))
        assert [each.id async for each in brex.records.iterate(page_size=20)] == list(sandbox.state.records)
        sandbox.fault(Fault("merge_json", json={"next_cursor": "x", "has_next_page": True}, times=9))
        with pytest.raises(errors.BrexError) as caught:
            [each async for each in brex.records.iterate(page_size=20)]
        assert caught.value.outcome is Outcome.NOT_APPLIED


async def test_going_on_after_a_restart() -> None:
    async with Sandbox(records=100) as sandbox:
        async with in_process(sandbox) as brex:
            pages = brex.records.pages(page_size=30)
            done: list[RecordPage] = [await anext(pages), await anext(pages)]
            await pages.aclose()
        async with in_process(sandbox) as brex:
            done += [each async for each in brex.records.pages(page_size=30, cursor=done[-1].next_cursor)]
        assert [each.id for sheet in done for each in sheet.items] == list(sandbox.state.records)


# -- many, over a real socket ------------------------------------------------------------------------------------------

MANY = int(os.environ.get("RECORDS", "3000"))


class Archive:
    """Endless records in pages of what is asked for; each page is made of one text."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.item = write(record("accr_@", memo="m" * 600))

    async def __call__(self, request: Request) -> None:
        asked = parse_qs(urlsplit(request.target).query)
        start, limit = int(asked.get("cursor", ["0"])[0]), int(asked["limit"][0])
        end = min(start + limit, self.count)
        items = b",".join(self.item.replace(b"@", b"%d" % n) for n in range(start, end))
        more = b"true" if end < self.count else b"false"
        body = b'{"items":[%s],"next_cursor":"%d","has_next_page":%s}' % (items, end, more)
        await request.write(head(length=len(body)) + body)


@many
@pytest.mark.timeout(600 if MANY > 10_000 else 60)
async def test_memory_stays_the_same_however_many_there_are() -> None:
    """Within 40 MiB for 100,000: some 10 of them remember what was seen."""
    async with (
        FaultServer(Archive(MANY)) as server,
        BrexAccounting(TOKEN, base_url=server.url, rate_limit=RateLimit(10_000, per=1.0)) as brex,
    ):
        count = 0
        try:
            async for each in brex.records.iterate():
                if count == 1000:  # all that is made once is there
                    gc.collect()
                    tracemalloc.start()
                    server.requests.clear()
                assert each.id == f"accr_{count}"
                count += 1
                if count % 1000 == 0:
                    server.requests.clear()
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert count == MANY
    assert peak < 6 * 2**20 + MANY * 110


# -- the recipe of the documentation -----------------------------------------------------------------------------------


async def test_the_recipe_for_polling_loses_nothing() -> None:
    """Also what becomes visible late, or is saved by a poll that fails; and the mark is never a local clock's."""
    text = (ROOT / "docs" / "records.md").read_text(encoding="utf-8")
    [block] = [each for each in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "def poll(" in each]
    recipe: dict[str, Any] = {}
    exec(block, recipe)
    with closing(sqlite3.connect(":memory:")) as database:

        def todo() -> set[str]:
            return {each for (each,) in database.execute("SELECT record_id FROM todo")}

        async with Sandbox(records=30) as sandbox, in_process(sandbox) as brex:
            await recipe["poll"](brex, database)
            assert todo() == set(sandbox.state.records)
            mark = max(record.updated_at for record in sandbox.state.records.values())
            late = sandbox.add_record(source_type="BILL", updated_at=(mark - timedelta(hours=2)).isoformat())
            await recipe["poll"](brex, database)
            assert todo() == set(sandbox.state.records)
            assert late in todo()
            since = {request.query.partition("gt%5D=")[2].partition("%2B")[0] for request in sandbox.requests}
            assert since == {"2000-01-01T00%3A00%3A00", (mark - timedelta(days=1)).isoformat()[:-6].replace(":", "%3A")}
            sandbox.add_record(updated_at=(mark + timedelta(days=9)).isoformat())
            sandbox.fault(Fault("status", status=503, times=9, operation="queryAccountingRecords"))
            with pytest.raises(errors.ServerError):
                await recipe["poll"](brex, database)
            assert database.execute("SELECT updated_at FROM mark").fetchone() == (mark.isoformat(),)
