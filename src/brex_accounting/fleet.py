"""Export workers of many accounts as jobs of procrastinate, a job queue on PostgreSQL (extra: fleet).

app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo="postgresql://…"))
app.add_tasks_from(export_blueprint(open_worker, accounts), namespace="brex")

The queue only spreads the work. That a record is booked once rests on the store's lock, its fence and the key in the
accounting system.
"""

# ruff: noqa: E402  # what is missing is said before it is imported

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from brex_accounting import errors
from brex_accounting._arguments import check_extra, check_positive, check_text
from brex_accounting._logging import logger
from brex_accounting.worker import ExportWorker, WorkerRunningError

check_extra("fleet", "procrastinate", "psycopg", "psycopg_pool")

import procrastinate
from procrastinate import JobContext, exceptions, jobs
from procrastinate.job_context import AbortReason

from brex_accounting.postgres import PostgresStores

QUEUE = "brex_exports"
TASK = "export_account"
MINUTE = 60
FIRST_PAUSE = 60.0
"""Seconds until an account is tried again after what may pass by itself; doubled each time, up to `poll_every`."""
STALLED_AFTER = 30.0
"""Seconds without a heartbeat after which a queue's worker counts as dead."""
ACCOUNTS_WITHIN = 300.0
"""Seconds in which `accounts` must have yielded all of them."""
MOST_DEATHS = 5
"""Processes that may die with one job. It ends as failed then: it may be what kills them."""


def export_blueprint(
    open_worker: Callable[[str], AbstractAsyncContextManager[ExportWorker]],
    accounts: Callable[[], AsyncIterable[str]],
    *,
    poll_every: float = 3600.0,
    budget: float = 300.0,
    queue: str = QUEUE,
) -> procrastinate.Blueprint:
    """Make the tasks that export all accounts; add them to your app under a namespace of your choice.

    One job works for an account at a time. Polls are spread over `poll_every`, each account at its own minute. A job
    that used up its budget, or whose account has something due later, defers the next one itself. Jobs of workers that
    died are given back within a minute or two. When a job is cancelled, as procrastinate does at the end of
    `shutdown_graceful_timeout`, its worker is stopped: bookings under way have the worker's `stop_grace`.

    What may pass by itself is tried again after a growing pause. An account whose consent died, or whose worker cannot
    be opened, is looked at again with its next poll or notice; the log says why.

    Args:
        open_worker: Opens the worker of an account, for one job: an async context manager.
        accounts: Yields the accounts that are to be polled.
        poll_every: Seconds between two polls of an account; at least a second.
        budget: Seconds that a job works, at most; what it has begun then may still end. So long a worker may take to
            open, too.
        queue: Name of procrastinate's queue. Two fleets whose jobs are in one database need a queue each, and names of
            accounts that differ; or a schema each (``search_path``), where nothing is shared.

    Raises:
        ConfigurationError: An argument cannot be right.
    """
    if not callable(open_worker) or not callable(accounts):
        raise errors.ConfigurationError("open_worker and accounts must be functions.")
    fleet = _Fleet(open_worker, accounts, check_positive(poll_every, "poll_every"), check_positive(budget, "budget"))
    check_text(queue, "queue")
    blueprint = procrastinate.Blueprint()

    @blueprint.task(name=TASK, queue=queue, pass_context=True)
    async def export_account(context: JobContext, *, account: str, poll: bool = True, failures: int = 0) -> None:
        await fleet.export(context, account, poll=poll, failures=failures)

    @blueprint.periodic(cron=fleet.cron)
    # Each one counts, so there is no queueing lock; but one at a time, or those of slow `accounts` take all workers.
    @blueprint.task(name="poll_accounts", queue=queue, lock=f"{queue} poll_accounts", pass_context=True)
    async def poll_accounts(context: JobContext, timestamp: int) -> None:
        await fleet.poll(context.app, timestamp, context.task.name.removesuffix("poll_accounts") + TASK)

    @blueprint.periodic(cron="* * * * *")
    @blueprint.task(name="give_back_jobs", queue=queue, queueing_lock=f"{queue} give_back_jobs", pass_context=True)
    async def give_back_jobs(context: JobContext, timestamp: int) -> None:  # noqa: ARG001 - procrastinate passes it
        await give_back(context.app, queue)

    return blueprint


class _Fleet:
    """What the tasks do."""

    def __init__(
        self,
        open_worker: Callable[[str], AbstractAsyncContextManager[ExportWorker]],
        accounts: Callable[[], AsyncIterable[str]],
        poll_every: float,
        budget: float,
    ) -> None:
        self._open_worker = open_worker
        self._accounts = accounts
        self._period = max(poll_every, 1.0)
        self._budget = budget
        self._tick = MINUTE if self._period >= 2 * MINUTE else min(max(int(self._period), 1), 30)
        self._slots = max(round(self._period / self._tick), 1)

    @property
    def cron(self) -> str:
        return "* * * * *" if self._tick == MINUTE else f"* * * * * */{self._tick}"

    async def export(self, context: JobContext, account: str, *, poll: bool, failures: int) -> None:
        """Work for an account, and defer what comes next."""

        async def again(after: float, *, poll: bool, failures: int = 0) -> None:
            await _defer(context.app, context.task.name, account, "due", after=after, poll=poll, failures=failures)

        fields = {"account": account}
        longer = min(FIRST_PAUSE * 2.0 ** min(failures, 10), self._period)
        began = time.monotonic()
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(self._budget):
                    worker = await stack.enter_async_context(self._open_worker(account))
                began = time.monotonic()
                pause = await self._drain(worker, poll=poll)
        except asyncio.CancelledError:
            if context.abort_reason() is not AbortReason.USER_REQUEST:  # the queue's worker shuts down
                await asyncio.shield(again(1.0, poll=poll))
            raise
        except WorkerRunningError:
            await again(FIRST_PAUSE, poll=poll)
        except (errors.ReauthorizationRequiredError, errors.ConfigurationError) as error:
            logger.error("exports of account %s wait for a person: %s", account, error, extra=fields)
        except errors.BrexError as error:
            logger.warning("exports of account %s go on in %.0f s: %s", account, longer, error, extra=fields)
            await again(longer, poll=poll, failures=failures + 1)
        else:
            if pause is not None:
                await again(max(pause, 1.0), poll=False)
            if poll and time.monotonic() - began >= self._budget:  # perhaps in the middle of the poll
                await again(longer, poll=True, failures=failures + 1)

    async def _drain(self, worker: ExportWorker, *, poll: bool) -> float | None:
        """Let the worker work; the first cancellation stops it, as SIGTERM does, a second one cuts it off."""
        work = asyncio.create_task(worker.drain(budget=self._budget, poll=poll))
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError:
            worker.stop()
            await asyncio.gather(work, return_exceptions=True)
            raise
        return work.result()

    async def poll(self, app: procrastinate.App, timestamp: int, task: str) -> None:
        """Queue a poll for each account whose turn it is.

        If the accounts stop coming, with an error or for too long, those before are queued, and the job fails for all
        to see.
        """
        async with asyncio.timeout(ACCOUNTS_WITHIN):
            async for account in self._accounts():
                try:
                    if (timestamp // self._tick - self._slot(account)) % self._slots == 0:
                        await _defer(app, task, account, "poll")
                except (errors.ConfigurationError, exceptions.ConnectorException) as error:
                    logger.error("account %r was not queued, the others go on: %s", account, error)

    def _slot(self, account: str) -> int:
        """The account's own part of the period, the same on every machine."""
        return int.from_bytes(sha256(check_text(account, "account").encode()).digest()[:8]) % self._slots


async def notice(app: procrastinate.App, stores: PostgresStores, account: str, record_ids: Iterable[str]) -> None:
    """Note what a webhook said, and let a job for the account come soon. Then answer the webhook.

    Args:
        app: Your app, with the tasks of `export_blueprint`, and open.
        stores: Where the account's exports are.
        account: Your name for the customer.
        record_ids: Such as `RecordsReadyForExport.record_ids`.

    Raises:
        ConfigurationError: An argument cannot be right.
        ExportStoreError: Nothing was noted: let the webhook be sent again.
        procrastinate.exceptions.ConnectorException: It was noted, and no job was queued: let it be sent again, too.
    """
    await stores.exports(account).note(record_ids)
    await _defer(app, _task_name(app), account, "notice", poll=False)


async def give_back(app: procrastinate.App, queue: str = QUEUE) -> None:
    """Let the jobs of workers that died be taken by others."""
    for job in await app.job_manager.get_stalled_jobs(queue=queue, seconds_since_heartbeat=STALLED_AFTER):
        try:
            await _give_back(app, job)
        except exceptions.ConnectorException as error:  # another machine was faster; or with the next minute
            logger.warning("job %s was not given back: %s", job.id, error)


async def _give_back(app: procrastinate.App, job: jobs.Job) -> None:
    if job.attempts < MOST_DEATHS:
        try:
            await app.job_manager.retry_job(job, retry_at=_moment(await _now(app)))
        except exceptions.UniqueViolation:
            pass  # the same job waits already, and this one's lock keeps it waiting
        else:
            return
    else:
        fields = {"account": job.task_kwargs.get("account")}
        text = "%d processes died with job %s, %s: it ends as failed, and its account waits for its next poll or notice"
        logger.error(text, job.attempts + 1, job.id, job.call_string, extra=fields)
    await app.job_manager.finish_job(job, status=jobs.Status.FAILED, delete_job=False)


async def _defer(
    app: procrastinate.App,
    task: str,
    account: str,
    kind: str,
    *,
    after: float = 0.0,
    poll: bool = True,
    failures: int = 0,
) -> None:
    """Queue a job for an account, unless one of its kind waits already.

    A job waits for all that have its lock and a higher priority, also for those that are to begin later. So the minute
    at which it is to begin is its priority: what is due sooner waits for nothing that is due later.
    """
    lock = f"{app.tasks[task].queue} {task} {check_text(account, 'account')}"
    at = await _now(app) + after
    minute = int(at // MINUTE)
    arguments: dict[str, Any] = {"account": account, "poll": poll, "failures": failures}
    configured = app.configure_task(
        task,
        lock=lock,
        queueing_lock=f"{lock} {kind} {minute if after else ''}".rstrip(),
        priority=-minute,
        schedule_at=_moment(at) if after else None,
    )
    try:
        await configured.defer_async(**arguments)
    except exceptions.AlreadyEnqueued:
        return


async def _now(app: procrastinate.App) -> float:
    """The database's clock: those of the machines may differ."""
    row = await app.connector.execute_query_one_async("SELECT extract(epoch FROM now())::float8 AS now")
    return float(row["now"])


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _task_name(app: procrastinate.App) -> str:
    names = [name for name in app.tasks if name.rpartition(":")[2] == TASK]
    if len(names) != 1:
        raise errors.ConfigurationError(
            "The app needs the tasks of one export_blueprint: app.add_tasks_from(export_blueprint(…), namespace=…)."
        )
    return names[0]
