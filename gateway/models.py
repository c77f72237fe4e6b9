"""Tables of schema `gateway`: what must be known again after a restart to decide who enters a workspace."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import Index, LargeBinary, String, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from shared.db import COLUMN_TYPES, new_metadata


class Base(DeclarativeBase):
    """The gateway's tables."""

    metadata = new_metadata()
    type_annotation_map = COLUMN_TYPES


class Workspace(Base):
    """A workspace's host label and whose it is. The row outlives the workspace: a host is for ever."""

    __tablename__ = "workspaces"
    __table_args__ = (Index("ix_workspaces_deleted_at", "deleted_at", postgresql_where=text("deleted_at is not null")),)

    id: Mapped[UUID] = mapped_column(primary_key=True)
    host: Mapped[str] = mapped_column(String(63), unique=True)
    company_id: Mapped[UUID]
    owner_id: Mapped[UUID]
    deleted_at: Mapped[datetime | None]


class RevokedSession(Base):
    """A session that ended before its time. Kept as long as a workspace cookie of it could live."""

    __tablename__ = "revoked_sessions"

    session_id: Mapped[UUID] = mapped_column(primary_key=True)
    revoked_at: Mapped[datetime] = mapped_column(index=True)


class RemovedMember(Base):
    """A person who left the company: workspace cookies made before that are void."""

    __tablename__ = "removed_members"

    user_id: Mapped[UUID] = mapped_column(primary_key=True)
    removed_at: Mapped[datetime] = mapped_column(index=True)


class Ticket(Base):
    """Leave to enter one workspace, once, within seconds. Only the ticket's hash is stored."""

    __tablename__ = "tickets"

    hash: Mapped[bytes] = mapped_column(LargeBinary(32), primary_key=True)
    host: Mapped[str] = mapped_column(String(63))
    workspace_id: Mapped[UUID]
    company_id: Mapped[UUID]
    user_id: Mapped[UUID]
    session_id: Mapped[UUID]
    expires_at: Mapped[datetime] = mapped_column(index=True)
