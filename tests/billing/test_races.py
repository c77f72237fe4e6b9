"""Many at once, with real threads on a real database: each effect once, numbers without a gap."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, InternalError

from services.billing import notifications, settlement, subscriptions
from services.billing.models import Invoice, Status
from shared.events.billing import EntitlementsChanged, InvoiceIssued, PaymentSucceeded, SubscriptionActivated
from shared.events.scheduler import JobDue
from shared.ids import new_id
from shared.service import Service
from tests.billing.house import FORM, House, notice

MANY = 50


def take(house: House, fields: dict[str, str]) -> None:
    """A notification as the HTTP door hands it on, in this thread."""
    provider, settings = house.service.app.state.provider, house.service.app.state.settings
    body = urlencode(fields).encode()
    notifications.take(house.database, provider.read_notice(FORM, body), body, settings, house.now)


def at_once(jobs: list[Callable[[], object]]) -> list[BaseException | None]:
    """Runs all jobs in threads that start together."""
    gate = threading.Barrier(len(jobs))

    def run(job: Callable[[], object]) -> BaseException | None:
        gate.wait()
        try:
            job()
        except Exception as error:
            return error
        return None

    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(run, jobs))


@pytest.fixture
def wide(new_billing: Callable[..., Service], house: House) -> House:
    """The same house with a connection for each thread."""
    return House(new_billing(database_pool=30), house.clock)


def test_fifty_equal_notifications_at_once_book_once(wide: House) -> None:
    company = wide.company()
    oid = wide.attempt(company)
    wide.forget_told()
    assert at_once([lambda: take(wide, notice(oid))] * MANY) == [None] * MANY
    for kind in (PaymentSucceeded, InvoiceIssued, SubscriptionActivated, EntitlementsChanged):
        assert len(wide.told(kind)) == 1
    assert len(wide.invoices(company)) == 1
    assert wide.subscription(company).period_end == wide.now.replace(month=12)
    (row,) = wide.notifications()
    assert row.times == MANY


def test_fifty_different_bodies_of_one_success_book_once(wide: House) -> None:
    company = wide.company()
    oid = wide.attempt(company)
    jobs = [lambda n=n: take(wide, notice(oid, payment_type=f"card{n}")) for n in range(MANY)]
    assert at_once(jobs) == [None] * MANY
    assert len(wide.invoices(company)) == 1


def test_success_and_failure_at_once_end_paid(wide: House) -> None:
    company = wide.company()
    oid = wide.attempt(company)
    good, bad = notice(oid), notice(oid, "failed", 0, failed_reason_code="6")
    assert at_once([lambda: take(wide, good), lambda: take(wide, bad)] * 10) == [None] * 20
    assert wide.order(oid).state == "paid"
    assert wide.subscription(company).status == "active"
    assert len(wide.invoices(company)) == 1


def test_two_forms_paid_at_once_buy_two_months_and_two_invoices(wide: House) -> None:
    company = wide.company()
    orders = [wide.attempt(company) for _ in range(2)]
    assert at_once([lambda oid=oid: take(wide, notice(oid)) for oid in orders * 5]) == [None] * 10
    assert wide.subscription(company).period_end == wide.now.replace(year=2027, month=1)
    first, second = wide.invoices(company)
    assert first.period_end == second.period_start


def test_invoices_of_many_companies_at_once_have_no_gap_and_no_double(wide: House) -> None:
    orders = [wide.attempt(wide.company()) for _ in range(20)]
    assert at_once([lambda oid=oid: take(wide, notice(oid)) for oid in orders]) == [None] * 20
    with wide.database.unit_of_work() as session:
        numbers = session.execute(text("select number from invoices order by number")).scalars().all()
    assert numbers == [f"YAC2026{n:09d}" for n in range(1, 21)]


def test_a_rollback_gives_its_number_back_while_others_wait_for_it(
    wide: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    orders = [wide.attempt(wide.company()) for _ in range(12)]
    unlucky = set(orders[::3])
    real = settlement.log.info

    class Died(Exception):
        pass

    def info(message: str, **facts: object) -> None:
        if message == "payment booked" and facts["order"] in unlucky:
            raise Died
        real(message, **facts)

    with monkeypatch.context() as patch:
        patch.setattr(settlement, "log", type("Log", (), {"info": staticmethod(info), "error": settlement.log.error}))
        outcomes = at_once([lambda oid=oid: take(wide, notice(oid)) for oid in orders])
    assert [type(outcome) for outcome in outcomes] == [Died, type(None), type(None)] * 4
    for oid in unlucky:
        take(wide, notice(oid))
    with wide.database.unit_of_work() as session:
        numbers = session.execute(text("select number from invoices order by number")).scalars().all()
    assert numbers == [f"YAC2026{n:09d}" for n in range(1, 13)]


def test_a_payment_and_the_end_of_the_trial_at_once_leave_it_active(wide: House) -> None:
    for _ in range(5):
        company = wide.company()
        oid = wide.attempt(company)
        wide.until(wide.subscription(company).trial_ends_at)
        job = JobDue(run_id=new_id(), job="trials", due_at=wide.now)
        assert at_once([lambda oid=oid: take(wide, notice(oid)), lambda job=job: wide.hear(job)]) == [None, None]
        assert wide.subscription(company).status == "active"
        assert wide.told(EntitlementsChanged)[-1].active


def test_one_company_created_heard_by_many_starts_one_trial(wide: House) -> None:
    id_ = new_id()

    def start() -> None:
        with wide.database.unit_of_work() as session:
            subscriptions.start_trial(session, id_, "team", wide.now)

    assert at_once([start] * 10) == [None] * 10
    assert wide.told_types() == ["trial.started", "entitlements.changed"]
    assert wide.subscription(id_).status == Status.TRIALING


@pytest.mark.parametrize(
    "statement",
    [
        "update invoices set total_minor = 1",
        "delete from invoices",
        "truncate invoices",
        "update invoices set number = 'X'",
    ],
)
def test_the_database_itself_refuses_to_change_an_invoice(house: House, statement: str) -> None:
    house.pays(house.company())
    with (
        pytest.raises((IntegrityError, InternalError), match="never changed"),
        house.database.unit_of_work() as session,
    ):
        session.execute(text(statement))
    assert house.count(Invoice) == 1
