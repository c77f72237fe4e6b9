"""The hourly look at the platform: each process is asked whether it is ready; what is not is told to staff."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

import httpx
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from services.scheduler import jobs
from services.scheduler.models import Run, RunState, Timer
from shared.events.scheduler import HealthFailed
from shared.messaging import outbox

LATE_SECONDS = 300
"""A timer this late is a fault: the scheduler itself, or its outbox, does not keep up."""


def waiting(session: Session) -> list[UUID]:
    """Health runs that were announced and not yet done."""
    statement = select(Run.id).where(Run.job == "health", Run.state == RunState.ANNOUNCED, Run.finished_at.is_(None))
    return list(session.scalars(statement.order_by(Run.id).limit(10)))


async def ask(urls: Mapping[str, str]) -> dict[str, str]:
    """Asks every process; returns the faults by name, none where all is well."""
    faults: dict[str, str] = {}
    async with httpx.AsyncClient(timeout=10) as client:
        for name, url in urls.items():
            try:
                answer = await client.get(url)
                if answer.status_code != 200:
                    faults[name] = answer.text[:500]
            except httpx.HTTPError as error:
                faults[name] = f"does not answer: {type(error).__name__}"
    return faults


def late_timers(session: Session, now: datetime) -> int:
    """How many timers should have fired and have not."""
    late = select(func.count()).where(
        Timer.fired_at.is_(None), Timer.cancelled_at.is_(None), func.extract("epoch", now - Timer.due_at) > LATE_SECONDS
    )
    return session.scalar(late) or 0


def conclude(session: Session, run_id: UUID, faults: Mapping[str, str], checked: int, now: datetime) -> None:
    """Writes a run's outcome and tells each fault."""
    for check, detail in faults.items():
        outbox.add(session, HealthFailed(run_id=run_id, check=check, detail=detail[:1_000]), now)
    report = "; ".join(f"{name}: {detail}" for name, detail in faults.items()) or f"{checked} checks passed"
    jobs.finish(session, run_id, not faults, report, now)
