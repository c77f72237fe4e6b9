"""Durable timers: rows that become announcements, each once, in any number of replicas."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.scheduler.models import Timer
from services.scheduler.rules import Planned
from shared.events import event_class
from shared.ids import new_id
from shared.messaging import outbox

BATCH = 100


def plan(session: Session, subject: UUID, anchor: datetime, planned: Iterable[Planned], now: datetime) -> None:
    """Sets timers; those already set for the same moment stay as they are. What is past is due at once."""
    rows = [
        {
            "id": new_id(),
            "rule": each.rule,
            "subject": subject,
            "anchor": anchor,
            "due_at": each.due_at,
            "announcement": each.announcement.type,
            "data": each.announcement.model_dump(mode="json"),
            "created_at": now,
        }
        for each in planned
    ]
    session.execute(insert(Timer).values(rows).on_conflict_do_nothing())


def cancel(session: Session, subject: UUID, now: datetime) -> None:
    """Ends every timer of `subject` that has not fired."""
    waiting = update(Timer).where(Timer.subject == subject, Timer.fired_at.is_(None), Timer.cancelled_at.is_(None))
    session.execute(waiting.values(cancelled_at=now))


def fire_due(session: Session, now: datetime) -> int:
    """Announces what is due, oldest first, at most a batch; returns how many.

    A row is locked while its announcement is written, and both commit together: two replicas never announce one
    timer, and a crash announces it later. A clock set back fires nothing twice: `fired_at` stays.
    """
    due = select(Timer).where(Timer.due_at <= now, Timer.fired_at.is_(None), Timer.cancelled_at.is_(None))
    timers = session.scalars(due.order_by(Timer.due_at).limit(BATCH).with_for_update(skip_locked=True)).all()
    for timer in timers:
        outbox.add(session, event_class(timer.announcement).read(timer.data), now)
        timer.fired_at = now
    return len(timers)


def upcoming(session: Session, *, after: UUID | None, limit: int) -> list[Timer]:
    """Timers that have not fired, for staff."""
    statement = select(Timer).where(Timer.fired_at.is_(None), Timer.cancelled_at.is_(None))
    if after is not None:
        statement = statement.where(Timer.id > after)
    return list(session.scalars(statement.order_by(Timer.id).limit(limit)))
