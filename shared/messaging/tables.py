"""The kernel's own tables. Each service has them in its schema; its first migration calls `create`."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

kernel = MetaData()

outbox = Table(
    "outbox",
    kernel,
    Column("position", BigInteger, Identity(always=True), primary_key=True),
    Column("id", Uuid, nullable=False),
    Column("type", String(100), nullable=False),
    Column("subject", String(100), nullable=False),
    Column("time", DateTime(timezone=True), nullable=False),
    Column("data", JSONB, nullable=False),
    Column("correlation_id", String(64)),
    Column("causation_id", String(64)),
    Column("traceparent", String(64)),
    # The lease is by the database's clock: relays on several machines need not agree on the time.
    Column("leased_until", DateTime(timezone=True)),
    Column("written_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

inbox = Table(
    "inbox",
    kernel,
    Column("event_id", Uuid, primary_key=True),
    Column("handled_at", DateTime(timezone=True), nullable=False, server_default=func.now(), index=True),
)

failed_deliveries = Table(
    "failed_deliveries",
    kernel,
    Column("id", Uuid, primary_key=True),
    Column("event_id", Uuid, unique=True, comment="a digest of the body where it could not be read"),
    Column("type", String(100), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("error", Text, nullable=False),
    Column("handler", String(200), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("first_failed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("last_failed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("due_at", DateTime(timezone=True), comment="the next try; null: parked, waits for a person"),
)
Index("ix_failed_deliveries_due_at", failed_deliveries.c.due_at, postgresql_where=text("due_at is not null"))

idempotency_keys = Table(
    "idempotency_keys",
    kernel,
    Column("caller", String(100), primary_key=True),
    Column("key", String(100), primary_key=True),
    Column("request", String(64), nullable=False, comment="SHA-256 of method, path and body"),
    Column("status", Integer),
    Column("body", JSONB),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now(), index=True),
)

# Tells a sleeping relay that there is something to send. PostgreSQL folds equal notifications of a transaction
# into one and delivers them after the commit, so the relay never wakes for a row it cannot see yet.
WAKE_RELAY = """
create function wake_relay() returns trigger language plpgsql as $$
begin perform pg_notify('outbox_' || current_schema(), ''); return null; end $$;
create trigger wake_relay after insert on outbox for each statement execute function wake_relay();
"""
