"""The fleet, on a real PostgreSQL and real workers of procrastinate."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import procrastinate
import pytest
from procrastinate import jobs
from procrastinate.periodic import PeriodicDeferrer

from brex_accounting import ConfigurationError, ConnectionFailedError, ReauthorizationRequiredError
from brex_accounting import fleet as fleet_module
from brex_accounting.fleet import QUEUE, _Fleet, export_blueprint, give_back, notice
from brex_accounting.postgres import PostgresStores
from brex_accounting.worker import WorkerRunningError
from tests.support.postgres import new_database

TASK = "brex:export_account"


class Site:
    """A database with the queue's and our tables, and an app."""

    def __init__(self, dsn: str, stores: PostgresStores, queue: str = QUEUE) -> None:
        self.dsn = dsn
        self.stores = stores
        self.queue = queue
        self.worked: list[tuple[str, bool]] = []
        self.answers: dict[str, Any] = {}
        self.stopped = asyncio.Event()
        self.accounts: Callable[[], AsyncIterator[str]] = self._none
        self.app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=dsn, max_size=4))
        blueprint = export_blueprint(self.open_worker, self.accounts, budget=5.0, queue=queue)
        self.app.add_tasks_from(blueprint, namespace="brex")

    async def _none(self) -> AsyncIterator[str]:
        for account in ():
            yield account

    @asynccontextmanager
    async def open_worker(self, account: str) -> AsyncIterator[Any]:
        site = self

        class Worker:
            async def drain(self, *, budget: float, poll: bool) -> float | None:
                assert budget == 5.0
                site.worked.append((account, poll))
                answer = site.answers.get(account)
                if answer == "until it is stopped":
                    await site.stopped.wait()
                    answer = 9.0
                if isinstance(answer, BaseException):
                    raise answer
                return answer  # type: ignore[no-any-return]

            def stop(self) -> None:
                site.stopped.set()

        yield Worker()

    async def defer(self, account: str, **arguments: Any) -> None:
        await fleet_module._defer(self.app, TASK, account, "poll", **arguments)

    async def run(self) -> None:
        await self.app.run_worker_async(
            queues=[self.queue], wait=False, install_signal_handlers=False, listen_notify=False
        )

    @property
    def context(self) -> Any:
        return SimpleNamespace(app=self.app, task=self.app.tasks[TASK])

    async def waiting(self) -> list[Any]:
        """The jobs of accounts; a worker that runs adds periodic ones at a time of its own."""
        manager = self.app.job_manager
        return list(await manager.list_jobs_async(status="todo", task=TASK))


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    dsn = new_database()
    async with PostgresStores(dsn) as stores:
        await stores.create_tables()
        made = Site(dsn, stores)
        async with made.app.open_async():
            await made.app.schema_manager.apply_schema_async()
            yield made


async def test_a_notice_is_noted_and_wakes_one_job(site: Site) -> None:
    await notice(site.app, site.stores, "a", ["accr_1"])
    await notice(site.app, site.stores, "a", ["accr_1", "accr_2"])
    await notice(site.app, site.stores, "b", ["accr_3"])
    assert (await site.stores.exports("a").status()).ready == 2
    await site.run()
    assert sorted(site.worked) == [("a", False), ("b", False)]


async def test_what_is_due_later_is_deferred_and_holds_up_nothing(site: Site) -> None:
    site.answers["a"] = 3000.0
    await site.defer("a")
    await site.run()
    [later] = await site.waiting()
    assert later.scheduled_at is not None
    assert later.task_kwargs == {"account": "a", "poll": False, "failures": 0}
    site.answers["a"] = None
    await notice(site.app, site.stores, "a", ["accr_1"])  # a job that begins later has the same lock
    await site.run()
    assert site.worked == [("a", True), ("a", False)]


@pytest.mark.parametrize("error", [ReauthorizationRequiredError("the grant is dead"), ConfigurationError("no such")])
async def test_what_a_person_must_mend_is_left_until_the_next_poll(site: Site, error: Exception) -> None:
    site.answers |= {"bad": error, "good": None}
    await site.defer("bad")
    await site.defer("good")
    await site.run()
    assert site.worked == [("bad", True), ("good", True)]
    assert await site.waiting() == []


async def test_what_passes_is_tried_again_after_a_growing_pause(site: Site) -> None:
    site.answers |= {"away": ConnectionError("a mistake of open_worker"), "busy": WorkerRunningError("another one")}
    await site.defer("busy")
    await site.defer("away")
    await site.run()
    [again] = await site.waiting()
    assert again.task_kwargs["account"] == "busy"
    failed = await site.app.job_manager.list_jobs_async(status="failed")
    assert [job.task_kwargs["account"] for job in failed] == ["away"]  # an error of the user's code: for all to see


async def test_an_outage_of_brex_is_waited_out_with_growing_pauses(site: Site) -> None:
    site.answers["a"] = ConnectionFailedError("refused")
    pauses = []
    for failures in (0, 1, 2, 30):
        await site.defer("a", failures=failures)
        began = time.time()
        await site.run()
        [again] = await site.waiting()
        assert again.task_kwargs == {"account": "a", "poll": True, "failures": failures + 1}
        pauses.append(again.scheduled_at.timestamp() - began)
        await site.app.job_manager.cancel_job_by_id_async(again.id)
    assert pauses == pytest.approx([60.0, 120.0, 240.0, 3600.0], abs=20.0)


async def test_a_queue_worker_that_shuts_down_stops_the_export(site: Site) -> None:
    site.answers["a"] = "until it is stopped"
    await site.defer("a")
    running = asyncio.create_task(
        site.app.run_worker_async(install_signal_handlers=False, listen_notify=False, shutdown_graceful_timeout=0.01)
    )
    while not site.worked:
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert site.stopped.is_set()
    [again] = await site.waiting()
    assert again.task_kwargs == {"account": "a", "poll": True, "failures": 0}


async def test_a_job_that_somebody_aborts_does_not_come_again(site: Site) -> None:
    site.answers["a"] = "until it is stopped"
    await site.defer("a")
    [job] = await site.waiting()
    running = asyncio.create_task(
        site.app.run_worker_async(install_signal_handlers=False, abort_job_polling_interval=0.05)
    )
    while not site.worked:
        await asyncio.sleep(0.01)
    assert await site.app.job_manager.cancel_job_by_id_async(job.id, abort=True)
    while not site.stopped.is_set() or await site.app.job_manager.list_jobs_async(status="doing"):
        await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert await site.waiting() == []


@pytest.mark.parametrize("odd", ["", "\0", "\ud800", None, 7])
async def test_an_account_that_cannot_be_queued_does_not_stop_the_others(
    site: Site, odd: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async def accounts() -> AsyncIterator[str]:
        yield odd
        yield "a"

    fleet = _Fleet(site.open_worker, accounts, 1.0, 5.0)  # one slot: everybody's turn
    await fleet.poll(site.app, 0, TASK)
    [job] = await site.waiting()
    assert job.task_kwargs["account"] == "a"
    assert "was not queued" in caplog.text


async def test_no_minute_is_left_out_while_all_workers_are_busy(site: Site) -> None:
    """Each minute has accounts of its own, so the jobs of several may wait."""
    deferrer = PeriodicDeferrer(site.app.periodic_registry)
    for timestamp in (60, 120):
        tasks = [(each, timestamp) for each in site.app.periodic_registry.periodic_tasks.values()]
        await deferrer.defer_jobs(tasks)
    names = [job.task_name for job in await site.app.job_manager.list_jobs_async(status="todo")]
    assert sorted(names) == ["brex:give_back_jobs", "brex:poll_accounts", "brex:poll_accounts"]


async def test_accounts_that_fail_half_way_do_not_stop_those_before(site: Site) -> None:
    async def accounts() -> AsyncIterator[str]:
        yield "a"
        raise OSError

    fleet = _Fleet(site.open_worker, accounts, 3600.0, 5.0)
    with pytest.raises(OSError):  # noqa: PT011 - the user's own
        await fleet.poll(site.app, 60 * fleet._slot("a"), TASK)
    [job] = await site.waiting()
    assert job.task_kwargs["account"] == "a"


def test_polls_are_spread_over_the_period() -> None:
    fleet = _Fleet(None, None, 3600.0, 5.0)  # type: ignore[arg-type]
    assert fleet.cron == "* * * * *"
    slots = [fleet._slot(f"customer-{number}") for number in range(6000)]
    assert set(slots) == set(range(60))
    assert max(slots.count(slot) for slot in range(60)) < 200
    assert _Fleet(None, None, 1.0, 5.0).cron == "* * * * * */1"  # type: ignore[arg-type]


async def test_a_job_of_a_dead_worker_is_given_back(site: Site) -> None:
    await site.defer("a")
    dead = await site.app.job_manager.register_worker()
    job = await site.app.job_manager.fetch_job(queues=None, worker_id=dead)
    assert job is not None
    await site.defer("a")  # the same again, behind it
    await site.app.job_manager.unregister_worker(dead)
    await give_back(site.app)  # which cannot have it wait twice
    status = await site.app.job_manager.get_job_status_async(job.id or 0)
    assert status is jobs.Status.FAILED
    await site.run()
    assert site.worked == [("a", True)]
    assert await site.waiting() == []


async def test_a_job_that_kills_each_process_ends_as_failed(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    await site.defer("poison")
    await site.defer("good")
    for deaths in range(1, fleet_module.MOST_DEATHS + 2):
        dead = await site.app.job_manager.register_worker()
        job = await site.app.job_manager.fetch_job(queues=None, worker_id=dead)
        assert job is not None
        assert (job.task_kwargs["account"], job.attempts) == ("poison", deaths - 1)
        await site.app.job_manager.unregister_worker(dead)
        await give_back(site.app)
    assert "processes died" in caplog.text
    await site.run()
    assert site.worked == [("good", True)]


async def test_what_another_machine_gave_back_first_does_not_stop_the_rest(site: Site) -> None:
    dead = await site.app.job_manager.register_worker()
    for account in ("a", "b"):
        await site.defer(account)
        assert await site.app.job_manager.fetch_job(queues=None, worker_id=dead)
    manager = site.app.job_manager
    stalled = list(await manager.get_stalled_jobs(seconds_since_heartbeat=-1.0))
    await manager.finish_job(stalled[0], status=jobs.Status.SUCCEEDED, delete_job=True)

    async def both(**_: Any) -> list[jobs.Job]:
        return stalled

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(manager, "get_stalled_jobs", both)
        await give_back(site.app)
    [job] = await site.waiting()
    assert job.id == stalled[1].id


@pytest.mark.parametrize("hours", [-5, 5])
async def test_clocks_that_are_hours_off_do_not_matter(site: Site, hours: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is slow would try again at once, for ever; one that is fast would let its accounts wait for hours."""
    site.answers["a"] = ConnectionFailedError("refused")
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + hours * 3600)
    await site.defer("a")
    await site.run()
    [again] = await site.waiting()
    assert again.scheduled_at.timestamp() - real() == pytest.approx(60.0, abs=20.0)
    assert again.priority == pytest.approx(-real() / 60, abs=3)
    monkeypatch.undo()
    site.answers["a"] = None
    await notice(site.app, site.stores, "a", ["accr_1"])
    await site.run()
    assert site.worked == [("a", True), ("a", False)]


async def test_a_job_is_given_back_at_once_by_whatever_clock(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    await site.defer("a")
    dead = await site.app.job_manager.register_worker()
    assert await site.app.job_manager.fetch_job(queues=None, worker_id=dead)
    await site.app.job_manager.unregister_worker(dead)
    ahead = datetime.now(UTC) + timedelta(hours=5)
    monkeypatch.setattr("procrastinate.utils.utcnow", lambda: ahead)
    await give_back(site.app)
    await site.run()
    assert site.worked == [("a", True)]


async def test_two_fleets_in_one_database_leave_each_other_alone(site: Site) -> None:
    other = Site(site.dsn, site.stores, queue="other")
    async with other.app.open_async():
        for each in (site, other):
            await notice(each.app, each.stores, "a", ["accr_1"])
        dead = await other.app.job_manager.register_worker()
        assert await other.app.job_manager.fetch_job(queues=["other"], worker_id=dead)
        await other.app.job_manager.unregister_worker(dead)
        await give_back(site.app)  # the other one's
        await site.run()
        assert (site.worked, other.worked) == ([("a", False)], [])
        await give_back(other.app, "other")
        await other.run()
        assert other.worked == [("a", False)]
    assert await site.app.job_manager.list_jobs_async(status="failed") == []


async def test_an_app_may_hold_two_fleets(site: Site) -> None:
    """Each polls its own accounts; only a notice cannot tell which is meant."""
    seen = list[str]()

    async def accounts() -> AsyncIterator[str]:
        seen.append("asked")
        yield "a"

    second = export_blueprint(
        site.open_worker, accounts, poll_every=1.0, budget=5.0, queue="second"
    )  # everybody's turn
    site.app.add_tasks_from(second, namespace="second")
    await site.app.configure_task("second:poll_accounts").defer_async(timestamp=0)
    await site.app.run_worker_async(queues=["second"], wait=False, install_signal_handlers=False, listen_notify=False)
    assert seen
    assert ("a", True) in site.worked


async def test_a_worker_that_does_not_open_keeps_its_job_no_longer_than_the_budget(site: Site) -> None:
    @asynccontextmanager
    async def open_worker(_account: str) -> AsyncIterator[Any]:
        await asyncio.sleep(1000)
        yield

    with pytest.raises(TimeoutError):
        await _Fleet(open_worker, site.accounts, 3600.0, 0.1).export(site.context, "a", poll=True, failures=0)


async def test_accounts_that_never_end_do_not_keep_the_workers(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    async def accounts() -> AsyncIterator[str]:
        yield "a"
        await asyncio.sleep(1000)

    monkeypatch.setattr(fleet_module, "ACCOUNTS_WITHIN", 0.2)
    fleet = _Fleet(site.open_worker, accounts, 1.0, 5.0)
    with pytest.raises(TimeoutError):
        await fleet.poll(site.app, 0, TASK)
    assert [job.task_kwargs["account"] for job in await site.waiting()] == ["a"]


async def test_a_poll_that_the_budget_cut_off_is_done_again(site: Site) -> None:
    async def drain(**_: Any) -> float | None:
        await asyncio.sleep(0.2)
        return 0.0

    @asynccontextmanager
    async def open_worker(_account: str) -> AsyncIterator[Any]:
        yield SimpleNamespace(drain=drain, stop=None)

    await _Fleet(open_worker, site.accounts, 3600.0, 0.1).export(site.context, "a", poll=True, failures=0)
    rest, poll = sorted(await site.waiting(), key=lambda job: job.scheduled_at)
    assert rest.task_kwargs == {"account": "a", "poll": False, "failures": 0}
    assert poll.task_kwargs == {"account": "a", "poll": True, "failures": 1}


async def test_an_app_without_the_tasks_is_refused(site: Site) -> None:
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=site.dsn))
    with pytest.raises(ConfigurationError, match="export_blueprint"):
        await notice(app, site.stores, "a", [])


@pytest.mark.parametrize("arguments", [{"poll_every": 0}, {"budget": -1.0}, {"accounts": None}])
def test_arguments_that_cannot_be_right(arguments: dict[str, Any]) -> None:
    good: dict[str, Any] = {"open_worker": lambda _: None, "accounts": list}
    with pytest.raises(ConfigurationError):
        export_blueprint(**good | arguments)
