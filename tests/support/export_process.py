"""A worker, to be killed: `python export_process.py JSON`. The JSON is a `Plan`, which says where it kills itself."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from brex_accounting import AccountingRecord, BrexAccounting, ExportFailed, RetryPolicy
from brex_accounting.postgres import PostgresExportStore, PostgresStores
from brex_accounting.worker import ExportEntry, ExportWorker, NotBookedError, SQLiteExportStore
from brex_accounting.worker._content import digest

Store: TypeAlias = SQLiteExportStore | PostgresExportStore

POINTS = (
    "while polling",
    "before the intent",
    "after the intent",
    "during the call",
    "after the call",
    "before the reference is saved",
    "while the reference is saved",
    "after the reference is saved",
    "before the report",
    "after the report",
    "after the export is saved",
)


@dataclass
class Plan:
    url: str
    token: str
    store: str
    """The path of a file, or how to connect to a database."""
    account: str
    """The account in that database; "" for a file."""
    erp: int
    doubts: str = "find"
    die: str | None = None
    """One of POINTS."""
    after: int = 3
    """At which time it comes there."""
    options: dict[str, Any] = field(default_factory=dict)


class Client:
    """The ERP, as an author would call it: a connection for each call."""

    def __init__(self, port: int, *, upsert: bool = False, at: Callable[[str], None] = lambda _: None) -> None:
        self.port = port
        self.upsert = upsert
        self.at = at

    async def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, limit=2**26)
        try:
            writer.write(json.dumps({"op": op} | fields).encode() + b"\n")
            if op == "book":
                await writer.drain()
                self.at("during the call")
            line = await reader.readline()
        finally:
            writer.close()
        if not line:
            raise ConnectionResetError("the ERP broke off")
        answer: dict[str, Any] = json.loads(line)
        return answer

    async def book(self, record: AccountingRecord) -> str | ExportFailed:
        answer = await self.ask("book", id=record.id, content=digest(record), upsert=self.upsert)
        self.at("after the call")
        if "refused" in answer:
            return ExportFailed(record.id, answer["refused"])
        if "failed" in answer:
            raise NotBookedError(answer["failed"])
        return str(answer["reference"])

    async def find(self, record: AccountingRecord) -> str | None:
        reference: str | None = (await self.ask("find", id=record.id))["reference"]
        return reference


@asynccontextmanager
async def open_store(plan: Plan) -> AsyncIterator[Store]:
    if plan.account:
        async with PostgresStores(plan.store) as stores:
            yield stores.exports(plan.account)
    else:
        store = SQLiteExportStore(plan.store)
        yield store
        await store.aclose()


def make_worker(
    plan: Plan, brex: BrexAccounting, store: Store, at: Callable[[str], None] = lambda _: None
) -> ExportWorker:
    erp = Client(plan.erp, upsert=plan.doubts == "upsert", at=at)
    settling: dict[str, Any] = {"find": {"find": erp.find}, "upsert": {"upsert": True}, "person": {}}[plan.doubts]

    def on_change(entry: ExportEntry) -> None:
        at({"booking": "after the intent", "booked": "after the reference is saved",
            "exported": "after the export is saved"}.get(entry.state, ""))  # fmt: skip

    return ExportWorker(brex, erp.book, store, on_change=on_change, **settling, **plan.options)


def make_client(plan: Plan) -> BrexAccounting:
    retry = RetryPolicy(initial_backoff=0.02, max_backoff=0.1)
    return BrexAccounting(plan.token, base_url=plan.url, rate_limit=None, retry=retry)


def arm(store: Store, brex: BrexAccounting, at: Callable[[str], None]) -> None:
    """Call `at` at the points that the worker has no hook for."""
    save, note, check_saved, report_all = store.save, store._note, store._check_saved, brex.records.report_all

    async def save_or_die(entries: Any, *, forget: Any = ()) -> None:
        for entry in entries:
            at({"booking": "before the intent", "booked": "before the reference is saved"}.get(entry.state, ""))
        await save(entries, forget=forget)

    def check_saved_or_die(number: int, wanted: int) -> None:
        check_saved(number, wanted)
        at("while the reference is saved")  # in the transaction, before it is committed

    async def note_or_die(*arguments: Any) -> None:
        await note(*arguments)
        at("while polling")

    async def report_or_die(results: Any) -> Any:
        at("before the report")
        outcomes = await report_all(results)
        at("after the report")
        return outcomes

    store.save = save_or_die  # type: ignore[method-assign]
    store._check_saved = check_saved_or_die  # type: ignore[method-assign]
    store._note = note_or_die  # type: ignore[method-assign]
    brex.records.report_all = report_or_die  # type: ignore[method-assign]


async def main(plan: Plan) -> None:
    left = [plan.after]

    def at(point: str) -> None:
        if point == plan.die:
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)

    async with make_client(plan) as brex, open_store(plan) as store:
        worker = make_worker(plan, brex, store, at)
        arm(store, brex, at)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await worker.run(signals=True)


if __name__ == "__main__":
    asyncio.run(main(Plan(**json.loads(sys.argv[1]))))
