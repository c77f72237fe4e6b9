"""Mails as rows: queued by handlers, claimed by the sender, concluded once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.notifier.errors import CannotResend, NoSuchMail
from services.notifier.models import Mail, Status
from shared.events.notifier import MailFailed, MailSent
from shared.ids import new_id
from shared.logging import correlation_id
from shared.messaging import outbox

BACK_OFF = tuple(timedelta(minutes=m) for m in (0.5, 2, 5, 15, 30, 60, 120, 240, 480))
"""Waits after a failure that may pass; about fifteen hours in all, then the mail is parked."""
LEASE = timedelta(minutes=2)
"""Longer than a try may take."""


@dataclass(frozen=True)
class Reader:
    """Who reads a mail, and how dates and words are written for them."""

    email: str
    name: str
    language: str
    timezone: str


def queue(session: Session, event_id: UUID, kind: str, reader: Reader, facts: dict[str, Any], now: datetime) -> None:
    """Queues one mail; the same event queues one for the same address only once."""
    statement = insert(Mail).values(
        id=new_id(),
        event_id=event_id,
        kind=kind,
        recipient=reader.email,
        recipient_name=reader.name[:200],
        language=reader.language,
        timezone=reader.timezone,
        facts=facts,
        status=Status.WAITING,
        attempts=0,
        reason="",
        correlation_id=correlation_id(),
        created_at=now,
        due_at=now,
    )
    session.execute(statement.on_conflict_do_nothing())


def claim(session: Session, now: datetime, most: int) -> list[Row[Any]]:
    """Takes due mails for this process alone, for the length of a lease."""
    free = or_(Mail.leased_until.is_(None), Mail.leased_until < func.now())
    due = select(Mail.id).where(Mail.status == Status.WAITING, Mail.due_at <= now, free)
    mine = due.order_by(Mail.due_at).limit(most).with_for_update(skip_locked=True)
    statement = (
        update(Mail).where(Mail.id.in_(mine)).values(leased_until=func.now() + LEASE).returning(*Mail.__table__.c)
    )
    return list(session.connection().execute(statement).all())


def sent(session: Session, mail_id: UUID, now: datetime) -> None:
    """The server took it: recorded and told, and what it said is forgotten."""
    mail = session.get(Mail, mail_id, with_for_update=True)
    if mail is None or mail.status != Status.WAITING:
        return
    mail.status, mail.sent_at, mail.attempts, mail.facts = Status.SENT, now, mail.attempts + 1, {}
    mail.leased_until, mail.reason = None, ""
    outbox.add(session, MailSent(mail_id=mail.id, kind=mail.kind), now)


def failed(session: Session, mail_id: UUID, reason: str, *, for_good: bool, now: datetime) -> None:
    """It was not taken: tried again later, or parked with the reason."""
    mail = session.get(Mail, mail_id, with_for_update=True)
    if mail is None or mail.status != Status.WAITING:
        return
    mail.attempts, mail.reason, mail.leased_until = mail.attempts + 1, reason[:1_000], None
    if for_good or mail.attempts > len(BACK_OFF):
        mail.status = Status.FAILED
        outbox.add(session, MailFailed(mail_id=mail.id, kind=mail.kind, reason=mail.reason), now)
    else:
        mail.due_at = now + BACK_OFF[mail.attempts - 1]


def resend(session: Session, mail_id: UUID, now: datetime) -> Mail:
    """Sends a parked mail again, from its first try. Raises NoSuchMail, CannotResend."""
    mail = session.get(Mail, mail_id, with_for_update=True)
    if mail is None:
        raise NoSuchMail
    if mail.status != Status.FAILED or not mail.facts:
        raise CannotResend
    mail.status, mail.attempts, mail.due_at = Status.WAITING, 0, now
    return mail


def log(session: Session, *, status: Status | None, before: UUID | None, limit: int) -> list[Mail]:
    """The delivery log, newest first; of one status where one is given."""
    statement = select(Mail)
    if status is not None:
        statement = statement.where(Mail.status == status)
    if before is not None:
        statement = statement.where(Mail.id < before)
    return list(session.scalars(statement.order_by(Mail.id.desc()).limit(limit)))
