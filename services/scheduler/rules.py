"""The rule table: facts with dates in, announcements out. Pure.

| fact                    | announcement     | when                          |
|-------------------------|------------------|-------------------------------|
| trial.started           | trial.expiring   | 7, 3 and 1 days before its end |
| trial.started           | trial.expired    | at its end                    |
| subscription.activated  | renewal.due      | at the period's end           |
| subscription.past_due   | grace.expired    | at the grace's end            |

A fact of the second column's subject also ends what the facts before it had set: who has paid hears no more of the
trial's end. The hearer checks its own state all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from shared.events import Event
from shared.events.billing import SubscriptionActivated, SubscriptionPastDue, TrialStarted
from shared.events.scheduler import GraceExpired, RenewalDue, TrialExpired, TrialExpiring

REMINDERS = (7, 3, 1)
"""Days before the trial's end on which its admins are reminded."""


@dataclass(frozen=True)
class Planned:
    """An announcement and its time. `rule` is unique among those of one fact."""

    rule: str
    due_at: datetime
    announcement: Event


def of_trial(event: TrialStarted) -> list[Planned]:
    """The reminders and the end of a trial."""
    company, end = event.company_id, event.ends_at
    planned = [
        Planned(
            f"trial-reminder-{days}",
            end - timedelta(days=days),
            TrialExpiring(company_id=company, days_left=days, ends_at=end),
        )
        for days in REMINDERS
    ]
    return [*planned, Planned("trial-end", end, TrialExpired(company_id=company, ends_at=end))]


def of_subscription(event: SubscriptionActivated) -> list[Planned]:
    """The end of a paid period."""
    due = RenewalDue(company_id=event.company_id, period_end=event.period_end)
    return [Planned("period-end", event.period_end, due)]


def of_grace(event: SubscriptionPastDue) -> list[Planned]:
    """The end of an unpaid subscription's grace."""
    due = GraceExpired(company_id=event.company_id, grace_ends_at=event.grace_ends_at)
    return [Planned("grace-end", event.grace_ends_at, due)]
