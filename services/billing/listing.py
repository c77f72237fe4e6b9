"""What the lists show: payments of a company or of all, subscriptions of all; newest first, bounded."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from services.billing.models import Attempt, Buyer, Invoice, Subscription
from shared.errors import NotFound

PaymentRow = tuple[Attempt, UUID | None]


def payments(session: Session, company_id: UUID | None, *, before: UUID | None, limit: int) -> list[PaymentRow]:
    """Attempts to pay with their invoices' ids; of every company (for staff) where `company_id` is None."""
    query = select(Attempt, Invoice.id).outerjoin(Invoice, Invoice.payment_id == Attempt.id)
    if company_id is not None:
        query = query.where(Attempt.company_id == company_id)
    if before is not None:
        query = query.where(Attempt.id < before)
    return [(row[0], row[1]) for row in session.execute(query.order_by(Attempt.id.desc()).limit(limit))]


def payment(session: Session, company_id: UUID, payment_id: UUID) -> PaymentRow:
    """One of the company's payments. Raises NotFound, for another company's too."""
    query = select(Attempt, Invoice.id).outerjoin(Invoice, Invoice.payment_id == Attempt.id)
    row = session.execute(query.where(Attempt.id == payment_id, Attempt.company_id == company_id)).first()
    if row is None:
        raise NotFound
    return row[0], row[1]


def subscriptions(session: Session, *, before: UUID | None, limit: int) -> list[tuple[Subscription, str]]:
    """Every company's subscription with the company's name."""
    query = select(Subscription, Buyer.name).join(Buyer, Buyer.company_id == Subscription.company_id)
    if before is not None:
        query = query.where(Subscription.company_id < before)
    rows = session.execute(query.order_by(Subscription.company_id.desc()).limit(limit))
    return [(row[0], row[1]) for row in rows]
