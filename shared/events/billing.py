"""What billing tells: trials, subscriptions, what they entitle to, payments and invoices."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Field

from shared.events import CompanyEvent, Event, Text
from shared.money import Money

Count = Annotated[int, Field(ge=0)]


class TrialStarted(CompanyEvent):
    """The company's one trial runs until `ends_at`."""

    type: ClassVar[str] = "trial.started"
    subject_field: ClassVar[str] = "company_id"

    plan: Text
    started_at: datetime
    ends_at: datetime


class EntitlementsChanged(CompanyEvent):
    """What the company may use is now this, whole. It does not say why."""

    type: ClassVar[str] = "entitlements.changed"
    subject_field: ClassVar[str] = "company_id"

    plan: Text
    active: bool
    """False: nothing may run; data is kept until `data_kept_until`."""
    workspaces: Annotated[int, Field(ge=0)] | None
    """None is unlimited."""
    storage_bytes: Count
    cpu_millicores: Count
    """Most a workspace may use; 1000 is one core."""
    memory_bytes: Count
    processes: Count
    data_kept_until: datetime | None = None


class PaymentStarted(CompanyEvent):
    """The company was shown the card form for this order. Nothing is paid."""

    type: ClassVar[str] = "payment.started"
    subject_field: ClassVar[str] = "payment_id"
    unread_because: ClassVar[str | None] = "for conversion reports; billing itself keeps the order"

    payment_id: UUID
    plan: Text
    amount: Money


class PaymentSucceeded(CompanyEvent):
    """PayTR says that this payment was collected; the money is booked."""

    type: ClassVar[str] = "payment.succeeded"
    subject_field: ClassVar[str] = "payment_id"
    unread_because: ClassVar[str | None] = "its mail goes out with invoice.issued, which carries the document"

    payment_id: UUID
    plan: Text
    amount: Money
    paid_at: datetime


class PaymentFailed(CompanyEvent):
    """This attempt was declined or given up. Another attempt may follow, and even this one may still succeed."""

    type: ClassVar[str] = "payment.failed"
    subject_field: ClassVar[str] = "payment_id"

    payment_id: UUID
    plan: Text
    amount: Money
    reason: Literal[
        "declined", "authentication", "security", "abandoned", "card_not_supported", "fraud", "technical", "unknown"
    ]
    reason_code: Text
    failed_at: datetime


class PaymentNeedsReview(CompanyEvent):
    """A genuine notification contradicts our record of the attempt. Nothing was granted; staff must look."""

    type: ClassVar[str] = "payment.needs_review"
    subject_field: ClassVar[str] = "payment_id"

    payment_id: UUID
    difference: Text


class InvoiceIssued(CompanyEvent):
    """This invoice exists and will not change."""

    type: ClassVar[str] = "invoice.issued"
    subject_field: ClassVar[str] = "invoice_id"
    sensitive: ClassVar[bool] = True

    invoice_id: UUID
    number: Text
    payment_id: UUID
    plan: Text
    net: Money
    tax: Money
    total: Money
    issued_at: datetime
    period_start: datetime
    period_end: datetime
    document_path: Text
    """Path of the PDF on billing's own address, with a signature that opens this one document."""


class SubscriptionActivated(CompanyEvent):
    """The company has paid: its subscription to `plan` runs until `period_end`."""

    type: ClassVar[str] = "subscription.activated"
    subject_field: ClassVar[str] = "company_id"

    plan: Text
    period_start: datetime
    period_end: datetime


class SubscriptionPastDue(CompanyEvent):
    """The paid period is over and the next one is not paid. Everything still runs until `grace_ends_at`."""

    type: ClassVar[str] = "subscription.past_due"
    subject_field: ClassVar[str] = "company_id"

    plan: Text
    period_end: datetime
    grace_ends_at: datetime


class SubscriptionSuspended(CompanyEvent):
    """Nothing was paid in the grace: the company's workspaces may not run. Data is kept until `data_kept_until`."""

    type: ClassVar[str] = "subscription.suspended"
    subject_field: ClassVar[str] = "company_id"
    unread_because: ClassVar[str | None] = "what follows from it is told by entitlements.changed; its mail is to come"

    plan: Text
    suspended_at: datetime
    data_kept_until: datetime


class SubscriptionCancelled(CompanyEvent):
    """The company has cancelled: at once, or at the period's end (`ends_at`)."""

    type: ClassVar[str] = "subscription.cancelled"
    subject_field: ClassVar[str] = "company_id"
    unread_because: ClassVar[str | None] = "what follows from it is told by entitlements.changed; its mail is to come"

    plan: Text
    cancelled_at: datetime
    ends_at: datetime


class SubscriptionExpired(CompanyEvent):
    """The trial is over and nothing was paid. Data is kept until `data_kept_until`."""

    type: ClassVar[str] = "subscription.expired"
    subject_field: ClassVar[str] = "company_id"

    plan: Text
    expired_at: datetime
    data_kept_until: datetime


class JobDone(Event):
    """Billing did the recurring job that was due; `report` says what it found, in a line."""

    type: ClassVar[str] = "job.done"
    subject_field: ClassVar[str] = "run_id"

    run_id: UUID
    job: Text
    report: Text
