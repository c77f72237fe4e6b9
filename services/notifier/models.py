"""Tables of schema `notifier`: who can be told, and what was told them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, String, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from shared.db import COLUMN_TYPES, new_metadata


class Base(DeclarativeBase):
    """The notifier's own tables."""

    metadata = new_metadata()
    type_annotation_map = COLUMN_TYPES


class Company(Base):
    """What mails need to know of a company: a projection of identity's and billing's events."""

    __tablename__ = "companies"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(1000))
    language: Mapped[str] = mapped_column(String(2))
    timezone: Mapped[str] = mapped_column(String(100))
    details_sequence: Mapped[int] = mapped_column(BigInteger, default=0)
    trial_ends_at: Mapped[datetime | None]
    """None when there is no trial, or it was paid for."""
    trial_sequence: Mapped[int] = mapped_column(BigInteger, server_default="0")


class Recipient(Base):
    """A person who can be told something: a projection of identity's events."""

    __tablename__ = "recipients"
    __table_args__ = (Index("ix_recipients_company_id", "company_id"),)

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    company_id: Mapped[UUID]
    email: Mapped[str] = mapped_column(String(320))
    name: Mapped[str] = mapped_column(String(200))
    language: Mapped[str] = mapped_column(String(2))
    role: Mapped[str] = mapped_column(String(20))
    active: Mapped[bool] = mapped_column(default=True)
    sequence: Mapped[int] = mapped_column(BigInteger, default=0)
    """Of what is said of the person; `role_sequence` of what is said of their place in the company."""
    role_sequence: Mapped[int] = mapped_column(BigInteger, server_default="0")


class Status(StrEnum):
    """How a mail stands."""

    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed"


class Mail(Base):
    """A mail and what became of it. Its facts may hold a secret link: emptied once it is sent, or after a week."""

    __tablename__ = "mails"
    __table_args__ = (
        UniqueConstraint("event_id", "recipient"),
        CheckConstraint("status in ('waiting', 'sent', 'failed')", name="status"),
        Index("ix_mails_due_at", "due_at", postgresql_where=text("status = 'waiting'")),
        Index("ix_mails_created_at", "created_at"),
        Index("ix_mails_kept_facts", "created_at", postgresql_where=text("status <> 'sent' and facts <> '{}'::jsonb")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    event_id: Mapped[UUID]
    kind: Mapped[str] = mapped_column(String(50))
    recipient: Mapped[str] = mapped_column(String(320))
    recipient_name: Mapped[str] = mapped_column(String(200))
    language: Mapped[str] = mapped_column(String(2))
    timezone: Mapped[str] = mapped_column(String(100))
    facts: Mapped[dict[str, Any]] = mapped_column(JSONB)
    status: Mapped[str] = mapped_column(String(20))
    attempts: Mapped[int] = mapped_column(default=0)
    reason: Mapped[str] = mapped_column(Text, default="")
    correlation_id: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime]
    due_at: Mapped[datetime]
    leased_until: Mapped[datetime | None]
    """By the database's clock."""
    sent_at: Mapped[datetime | None]
