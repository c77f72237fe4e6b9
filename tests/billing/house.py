"""The hands of billing's stories: companies sign up, time passes, PayTR notifies; facts and rows are looked at."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, TypeVar
from urllib.parse import urlencode
from uuid import UUID

from fastapi.testclient import TestClient
from sqlalchemy import func, select

from services.billing.checkout import ASK_AFTER
from services.billing.models import Attempt, AttemptState, Invoice, Notification, Subscription
from services.billing.payments.signatures import Credentials, notification
from services.billing.plans import split_tax
from services.billing.pricing import existing_plan, tax_percent
from services.billing.settings import Settings
from shared.clock import ManualClock
from shared.events import Event
from shared.events.identity import CompanyCreated
from shared.events.scheduler import GraceExpired, RenewalDue, TrialExpired
from shared.ids import new_id
from shared.messaging.consumer import Consumer
from shared.messaging.envelope import Envelope
from shared.messaging.tables import failed_deliveries, outbox
from shared.money import Currency
from shared.service import Service
from tests.callers import PUBLIC_KEY
from tests.infrastructure import TestDatabase

MERCHANT = Credentials("100001", "sandboxKEY000001", "sandboxSALT00001")
FORM = {"content-type": "application/x-www-form-urlencoded"}
E = TypeVar("E", bound=Event)


def settings_for(database: TestDatabase, clock: ManualClock, **given: Any) -> Settings:
    """Billing's settings for a test's database and clock."""
    known: dict[str, Any] = {
        "database_url": database("billing"),
        "token_public_key": PUBLIC_KEY,
        "paytr_merchant_id": MERCHANT.merchant_id,
        "paytr_merchant_key": MERCHANT.key,
        "paytr_merchant_salt": MERCHANT.salt,
        "paytr_url": "http://127.0.0.1:9",
        "document_key": "a-key-of-tests-that-is-long-enough!",
    }
    settings = Settings(**{**known, **given})
    settings.__dict__["clock"] = clock
    return settings


def notice(oid: str, status: str = "success", total: int | str = 87_000, **unsigned: str) -> dict[str, str]:
    """A notification's fields, signed as PayTR signs."""
    return {
        "merchant_oid": oid,
        "status": status,
        "total_amount": str(total),
        "hash": notification(MERCHANT, oid, status, str(total)),
        **unsigned,
    }


class House:
    """One billing service and what can happen to it."""

    def __init__(self, service: Service, clock: ManualClock) -> None:
        self.service = service
        self.clock = clock
        self.database = service.database
        self.consumer = Consumer(service.database, service.handlers, clock, service.settings)
        self._sequence = 0

    @property
    def now(self) -> datetime:
        return self.clock.now()

    def hear(self, event: Event, *, sequence: int | None = None, id_: UUID | None = None) -> None:
        """Delivers an event as the bus would; raises where its handler did."""
        self._sequence += 1
        number = sequence if sequence is not None else self._sequence
        data = event.model_dump(mode="json")
        publisher = event.publisher()
        envelope = Envelope(id_ or new_id(), event.type, publisher, event.subject, self.now, number, data)
        self.consumer.receive([envelope.to_bytes()])
        with self.database.unit_of_work() as session:
            kept = session.connection().execute(select(failed_deliveries.c.error)).scalars().all()
        assert not kept, kept

    def company(self, wanted: str = "starter", **facts: Any) -> UUID:
        """A company signs up."""
        id_ = facts.pop("company_id", None) or new_id()
        known: dict[str, Any] = {"name": "Şişli Yazılım A.Ş.", "country": "TR", "language": "tr"}
        known |= {"timezone": "Europe/Istanbul", "created_at": self.now, "wanted_plan": wanted}
        self.hear(CompanyCreated(company_id=id_, **{**known, **facts}))
        return id_

    def attempt(self, company: UUID, plan: str = "starter", state: str = "token_issued", **facts: Any) -> str:
        """An attempt to pay whose form is open; returns its order number."""
        oid = "d" + new_id().hex
        with self.database.unit_of_work() as session:
            amount = existing_plan(session, plan).prices[Currency.TRY]
            net, tax = split_tax(amount, tax_percent(session, "TR"))
            known: dict[str, Any] = {
                "id": new_id(),
                "merchant_oid": oid,
                "company_id": company,
                "user_id": new_id(),
                "plan": plan,
                "currency": "TRY",
                "amount_minor": amount.minor,
                "net_minor": net.minor,
                "tax_minor": tax.minor,
                "tax_percent": tax_percent(session, "TR"),
                "test_mode": True,
                "state": AttemptState(state),
                "created_at": self.now,
                "expires_at": self.now + timedelta(minutes=30),
                "next_query_at": self.now + ASK_AFTER,
            }
            session.add(Attempt(**{**known, **facts}))
        return oid

    def notify(self, fields: dict[str, str] | str | bytes, headers: dict[str, str] | None = None) -> Any:
        """PayTR posts a notification; returns the answer."""
        body = urlencode(fields) if isinstance(fields, dict) else fields
        with TestClient(self.service.app, raise_server_exceptions=False, follow_redirects=False) as client:
            return client.post("/billing/callback", content=body, headers=FORM if headers is None else headers)

    def pays(self, company: UUID, plan: str = "starter") -> str:
        """A whole payment of a month, heard from PayTR; returns the order number."""
        oid = self.attempt(company, plan)
        with self.database.unit_of_work() as session:
            total = existing_plan(session, plan).prices[Currency.TRY].minor
        answer = self.notify(notice(oid, total=total))
        assert (answer.status_code, answer.content) == (200, b"OK")
        return oid

    def passes(self, **span: float) -> datetime:
        """Time passes and nobody says so."""
        return self.clock.advance(timedelta(**span))

    def until(self, moment: datetime) -> None:
        """Time passes to this moment."""
        self.clock.advance(moment - self.now)

    def trial_timer(self, company: UUID) -> None:
        """The scheduler's announcement at the trial's end; the clock is set there."""
        ends_at = self.subscription(company).trial_ends_at
        self.until(max(self.now, ends_at))
        self.hear(TrialExpired(company_id=company, ends_at=ends_at))

    def renewal_timer(self, company: UUID) -> None:
        """The same at the paid period's end."""
        end = self.subscription(company).period_end
        assert end is not None
        self.until(max(self.now, end))
        self.hear(RenewalDue(company_id=company, period_end=end))

    def grace_timer(self, company: UUID) -> None:
        """The same at the grace's end."""
        end = self.subscription(company).grace_ends_at
        assert end is not None
        self.until(max(self.now, end))
        self.hear(GraceExpired(company_id=company, grace_ends_at=end))

    def subscription(self, company: UUID) -> Subscription:
        with self.database.unit_of_work() as session:
            return session.scalars(select(Subscription).where(Subscription.company_id == company)).one()

    def order(self, oid: str) -> Attempt:
        with self.database.unit_of_work() as session:
            return session.scalars(select(Attempt).where(Attempt.merchant_oid == oid)).one()

    def invoices(self, company: UUID) -> list[Invoice]:
        with self.database.unit_of_work() as session:
            return list(session.scalars(select(Invoice).where(Invoice.company_id == company).order_by(Invoice.number)))

    def notifications(self) -> list[Notification]:
        with self.database.unit_of_work() as session:
            return list(session.scalars(select(Notification).order_by(Notification.id)))

    def count(self, table: Any) -> int:
        with self.database.unit_of_work() as session:
            return session.execute(select(func.count()).select_from(table)).scalar_one()

    def told(self, kind: type[E]) -> list[E]:
        """Every fact of this type in the outbox, in order."""
        with self.database.unit_of_work() as session:
            query = select(outbox.c.data).where(outbox.c.type == kind.type).order_by(outbox.c.position)
            return [kind.read(data) for data in session.connection().execute(query).scalars()]

    def told_types(self) -> list[str]:
        with self.database.unit_of_work() as session:
            return list(session.connection().execute(select(outbox.c.type).order_by(outbox.c.position)).scalars())

    def forget_told(self) -> None:
        """Empties the outbox, as the relay would."""
        with self.database.unit_of_work() as session:
            session.connection().execute(outbox.delete())
