"""The tables of schema `billing`. Amounts are minor units; times are UTC."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, LargeBinary, Numeric, String, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from shared.db import COLUMN_TYPES, new_metadata


class Base(DeclarativeBase):
    metadata = new_metadata()
    type_annotation_map = COLUMN_TYPES


class Status(StrEnum):
    """Where a subscription stands."""

    TRIALING = "trialing"
    ACTIVE = "active"
    PAST_DUE = "past_due"
    SUSPENDED = "suspended"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class AttemptState(StrEnum):
    """Where one attempt to pay stands. PAID and REFUNDED are final; FAILED is not: PayTR may still say success."""

    CREATED = "created"
    """Recorded; PayTR has not said yet that it knows the order, and after a timeout never will."""
    TOKEN_ISSUED = "token_issued"  # noqa: S105  (the name of a state)
    """The card form was handed out."""
    PENDING = "pending"
    """Its time is over and no result came: PayTR's status query is being asked."""
    PAID = "paid"
    FAILED = "failed"
    REFUNDED = "refunded"
    NEEDS_REVIEW = "needs_review"
    """PayTR's word contradicts our record. Only a person moves it on."""


def _one_of(column: str, values: type[StrEnum]) -> str:
    return f"{column} in ({', '.join(repr(str(value)) for value in values)})"


class PlanRow(Base):
    __tablename__ = "plans"

    code: Mapped[str] = mapped_column(String(30), primary_key=True)
    name: Mapped[str] = mapped_column(String(60))
    position: Mapped[int]
    workspaces: Mapped[int | None]
    storage_bytes: Mapped[int] = mapped_column(BigInteger)
    cpu_millicores: Mapped[int]
    memory_bytes: Mapped[int] = mapped_column(BigInteger)
    processes: Mapped[int]


class PriceRow(Base):
    __tablename__ = "plan_prices"
    __table_args__ = (CheckConstraint("minor > 0", name="positive"),)

    plan: Mapped[str] = mapped_column(ForeignKey("plans.code"), primary_key=True)
    currency: Mapped[str] = mapped_column(String(3), primary_key=True)
    minor: Mapped[int] = mapped_column(BigInteger)


class TaxRate(Base):
    """KDV by the buyer's country; `*` is every country without a row."""

    __tablename__ = "tax_rates"
    __table_args__ = (CheckConstraint("percent >= 0 and percent < 100", name="sensible"),)

    country: Mapped[str] = mapped_column(String(2), primary_key=True)
    percent: Mapped[Decimal] = mapped_column(Numeric(5, 2))


class Buyer(Base):
    """A company as identity tells it: what an invoice and PayTR's form need of it."""

    __tablename__ = "buyers"

    company_id: Mapped[UUID] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger)
    name: Mapped[str] = mapped_column(String(1000))
    country: Mapped[str] = mapped_column(String(1000))
    language: Mapped[str] = mapped_column(String(2))
    timezone: Mapped[str] = mapped_column(String(1000))
    address: Mapped[str] = mapped_column(String(1000))
    tax_id: Mapped[str] = mapped_column(String(1000))
    tax_office: Mapped[str] = mapped_column(String(1000))


class Subscription(Base):
    """One a company, for ever: that the row exists means that the trial has been used."""

    __tablename__ = "subscriptions"
    __table_args__ = (
        CheckConstraint(_one_of("status", Status), name="status"),
        CheckConstraint("status not in ('active', 'past_due') or period_end is not null", name="paid_has_period"),
        CheckConstraint("status <> 'past_due' or grace_ends_at is not null", name="past_due_has_grace"),
        Index("ix_subscriptions_trial_ends_at", "trial_ends_at", postgresql_where=text("status = 'trialing'")),
        Index("ix_subscriptions_period_end", "period_end", postgresql_where=text("status = 'active'")),
        Index("ix_subscriptions_grace_ends_at", "grace_ends_at", postgresql_where=text("status = 'past_due'")),
    )

    company_id: Mapped[UUID] = mapped_column(primary_key=True)
    plan: Mapped[str] = mapped_column(ForeignKey("plans.code"))
    status: Mapped[str] = mapped_column(String(20))
    trial_ends_at: Mapped[datetime]
    period_start: Mapped[datetime | None]
    period_end: Mapped[datetime | None]
    anchor_day: Mapped[int | None]
    cancel_at_period_end: Mapped[bool] = mapped_column(default=False)
    grace_ends_at: Mapped[datetime | None]
    data_kept_until: Mapped[datetime | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class Attempt(Base):
    """One attempt to pay: one `merchant_oid`. Its id is the payment's id in the API and in events."""

    __tablename__ = "attempts"
    __table_args__ = (
        CheckConstraint(_one_of("state", AttemptState), name="state"),
        CheckConstraint("amount_minor > 0 and net_minor + tax_minor = amount_minor", name="amounts"),
        CheckConstraint("(state in ('paid', 'refunded')) = (paid_at is not null)", name="paid_has_time"),
        Index("ix_attempts_company_id_id", "company_id", "id"),
        Index("ix_attempts_next_query_at", "next_query_at", postgresql_where=text("next_query_at is not null")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    merchant_oid: Mapped[str] = mapped_column(String(64), unique=True)
    company_id: Mapped[UUID] = mapped_column(ForeignKey("subscriptions.company_id"))
    user_id: Mapped[UUID]
    purpose: Mapped[str] = mapped_column(String(20), default="subscription")
    plan: Mapped[str] = mapped_column(ForeignKey("plans.code"))
    currency: Mapped[str] = mapped_column(String(3))
    amount_minor: Mapped[int] = mapped_column(BigInteger)
    net_minor: Mapped[int] = mapped_column(BigInteger)
    tax_minor: Mapped[int] = mapped_column(BigInteger)
    tax_percent: Mapped[Decimal] = mapped_column(Numeric(5, 2))
    test_mode: Mapped[bool]
    state: Mapped[str] = mapped_column(String(20))
    reason: Mapped[str | None] = mapped_column(String(30))
    reason_code: Mapped[str | None] = mapped_column(String(20))
    difference: Mapped[str | None] = mapped_column(String(500))
    settled_by: Mapped[str | None] = mapped_column(String(20))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    paid_at: Mapped[datetime | None]
    failed_at: Mapped[datetime | None]
    queries: Mapped[int] = mapped_column(default=0)
    next_query_at: Mapped[datetime | None]


class Notification(Base):
    """A genuine notification as it came. One row for equal bodies, however often they come."""

    __tablename__ = "notifications"
    __table_args__ = (
        CheckConstraint("outcome in ('received', 'handled', 'unknown_order')", name="outcome"),
        Index("ix_notifications_outcome", "outcome", postgresql_where=text("outcome <> 'handled'")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    merchant_oid: Mapped[str] = mapped_column(String(64), index=True)
    status: Mapped[str] = mapped_column(String(10))
    body: Mapped[bytes] = mapped_column(LargeBinary)
    outcome: Mapped[str] = mapped_column(String(20))
    times: Mapped[int]
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]


class InvoiceCounter(Base):
    """The last number given in a year. Its row lock makes numbers gapless: a rollback gives the number back."""

    __tablename__ = "invoice_counters"

    year: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    last: Mapped[int]


class Invoice(Base):
    """Immutable: a trigger refuses update, delete and truncate. All that the document shows is in the row."""

    __tablename__ = "invoices"
    __table_args__ = (
        CheckConstraint("net_minor + tax_minor = total_minor", name="adds_up"),
        Index("ix_invoices_company_id_id", "company_id", "id"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    company_id: Mapped[UUID]
    payment_id: Mapped[UUID] = mapped_column(ForeignKey("attempts.id"), unique=True)
    number: Mapped[str] = mapped_column(String(16), unique=True)
    year: Mapped[int]
    issued_at: Mapped[datetime]
    plan: Mapped[str] = mapped_column(String(30))
    plan_name: Mapped[str] = mapped_column(String(60))
    currency: Mapped[str] = mapped_column(String(3))
    net_minor: Mapped[int] = mapped_column(BigInteger)
    tax_minor: Mapped[int] = mapped_column(BigInteger)
    total_minor: Mapped[int] = mapped_column(BigInteger)
    tax_percent: Mapped[Decimal] = mapped_column(Numeric(5, 2))
    period_start: Mapped[datetime]
    period_end: Mapped[datetime]
    test_mode: Mapped[bool]
    language: Mapped[str] = mapped_column(String(2))
    buyer_name: Mapped[str] = mapped_column(String(1000))
    buyer_address: Mapped[str] = mapped_column(String(1000))
    buyer_country: Mapped[str] = mapped_column(String(1000))
    buyer_tax_id: Mapped[str] = mapped_column(String(1000))
    buyer_tax_office: Mapped[str] = mapped_column(String(1000))
    seller_name: Mapped[str] = mapped_column(String(200))
    seller_address: Mapped[str] = mapped_column(String(400))
    seller_tax_id: Mapped[str] = mapped_column(String(20))
    seller_tax_office: Mapped[str] = mapped_column(String(100))
    order_number: Mapped[str] = mapped_column(String(64))
