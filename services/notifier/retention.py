"""What is not kept: contents of mails nobody could deliver, and old lines of the delivery log."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import datetime, timedelta

from sqlalchemy import delete, func, or_, select
from sqlalchemy.orm import Session

from services.notifier.models import Mail, Status
from shared.clock import Clock
from shared.db import LOST, Database, DatabaseUnavailable
from shared.events.notifier import MailFailed
from shared.logging import get_logger
from shared.messaging import outbox

log = get_logger(__name__)

KEEP_CONTENTS = timedelta(days=7)
"""How long staff can send a parked mail again. Its facts may hold a secret link, so no longer."""
KEEP_LOG = timedelta(days=180)
"""Far longer than the inbox remembers events, so that none is ever mailed twice."""
BATCH = 500
"""Rows a transaction: short locks."""


def expire_contents(session: Session, now: datetime) -> int:
    """Empties the facts of mails that were not sent in a week; those still waiting are given up. Returns how many."""
    free = or_(Mail.leased_until.is_(None), Mail.leased_until < func.now())
    old = select(Mail).where(Mail.status != Status.SENT, Mail.created_at < now - KEEP_CONTENTS, Mail.facts != {}, free)
    mails = session.scalars(old.order_by(Mail.created_at).limit(BATCH).with_for_update(skip_locked=True)).all()
    for mail in mails:
        mail.facts = {}
        if mail.status == Status.WAITING:
            mail.status, mail.leased_until = Status.FAILED, None
            mail.reason = f"given up after {KEEP_CONTENTS.days} days; last: {mail.reason or 'never tried'}"[:1_000]
            outbox.add(session, MailFailed(mail_id=mail.id, kind=mail.kind, reason=mail.reason), now)
    return len(mails)


def forget_old(session: Session, now: datetime) -> int:
    """Removes lines of the delivery log that are too old; returns how many."""
    old = select(Mail.id).where(Mail.status != Status.WAITING, Mail.created_at < now - KEEP_LOG)
    batch = old.order_by(Mail.created_at).limit(BATCH).with_for_update(skip_locked=True)
    return len(session.execute(delete(Mail).where(Mail.id.in_(batch)).returning(Mail.id)).all())


class Forgetter:
    """Does both, every hour. Any number of replicas may run."""

    EVERY = 3600.0

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def run(self, stop: asyncio.Event) -> None:
        """Runs until `stop` is set; a batch under way finishes first."""
        while not stop.is_set():
            try:
                while not stop.is_set() and await asyncio.to_thread(self.forget):
                    pass
            except (DatabaseUnavailable, *LOST):
                log.warning("forgetting waits for the database")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self.EVERY)

    def forget(self) -> bool:
        """One batch of each; returns whether there was something to do."""
        with self._database.unit_of_work() as session:
            now = self._clock.now()
            return expire_contents(session, now) + forget_old(session, now) > 0
