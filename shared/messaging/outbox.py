"""The outbox: a fact is a row written in the same transaction as the change it tells."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import insert
from sqlalchemy.orm import Session

from shared.events import Event
from shared.ids import new_id
from shared.logging import causation_id, correlation_id
from shared.messaging.tables import outbox

_INSERT = insert(outbox)  # made once: statements are cached by what they are made of, and making one costs


def add(session: Session, event: Event, now: datetime) -> None:
    """Tells `event` when, and only when, the caller's transaction commits. Never flushes, never commits."""
    session.connection().execute(_INSERT, _row(event, now))


def _row(event: Event, now: datetime) -> dict[str, Any]:
    return {
        "id": new_id(),
        "type": event.type,
        "subject": event.subject,
        "time": now,
        "data": event.model_dump(mode="json"),
        "correlation_id": (correlation_id() or "")[:64] or None,
        "causation_id": causation_id(),
        "traceparent": None,
    }
