"""What the scheduler tells: that a time has come. The hearer checks its own state before it acts."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Field

from shared.events import CompanyEvent, Event, Text


class TrialExpiring(CompanyEvent):
    """The company's trial ends in `days_left` days, unless it has paid since."""

    type: ClassVar[str] = "trial.expiring"
    subject_field: ClassVar[str] = "company_id"

    days_left: Annotated[int, Field(ge=1, le=30)]
    ends_at: datetime


class TrialExpired(CompanyEvent):
    """The moment at which the company's trial was to end has come."""

    type: ClassVar[str] = "trial.expired"
    subject_field: ClassVar[str] = "company_id"

    ends_at: datetime


class RenewalDue(CompanyEvent):
    """The moment at which the paid period was to end has come."""

    type: ClassVar[str] = "renewal.due"
    subject_field: ClassVar[str] = "company_id"

    period_end: datetime


class GraceExpired(CompanyEvent):
    """The moment at which the grace of an unpaid subscription was to end has come."""

    type: ClassVar[str] = "grace.expired"
    subject_field: ClassVar[str] = "company_id"

    grace_ends_at: datetime


class JobDue(Event):
    """A recurring job's time has come; whoever owns the job does it."""

    type: ClassVar[str] = "job.due"
    subject_field: ClassVar[str] = "run_id"

    run_id: UUID
    job: Literal["trials", "subscriptions", "health"]
    due_at: datetime


class HealthFailed(Event):
    """A check of the platform's health failed; staff are to be told."""

    type: ClassVar[str] = "health.failed"
    subject_field: ClassVar[str] = "run_id"

    run_id: UUID
    check: Text
    detail: Text
