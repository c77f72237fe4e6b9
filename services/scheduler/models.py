"""Tables of schema `scheduler`: timers, jobs and their runs."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, String, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from shared.db import COLUMN_TYPES, new_metadata


class Base(DeclarativeBase):
    """The scheduler's own tables."""

    metadata = new_metadata()
    type_annotation_map = COLUMN_TYPES


class Timer(Base):
    """An announcement to make at a time. One fact sets each of its timers once, however often it is heard."""

    __tablename__ = "timers"
    __table_args__ = (
        UniqueConstraint("rule", "subject", "anchor"),
        Index("ix_timers_due_at", "due_at", postgresql_where=text("fired_at is null and cancelled_at is null")),
        Index("ix_timers_subject", "subject"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    rule: Mapped[str] = mapped_column(String(50))
    subject: Mapped[UUID]
    anchor: Mapped[datetime]
    """The moment the fact named, such as the trial's end: another moment is another timer."""
    due_at: Mapped[datetime]
    announcement: Mapped[str] = mapped_column(String(100))
    data: Mapped[dict[str, Any]] = mapped_column(JSONB)
    created_at: Mapped[datetime]
    fired_at: Mapped[datetime | None]
    cancelled_at: Mapped[datetime | None]


class RunState(StrEnum):
    """How a job's run stands."""

    WAITING = "waiting"
    ANNOUNCED = "announced"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Job(Base):
    """A recurring job and its next time."""

    __tablename__ = "jobs"

    name: Mapped[str] = mapped_column(String(50), primary_key=True)
    cron: Mapped[str] = mapped_column(String(50))
    next_at: Mapped[datetime]
    paused: Mapped[bool] = mapped_column(default=False)


class Run(Base):
    """One run of a job: when it was due, when it was announced, what became of it."""

    __tablename__ = "runs"
    __table_args__ = (
        CheckConstraint("state in ('waiting', 'announced', 'succeeded', 'failed')", name="state"),
        Index("ix_runs_job_id", "job", "id"),
        Index("ix_runs_starts_at", "starts_at", postgresql_where=text("state = 'waiting'")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    job: Mapped[str] = mapped_column(String(50))
    due_at: Mapped[datetime]
    """The time by the cron rule; several missed ones are made up by one run."""
    starts_at: Mapped[datetime]
    """`due_at` plus a random delay."""
    state: Mapped[str] = mapped_column(String(20))
    missed: Mapped[int] = mapped_column(default=0)
    """How many earlier times this run makes up for."""
    announced_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    report: Mapped[str] = mapped_column(Text, default="")
