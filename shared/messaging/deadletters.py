"""What a handler refused: kept in the hearer's own database, tried again with back-off, then parked for a person.

Kept here and not in a broker's queue, so that both transports behave alike, a parked event can be read, replayed or
dropped one by one, and neither is lost with the broker.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import time
import traceback
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import Row, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from shared import metrics
from shared.db import DatabaseUnavailable
from shared.errors import NotFound
from shared.events import catalogue
from shared.ids import new_id
from shared.logging import get_logger
from shared.messaging.envelope import MAX_BYTES, Envelope
from shared.messaging.tables import failed_deliveries as kept

if TYPE_CHECKING:
    from shared.messaging.consumer import Consumer

BACK_OFF = tuple(timedelta(seconds=s) for s in (1, 5, 15, 60, 300, 900, 1800, 3600))
"""Waits between tries; after the last, about two hours, the event is parked. By the database's clock."""
POLL = 0.5
"""Seconds between looks for an event whose time has come."""
COUNT_EVERY = 5.0
"""Seconds between counts of what waits and what is parked."""

log = get_logger(__name__)


@dataclass(frozen=True)
class DeadLetter:
    """A delivery that was given up, with its story."""

    id: UUID
    event_id: UUID | None
    type: str
    handler: str
    error: str
    attempts: int
    first_failed_at: datetime
    last_failed_at: datetime


def keep(session: Session, envelope: Envelope, handler: str, error: Exception) -> None:
    """Keeps an event whose handler raised; a second failure of the same delivery changes nothing."""
    statement = insert(kept).values(
        id=new_id(),
        event_id=envelope.id,
        type=envelope.type,
        body=envelope.to_bytes(),
        error=story(error, envelope.type),
        handler=handler,
        attempts=1,
        due_at=func.now() + BACK_OFF[0],
    )
    session.connection().execute(statement.on_conflict_do_nothing())


def park_undelivered(session: Session, envelope: Envelope, handler: str) -> None:
    """Parks an event that the broker gave up: each delivery ended without a word, so it may kill the process."""
    statement = insert(kept).values(
        id=new_id(),
        event_id=envelope.id,
        type=envelope.type,
        body=envelope.to_bytes(),
        error="delivered again and again and never acknowledged: handling it may end the process",
        handler=handler,
        attempts=1,
    )
    session.connection().execute(statement.on_conflict_do_nothing())


def park_unreadable(session: Session, body: bytes, error: Exception) -> None:
    """Parks a message that no retry can make readable; once, however often it comes."""
    statement = insert(kept).values(
        id=new_id(),
        event_id=UUID(bytes=hashlib.sha256(body).digest()[:16]),
        type="unreadable",
        body=body[:MAX_BYTES],
        # A type string of hostile making is part of the words; PostgreSQL's text holds no NUL.
        error=str(error).replace("\x00", "\N{REPLACEMENT CHARACTER}")[:4000],
        handler="",
        attempts=1,
    )
    session.connection().execute(statement.on_conflict_do_nothing())


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


def parked(session: Session, *, after: UUID | None = None, limit: int = 50) -> list[DeadLetter]:
    """The parked deliveries, oldest first, from `after` on."""
    columns = (getattr(kept.c, name) for name in DeadLetter.__dataclass_fields__)
    statement = select(*columns).where(kept.c.due_at.is_(None)).order_by(kept.c.id).limit(limit)
    if after is not None:
        statement = statement.where(kept.c.id > after)
    return [DeadLetter(*row) for row in session.connection().execute(statement)]


def replay(session: Session, id_: UUID) -> None:
    """Lets a parked delivery be tried again at once, with all its tries before it. Raises NotFound."""
    statement = update(kept).where(kept.c.id == id_, kept.c.due_at.is_(None)).values(due_at=func.now(), attempts=0)
    if not session.connection().execute(statement).rowcount:
        raise NotFound("No such parked event")


def drop(session: Session, id_: UUID) -> None:
    """Gives a parked delivery up for good. Raises NotFound."""
    statement = delete(kept).where(kept.c.id == id_, kept.c.due_at.is_(None))
    if not session.connection().execute(statement).rowcount:
        raise NotFound("No such parked event")


def count(session: Session) -> tuple[int, int]:
    """How many wait for another try, and how many are parked."""
    waiting = func.count().filter(kept.c.due_at.is_not(None))
    row = session.connection().execute(select(waiting, func.count().filter(kept.c.due_at.is_(None)))).one()
    return row[0], row[1]


def _failed_again(row: Row[tuple[object, ...]], error: Exception) -> dict[str, object]:
    tries = row.attempts + 1
    due = func.now() + BACK_OFF[tries - 1] if tries <= len(BACK_OFF) else None
    return {"attempts": tries, "error": story(error, row.type), "last_failed_at": func.now(), "due_at": due}


def story(error: Exception, type_: str) -> str:
    """What was raised and where, without the values: an event may carry a secret, and then nothing is quoted."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    where = " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames))
    said = next(iter(str(error).splitlines()), "")
    event = catalogue().get(type_)
    if event is None or event.sensitive:
        said = "its words are withheld, the event is sensitive"
    return f"{type(error).__name__}: {said} ({where})"[:4000].replace("\x00", "\N{REPLACEMENT CHARACTER}")


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
