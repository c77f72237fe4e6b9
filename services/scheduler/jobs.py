"""Recurring jobs: when each is due, its runs, and what became of them. Cron times are UTC."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from uuid import UUID

from croniter import croniter
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.scheduler.errors import NoSuchJob
from services.scheduler.models import Job, Run, RunState
from shared.events.scheduler import JobDue
from shared.ids import new_id
from shared.messaging import outbox

SCHEDULE = {"trials": "0 9 * * *", "subscriptions": "0 10 * * *", "health": "0 * * * *"}
"""The jobs we know. Billing hears the first two; the scheduler itself does the third."""

MISSED_MOST = 1_000


def next_time(cron: str, after: datetime) -> datetime:
    """The first time of `cron` later than `after`."""
    found: datetime = croniter(cron, after).get_next(datetime)
    return found


def install(session: Session, now: datetime) -> None:
    """Makes the jobs known; those already known keep their times and their pause."""
    rows = [{"name": name, "cron": cron, "next_at": next_time(cron, now)} for name, cron in SCHEDULE.items()]
    session.execute(insert(Job).values(rows).on_conflict_do_nothing())


def plan_due(session: Session, now: datetime, delay: timedelta) -> None:
    """Makes a run of each job whose time has come. Times missed while nobody looked are made up by one run."""
    due = select(Job).where(Job.next_at <= now, Job.paused.is_(False)).with_for_update(skip_locked=True)
    for job in session.scalars(due):
        due_at, missed = job.next_at, 0
        while (following := next_time(job.cron, due_at)) <= now and missed < MISSED_MOST:
            due_at, missed = following, missed + 1
        late = timedelta(seconds=random.uniform(0, delay.total_seconds()))  # noqa: S311 - spreads load, hides nothing
        starts_at = now if missed else due_at + late
        session.add(_run(job.name, due_at, starts_at, missed))
        job.next_at = next_time(job.cron, now)


def announce_started(session: Session, now: datetime) -> int:
    """Announces the runs whose delay is over; returns how many."""
    waiting = select(Run).where(Run.state == RunState.WAITING, Run.starts_at <= now)
    runs = session.scalars(waiting.order_by(Run.starts_at).limit(20).with_for_update(skip_locked=True)).all()
    for run in runs:
        outbox.add(session, JobDue.model_validate({"run_id": run.id, "job": run.job, "due_at": run.due_at}), now)
        run.state, run.announced_at = RunState.ANNOUNCED, now
    return len(runs)


def run_now(session: Session, name: str, now: datetime) -> Run:
    """Makes a run that starts at once, paused or not. Raises NoSuchJob."""
    if session.get(Job, name) is None:
        raise NoSuchJob
    run = _run(name, now, now, 0)
    session.add(run)
    return run


def set_paused(session: Session, name: str, paused: bool, now: datetime) -> Job:
    """Pauses a job or lets it go on from its next time. Raises NoSuchJob."""
    job = session.get(Job, name, with_for_update=True)
    if job is None:
        raise NoSuchJob
    job.paused = paused
    if not paused:
        job.next_at = next_time(job.cron, now)
    return job


def finish(session: Session, run_id: UUID, succeeded: bool, report: str, now: datetime) -> None:
    """Records what became of a run; the first word stands."""
    run = session.get(Run, run_id, with_for_update=True)
    if run is not None and run.finished_at is None:
        run.state = RunState.SUCCEEDED if succeeded else RunState.FAILED
        run.finished_at, run.report = now, report[:4_000]


def history(session: Session, name: str, *, before: UUID | None, limit: int) -> list[Run]:
    """The runs of a job, newest first."""
    statement = select(Run).where(Run.job == name)
    if before is not None:
        statement = statement.where(Run.id < before)
    return list(session.scalars(statement.order_by(Run.id.desc()).limit(limit)))


def overview(session: Session) -> list[tuple[Job, Run | None]]:
    """Every job with its last run."""
    jobs = session.scalars(select(Job).order_by(Job.name)).all()
    return [(job, next(iter(history(session, job.name, before=None, limit=1)), None)) for job in jobs]


def _run(name: str, due_at: datetime, starts_at: datetime, missed: int) -> Run:
    return Run(
        id=new_id(), job=name, due_at=due_at, starts_at=starts_at, state=RunState.WAITING, missed=missed, report=""
    )
