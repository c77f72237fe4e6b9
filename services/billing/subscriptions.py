"""A subscription's life: trial, payment, time passing, cancelling and coming back. Tells each step once."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Literal
from uuid import UUID

from sqlalchemy import and_, or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.billing import periods
from services.billing.errors import NoSubscription, NothingToCancel, NothingToResume
from services.billing.models import Status, Subscription
from services.billing.plans import Plan, entitlements
from services.billing.pricing import existing_plan, wanted_or_starter
from services.billing.transitions import RUNNING, step
from shared.events.billing import (
    SubscriptionActivated,
    SubscriptionCancelled,
    SubscriptionExpired,
    SubscriptionPastDue,
    SubscriptionSuspended,
    TrialStarted,
)
from shared.messaging import outbox
from shared.money import Currency

BATCH = 200


def start_trial(session: Session, company_id: UUID, wanted_plan: str, now: datetime) -> bool:
    """Gives a company its one trial, from `now`. Returns False, and changes nothing, where it had one before."""
    plan = wanted_or_starter(session, wanted_plan)
    ends_at = now + periods.TRIAL
    row = insert(Subscription).values(
        company_id=company_id,
        plan=plan.code,
        status=Status.TRIALING,
        trial_ends_at=ends_at,
        cancel_at_period_end=False,
        created_at=now,
        updated_at=now,
    )
    if session.execute(row.on_conflict_do_nothing().returning(Subscription.company_id)).first() is None:
        return False
    outbox.add(session, TrialStarted(company_id=company_id, plan=plan.code, started_at=now, ends_at=ends_at), now)
    outbox.add(session, entitlements(plan, company_id, active=True), now)
    return True


def of_company(session: Session, company_id: UUID, *, locked: bool = False) -> Subscription:
    """The company's subscription, locked until the transaction ends where asked. Raises NoSubscription."""
    found = select(Subscription).where(Subscription.company_id == company_id)
    if locked:
        found = found.with_for_update().execution_options(populate_existing=True)
    subscription = session.scalar(found)
    if subscription is None:
        raise NoSubscription
    return subscription


def pay(session: Session, company_id: UUID, plan: Plan, now: datetime) -> tuple[datetime, datetime]:
    """A month of `plan` was paid; returns the period it bought. Money that came is never ignored.

    Not paid up to now (trialing, past due, suspended, cancelled, expired): the month starts now.
    Active with the same plan: the month is added to the period that runs.
    Active with another plan: the month starts now, and what was left of the old plan is credited as time.
    """
    subscription = of_company(session, company_id, locked=True)
    start = now
    if subscription.status == Status.ACTIVE and (paid_until := subscription.period_end) and paid_until > now:
        if subscription.plan == plan.code:
            start = paid_until
            end = periods.month_after(start, subscription.anchor_day or start.day)
        else:
            end = _with_credit(session, subscription, plan, paid_until, now)
            subscription.period_start, subscription.anchor_day = now, end.day
    else:
        end = periods.month_after(now, now.day)
        subscription.period_start, subscription.anchor_day = now, now.day
    step(subscription, Status.ACTIVE)
    subscription.plan = plan.code
    subscription.period_end = end
    subscription.cancel_at_period_end = False
    subscription.grace_ends_at = subscription.data_kept_until = None
    subscription.updated_at = now
    _tell_activated(session, subscription, end, now)
    outbox.add(session, entitlements(plan, company_id, active=True), now)
    return start, end


def _tell_activated(session: Session, subscription: Subscription, end: datetime, now: datetime) -> None:
    event = SubscriptionActivated(
        company_id=subscription.company_id,
        plan=subscription.plan,
        period_start=subscription.period_start or now,
        period_end=end,
    )
    outbox.add(session, event, now)


def _with_credit(
    session: Session, subscription: Subscription, plan: Plan, paid_until: datetime, now: datetime
) -> datetime:
    old, new = existing_plan(session, subscription.plan).prices, plan.prices
    credit = periods.credited_time(paid_until - now, old[Currency.TRY].minor, new[Currency.TRY].minor)
    return periods.month_after(now, now.day) + credit


def pass_time(session: Session, subscription: Subscription, moment: datetime, now: datetime) -> None:
    """Takes every step that time demands of a locked subscription up to `moment` (`now`, or a timer's own time)."""
    status = Status(subscription.status)
    if status is Status.TRIALING and subscription.trial_ends_at <= moment:
        _end_trial(session, subscription, now)
    elif status is Status.ACTIVE and (end := subscription.period_end) and end <= moment:
        _end_period(session, subscription, end, now)
        pass_time(session, subscription, moment, now)  # the grace may be over, too, after a long absence
    elif status is Status.PAST_DUE and subscription.grace_ends_at and subscription.grace_ends_at <= moment:
        _suspend(session, subscription, now)


def _end_trial(session: Session, subscription: Subscription, now: datetime) -> None:
    step(subscription, Status.EXPIRED)
    kept_until = _stop(session, subscription, now)
    event = SubscriptionExpired(
        company_id=subscription.company_id, plan=subscription.plan, expired_at=now, data_kept_until=kept_until
    )
    outbox.add(session, event, now)


def _end_period(session: Session, subscription: Subscription, end: datetime, now: datetime) -> None:
    if subscription.cancel_at_period_end:
        step(subscription, Status.CANCELLED)
        _stop(session, subscription, now)
        return
    step(subscription, Status.PAST_DUE)
    subscription.grace_ends_at = end + periods.GRACE
    subscription.updated_at = now
    event = SubscriptionPastDue(
        company_id=subscription.company_id,
        plan=subscription.plan,
        period_end=end,
        grace_ends_at=subscription.grace_ends_at,
    )
    outbox.add(session, event, now)


def _suspend(session: Session, subscription: Subscription, now: datetime) -> None:
    step(subscription, Status.SUSPENDED)
    kept_until = _stop(session, subscription, now)
    event = SubscriptionSuspended(
        company_id=subscription.company_id, plan=subscription.plan, suspended_at=now, data_kept_until=kept_until
    )
    outbox.add(session, event, now)


def _stop(session: Session, subscription: Subscription, now: datetime) -> datetime:
    """Nothing may run from `now` on. The promised days count from here, also where time was noticed late."""
    kept_until = now + periods.DATA_KEPT
    subscription.data_kept_until = kept_until
    subscription.updated_at = now
    plan = existing_plan(session, subscription.plan)
    outbox.add(session, entitlements(plan, subscription.company_id, active=False, data_kept_until=kept_until), now)
    return kept_until


def catch_up(session: Session, statuses: Iterable[Status], now: datetime) -> int:
    """Takes the steps of every subscription that time has overtaken: what a lost timer missed. Returns how many.

    Those that somebody else is changing right now are left to them.
    """
    due = {
        Status.TRIALING: Subscription.trial_ends_at <= now,
        Status.ACTIVE: Subscription.period_end <= now,
        Status.PAST_DUE: Subscription.grace_ends_at <= now,
    }
    overtaken = or_(*(and_(Subscription.status == status, due[status]) for status in statuses))
    query = select(Subscription).where(overtaken).order_by(Subscription.company_id).limit(BATCH)
    done = 0
    while rows := session.scalars(query.with_for_update(skip_locked=True)).all():
        for subscription in rows:
            pass_time(session, subscription, now, now)
        session.flush()
        done += len(rows)
    return done


def cancel(session: Session, company_id: UUID, at: Literal["now", "period_end"], now: datetime) -> Subscription:
    """Cancels at once, or lets the trial or the paid period run out. Nothing is paid back.

    A period that is over already (past due) is cancelled at once either way. Raises NothingToCancel.
    """
    subscription = of_company(session, company_id, locked=True)
    pass_time(session, subscription, now, now)
    status = Status(subscription.status)
    if status not in RUNNING and status is not Status.SUSPENDED:
        raise NothingToCancel
    later = subscription.trial_ends_at if status is Status.TRIALING else subscription.period_end
    if at == "period_end" and status in (Status.TRIALING, Status.ACTIVE) and later:
        if not subscription.cancel_at_period_end:
            subscription.cancel_at_period_end = True
            subscription.updated_at = now
            _tell_cancelled(session, subscription, later, now)
        return subscription
    step(subscription, Status.CANCELLED)
    subscription.cancel_at_period_end = False
    if status is Status.SUSPENDED:
        subscription.updated_at = now  # its workspaces are stopped and its days are counted already
    else:
        _stop(session, subscription, now)
    _tell_cancelled(session, subscription, now, now)
    return subscription


def _tell_cancelled(session: Session, subscription: Subscription, ends_at: datetime, now: datetime) -> None:
    event = SubscriptionCancelled(
        company_id=subscription.company_id, plan=subscription.plan, cancelled_at=now, ends_at=ends_at
    )
    outbox.add(session, event, now)


def resume(session: Session, company_id: UUID, now: datetime) -> Subscription:
    """Takes a cancellation back while trial or paid time is left. Raises NothingToResume: then only paying helps."""
    subscription = of_company(session, company_id, locked=True)
    pass_time(session, subscription, now, now)
    if subscription.cancel_at_period_end and subscription.status in (Status.TRIALING, Status.ACTIVE):
        subscription.cancel_at_period_end = False
        subscription.updated_at = now
        return subscription
    if subscription.status != Status.CANCELLED:
        raise NothingToResume
    paid_until = subscription.period_end
    if paid_until and paid_until > now:
        step(subscription, Status.ACTIVE)
    elif paid_until is None and subscription.trial_ends_at > now:
        step(subscription, Status.TRIALING)
    else:
        raise NothingToResume
    subscription.data_kept_until = None
    subscription.updated_at = now
    plan = existing_plan(session, subscription.plan)
    outbox.add(session, entitlements(plan, company_id, active=True), now)
    return subscription
