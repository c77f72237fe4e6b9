"""What HTTP clients send to billing and see of it."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Annotated, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.billing import invoicing
from services.billing.checkout import Opened
from services.billing.models import Attempt, AttemptState, Invoice, Status, Subscription
from services.billing.payments.port import Reason
from services.billing.plans import Plan
from services.billing.settlement import amount_of
from services.billing.transitions import RUNNING
from shared.money import Currency, Money

PaymentStatus = Literal["pending", "paid", "failed", "review", "refunded"]

STATUS_SHOWN: dict[AttemptState, PaymentStatus] = {
    AttemptState.CREATED: "pending",
    AttemptState.TOKEN_ISSUED: "pending",
    AttemptState.PENDING: "pending",
    AttemptState.PAID: "paid",
    AttemptState.FAILED: "failed",
    AttemptState.REFUNDED: "refunded",
    AttemptState.NEEDS_REVIEW: "review",
}


class PlanView(BaseModel):
    """A plan; prices a month, tax included; `workspaces` null is unlimited."""

    code: str
    name: str
    prices: dict[Currency, Money]
    workspaces: int | None
    storage_bytes: int
    cpu_millicores: int
    memory_bytes: int
    processes: int

    @classmethod
    def of(cls, plan: Plan) -> PlanView:
        """From the rule's plan."""
        return cls.model_validate(plan, from_attributes=True)


class PlansView(BaseModel):
    """All plans, in the order to show them."""

    items: list[PlanView]


class EntitlementsView(BaseModel):
    """What the company may use now."""

    active: bool
    workspaces: int | None
    storage_bytes: int
    cpu_millicores: int
    memory_bytes: int
    processes: int


class NextCharge(BaseModel):
    """What is to be paid next, and by when."""

    amount: Money
    at: datetime


class SubscriptionView(BaseModel):
    """Where a company's subscription stands."""

    status: Status
    plan: str
    plan_name: str
    trial_ends_at: datetime
    period_start: datetime | None
    period_end: datetime | None
    cancel_at_period_end: bool
    grace_ends_at: datetime | None
    data_kept_until: datetime | None
    price: Money
    next_charge: NextCharge | None
    entitlements: EntitlementsView

    @classmethod
    def of(cls, subscription: Subscription, plan: Plan) -> SubscriptionView:
        """From the row and its plan."""
        price = plan.prices[Currency.TRY]
        renews = subscription.status == Status.ACTIVE and not subscription.cancel_at_period_end
        at = subscription.period_end
        return cls(
            status=Status(subscription.status),
            plan=plan.code,
            plan_name=plan.name,
            trial_ends_at=subscription.trial_ends_at,
            period_start=subscription.period_start,
            period_end=at,
            cancel_at_period_end=subscription.cancel_at_period_end,
            grace_ends_at=subscription.grace_ends_at,
            data_kept_until=subscription.data_kept_until,
            price=price,
            next_charge=NextCharge(amount=price, at=at) if renews and at else None,
            entitlements=EntitlementsView(
                active=subscription.status in RUNNING,
                workspaces=plan.workspaces,
                storage_bytes=plan.storage_bytes,
                cpu_millicores=plan.cpu_millicores,
                memory_bytes=plan.memory_bytes,
                processes=plan.processes,
            ),
        )


class Cancellation(BaseModel):
    """When to end: at once, or when what is paid for is over."""

    model_config = ConfigDict(extra="forbid")

    at: Literal["now", "period_end"]


class PaymentWish(BaseModel):
    """Pay a month of a plan. The store takes lira."""

    model_config = ConfigDict(extra="forbid")

    plan: Annotated[str, Field(min_length=1, max_length=30)]
    currency: Literal[Currency.TRY] = Currency.TRY


class OpenedPayment(BaseModel):
    """A card form that waits. `iframe_url` is handed out this once."""

    id: UUID
    plan: str
    amount: Money
    net: Money
    tax: Money
    tax_rate: str
    iframe_url: str
    resizer_url: str
    expires_at: datetime
    test_mode: bool

    @classmethod
    def of(cls, opened: Opened) -> OpenedPayment:
        """From an opened form."""
        attempt = opened.attempt
        currency = Currency(attempt.currency)
        return cls(
            id=attempt.id,
            plan=attempt.plan,
            amount=amount_of(attempt),
            net=Money(minor=attempt.net_minor, currency=currency),
            tax=Money(minor=attempt.tax_minor, currency=currency),
            tax_rate=percent_text(attempt.tax_percent),
            iframe_url=opened.form.url,
            resizer_url=opened.form.resizer_url,
            expires_at=attempt.expires_at,
            test_mode=attempt.test_mode,
        )


class PaymentView(BaseModel):
    """A payment, as far as PayTR's notification has told. `reason` is why it failed."""

    id: UUID
    status: PaymentStatus
    plan: str
    amount: Money
    reason: Reason | None
    invoice_id: UUID | None
    created_at: datetime
    paid_at: datetime | None
    test_mode: bool

    @classmethod
    def of(cls, row: tuple[Attempt, UUID | None]) -> PaymentView:
        """From an attempt and its invoice's id."""
        attempt, invoice_id = row
        return cls(**_payment(attempt, invoice_id))


class StaffPaymentView(PaymentView):
    """A payment as staff see it."""

    company_id: UUID
    order_number: str
    state: AttemptState
    reason_code: str | None
    difference: str | None

    @classmethod
    def of(cls, row: tuple[Attempt, UUID | None]) -> StaffPaymentView:
        """From an attempt and its invoice's id."""
        attempt, invoice_id = row
        return cls(
            **_payment(attempt, invoice_id),
            company_id=attempt.company_id,
            order_number=attempt.merchant_oid,
            state=AttemptState(attempt.state),
            reason_code=attempt.reason_code,
            difference=attempt.difference,
        )


def _payment(attempt: Attempt, invoice_id: UUID | None) -> dict[str, object]:
    return {
        "id": attempt.id,
        "status": STATUS_SHOWN[AttemptState(attempt.state)],
        "plan": attempt.plan,
        "amount": amount_of(attempt),
        "reason": attempt.reason,
        "invoice_id": invoice_id,
        "created_at": attempt.created_at,
        "paid_at": attempt.paid_at,
        "test_mode": attempt.test_mode,
    }


class InvoiceView(BaseModel):
    """An invoice in a list; the document is at `/api/v1/invoices/{id}/pdf`."""

    id: UUID
    number: str
    issued_at: datetime
    plan: str
    net: Money
    tax: Money
    total: Money
    tax_rate: str
    period_start: datetime
    period_end: datetime

    @classmethod
    def of(cls, invoice: Invoice) -> InvoiceView:
        """From the row."""
        net, tax, total = invoicing.amounts(invoice)
        return cls(
            id=invoice.id,
            number=invoice.number,
            issued_at=invoice.issued_at,
            plan=invoice.plan,
            net=net,
            tax=tax,
            total=total,
            tax_rate=percent_text(invoice.tax_percent),
            period_start=invoice.period_start,
            period_end=invoice.period_end,
        )


class StaffSubscriptionView(BaseModel):
    """A subscription as staff see it."""

    company_id: UUID
    company_name: str
    status: Status
    plan: str
    trial_ends_at: datetime
    period_end: datetime | None
    cancel_at_period_end: bool
    data_kept_until: datetime | None

    @classmethod
    def of(cls, row: tuple[Subscription, str]) -> StaffSubscriptionView:
        """From the row and the company's name."""
        subscription, name = row
        return cls(
            company_id=subscription.company_id,
            company_name=name,
            status=Status(subscription.status),
            plan=subscription.plan,
            trial_ends_at=subscription.trial_ends_at,
            period_end=subscription.period_end,
            cancel_at_period_end=subscription.cancel_at_period_end,
            data_kept_until=subscription.data_kept_until,
        )


def percent_text(percent: Decimal) -> str:
    """`20` of 20.00, `8.5` of 8.50."""
    return f"{percent:f}".rstrip("0").rstrip(".") if "." in f"{percent:f}" else f"{percent:f}"
