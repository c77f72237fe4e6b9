"""Facts with dates in. What they set is in `rules`."""

from __future__ import annotations

from sqlalchemy.orm import Session

from services.scheduler import jobs, rules, timers
from shared.events.billing import JobDone, SubscriptionActivated, SubscriptionPastDue, TrialStarted
from shared.messaging.consumer import Context, Handlers


def plan_trial(session: Session, event: TrialStarted, context: Context) -> None:
    """Reminders and the trial's end."""
    timers.plan(session, event.company_id, event.ends_at, rules.of_trial(event), context.now)


def plan_period(session: Session, event: SubscriptionActivated, context: Context) -> None:
    """The paid period's end, in place of whatever was to happen before."""
    timers.cancel(session, event.company_id, context.now)
    timers.plan(session, event.company_id, event.period_end, rules.of_subscription(event), context.now)


def plan_grace(session: Session, event: SubscriptionPastDue, context: Context) -> None:
    """The grace's end."""
    timers.plan(session, event.company_id, event.grace_ends_at, rules.of_grace(event), context.now)


def record_job(session: Session, event: JobDone, context: Context) -> None:
    """What a job's owner made of it, for the history."""
    jobs.finish(session, event.run_id, True, event.report, context.now)


HANDLERS: Handlers = {
    TrialStarted: plan_trial,
    SubscriptionActivated: plan_period,
    SubscriptionPastDue: plan_grace,
    JobDone: record_job,
}
