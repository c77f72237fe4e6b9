"""From what PayTR says to what is booked. One place, whoever heard it: the notification or the status query."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Literal

from prometheus_client import Counter
from sqlalchemy import select
from sqlalchemy.orm import Session

from services.billing import invoicing, subscriptions
from services.billing.models import Attempt, AttemptState
from services.billing.payments.port import Collected, Reason
from services.billing.pricing import existing_plan
from services.billing.transitions import may_become, step_attempt
from shared.events.billing import PaymentFailed, PaymentNeedsReview, PaymentSucceeded
from shared.logging import get_logger
from shared.messaging import outbox
from shared.money import Currency, Money
from shared.settings import Environment

if TYPE_CHECKING:
    from services.billing.settings import Settings

log = get_logger(__name__)
settled = Counter("billing_payments_settled_total", "Attempts to pay that ended", ["state", "reason"])

Source = Literal["notification", "status_query"]

# https://dev.paytr.com/hata-kodlari and iframe-api-2-adim: failed_reason_code. All bank declines are 0.
REASONS: dict[str, Reason] = {
    "0": "declined",
    "1": "authentication",
    "2": "authentication",
    "3": "security",
    "6": "abandoned",
    "8": "card_not_supported",
    "9": "card_not_supported",
    "10": "card_not_supported",
    "11": "fraud",
    "99": "technical",
}


def locked(session: Session, order_number: str) -> Attempt | None:
    """The attempt with this order number, locked until the transaction ends, as it is now."""
    query = select(Attempt).where(Attempt.merchant_oid == order_number)
    return session.scalar(query.with_for_update().execution_options(populate_existing=True))


def amount_of(attempt: Attempt) -> Money:
    """What the attempt is about to collect."""
    return Money(minor=attempt.amount_minor, currency=Currency(attempt.currency))


def succeed(
    session: Session, attempt: Attempt, collected: Collected, source: Source, settings: Settings, now: datetime
) -> None:
    """PayTR says it collected. Books it once: attempt, subscription, invoice and facts in the caller's transaction.

    Repeats change nothing. What contradicts our record is granted nothing and goes to a person.
    """
    if not may_become(attempt, AttemptState.PAID):
        return
    if difference := contradiction(attempt, collected, settings):
        _send_to_review(session, attempt, difference, source, now)
        return
    step_attempt(attempt, AttemptState.PAID)
    attempt.paid_at, attempt.failed_at = now, None
    attempt.reason = attempt.reason_code = attempt.next_query_at = None
    attempt.settled_by = source
    session.flush()
    plan = existing_plan(session, attempt.plan)
    event = PaymentSucceeded(
        company_id=attempt.company_id, payment_id=attempt.id, plan=plan.code, amount=amount_of(attempt), paid_at=now
    )
    outbox.add(session, event, now)
    period = subscriptions.pay(session, attempt.company_id, plan, now)
    invoice = invoicing.issue(session, attempt, period, settings, now)
    settled.labels("paid", "").inc()
    log.info(
        "payment booked", order=attempt.merchant_oid, minor=attempt.amount_minor, by=source, invoice=invoice.number
    )


def fail(session: Session, attempt: Attempt, code: str, now: datetime) -> None:
    """PayTR says this attempt failed. Told once an attempt; undoes nothing that was paid."""
    if not may_become(attempt, AttemptState.FAILED):
        return
    step_attempt(attempt, AttemptState.FAILED)
    reason = REASONS.get(code, "unknown")
    attempt.reason, attempt.reason_code, attempt.failed_at = reason, code, now
    attempt.next_query_at = None
    event = PaymentFailed(
        company_id=attempt.company_id,
        payment_id=attempt.id,
        plan=attempt.plan,
        amount=amount_of(attempt),
        reason=reason,
        reason_code=code,
        failed_at=now,
    )
    outbox.add(session, event, now)
    settled.labels("failed", reason).inc()
    log.info("payment failed", order=attempt.merchant_oid, reason=reason, code=code)


def contradiction(attempt: Attempt, said: Collected, settings: Settings) -> str:
    """In what PayTR's word differs from our record, if in anything. Absent unsigned fields are no difference."""
    differences = [f"{name} is unclear" for name in said.unclear]
    if said.total_minor != attempt.amount_minor:
        differences.append(f"collected {said.total_minor}, expected {attempt.amount_minor}")
    if said.payment_minor is not None and said.payment_minor != attempt.amount_minor:
        differences.append(f"payment_amount {said.payment_minor}, expected {attempt.amount_minor}")
    if said.currency is not None and said.currency != attempt.currency:
        differences.append(f"currency {said.currency}, expected {attempt.currency}")
    if said.test_mode is not None and said.test_mode != attempt.test_mode:
        differences.append(f"test mode {int(said.test_mode)}, expected {int(attempt.test_mode)}")
    if attempt.test_mode and settings.environment is Environment.PRODUCTION:
        differences.append("a test payment in production")
    if said.merchant_id is not None and said.merchant_id != settings.paytr_merchant_id:
        differences.append("another merchant_id")
    return "; ".join(differences)[:500]


def _send_to_review(session: Session, attempt: Attempt, difference: str, source: Source, now: datetime) -> None:
    step_attempt(attempt, AttemptState.NEEDS_REVIEW)
    attempt.difference, attempt.settled_by, attempt.next_query_at = difference, source, None
    event = PaymentNeedsReview(company_id=attempt.company_id, payment_id=attempt.id, difference=difference)
    outbox.add(session, event, now)
    settled.labels("needs_review", "").inc()
    log.error("payment needs review", order=attempt.merchant_oid, difference=difference, by=source)
