"""Cron jobs: trials 09:00, subscriptions 10:00, health every hour; history; staff's doors."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from services.scheduler import jobs
from services.scheduler.loops import HealthChecker, Ticker
from shared.clock import ManualClock
from shared.events import Event
from shared.events.billing import JobDone
from shared.events.scheduler import HealthFailed, JobDue
from shared.service import HttpServer, Service, ops_app
from tests.callers import START, a_member, an_admin, calling, staff

Told = Callable[[], list[Event]]


@pytest.fixture
def installed(scheduler: Service, clock: ManualClock) -> None:
    with scheduler.database.unit_of_work() as session:
        jobs.install(session, clock.now())


def due(told: Told, job: str) -> list[JobDue]:
    return [event for event in told() if isinstance(event, JobDue) and event.job == job]


def test_next_times_are_utc() -> None:
    assert jobs.next_time("0 9 * * *", START) == datetime(2026, 11, 23, 9, tzinfo=UTC)
    assert jobs.next_time("0 * * * *", START) == datetime(2026, 11, 22, 10, tzinfo=UTC)


@pytest.mark.usefixtures("installed")
def test_jobs_run_at_their_times_with_a_delay_under_five_minutes(
    told: Told, ticker: Ticker, clock: ManualClock
) -> None:
    for _ in range(24 * 12 + 2):
        ticker.tick()
        clock.advance(timedelta(minutes=5))
    assert len(due(told, "health")) == 24
    assert [event.due_at for event in due(told, "trials")] == [datetime(2026, 11, 23, 9, tzinfo=UTC)]
    assert [event.due_at for event in due(told, "subscriptions")] == [datetime(2026, 11, 22, 10, tzinfo=UTC)]


@pytest.mark.usefixtures("installed")
def test_runs_missed_while_down_are_made_up_by_one(
    told: Told, ticker: Ticker, scheduler: Service, clock: ManualClock
) -> None:
    clock.advance(timedelta(days=3))
    ticker.tick()
    assert len(due(told, "trials")) == 1
    with calling(scheduler, staff()) as client:
        run = client.get("/api/v1/admin/jobs/trials/runs").json()["items"][0]
    assert run["missed"] == 2


@pytest.mark.usefixtures("installed")
def test_history_shows_what_the_owner_made_of_a_run(
    hear: Callable[[Event], None], told: Told, ticker: Ticker, scheduler: Service
) -> None:
    with calling(scheduler, staff()) as client:
        assert client.post("/api/v1/admin/jobs/trials/run").status_code == 202
        ticker.tick()
        run = due(told, "trials")[0]
        hear(JobDone(run_id=run.run_id, job="trials", report="2 trials ended"))
        shown = client.get("/api/v1/admin/jobs/trials/runs").json()["items"][0]
        overview = client.get("/api/v1/admin/jobs").json()["items"]
    assert (shown["state"], shown["report"]) == ("succeeded", "2 trials ended")
    assert {job["name"] for job in overview} == {"trials", "subscriptions", "health"}


@pytest.mark.usefixtures("installed")
def test_a_paused_job_rests_and_goes_on_from_its_next_time(
    told: Told, ticker: Ticker, scheduler: Service, clock: ManualClock
) -> None:
    with calling(scheduler, staff()) as client:
        assert client.patch("/api/v1/admin/jobs/health", json={"paused": True}).json()["paused"] is True
        clock.advance(timedelta(hours=3))
        ticker.tick()
        assert not due(told, "health")
    with calling(scheduler, staff()) as client:
        client.patch("/api/v1/admin/jobs/health", json={"paused": False})
    ticker.tick()
    assert not due(told, "health")
    clock.advance(timedelta(hours=1, minutes=5))
    ticker.tick()
    assert len(due(told, "health")) == 1


@pytest.mark.usefixtures("installed")
def test_the_health_job_asks_each_process_and_tells_staff_what_fails(
    told: Told, new_scheduler: Callable[..., Service], clock: ManualClock
) -> None:
    async def story() -> None:
        ill = new_scheduler()
        unmigrated = type(ill)(package="services.nowhere", settings=ill.settings, app=ill.app, database=ill.database)
        server = HttpServer(ops_app([unmigrated], None), "127.0.0.1", 0)
        port = await server.begin()
        urls = {"ill": f"http://127.0.0.1:{port}/readyz", "gone": "http://127.0.0.1:9/readyz"}
        scheduler = new_scheduler(health_urls=urls)
        with scheduler.database.unit_of_work() as session:
            jobs.run_now(session, "health", clock.now())
        Ticker(scheduler.database, clock, scheduler.settings).tick()
        checker = HealthChecker(scheduler.database, clock, scheduler.settings)
        stop = asyncio.Event()
        running = asyncio.create_task(checker.run(stop))
        for _ in range(200):
            if any(isinstance(event, HealthFailed) for event in told()):
                break
            await asyncio.sleep(0.05)
        stop.set()
        await running
        await server.end()

    asyncio.run(story())
    failed = {event.check for event in told() if isinstance(event, HealthFailed)}
    assert failed == {"ill", "gone"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/v1/admin/jobs"),
        ("GET", "/api/v1/admin/jobs/trials/runs"),
        ("POST", "/api/v1/admin/jobs/trials/run"),
        ("GET", "/api/v1/admin/timers"),
        ("GET", "/api/v1/ops/scheduler/dead-letters"),
    ],
)
def test_only_staff_enter(scheduler: Service, method: str, path: str) -> None:
    for principal, status in ((None, 401), (a_member(), 403), (an_admin(), 403)):
        with calling(scheduler, principal) as client:
            answer = client.request(method, path)
            assert answer.status_code == status
            assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("name", ["nothing", "..%2f", "A" * 60, "trials'--"])
def test_unknown_jobs_are_a_clear_4xx(scheduler: Service, name: str) -> None:
    with calling(scheduler, staff()) as client:
        assert client.post(f"/api/v1/admin/jobs/{name}/run").status_code in (404, 422)
