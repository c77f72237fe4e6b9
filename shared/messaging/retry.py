"""Kept events are tried again when due, by one replica each; the effect and the end of waiting commit together."""

from __future__ import annotations

import asyncio
import contextlib
import time

from sqlalchemy import Row, delete, func, select, update
from sqlalchemy.exc import SQLAlchemyError

from shared import metrics
from shared.db import DatabaseUnavailable
from shared.logging import get_logger
from shared.messaging.consumer import Consumer
from shared.messaging.deadletters import BACK_OFF, count, story
from shared.messaging.envelope import Envelope
from shared.messaging.tables import failed_deliveries as kept

POLL = 0.5
"""Seconds between looks for an event whose time has come."""
COUNT_EVERY = 5.0
"""Seconds between counts of what waits and what is parked."""

log = get_logger(__name__)


class Retrier:
    """Tries a service's kept events again when they are due, and counts what waits."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._database = consumer.database

    async def run(self, stop: asyncio.Event) -> None:
        """Runs until `stop` is set; a try under way finishes first. Any number of replicas may run."""
        counted = float("-inf")
        while not stop.is_set():
            try:
                if await asyncio.to_thread(retry_one, self._consumer):
                    continue
                if time.monotonic() - counted > COUNT_EVERY:
                    await asyncio.to_thread(self._count)
                    counted = time.monotonic()
            except (SQLAlchemyError, DatabaseUnavailable) as error:
                # Nothing was changed; the row is as due as it was.
                log.warning("retries wait for the database", error=type(error).__name__)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), POLL)

    def _count(self) -> None:
        with self._database.unit_of_work() as session:
            waiting, given_up = count(session)
        metrics.retries_waiting.labels(self._database.service).set(waiting)
        metrics.dead_letters.labels(self._database.service).set(given_up)


def retry_one(consumer: Consumer) -> bool:
    """Tries the longest-due kept event once more. Returns whether there was one."""
    with consumer.database.unit_of_work() as session:
        due = select(kept).where(kept.c.due_at <= func.now()).order_by(kept.c.due_at).limit(1)
        row = session.connection().execute(due.with_for_update(skip_locked=True)).first()
        if row is None:
            return False
        try:
            with session.begin_nested():
                consumer.retry(session, Envelope.from_bytes(row.body))
        except Exception as error:
            session.connection().execute(update(kept).where(kept.c.id == row.id).values(**_failed_again(row, error)))
        else:
            session.connection().execute(delete(kept).where(kept.c.id == row.id))
    return True


def _failed_again(row: Row[tuple[object, ...]], error: Exception) -> dict[str, object]:
    tries = row.attempts + 1
    due = func.now() + BACK_OFF[tries - 1] if tries <= len(BACK_OFF) else None
    return {"attempts": tries, "error": story(error, row.type), "last_failed_at": func.now(), "due_at": due}
