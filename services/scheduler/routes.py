"""Staff's view of time: jobs with their history, run now, pause; timers to come."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request

from services.scheduler import jobs, timers
from services.scheduler.models import Job, Run
from services.scheduler.schemas import Jobs, JobView, PauseChange, RunView, TimerView
from shared.access import Staff
from shared.db import Work
from shared.pagination import Cursor, Limit, Page, after, page

router = APIRouter(prefix="/api/v1/admin", tags=["scheduler"])
Name = Annotated[str, Path(pattern="^[a-z_]{1,50}$")]


@router.get("/jobs")
def list_jobs(caller: Staff, session: Work) -> Jobs:
    """Every recurring job, when it runs next and how it went last."""
    return Jobs(items=[_job(job, run) for job, run in jobs.overview(session)])


@router.get("/jobs/{name}/runs")
def list_runs(name: Name, caller: Staff, session: Work, cursor: Cursor = None, limit: Limit = 50) -> Page[RunView]:
    """The history of a job, newest first."""
    rows = jobs.history(session, name, before=after(cursor), limit=limit + 1)
    return page(rows, limit, lambda run: run.id, RunView.model_validate)


@router.post("/jobs/{name}/run", status_code=202)
def run_job(name: Name, caller: Staff, session: Work, request: Request) -> RunView:
    """Runs a job now, beside its rule."""
    run = jobs.run_now(session, name, request.app.state.clock.now())
    session.flush()
    return RunView.model_validate(run)


@router.patch("/jobs/{name}")
def pause_job(name: Name, change: PauseChange, caller: Staff, session: Work, request: Request) -> JobView:
    """Pauses a job, or lets it go on from its next time."""
    return _job(jobs.set_paused(session, name, change.paused, request.app.state.clock.now()), None)


@router.get("/timers")
def list_timers(caller: Staff, session: Work, cursor: Cursor = None, limit: Limit = 50) -> Page[TimerView]:
    """What is to be announced, oldest timer first."""
    rows = timers.upcoming(session, after=after(cursor), limit=limit + 1)
    return page(rows, limit, lambda timer: timer.id, TimerView.model_validate)


def _job(job: Job, run: Run | None) -> JobView:
    last = RunView.model_validate(run) if run else None
    return JobView(name=job.name, cron=job.cron, next_run_at=job.next_at, paused=job.paused, last_run=last)
