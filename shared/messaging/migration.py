"""What a service's first migration calls to get the kernel's tables."""

from __future__ import annotations

from sqlalchemy import Connection, text

from shared.messaging.tables import WAKE_RELAY, kernel


def create_kernel_tables(connection: Connection) -> None:
    """Outbox, inbox, failed deliveries, idempotency keys, and the trigger that wakes the relay."""
    kernel.create_all(connection)
    connection.execute(text(WAKE_RELAY))
