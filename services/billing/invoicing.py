"""Invoices: a gapless number a year, and a row that says for ever what was sold to whom for how much."""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.billing import buyers
from services.billing.models import Attempt, Invoice, InvoiceCounter
from services.billing.pricing import existing_plan
from shared.errors import NotFound
from shared.events.billing import InvoiceIssued
from shared.ids import new_id
from shared.messaging import outbox
from shared.money import Currency, Money

if TYPE_CHECKING:
    from services.billing.settings import Settings

SERIES = "YAC"
SELLER_TIMEZONE = ZoneInfo("Europe/Istanbul")
"""The seller's calendar decides in which year an invoice counts."""


def issue(
    session: Session, attempt: Attempt, period: tuple[datetime, datetime], settings: Settings, now: datetime
) -> Invoice:
    """Issues the invoice of a paid attempt, in the transaction that books the payment."""
    buyer = buyers.known(session, attempt.company_id)
    year = now.astimezone(SELLER_TIMEZONE).year
    invoice = Invoice(
        id=new_id(),
        company_id=attempt.company_id,
        payment_id=attempt.id,
        number=f"{SERIES}{year:04d}{_next_number(session, year):09d}",
        year=year,
        issued_at=now,
        plan=attempt.plan,
        plan_name=existing_plan(session, attempt.plan).name,
        currency=attempt.currency,
        net_minor=attempt.net_minor,
        tax_minor=attempt.tax_minor,
        total_minor=attempt.amount_minor,
        tax_percent=attempt.tax_percent,
        period_start=period[0],
        period_end=period[1],
        test_mode=attempt.test_mode,
        language=buyer.language,
        buyer_name=buyer.name,
        buyer_address=buyer.address,
        buyer_country=buyer.country,
        buyer_tax_id=buyer.tax_id,
        buyer_tax_office=buyer.tax_office,
        seller_name=settings.seller_name,
        seller_address=settings.seller_address,
        seller_tax_id=settings.seller_tax_id,
        seller_tax_office=settings.seller_tax_office,
        order_number=attempt.merchant_oid,
    )
    session.add(invoice)
    net, tax, total = amounts(invoice)
    event = InvoiceIssued(
        company_id=invoice.company_id,
        invoice_id=invoice.id,
        number=invoice.number,
        payment_id=attempt.id,
        plan=invoice.plan,
        net=net,
        tax=tax,
        total=total,
        issued_at=now,
        period_start=period[0],
        period_end=period[1],
        document_path=document_path(invoice.id, settings.document_key.get_secret_value()),
    )
    outbox.add(session, event, now)
    return invoice


def _next_number(session: Session, year: int) -> int:
    """Waits for whoever else takes a number this year; a rollback gives the number back."""
    row = insert(InvoiceCounter).values(year=year, last=1)
    taken = row.on_conflict_do_update(index_elements=["year"], set_={"last": InvoiceCounter.last + 1})
    return session.execute(taken.returning(InvoiceCounter.last)).scalar_one()


def amounts(invoice: Invoice) -> tuple[Money, Money, Money]:
    """Net, tax and total."""
    currency = Currency(invoice.currency)
    minors = (invoice.net_minor, invoice.tax_minor, invoice.total_minor)
    net, tax, total = (Money(minor=minor, currency=currency) for minor in minors)
    return net, tax, total


def listed(session: Session, company_id: UUID, *, year: int | None, before: UUID | None, limit: int) -> list[Invoice]:
    """The company's invoices, newest first."""
    query = select(Invoice).where(Invoice.company_id == company_id).order_by(Invoice.id.desc()).limit(limit)
    if year is not None:
        query = query.where(Invoice.year == year)
    if before is not None:
        query = query.where(Invoice.id < before)
    return list(session.scalars(query))


def of_company(session: Session, company_id: UUID, invoice_id: UUID) -> Invoice:
    """One of the company's invoices. Raises NotFound, for another company's too."""
    invoice = session.scalar(select(Invoice).where(Invoice.id == invoice_id, Invoice.company_id == company_id))
    if invoice is None:
        raise NotFound
    return invoice


def signature(invoice_id: UUID, key: str) -> str:
    """What opens one invoice's document without a session: HMAC-SHA256 over its id, URL-safe."""
    digest = hmac.new(key.encode(), f"invoice-document:{invoice_id}".encode(), hashlib.sha256).digest()
    return urlsafe_b64encode(digest).rstrip(b"=").decode("ascii")


def document_path(invoice_id: UUID, key: str) -> str:
    """The path of the invoice's PDF on billing's address, with its signature."""
    return f"/documents/invoices/{invoice_id}.pdf?signature={signature(invoice_id, key)}"


def opened_by(session: Session, invoice_id: UUID, given: str, key: str) -> Invoice:
    """The invoice that this signature opens. Raises NotFound: wrong signature and no invoice look alike."""
    if not hmac.compare_digest(signature(invoice_id, key).encode(), given.encode()):
        raise NotFound
    invoice = session.get(Invoice, invoice_id)
    if invoice is None:
        raise NotFound
    return invoice
