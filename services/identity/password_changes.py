"""A new password: by a link after forgetting, or by its owner who knows the old one."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from services.identity import (
    alerts,
    login_failures,
    login_sessions,
    mail_limits,
    one_time_links,
    password_rules,
    passwords,
    people,
    verification,
)
from services.identity.errors import LinkExpired
from services.identity.models import Purpose, User
from shared.errors import Unauthenticated
from shared.events.identity import PasswordResetRequested
from shared.messaging import outbox


def forgot(session: Session, email: str, public_url: str, now: datetime) -> None:
    """Sends a link to the address we have on record, if any; says nothing about it."""
    user = people.by_email(session, email)
    if user is None or not mail_limits.may_send(session, user.id, mail_limits.RESET, now):
        return
    link, expires_at = one_time_links.give(session, user.id, Purpose.RESET, public_url, now)
    fact = PasswordResetRequested(
        company_id=user.company_id,
        user_id=user.id,
        email=user.email,
        name=user.name,
        language=user.language,
        link=link,
        expires_at=expires_at,
    )
    outbox.add(session, fact, now)


def reset(session: Session, token: str, password: str, ip: str, now: datetime) -> UUID:
    """Sets the password by a link, ends all sessions and any lock; whose it is. Raises LinkExpired, Invalid.

    The link came by mail, so it also shows that the address is theirs. The caller holds a `passwords.turn`.
    """
    user = people.locked(session, one_time_links.redeem(session, token, Purpose.RESET, now))
    if user is None:
        raise LinkExpired
    _set(session, user, password, "password", ip, now)
    verification.mark_verified(session, user, now)
    login_failures.forget(session, user.email_key or "")
    login_sessions.end_all(session, user, now)
    return user.id


def change(session: Session, user_id: UUID, keep: UUID | None, current: str, new: str, ip: str, now: datetime) -> bool:
    """Sets the password of somebody logged in and ends their other sessions; False where `current` is wrong.

    Wrong ones are counted apart from log-ins: a stolen session guesses five times in half an hour, and a stranger who
    locks the log-in does not keep the owner from this. It returns so that the count is committed. Raises
    Unauthenticated, Invalid. The caller holds a `passwords.turn`.
    """
    user = people.locked(session, user_id)
    if user is None:
        raise Unauthenticated
    subject = f"change of {user.id}"
    count = login_failures.held(session, subject, True, now)
    if not passwords.verify(user.password_hash, current) or login_failures.is_locked(count, now):
        login_failures.add(count, now)
        return False
    login_failures.forget(session, subject)
    _set(session, user, new, "new", ip, now)
    login_sessions.end_all(session, user, now, but=keep)
    return True


def _set(session: Session, user: User, password: str, field: str, ip: str, now: datetime) -> None:
    password_rules.check(password, user.email, user.name, user.company.name, field=field)
    user.password_hash = passwords.hash_password(password)
    one_time_links.end_all(session, user.id, now, Purpose.RESET)
    alerts.tell(session, user, "password_changed", ip, now)
