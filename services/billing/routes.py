"""Billing's HTTP for people: parse, authorise, call one operation, shape the answer."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from sqlalchemy.orm import Session

from services.billing import checkout, invoicing, listing, pricing, subscriptions
from services.billing.checkout import Desk, Recorded
from services.billing.models import Invoice
from services.billing.schemas import (
    Cancellation,
    InvoiceView,
    OpenedPayment,
    PaymentView,
    PaymentWish,
    PlansView,
    PlanView,
    StaffPaymentView,
    StaffSubscriptionView,
    SubscriptionView,
)
from shared.access import Admin, Anyone, Member, Staff, company_of
from shared.db import Work
from shared.idempotency import Key, forget, once
from shared.pagination import Cursor, Limit, Page, after, page


class Pdf(Response):
    """A document."""

    media_type = "application/pdf"


router = APIRouter(prefix="/api/v1", tags=["billing"])
documents = APIRouter(tags=["documents"])


@router.get("/plans")
def list_plans(caller: Anyone, session: Work) -> PlansView:
    """Plans and prices, tax included."""
    return PlansView(items=[PlanView.of(plan) for plan in pricing.all_plans(session)])


@router.get("/subscription")
def get_subscription(caller: Member, session: Work) -> SubscriptionView:
    """The company's subscription."""
    subscription = subscriptions.of_company(session, company_of(caller))
    return SubscriptionView.of(subscription, pricing.existing_plan(session, subscription.plan))


@router.post("/subscription/cancel")
def cancel_subscription(body: Cancellation, caller: Admin, session: Work, request: Request) -> SubscriptionView:
    """Cancels at once, or at the end of what is paid for."""
    now = request.app.state.clock.now()
    subscription = subscriptions.cancel(session, company_of(caller), body.at, now)
    return SubscriptionView.of(subscription, pricing.existing_plan(session, subscription.plan))


@router.post("/subscription/resume")
def resume_subscription(caller: Admin, session: Work, request: Request) -> SubscriptionView:
    """Takes a cancellation back while time is left."""
    subscription = subscriptions.resume(session, company_of(caller), request.app.state.clock.now())
    return SubscriptionView.of(subscription, pricing.existing_plan(session, subscription.plan))


@router.post("/payments", status_code=201)
async def start_payment(body: PaymentWish, caller: Admin, request: Request, key: Key = None) -> OpenedPayment:
    """Opens a card form for a month of a plan. The result comes by PayTR's notification only."""

    def by_key(session: Session, operation: checkout.Operation) -> Recorded:
        return once(session, key, caller, request, body, Recorded, operation)

    def release(session: Session) -> None:
        forget(session, key, caller)

    state = request.app.state
    desk = Desk(state.database, state.provider, state.settings, state.clock)
    return OpenedPayment.of(await checkout.open_form(desk, caller, body.plan, body.currency, by_key, release))


@router.get("/payments")
def list_payments(caller: Admin, session: Work, cursor: Cursor = None, limit: Limit = 50) -> Page[PaymentView]:
    """The company's payments, newest first."""
    rows = listing.payments(session, company_of(caller), before=after(cursor), limit=limit + 1)
    return page(rows, limit, lambda row: row[0].id, PaymentView.of)


@router.get("/payments/{payment_id}")
def get_payment(payment_id: UUID, caller: Admin, session: Work) -> PaymentView:
    """One payment."""
    return PaymentView.of(listing.payment(session, company_of(caller), payment_id))


@router.get("/invoices")
def list_invoices(
    caller: Admin,
    session: Work,
    year: Annotated[int | None, Query(ge=2000, le=9999)] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Page[InvoiceView]:
    """The company's invoices, newest first."""
    rows = invoicing.listed(session, company_of(caller), year=year, before=after(cursor), limit=limit + 1)
    return page(rows, limit, lambda row: row.id, InvoiceView.of)


@router.get("/invoices/{invoice_id}/pdf", response_class=Pdf)
def get_invoice_document(invoice_id: UUID, caller: Admin, session: Work) -> Pdf:
    """The invoice as PDF."""
    return _pdf(invoicing.of_company(session, company_of(caller), invoice_id))


@router.get("/admin/subscriptions")
def list_all_subscriptions(
    caller: Staff, session: Work, cursor: Cursor = None, limit: Limit = 50
) -> Page[StaffSubscriptionView]:
    """Every company's subscription."""
    rows = listing.subscriptions(session, before=after(cursor), limit=limit + 1)
    return page(rows, limit, lambda row: row[0].company_id, StaffSubscriptionView.of)


@router.get("/admin/payments")
def list_all_payments(caller: Staff, session: Work, cursor: Cursor = None, limit: Limit = 50) -> Page[StaffPaymentView]:
    """Every company's payments, newest first."""
    rows = listing.payments(session, None, before=after(cursor), limit=limit + 1)
    return page(rows, limit, lambda row: row[0].id, StaffPaymentView.of)


@documents.get("/documents/invoices/{invoice_id}.pdf", response_class=Pdf)
def open_invoice_document(
    invoice_id: UUID, session: Work, request: Request, signature: Annotated[str, Query(max_length=100)] = ""
) -> Pdf:
    """One invoice as PDF, for whoever has its signed address from `invoice.issued`."""
    key = request.app.state.settings.document_key.get_secret_value()
    return _pdf(invoicing.opened_by(session, invoice_id, signature, key))


def _pdf(invoice: Invoice) -> Pdf:
    headers = {
        "Content-Disposition": f'attachment; filename="{invoice.number}.pdf"',
        "Cache-Control": "private, no-store",
        "X-Content-Type-Options": "nosniff",
    }
    from services.billing.documents.invoice import render  # 20 MB that a platform without invoices does not need

    return Pdf(render(invoice), headers=headers)
