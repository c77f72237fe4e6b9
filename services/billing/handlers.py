"""What billing hears. Time's announcements are checked against the subscription's own state before anything is done."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy.orm import Session

from services.billing import buyers, subscriptions
from services.billing.errors import NoSubscription
from services.billing.models import Status
from shared.events.billing import JobDone
from shared.events.identity import CompanyCreated, CompanyUpdated
from shared.events.scheduler import GraceExpired, JobDue, RenewalDue, TrialExpired
from shared.messaging import outbox
from shared.messaging.consumer import Context, Handlers

AHEAD = timedelta(minutes=1)
JOBS = {"trials": [Status.TRIALING], "subscriptions": [Status.ACTIVE, Status.PAST_DUE]}


def company_created(session: Session, event: CompanyCreated, context: Context) -> None:
    """Remembers the company and starts its one trial."""
    buyers.remember(session, event, context.envelope.sequence)
    subscriptions.start_trial(session, event.company_id, event.wanted_plan, context.now)


def company_updated(session: Session, event: CompanyUpdated, context: Context) -> None:
    """Keeps the details that invoices carry."""
    buyers.remember(session, event, context.envelope.sequence)


def trial_expired(session: Session, event: TrialExpired, context: Context) -> None:
    """Ends the trial, unless the company has paid since."""
    _let_time_pass(session, event.company_id, event.ends_at, context)


def renewal_due(session: Session, event: RenewalDue, context: Context) -> None:
    """Ends the paid period, unless the next one is paid."""
    _let_time_pass(session, event.company_id, event.period_end, context)


def grace_expired(session: Session, event: GraceExpired, context: Context) -> None:
    """Suspends, unless the company has paid since."""
    _let_time_pass(session, event.company_id, event.grace_ends_at, context)


def job_due(session: Session, event: JobDue, context: Context) -> None:
    """Finds what timers missed, and tells the scheduler what came of it."""
    statuses = JOBS.get(event.job)
    if statuses is None:
        return  # somebody else's job
    found = subscriptions.catch_up(session, statuses, context.now)
    report = f"{found} subscriptions were overdue"
    outbox.add(session, JobDone(run_id=event.run_id, job=event.job, report=report), context.now)


def _let_time_pass(session: Session, company_id: UUID, announced: datetime, context: Context) -> None:
    """The scheduler's clock may be a little ahead of ours: what it announces is believed for a moment, no further."""
    try:
        subscription = subscriptions.of_company(session, company_id, locked=True)
    except NoSubscription:
        return  # a timer of a company we never heard of has nothing to end here
    moment = max(context.now, min(announced, context.now + AHEAD))
    subscriptions.pass_time(session, subscription, moment, context.now)


HANDLERS: Handlers = {
    CompanyCreated: company_created,
    CompanyUpdated: company_updated,
    TrialExpired: trial_expired,
    RenewalDue: renewal_due,
    GraceExpired: grace_expired,
    JobDue: job_due,
}
