"""PayTR's notification, recorded and then acted on: two transactions, so that what came is never lost."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.billing import settlement
from services.billing.models import Notification
from services.billing.payments.port import Notice
from shared.db import Database
from shared.ids import new_id
from shared.logging import get_logger

if TYPE_CHECKING:
    from services.billing.settings import Settings

log = get_logger(__name__)


def take(database: Database, notice: Notice, body: bytes, settings: Settings, now: datetime) -> None:
    """Records a genuine notification durably, then books what it says. After this PayTR may be told OK.

    Raises what the database raises: PayTR must then send it again, and every step here stands being repeated.
    """
    with database.unit_of_work() as session:
        id_ = record(session, notice, body, now)
    with database.unit_of_work() as session:
        apply(session, id_, notice, settings, now)


def record(session: Session, notice: Notice, body: bytes, now: datetime) -> UUID:
    """Keeps the raw body; equal bodies share a row, so repeats cannot fill the table. Returns the row's id."""
    row = insert(Notification).values(
        id=new_id(),
        digest=hashlib.sha256(body).digest(),
        merchant_oid=notice.order_number,
        status=notice.status,
        body=body,
        outcome="received",
        times=1,
        first_at=now,
        last_at=now,
    )
    kept = row.on_conflict_do_update(index_elements=["digest"], set_={"times": Notification.times + 1, "last_at": now})
    return session.execute(kept.returning(Notification.id)).scalar_one()


def apply(session: Session, id_: UUID, notice: Notice, settings: Settings, now: datetime) -> None:
    """Books a recorded notification under the lock of its attempt; once, however often and by however many."""
    attempt = settlement.locked(session, notice.order_number)
    if attempt is None:
        # Signed by PayTR and not ours to know: another installation on the same store, or a restored backup.
        log.error("notification of an unknown order is kept for review", order=notice.order_number)
    elif notice.status == "success":
        settlement.succeed(session, attempt, notice.collected, "notification", settings, now)
    else:
        settlement.fail(session, attempt, notice.reason_code, now)
    outcome = "unknown_order" if attempt is None else "handled"
    session.execute(update(Notification).where(Notification.id == id_).values(outcome=outcome))
