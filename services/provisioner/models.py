"""The tables of schema `provisioner`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, Sequence, String, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from services.provisioner.states import Desired, State
from shared.db import COLUMN_TYPES, new_metadata


class Base(DeclarativeBase):
    """The provisioner's tables."""

    metadata = new_metadata()
    type_annotation_map = COLUMN_TYPES


address_slots = Sequence("address_slots", metadata=Base.metadata, minvalue=0, start=0)
"""Counts on for ever; the slot is its value modulo the subnet's size. So an address that was given back rests for
as long as possible before somebody else's workspace gets it."""


class Installation(Base):
    """One row: who we are in an engine that others may use, too, and what opens the readiness route."""

    __tablename__ = "installation"
    __table_args__ = (CheckConstraint("one", name="one_row"),)

    one: Mapped[bool] = mapped_column(primary_key=True, default=True)
    name: Mapped[str] = mapped_column(String(20))
    probe_secret: Mapped[str] = mapped_column(String(100))


class Entitlement(Base):
    """What billing said last that a company may use. The row's lock orders all that counts against it."""

    __tablename__ = "entitlements"

    company_id: Mapped[UUID] = mapped_column(primary_key=True)
    sequence: Mapped[int] = mapped_column(BigInteger)
    plan: Mapped[str] = mapped_column(String(100))
    active: Mapped[bool]
    workspaces: Mapped[int | None]
    storage_bytes: Mapped[int] = mapped_column(BigInteger)
    cpu_millicores: Mapped[int]
    memory_bytes: Mapped[int] = mapped_column(BigInteger)
    processes: Mapped[int]
    data_kept_until: Mapped[datetime | None]


MOVING = (State.REQUESTED, State.STARTING, State.STOPPING, State.DELETING, State.ERASING)
"""On their way: few at any time."""


def _one_of(column: str, values: Iterable[State] | Iterable[Desired]) -> str:
    return f"{column} in ({', '.join(repr(value.value) for value in values)})"


TO_MEASURE = text(
    "state not in ('requested', 'erasing', 'erased')"
    " and (desired = 'running' or storage_final_of is distinct from generation)"
)
"""Whose files may have changed since they were measured."""


class Workspace(Base):
    """A workspace: what is wanted of it, what it is, and who works on it right now."""

    __tablename__ = "workspaces"
    __table_args__ = (
        CheckConstraint(_one_of("state", State), name="state"),
        CheckConstraint(_one_of("desired", Desired), name="desired"),
        UniqueConstraint("host"),
        UniqueConstraint("slot"),
        Index(
            "uq_workspaces_living_name",
            "company_id",
            "name_key",
            unique=True,
            postgresql_where=text("desired not in ('deleted', 'erased')"),
        ),
        CheckConstraint("(desired = 'deleted') = (restorable_until is not null)", name="restorable"),
        Index("ix_workspaces_company_id_id", "company_id", "id"),
        Index("ix_workspaces_living", "id", postgresql_where=text("state not in ('deleted', 'erased')")),
        Index("ix_workspaces_routed", "host", postgresql_where=text("desired = 'running'")),
        Index("ix_workspaces_leased", "lease_holder", postgresql_where=text("lease_holder is not null")),
        Index("ix_workspaces_moving", "id", postgresql_where=text(_one_of("state", MOVING))),
        Index("ix_workspaces_restorable", "restorable_until", postgresql_where=text("state = 'deleted'")),
        Index("ix_workspaces_to_measure", "storage_at", postgresql_where=TO_MEASURE),
        Index("ix_workspaces_company_deleted", "company_id", "id", postgresql_where=text("desired = 'deleted'")),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    company_id: Mapped[UUID]
    owner_id: Mapped[UUID]
    owner_name: Mapped[str] = mapped_column(String(200))
    name: Mapped[str] = mapped_column(String(60))
    name_key: Mapped[str] = mapped_column(String(64))
    template: Mapped[str] = mapped_column(String(40))
    host: Mapped[str] = mapped_column(String(20))
    slot: Mapped[int | None]
    """Which address in the workspaces' network; null once deleted. The host label is never given again."""
    desired: Mapped[Desired] = mapped_column(String(20))
    state: Mapped[State] = mapped_column(String(20))
    generation: Mapped[int]
    """Counts containers. Each gets a name of its own, so nothing of an older one is ever taken for it."""
    cause: Mapped[str | None] = mapped_column(String(40))
    """A code of `causes`: why it is not where it should be."""
    stages: Mapped[list[dict[str, Any]]] = mapped_column(JSONB)
    """The present start's: name, at, ms since it was asked for."""
    limits: Mapped[dict[str, int] | None] = mapped_column(JSONB)
    """What the present container was given; null before there is one."""
    entitlement_stopped: Mapped[bool] = mapped_column(default=False)
    """It ran when the company's entitlement ended, and comes back with it."""
    stop_reason: Mapped[str | None] = mapped_column(String(20))
    restarts: Mapped[int] = mapped_column(default=0)
    restarts_since: Mapped[datetime | None]
    retry_at: Mapped[datetime | None]
    first_ready_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]
    """When its people deleted it."""
    restorable_until: Mapped[datetime | None]
    """While it is deleted: until when it can be brought back. A promise: a later setting does not shorten it."""
    erased_at: Mapped[datetime | None]
    storage_bytes: Mapped[int | None] = mapped_column(BigInteger)
    """What its files take on the disk, as measured last; null before the first time."""
    storage_at: Mapped[datetime | None]
    """When it was measured last."""
    storage_low: Mapped[int | None] = mapped_column(BigInteger, default=0)
    """The least it took since it was started: what it has grown by is counted from here."""
    storage_final_of: Mapped[int | None]
    """The generation after whose end it was measured: until it starts again there is nothing new to see."""
    storage_in_part: Mapped[bool] = mapped_column(default=False)
    """The last time ran out while it was measured: it takes at least `storage_bytes`."""
    storage_cleaning: Mapped[bool] = mapped_column(default=False)
    """It was started while its company was over its limit: to clean up, and not for long."""
    lease_holder: Mapped[UUID | None]
    leased_until: Mapped[datetime | None]
    """By the database's clock: replicas need not agree on the time."""


class CompanyStorage(Base):
    """Where a company stands with its storage. What it uses is summed up from its workspaces, never kept."""

    __tablename__ = "company_storage"

    company_id: Mapped[UUID] = mapped_column(primary_key=True)
    warned: Mapped[int] = mapped_column(default=0)
    """The per cent its people were warned of last; 0 where there is nothing to warn of."""
    over_bytes: Mapped[int | None] = mapped_column(BigInteger)
    """The least it used since it is over its limit; null while it is not."""
    clean_until: Mapped[datetime | None]
    """When workspaces that were started to clean up are stopped again."""
    bursts: Mapped[int] = mapped_column(default=0)
    """How often it went on growing though it was over its limit."""
    burst_at: Mapped[datetime | None]


class Measuring(Base):
    """Whose turn it is to measure, and when the next one is, by the database's clock. A row for each lane."""

    __tablename__ = "measuring"

    lane: Mapped[str] = mapped_column(String(10), primary_key=True)
    holder: Mapped[UUID]
    due_at: Mapped[datetime]


class Disk(Base):
    """One row: how full the file system of the engine's volumes was when it was last looked at."""

    __tablename__ = "disk"
    __table_args__ = (CheckConstraint("one", name="one_row"),)

    one: Mapped[bool] = mapped_column(primary_key=True, default=True)
    total_bytes: Mapped[int] = mapped_column(BigInteger)
    free_bytes: Mapped[int] = mapped_column(BigInteger)
    total_files: Mapped[int] = mapped_column(BigInteger)
    """0 where the file system has no fixed number of them."""
    free_files: Mapped[int] = mapped_column(BigInteger)
    low: Mapped[bool]
    """Less is free than is kept in reserve: nothing is started."""
    read_at: Mapped[datetime]
