"""Log-in by mail address and password."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy.orm import Session

from services.identity import alerts, login_failures, login_sessions, mail_addresses, mail_limits, passwords, people
from services.identity.login_sessions import Opened


@dataclass(frozen=True)
class Device:
    """A browser somebody has come in with before. The gateway vouches for it by a signed cookie."""

    user_id: UUID
    nonce: str


def log_in(
    session: Session,
    email: str,
    password: str,
    ip: str,
    user_agent: str,
    now: datetime,
    device: Device | None = None,
) -> Opened | None:
    """A new session, or None: unknown, wrong and locked are one answer, by one path, with one comparison of hashes.

    It does not raise, because a failure is counted, and what is counted must be committed. The caller holds a
    `passwords.turn`. The person's row is held, so a reset or a removal at the same moment leaves no session behind.
    A lock stops log-ins only: who is logged in stays so, or an attacker could throw people out. Failures from a device
    of the person's own are counted apart, so that nobody locks the owner out of it.
    """
    user = people.by_email(session, email, lock=True)
    theirs = device is not None and user is not None and device.user_id == user.id
    key = f"device {device.nonce}" if theirs and device else mail_addresses.key(email)
    count = login_failures.held(session, key, user is not None, now)
    right = passwords.verify(user.password_hash if user else None, password)
    if user is not None and right and not login_failures.is_locked(count, now):
        login_failures.forget(session, key)
        if passwords.is_outdated(user.password_hash):
            user.password_hash = passwords.hash_password(password)
        return login_sessions.open_for(session, user, ip, user_agent, now)
    locks = login_failures.add(count, now)
    if locks and user is not None and mail_limits.may_send(session, user.id, mail_limits.ACCOUNT_LOCKED, now):
        alerts.tell(session, user, "account_locked", ip, now)
    return None
