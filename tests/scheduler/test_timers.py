"""A trial starts on 22 November. Reminders 7, 3 and 1 days before its end, then the end, each once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import UUID

from services.scheduler import timers
from services.scheduler.loops import Ticker
from shared.clock import ManualClock
from shared.events import Event
from shared.events.billing import SubscriptionActivated, SubscriptionPastDue, TrialStarted
from shared.events.scheduler import GraceExpired, RenewalDue, TrialExpired, TrialExpiring
from shared.ids import new_id
from shared.service import Service
from tests.callers import START

END = START + timedelta(days=14)
Hear = Callable[[Event], None]
Told = Callable[[], list[Event]]


def trial(company: UUID) -> TrialStarted:
    return TrialStarted(company_id=company, plan="starter", started_at=START, ends_at=END)


def paid(company: UUID) -> SubscriptionActivated:
    return SubscriptionActivated(
        company_id=company, plan="team", period_start=START, period_end=START + timedelta(days=30)
    )


def test_a_trial_is_announced_four_times_on_its_days(
    hear: Hear, told: Told, ticker: Ticker, clock: ManualClock
) -> None:
    company = new_id()
    hear(trial(company))
    seen: list[tuple[int, str]] = []
    for day in range(16):
        before = len(told())
        ticker.tick()
        seen += [(day, event.type) for event in told()[before:] if event.subject == str(company)]
        clock.advance(timedelta(days=1))
    assert seen == [(7, "trial.expiring"), (11, "trial.expiring"), (13, "trial.expiring"), (14, "trial.expired")]
    reminders = [event for event in told() if isinstance(event, TrialExpiring)]
    assert [event.days_left for event in reminders] == [7, 3, 1]


def test_the_same_fact_heard_twice_sets_one_timer(hear: Hear, told: Told, ticker: Ticker, clock: ManualClock) -> None:
    company = new_id()
    hear(trial(company))
    hear(trial(company))
    clock.advance(timedelta(days=20))
    ticker.tick()
    assert len([event for event in told() if isinstance(event, TrialExpired)]) == 1


def test_three_days_down_over_due_timers_loses_none(hear: Hear, told: Told, ticker: Ticker, clock: ManualClock) -> None:
    company = new_id()
    hear(trial(company))
    clock.advance(timedelta(days=12))
    ticker.tick()
    assert [e.days_left for e in told() if isinstance(e, TrialExpiring)] == [7, 3]


def test_a_clock_set_back_fires_nothing_again(hear: Hear, told: Told, ticker: Ticker, clock: ManualClock) -> None:
    hear(trial(new_id()))
    clock.advance(timedelta(days=7))
    ticker.tick()
    clock.advance(timedelta(hours=-1))
    ticker.tick()
    clock.advance(timedelta(hours=2))
    ticker.tick()
    assert len([e for e in told() if isinstance(e, TrialExpiring)]) == 1


def test_who_has_paid_hears_no_more_of_the_trial(hear: Hear, told: Told, ticker: Ticker, clock: ManualClock) -> None:
    company = new_id()
    hear(trial(company))
    hear(paid(company))
    clock.advance(timedelta(days=40))
    ticker.tick()
    announced = [event for event in told() if event.subject == str(company)]
    assert [type(event) for event in announced] == [RenewalDue]


def test_a_renewal_sets_a_new_period_end(hear: Hear, told: Told, ticker: Ticker, clock: ManualClock) -> None:
    company = new_id()
    hear(paid(company))
    later = paid(company).model_copy(update={"period_end": START + timedelta(days=60)})
    hear(later)
    clock.advance(timedelta(days=31))
    ticker.tick()
    assert not [event for event in told() if isinstance(event, RenewalDue)]
    clock.advance(timedelta(days=30))
    ticker.tick()
    assert [event.period_end for event in told() if isinstance(event, RenewalDue)] == [later.period_end]


def test_grace_ends_once(hear: Hear, told: Told, ticker: Ticker, clock: ManualClock) -> None:
    company = new_id()
    ends = START + timedelta(days=7)
    hear(SubscriptionPastDue(company_id=company, plan="team", period_end=START, grace_ends_at=ends))
    clock.advance(timedelta(days=7))
    ticker.tick()
    ticker.tick()
    assert [e.grace_ends_at for e in told() if isinstance(e, GraceExpired)] == [ends]


def test_four_replicas_at_once_fire_each_timer_once(
    hear: Hear, told: Told, new_scheduler: Callable[..., Service], clock: ManualClock
) -> None:
    companies = [new_id() for _ in range(30)]
    for company in companies:
        hear(trial(company))
    clock.advance(timedelta(days=15))
    services = [new_scheduler() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda s: Ticker(s.database, clock, s.settings).tick(), services * 3))
    ended = [event.subject for event in told() if isinstance(event, TrialExpired)]
    assert sorted(ended) == sorted(map(str, companies))


def test_a_crash_while_announcing_announces_later(
    hear: Hear, told: Told, ticker: Ticker, scheduler: Service, clock: ManualClock
) -> None:
    hear(trial(new_id()))
    clock.advance(timedelta(days=15))
    with scheduler.database.unit_of_work() as session:
        assert timers.fire_due(session, clock.now()) == 4
        session.rollback()  # as a kill before the commit
    assert not told()
    ticker.tick()
    assert len([event for event in told() if event.type.startswith("trial.")]) == 4
