"""What brex_accounting.worker exports, frozen."""

from __future__ import annotations

import inspect
import subprocess
import sys
from dataclasses import fields
from typing import Any, get_args

import pytest

from brex_accounting import BrexError, worker

NAMES = [
    "ExportEntry",
    "ExportState",
    "ExportStatus",
    "ExportStore",
    "ExportStoreError",
    "ExportWorker",
    "NotBookedError",
    "SQLiteExportStore",
    "WorkerRunningError",
]

SIGNATURES = {
    "ExportWorker": "(brex, book, store, *, find=None, upsert=False, concurrency=8, book_timeout=60.0, "
    "settle_after=120.0, max_attempts=10, initial_backoff=5.0, max_backoff=3600.0, poll_every=3600.0, "
    "bills_since=None, bills_overlap=datetime.timedelta(days=1), stop_grace=20.0, on_change=None)",
    "ExportWorker.run": "(self, *, signals=False)",
    "ExportWorker.drain": "(self, *, budget, poll=True)",
    "ExportWorker.stop": "(self)",
    "NotBookedError": "(message='', *, retry_in=None)",
    "SQLiteExportStore": "(path)",
    **{
        f"{store}.{name}": signature
        for name, signature in {
            "lock": "(self)",
            "due": "(self, now, limit, *, latest)",
            "next_due": "(self, now)",
            "save": "(self, entries, *, forget=())",
            "get": "(self, record_id)",
            "marks": "(self)",
            "wait": "(self, seconds)",
            "note": "(self, record_ids, *, bills_until=None)",
        }.items()
        for store in ("ExportStore", "SQLiteExportStore")
    },
    "SQLiteExportStore.status": "(self)",
    "SQLiteExportStore.held": "(self)",
    "SQLiteExportStore.settle": "(self, record_id, reference_id)",
    "SQLiteExportStore.retry": "(self, record_id)",
    "SQLiteExportStore.prune": "(self, before)",
    "SQLiteExportStore.aclose": "(self)",
}


def test_names() -> None:
    assert sorted(worker.__all__) == NAMES
    for name in set(NAMES) - {"ExportState"}:
        assert inspect.getdoc(getattr(worker, name))


@pytest.mark.parametrize(("name", "signature"), SIGNATURES.items())
def test_signatures(name: str, signature: str) -> None:
    thing: Any = worker
    for part in name.split("."):
        thing = getattr(thing, part)
    actual = inspect.signature(thing)
    bare = [each.replace(annotation=inspect.Parameter.empty) for each in actual.parameters.values()]
    assert str(actual.replace(parameters=bare, return_annotation=inspect.Signature.empty)) == signature
    assert inspect.getdoc(thing)


def test_fields() -> None:
    assert [field.name for field in fields(worker.ExportEntry)] == [
        "record_id",
        "state",
        "version",
        "content",
        "reference_id",
        "deep_link_url",
        "message",
        "held",
        "attempts",
        "due",
        "changed_at",
        "handled",
        "noticed",
    ]
    assert [field.name for field in fields(worker.ExportStatus)] == [
        "ready",
        "in_doubt",
        "booked",
        "refused",
        "held",
        "exported",
        "returned",
        "oldest",
        "bills_until",
        "polled_at",
        "worker",
    ]
    states = "ready booking in_doubt booked refused exported returned"
    assert list(get_args(worker.ExportState)) == states.split()
    assert issubclass(worker.ExportStoreError, BrexError)
    assert not issubclass(worker.NotBookedError, BrexError)


def test_the_store_is_a_store() -> None:
    _: worker.ExportStore = worker.SQLiteExportStore("export.db")


def test_the_package_does_not_import_it() -> None:
    script = "import sys; from brex_accounting import *; sys.exit('brex_accounting.worker' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
