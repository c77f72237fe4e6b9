"""Wrong passwords in a row, and the lock after the fifth. Kept for any address: an unknown one looks the same."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta

from sqlalchemy import delete
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.identity.models import LoginFailures

ALLOWED = 5
LOCK = timedelta(minutes=30)


def held(session: Session, subject: str, known: bool, now: datetime) -> LoginFailures:
    """The count of `subject`, its row held until the commit: attempts at once are counted one after the other."""
    key = _key(subject)
    mine = insert(LoginFailures).values(subject=key, known=known, failures=0, locked_until=None, last_at=now)
    statement = mine.on_conflict_do_update(
        index_elements=[LoginFailures.subject], set_={"last_at": now, "known": known}
    ).returning(LoginFailures)
    count = session.scalars(statement, execution_options={"populate_existing": True}).one()
    if count.locked_until is not None and not is_locked(count, now):
        count.failures, count.locked_until = 0, None
    return count


def is_locked(count: LoginFailures, now: datetime) -> bool:
    """Whether even the right password is refused."""
    return count.locked_until is not None and count.locked_until > now


def add(count: LoginFailures, now: datetime) -> bool:
    """One more; True when it is the one that locks. While locked nothing is counted: a lock is never prolonged."""
    if is_locked(count, now):
        return False
    count.failures += 1
    if count.failures < ALLOWED:
        return False
    count.locked_until = now + LOCK
    return True


def forget(session: Session, subject: str) -> None:
    """Begins again at none: the right password came, or a reset."""
    session.execute(delete(LoginFailures).where(LoginFailures.subject == _key(subject)))


def _key(subject: str) -> bytes:
    return hashlib.sha256(subject.encode("utf-8", "replace")).digest()
