"""The tables of schema `identity`."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import ForeignKey, Index, LargeBinary, String, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from shared.db import COLUMN_TYPES, new_metadata


class Base(DeclarativeBase):
    metadata = new_metadata()
    type_annotation_map = COLUMN_TYPES


class Role(StrEnum):
    """What a person may do in the company."""

    ADMIN = "admin"
    MEMBER = "member"


class Purpose(StrEnum):
    """What a one-time link is for."""

    VERIFY = "verify"
    RESET = "reset"


class Company(Base):
    """A tenant."""

    __tablename__ = "companies"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80))
    country: Mapped[str] = mapped_column(String(2))
    language: Mapped[str] = mapped_column(String(2))
    timezone: Mapped[str] = mapped_column(String(64))
    address: Mapped[str] = mapped_column(String(300), default="")
    tax_id: Mapped[str] = mapped_column(String(20), default="")
    tax_office: Mapped[str] = mapped_column(String(80), default="")
    created_at: Mapped[datetime]


class User(Base):
    """A person's account, in one company. Who leaves has no account any more: the row stays, the address is free."""

    __tablename__ = "users"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    company_id: Mapped[UUID] = mapped_column(ForeignKey("companies.id"))
    email: Mapped[str] = mapped_column(String(254), comment="as given; mails go here")
    email_key: Mapped[str | None] = mapped_column(
        String(254), unique=True, comment="normalised once; null when the person has left"
    )
    name: Mapped[str] = mapped_column(String(80))
    language: Mapped[str] = mapped_column(String(2))
    role: Mapped[Role] = mapped_column(String(10))
    staff: Mapped[bool] = mapped_column(default=False)
    password_hash: Mapped[str] = mapped_column(String(200))
    created_at: Mapped[datetime]
    verified_at: Mapped[datetime | None]
    left_at: Mapped[datetime | None]

    company: Mapped[Company] = relationship(lazy="raise")

    __table_args__ = (
        Index("ix_users_company_id_id", "company_id", "id", postgresql_where=text("left_at is null")),
        Index(
            "ix_users_email_key_prefix", "email_key", postgresql_ops={"email_key": "text_pattern_ops"}
        ),  # staff search by its beginning
    )


class LoginSession(Base):
    """A log-in that lasts. Of its secret only the SHA-256 is here."""

    __tablename__ = "sessions"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"))
    digest: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    created_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    ip: Mapped[str] = mapped_column(String(45))
    user_agent: Mapped[str] = mapped_column(String(200))

    __table_args__ = (Index("ix_sessions_user_id_id", "user_id", "id"),)


class OneTimeToken(Base):
    """A link that works once."""

    __tablename__ = "one_time_tokens"

    digest: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True)
    user_id: Mapped[UUID] = mapped_column(ForeignKey("users.id"), index=True)
    purpose: Mapped[Purpose] = mapped_column(String(10))
    expires_at: Mapped[datetime] = mapped_column(index=True)
    used_at: Mapped[datetime | None]


class Invitation(Base):
    """A mail address asked into a company."""

    __tablename__ = "invitations"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    company_id: Mapped[UUID] = mapped_column(ForeignKey("companies.id"))
    digest: Mapped[bytes] = mapped_column(LargeBinary, unique=True)
    email: Mapped[str] = mapped_column(String(254))
    email_key: Mapped[str] = mapped_column(String(254))
    role: Mapped[Role] = mapped_column(String(10))
    invited_by: Mapped[str] = mapped_column(String(80), comment="the admin's name at that time")
    created_at: Mapped[datetime]
    sent_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    accepted_at: Mapped[datetime | None]

    company: Mapped[Company] = relationship(lazy="raise")

    __table_args__ = (
        Index("ix_invitations_company_id_id", "company_id", "id"),
        Index(
            "uq_invitations_company_id_email_key",
            "company_id",
            "email_key",
            unique=True,
            postgresql_where=text("accepted_at is null"),
        ),
    )


class LoginFailures(Base):
    """Wrong passwords in a row for an address, whether or not anybody has it."""

    __tablename__ = "login_failures"

    subject: Mapped[bytes] = mapped_column(LargeBinary, primary_key=True, comment="SHA-256 of what was typed")
    known: Mapped[bool] = mapped_column(comment="an account has it; others may be forgotten first")
    failures: Mapped[int]
    locked_until: Mapped[datetime | None]
    last_at: Mapped[datetime] = mapped_column(index=True)


class MailCount(Base):
    """How many mails of a kind were sent about a subject on a day, so that nobody's mailbox is filled through us."""

    __tablename__ = "mail_counts"

    subject_id: Mapped[UUID] = mapped_column(primary_key=True)
    kind: Mapped[str] = mapped_column(String(30), primary_key=True)
    last_at: Mapped[datetime] = mapped_column(index=True)
    window_began_at: Mapped[datetime]
    sent: Mapped[int]
