"""How often mails may be caused. Anybody can type anybody's address; their mailbox shall not suffer for it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import case, or_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.identity.models import MailCount

WINDOW = timedelta(days=1)


@dataclass(frozen=True)
class Limit:
    """One kind of mail: the least time between two, and the most in a day."""

    kind: str
    apart: timedelta
    a_day: int


VERIFICATION = Limit("verification", timedelta(minutes=1), 10)
RESET = Limit("reset", timedelta(minutes=1), 10)
ACCOUNT_EXISTS = Limit("account_exists", timedelta(minutes=10), 4)
ACCOUNT_LOCKED = Limit("account_locked", timedelta(minutes=30), 4)
"""A lock lasts 30 minutes, so each lock may tell, until the fourth of a day."""
INVITATION = Limit("invitation", timedelta(minutes=1), 10)
INVITATIONS_OF_COMPANY = Limit("company_invitations", timedelta(), 200)


def may_send(session: Session, subject_id: UUID, limit: Limit, now: datetime) -> bool:
    """Counts one mail about the subject and says whether it may go. One statement, so that two at once count two.

    A clock set back is no reason to wait for ever: a time to come counts as past.
    """
    mine = insert(MailCount).values(subject_id=subject_id, kind=limit.kind, last_at=now, window_began_at=now, sent=1)
    over = MailCount.window_began_at <= now - WINDOW
    apart = or_(MailCount.last_at <= now - limit.apart, MailCount.last_at > now)
    statement = mine.on_conflict_do_update(
        index_elements=[MailCount.subject_id, MailCount.kind],
        set_={
            "last_at": now,
            "window_began_at": case((over, now), else_=MailCount.window_began_at),
            "sent": case((over, 1), else_=MailCount.sent + 1),
        },
        where=apart & or_(over, MailCount.sent < limit.a_day),
    ).returning(MailCount.sent)
    return session.scalar(statement) is not None
