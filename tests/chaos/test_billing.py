"""Billing's process is killed at every step of a payment's notification: the payment is booked once, and whole."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import httpx
import pytest

from deploy.local.processes import free_port, log_tail
from sandbox.paytr.app import build as build_sandbox
from sandbox.paytr.settings import PaytrSandboxSettings
from services.billing.app import build
from shared.clock import ManualClock
from shared.events import Event
from shared.events.billing import (
    EntitlementsChanged,
    InvoiceIssued,
    PaymentFailed,
    PaymentSucceeded,
    SubscriptionActivated,
)
from shared.migrate import migrate
from tests.billing.house import FORM, MERCHANT, House, notice, settings_for
from tests.billing.street import HONEST_ENOUGH, Street, bound, serving
from tests.callers import PUBLIC_KEY, an_admin
from tests.chaos.nursery import Born, Nursery
from tests.chaos.record import LONG, Record
from tests.infrastructure import Databases
from tests.journeys.platform import eventually

pytestmark = pytest.mark.xdist_group("chaos-billing")

ROUNDS = 100 if LONG else 2
MISBEHAVIOURS = len(HONEST_ENOUGH) * 5 if LONG else 3
TOLD_ONCE: tuple[type[Event], ...] = (PaymentSucceeded, InvoiceIssued, SubscriptionActivated, EntitlementsChanged)
"""Of these the invoice is what the mail is sent for."""


class Replicas:
    """Two processes of billing on one database; one that was killed is started again on its port."""

    def __init__(self, nursery: Nursery, environment: dict[str, str], folder: Path) -> None:
        self._nursery = nursery
        self._environment = environment
        self._folder = folder
        self._born: dict[int, Born] = {}

    def start(self, port: int, step: int = 0) -> None:
        """Starts the one on this port and waits until it answers; it ends at the step, where one is given."""
        armed = {"CRASH_STEP": str(step), "CRASH_WITHIN": "services.billing.notifications:take"} if step else {}
        environment = self._environment | armed | {"BILLING_PORT": str(port)}
        self._born[port] = self._nursery.start(["services.billing", "api"], environment, self.log(port))

        def answers() -> bool:
            assert self._born[port].poll() is None, log_tail(self.log(port), 30)
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
                return True
            return False

        eventually(answers, f"billing listens on {port}")

    def log(self, port: int) -> Path:
        """What the one on this port said."""
        return self._folder / f"{port}.log"

    def ended(self) -> list[int]:
        """The ports of those that were killed. Fails when one ended in another way."""
        codes = {port: born.poll() for port, born in self._born.items()}
        for port, code in codes.items():
            assert code in {None, -9}, log_tail(self.log(port), 30)
        return [port for port, code in codes.items() if code is not None]

    def stop(self) -> None:
        """Ends both."""
        for born in self._born.values():
            born.kill()


@pytest.fixture
def house(databases: Databases) -> Iterator[Street]:
    """Billing's database, hands to look at it, PayTR's sandbox; the processes are the test's own matter."""
    database, clock = databases.new(), ManualClock(datetime.now(UTC))
    (theirs, paytr), port = bound(), free_port()
    service = build(settings_for(database, clock))
    migrate(service.database, service.package)
    sandbox = PaytrSandboxSettings(
        merchant_id=MERCHANT.merchant_id, merchant_key=MERCHANT.key, merchant_salt=MERCHANT.salt,
        notification_url=f"http://127.0.0.1:{port}/billing/callback", retry_seconds=(0.2,), max_tries=500,
    )  # fmt: skip
    with serving(build_sandbox(sandbox), theirs, lifespan="on"):
        made = Street(service, clock, f"http://127.0.0.1:{port}", paytr)
        with made.web:
            yield made
    service.database.close()
    databases.drop(database)


@pytest.fixture(scope="module")
def nursery(own_folder: Path) -> Iterator[Nursery]:
    made = Nursery("tests.chaos.service_process", own_folder)
    yield made
    made.close()


@pytest.fixture
def replicas(house: Street, nursery: Nursery, own_folder: Path) -> Iterator[Replicas]:
    environment = {
        "BILLING_DATABASE_URL": house.service.settings.database_url.get_secret_value(),
        "BILLING_DATABASE_POOL": "10",
        "BILLING_DOCUMENT_KEY": "a-key-of-tests-that-is-long-enough!",
        "TOKEN_PUBLIC_KEY": PUBLIC_KEY,
        "PAYTR_MERCHANT_ID": MERCHANT.merchant_id,
        "PAYTR_MERCHANT_KEY": MERCHANT.key,
        "PAYTR_MERCHANT_SALT": MERCHANT.salt,
        "PAYTR_URL": house.paytr,
    }
    made = Replicas(nursery, environment, own_folder)
    yield made
    made.stop()


def post(web: httpx.Client, port: int, fields: dict[str, str]) -> bool:
    """PayTR posts a notification; whether it heard OK, the one answer that ends its repeats."""
    try:
        body = urlencode(fields)
        answer = web.post(f"http://127.0.0.1:{port}/billing/callback", content=body, headers=FORM)
    except httpx.TransportError:
        return False
    return answer.status_code == 200 and answer.content == b"OK"


def booked_once(house: House, company: UUID, oid: str, record: Record) -> None:
    """One payment, one invoice, one activation, and each fact told once."""
    assert house.order(oid).state == "paid"
    assert house.subscription(company).status == "active"
    assert len(house.invoices(company)) == 1
    for kind in TOLD_ONCE:
        assert len(about(house, kind, company)) == 1, kind
    record.holds("one payment, invoice, activation and mail")


def about(house: House, kind: type[Event], company: UUID) -> list[Any]:
    """The facts of this kind that concern the company, but for its trial's."""
    told = [fact for fact in house.told(kind) if fact.company_id == company]  # type: ignore[attr-defined]
    return told[1:] if kind is EntitlementsChanged else told


def test_killed_before_each_statement_commit_and_answer(house: Street, replicas: Replicas, record: Record) -> None:
    dying, living = free_port(), free_port()
    replicas.start(living)
    for step in range(1, 100):
        company = house.company()
        oid = house.attempt(company)
        replicas.start(dying, step)
        if post(house.web, dying, notice(oid)):
            break  # there are fewer steps than this
        eventually(replicas.ended, "the process is gone")
        record.kills(f"billing process before {log_tail(replicas.log(dying), 1)}")
        assert house.order(oid).state in {"token_issued", "paid"}, "half a booking shows"
        assert post(house.web, living, notice(oid)), "PayTR's repeat, to the other replica"
        booked_once(house, company, oid, record)
    assert step > 10, "the steps are there to be counted"
    booked_once(house, company, oid, record)


def test_fifty_at_once_while_both_replicas_are_killed(house: Street, replicas: Replicas, record: Record) -> None:
    ports = [free_port(), free_port()]
    for number in range(ROUNDS):
        lots = record.lots("fifty", number)
        company = house.company()
        oid = house.attempt(company)
        bodies = [notice(oid)] * 30 + [notice(oid, payment_type=f"card{n}") for n in range(10)]
        bodies += [notice(oid, "failed", 0, failed_reason_code="6")] * 10
        lots.shuffle(bodies)
        for port in ports:
            replicas.start(port, lots.randint(1, 150))
        with ThreadPoolExecutor(len(bodies)) as pool:
            jobs = [pool.submit(repeat_until_ok, house.web, ports[n % 2], body) for n, body in enumerate(bodies)]
            while wait(jobs, 0.02).not_done:
                for port in replicas.ended():
                    record.kills("billing process with fifty notifications under way")
                    replicas.start(port)
        for job in jobs:
            job.result()
        replicas.stop()
        booked_once(house, company, oid, record)
        assert len(about(house, PaymentFailed, company)) <= 1


def repeat_until_ok(web: httpx.Client, port: int, fields: dict[str, str]) -> None:
    """As PayTR repeats, only faster."""
    eventually(lambda: post(web, port, fields), "the notification is taken")


def test_paytr_misbehaves_while_billing_is_killed(house: Street, replicas: Replicas, record: Record) -> None:
    port = int(house.url.rpartition(":")[2])
    lots = record.lots("misbehaviour")
    drawn = (HONEST_ENOUGH * 5)[:MISBEHAVIOURS] if LONG else lots.sample(HONEST_ENOUGH, MISBEHAVIOURS)
    for how in drawn:
        admin = an_admin(house.company(), email="ayse@example.com", ip="127.0.0.1")
        assert admin.company_id is not None
        replicas.start(port, lots.randint(1, 25))
        house.misbehave(**how)
        house.clock.advance(datetime.now(UTC) - house.now)
        form = house.opens(admin).json()
        oid = house.attempts()[-1].merchant_oid
        house.clicks(form)
        expected = 1 + int(how.get("duplicates", 0)) + ("then" in how)

        def all_taken(oid: str = oid, expected: int = expected) -> bool:
            if replicas.ended():
                record.kills("billing process while PayTR misbehaves")
                replicas.start(port)
            return sum(one["accepted"] for one in house.deliveries(oid)) == expected

        eventually(all_taken, f"PayTR hears OK {expected} times: {how}")
        replicas.stop()
        booked_once(house, admin.company_id, oid, record)
        record.holds("PayTR's misbehaviour")
