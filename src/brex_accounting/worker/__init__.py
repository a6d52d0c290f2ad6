"""The export worker: every record booked once in the ERP, and reported once to Brex, whatever dies in between.

from brex_accounting.worker import ExportWorker, SQLiteExportStore

async with BrexAccounting() as brex:
    await ExportWorker(brex, book, SQLiteExportStore("export.db"), find=find).run(signals=True)
"""

from ._entries import (
    ExportEntry,
    ExportState,
    ExportStatus,
    ExportStoreError,
    NotBookedError,
    WorkerRunningError,
)
from ._sqlite import SQLiteExportStore
from ._store import ExportStore
from ._worker import ExportWorker

__all__ = [
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
