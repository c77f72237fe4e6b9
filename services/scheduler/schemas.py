"""What staff see of timers and jobs."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field


class RunView(BaseModel):
    """One run of a job."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    due_at: datetime
    starts_at: datetime
    state: str
    missed: int
    announced_at: datetime | None
    finished_at: datetime | None
    report: str


class JobView(BaseModel):
    """A job, its next time and its last run."""

    name: str
    cron: str
    next_run_at: datetime
    paused: bool
    last_run: RunView | None


class Jobs(BaseModel):
    """All jobs."""

    items: list[JobView]


class PauseChange(BaseModel):
    """Whether a job rests."""

    model_config = ConfigDict(extra="forbid")

    paused: Annotated[bool, Field(strict=True)]


class TimerView(BaseModel):
    """A timer that has not fired."""

    model_config = ConfigDict(from_attributes=True)

    id: UUID
    rule: str
    subject: UUID
    announcement: str
    due_at: datetime
    created_at: datetime
