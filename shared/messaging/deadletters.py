"""What a handler refused: kept in the hearer's own database, tried again with back-off, then parked for a person.

Kept here and not in a broker's queue, so that both transports behave alike, a parked event can be read, replayed or
dropped one by one, and neither is lost with the broker.
"""

from __future__ import annotations

import hashlib
import traceback
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shared.errors import NotFound
from shared.events import catalogue
from shared.ids import new_id
from shared.messaging.envelope import MAX_BYTES, Envelope
from shared.messaging.tables import failed_deliveries as kept

BACK_OFF = tuple(timedelta(seconds=s) for s in (1, 5, 15, 60, 300, 900, 1800, 3600))
"""Waits between tries; after the last, about two hours, the event is parked. By the database's clock."""


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


def story(error: Exception, type_: str) -> str:
    """What was raised and where, without the values: an event may carry a secret, and then nothing is quoted."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    where = " < ".join(f"{frame.name}:{frame.lineno}" for frame in reversed(frames))
    said = next(iter(str(error).splitlines()), "")
    event = catalogue().get(type_)
    if event is None or event.sensitive:
        said = "its words are withheld, the event is sensitive"
    return f"{type(error).__name__}: {said} ({where})"[:4000].replace("\x00", "\N{REPLACEMENT CHARACTER}")
