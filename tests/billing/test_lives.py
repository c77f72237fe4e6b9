"""Stories of subscriptions, with dates: what companies do, what time does, and what is told of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from services.billing import subscriptions
from services.billing.errors import NothingToCancel, NothingToResume
from services.billing.models import Status
from services.billing.periods import credited_time, month_after
from services.billing.transitions import STEPS, ForbiddenStep, step
from shared.events.billing import (
    EntitlementsChanged,
    JobDone,
    SubscriptionActivated,
    SubscriptionCancelled,
    SubscriptionExpired,
    SubscriptionPastDue,
    SubscriptionSuspended,
    TrialStarted,
)
from shared.events.identity import CompanyCreated, CompanyUpdated
from shared.events.scheduler import GraceExpired, JobDue, RenewalDue, TrialExpired
from shared.ids import new_id
from tests.billing.house import House

DAY = timedelta(days=1)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("start", "anchor", "end"),
    [
        ("2026-01-31T10:00", 31, "2026-02-28T10:00"),
        ("2026-02-28T10:00", 31, "2026-03-31T10:00"),
        ("2028-01-31T00:00", 31, "2028-02-29T00:00"),
        ("2026-12-15T23:59", 15, "2027-01-15T23:59"),
        ("2026-04-30T10:00", 31, "2026-05-31T10:00"),
        ("2026-11-22T09:30", 22, "2026-12-22T09:30"),
    ],
)
def test_months_keep_their_day(start: str, anchor: int, end: str) -> None:
    assert month_after(at(start), anchor) == at(end)


@pytest.mark.parametrize(
    ("left", "old", "new", "credit"),
    [(30 * DAY, 100, 300, 10 * DAY), (DAY, 1, 3, timedelta(hours=8)), (-DAY, 1, 1, 0 * DAY), (DAY, 100, 0, 0 * DAY)],
)
def test_time_left_is_credited_by_price(left: timedelta, old: int, new: int, credit: timedelta) -> None:
    assert credited_time(left, old, new) == credit


@pytest.mark.parametrize(("wanted", "plan"), [("team", "team"), ("", "starter"), ("gold'; --", "starter")])
def test_a_new_company_gets_fourteen_days_of_the_wanted_plan(house: House, wanted: str, plan: str) -> None:
    company = house.company(wanted)
    (trial,) = house.told(TrialStarted)
    (entitled,) = house.told(EntitlementsChanged)
    assert (trial.plan, trial.started_at, trial.ends_at) == (plan, house.now, house.now + 14 * DAY)
    assert (entitled.company_id, entitled.plan, entitled.active) == (company, plan, True)
    assert entitled.workspaces == (20 if plan == "team" else 5)


def test_the_trial_comes_once_a_company_however_often_it_is_told(house: House) -> None:
    company = house.company()
    house.trial_timer(company)
    house.company(company_id=company)
    house.company("team", company_id=company)
    assert house.subscription(company).status == "expired"
    assert len(house.told(TrialStarted)) == 1


def test_the_same_event_delivered_again_changes_nothing(house: House) -> None:
    company = new_id()
    facts = {"name": "A", "country": "TR", "language": "tr", "timezone": "UTC", "created_at": house.now}
    event, id_ = CompanyCreated(company_id=company, **facts), new_id()
    for _ in range(3):
        house.hear(event, id_=id_)
    assert house.told_types() == ["trial.started", "entitlements.changed"]


def test_an_unpaid_trial_expires_and_data_is_kept_thirty_days(house: House) -> None:
    company = house.company()
    house.trial_timer(company)
    (expired,) = house.told(SubscriptionExpired)
    assert expired.data_kept_until == house.now + 30 * DAY
    last = house.told(EntitlementsChanged)[-1]
    assert (last.active, last.data_kept_until) == (False, house.now + 30 * DAY)


def test_timers_that_come_too_early_too_often_or_for_strangers_do_nothing(house: House) -> None:
    company = house.company()
    told = house.told_types()
    house.hear(TrialExpired(company_id=company, ends_at=house.now - DAY))
    house.hear(RenewalDue(company_id=company, period_end=house.now + 90 * DAY))
    house.hear(GraceExpired(company_id=company, grace_ends_at=house.now))
    house.hear(TrialExpired(company_id=new_id(), ends_at=house.now))
    assert house.told_types() == told
    house.trial_timer(company)
    told = house.told_types()
    house.trial_timer(company)
    assert house.told_types() == told


def test_a_timer_of_a_clock_a_little_ahead_is_believed_for_its_moment(house: House) -> None:
    company = house.company()
    ends_at = house.subscription(company).trial_ends_at
    house.until(ends_at - timedelta(milliseconds=40))
    house.hear(TrialExpired(company_id=company, ends_at=ends_at))
    assert house.subscription(company).status == "expired"


def test_paying_in_the_trial_starts_the_month_now_and_the_trials_end_is_no_event(house: House) -> None:
    company = house.company()
    house.passes(days=3)
    house.pays(company, "team")
    now = house.subscription(company)
    assert (now.status, now.plan, now.period_start) == ("active", "team", house.now)
    assert now.period_end == month_after(house.now, house.now.day)
    house.trial_timer(company)
    assert house.subscription(company).status == "active"
    assert not house.told(SubscriptionExpired)


def test_a_year_paid_late_in_january_keeps_the_thirty_first(house: House) -> None:
    company = house.company()
    house.until(at("2027-01-31T12:00"))
    ends = []
    for _ in range(4):
        house.pays(company)
        ends.append(house.subscription(company).period_end)
    assert ends == [at("2027-02-28T12:00"), at("2027-03-31T12:00"), at("2027-04-30T12:00"), at("2027-05-31T12:00")]
    periods = [(i.period_start, i.period_end) for i in house.invoices(company)]
    assert [start for start, _ in periods[1:]] == [end for _, end in periods[:-1]]


def test_an_unpaid_period_goes_past_due_then_suspended_and_a_payment_brings_all_back(house: House) -> None:
    company = house.company("team")
    house.pays(company, "team")
    end = house.subscription(company).period_end
    assert end is not None
    house.renewal_timer(company)
    (late,) = house.told(SubscriptionPastDue)
    assert (late.period_end, late.grace_ends_at) == (end, end + 7 * DAY)
    assert house.told(EntitlementsChanged)[-1].active, "everything still runs in the grace"
    house.grace_timer(company)
    (suspended,) = house.told(SubscriptionSuspended)
    assert suspended.data_kept_until == house.now + 30 * DAY
    assert not house.told(EntitlementsChanged)[-1].active
    house.passes(days=5)
    house.pays(company, "team")
    now = house.subscription(company)
    assert (now.status, now.period_start, now.data_kept_until, now.grace_ends_at) == ("active", house.now, None, None)
    back = house.told(EntitlementsChanged)[-1]
    assert (back.active, back.data_kept_until) == (True, None)


@pytest.mark.parametrize("state", ["expired", "past_due", "suspended", "cancelled"])
def test_a_payment_brings_back_from_every_unpaid_state(house: House, state: str) -> None:
    company = house.company()
    if state == "expired":
        house.trial_timer(company)
    elif state == "cancelled":
        with house.database.unit_of_work() as session:
            subscriptions.cancel(session, company, "now", house.now)
    else:
        house.pays(company)
        house.renewal_timer(company)
        if state == "suspended":
            house.grace_timer(company)
    assert house.subscription(company).status == state
    house.passes(days=2)
    house.pays(company)
    now = house.subscription(company)
    assert (now.status, now.period_start) == ("active", house.now)
    assert house.told(SubscriptionActivated)[-1].period_end == month_after(house.now, house.now.day)
    assert house.told(EntitlementsChanged)[-1].active


def test_an_upgrade_starts_now_and_what_was_left_is_credited_as_time(house: House) -> None:
    company = house.company()
    house.pays(company, "starter")
    end = house.subscription(company).period_end
    assert end is not None
    house.passes(days=10)
    house.pays(company, "team")
    now = house.subscription(company)
    credit = credited_time(end - house.now, 87_000, 297_000)
    assert credit > 5 * DAY
    assert (now.plan, now.period_end) == ("team", month_after(house.now, house.now.day) + credit)
    assert house.told(EntitlementsChanged)[-1].workspaces == 20


def test_the_daily_job_finds_what_timers_missed_however_long_ago(house: House) -> None:
    trial, paid, cancelled = house.company(), house.company(), house.company()
    house.pays(paid)
    house.pays(cancelled)
    with house.database.unit_of_work() as session:
        subscriptions.cancel(session, cancelled, "period_end", house.now)
    house.passes(days=90)
    for job in ("trials", "subscriptions", "health"):
        house.hear(JobDue(run_id=new_id(), job=job, due_at=house.now))
    states = [house.subscription(company).status for company in (trial, paid, cancelled)]
    assert states == ["expired", "suspended", "cancelled"]
    kept = [house.subscription(company).data_kept_until for company in (trial, paid, cancelled)]
    assert kept == [house.now + 30 * DAY] * 3, "the promised days count from when it was noticed"
    assert [done.job for done in house.told(JobDone)] == ["trials", "subscriptions"]
    told = house.told_types()
    for job in ("trials", "subscriptions"):
        house.hear(JobDue(run_id=new_id(), job=job, due_at=house.now))
    assert [kind for kind in house.told_types()[len(told) :] if kind != "job.done"] == []


def test_cancelling_at_the_periods_end_lets_it_run_out_and_paying_takes_it_back(house: House) -> None:
    company = house.company()
    house.pays(company)
    end = house.subscription(company).period_end
    for _ in range(2):
        with house.database.unit_of_work() as session:
            subscriptions.cancel(session, company, "period_end", house.now)
    (told,) = house.told(SubscriptionCancelled)
    assert told.ends_at == end
    assert house.subscription(company).status == "active"
    house.pays(company)
    assert not house.subscription(company).cancel_at_period_end
    with house.database.unit_of_work() as session:
        subscriptions.cancel(session, company, "period_end", house.now)
    house.renewal_timer(company)
    assert house.subscription(company).status == "cancelled"
    assert not house.told(EntitlementsChanged)[-1].active
    assert not house.told(SubscriptionPastDue)


def test_resuming_takes_back_a_cancellation_while_time_is_left(house: House) -> None:
    company = house.company()
    for paid in (False, True):
        if paid:
            house.pays(company)
        for when in ("now", "period_end"):
            with house.database.unit_of_work() as session:
                subscriptions.cancel(session, company, when, house.now)
            with house.database.unit_of_work() as session:
                subscriptions.resume(session, company, house.now)
            now = house.subscription(company)
            assert (now.status, now.cancel_at_period_end) == ("active" if paid else "trialing", False)
            assert now.data_kept_until is None
            assert house.told(EntitlementsChanged)[-1].active
    with house.database.unit_of_work() as session:
        subscriptions.cancel(session, company, "now", house.now)
    house.passes(days=40)
    with pytest.raises(NothingToResume), house.database.unit_of_work() as session:
        subscriptions.resume(session, company, house.now)


def test_what_is_over_is_neither_cancelled_nor_resumed(house: House) -> None:
    company = house.company()
    with pytest.raises(NothingToResume), house.database.unit_of_work() as session:
        subscriptions.resume(session, company, house.now)
    house.trial_timer(company)
    with pytest.raises(NothingToCancel), house.database.unit_of_work() as session:
        subscriptions.cancel(session, company, "now", house.now)
    with pytest.raises(NothingToResume), house.database.unit_of_work() as session:
        subscriptions.resume(session, company, house.now)


def test_cancelling_a_suspended_one_does_not_lengthen_its_days(house: House) -> None:
    company = house.company()
    house.pays(company)
    house.renewal_timer(company)
    house.grace_timer(company)
    kept = house.subscription(company).data_kept_until
    house.passes(days=10)
    with house.database.unit_of_work() as session:
        subscriptions.cancel(session, company, "period_end", house.now)
    now = house.subscription(company)
    assert (now.status, now.data_kept_until) == ("cancelled", kept)


def test_no_step_outside_the_table(house: House) -> None:
    company = house.company()
    for origin in Status:
        for target in Status:
            subscription = house.subscription(company)
            subscription.status = origin
            if target in STEPS[origin]:
                step(subscription, target)
                assert subscription.status == target
            else:
                with pytest.raises(ForbiddenStep):
                    step(subscription, target)


def test_an_invoice_names_the_newest_details_in_whatever_order_they_come(house: House) -> None:
    company = new_id()
    details = {"name": "Yeni Ad Ltd.", "country": "TR", "language": "en", "timezone": "UTC"}
    house.hear(CompanyUpdated(company_id=company, address="Yeni Adres", tax_id="1", **details), sequence=20)
    house.hear(CompanyUpdated(company_id=company, address="Eski Adres", tax_id="2", **details), sequence=10)
    created = {**details, "name": "Eski Ad", "created_at": house.now}
    house.hear(CompanyCreated(company_id=company, **created), sequence=5)
    house.pays(company)
    (invoice,) = house.invoices(company)
    assert (invoice.buyer_name, invoice.buyer_address, invoice.language) == ("Yeni Ad Ltd.", "Yeni Adres", "en")


def test_invoice_numbers_start_anew_with_istanbuls_year(house: House) -> None:
    company = house.company()
    house.until(at("2026-12-31T20:59"))
    house.pays(company)
    house.until(at("2026-12-31T21:00"))
    house.pays(company)
    assert [i.number for i in house.invoices(company)] == ["YAC2026000000001", "YAC2027000000001"]
