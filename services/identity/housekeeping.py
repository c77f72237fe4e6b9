"""Throws away what is over: sessions, links, invitations, counts. Hourly, in small batches that hold no lock long."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Select, delete, select
from sqlalchemy.orm import Session

from services.identity.models import Invitation, LoginFailures, LoginSession, MailCount, OneTimeToken
from shared.clock import Clock
from shared.db import Database
from shared.logging import get_logger

log = get_logger(__name__)

EVERY_S = 3600
BATCH = 1_000
KEPT = timedelta(days=1)
INVITATIONS_KEPT = timedelta(days=90)
UNKNOWN_KEPT = 100_000
"""Counts of addresses that nobody has: who floods us with made-up ones fills no disk."""


class Housekeeper:
    """The hourly loop."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def run(self, stop: asyncio.Event) -> None:
        """Cleans, then sleeps an hour, until told to stop."""
        while not stop.is_set():
            gone = await asyncio.to_thread(self.clean)
            log.info("housekeeping done", rows=gone)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), EVERY_S)

    def clean(self) -> int:
        """Deletes all that is over, a transaction a batch; returns how many rows went."""
        total = 0
        for chosen in _over(self._clock.now()):
            while True:
                with self._database.unit_of_work() as session:
                    gone = _delete(session, *chosen)
                total += gone
                if gone < BATCH:
                    break
        return total


def _over(now: datetime) -> list[tuple[Any, Select[Any]]]:
    """The key of each table, and which rows are over."""
    unlocked = LoginFailures.locked_until.is_(None) | (LoginFailures.locked_until <= now)
    flood = select(LoginFailures.subject).where(LoginFailures.known.is_(False))
    return [
        (LoginSession.id, select(LoginSession.id).where(LoginSession.expires_at <= now)),
        (OneTimeToken.digest, select(OneTimeToken.digest).where(OneTimeToken.expires_at <= now - KEPT)),
        (Invitation.id, select(Invitation.id).where(Invitation.expires_at <= now - INVITATIONS_KEPT)),
        (MailCount.last_at, select(MailCount.last_at).where(MailCount.last_at <= now - 2 * KEPT)),
        (
            LoginFailures.subject,
            select(LoginFailures.subject).where(LoginFailures.last_at <= now - KEPT, unlocked),
        ),
        (LoginFailures.subject, flood.order_by(LoginFailures.last_at.desc()).offset(UNKNOWN_KEPT)),
    ]


def _delete(session: Session, key: Any, chosen: Select[Any]) -> int:
    result = session.execute(
        delete(key.class_).where(key.in_(chosen.limit(BATCH))).execution_options(synchronize_session=False)
    )
    return int(getattr(result, "rowcount", 0))
