"""Showing that a mail address is one's own."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Session

from services.identity import login_sessions, mail_limits, one_time_links, people
from services.identity.errors import LinkExpired
from services.identity.login_sessions import Opened
from services.identity.models import Purpose, User
from shared.events.identity import UserVerified, VerificationRequested
from shared.messaging import outbox


def request(session: Session, user: User, public_url: str, now: datetime, *, welcome: bool = False) -> None:
    """Sends a link, unless one went a moment ago."""
    if not mail_limits.may_send(session, user.id, mail_limits.VERIFICATION, now):
        return
    link, expires_at = one_time_links.give(session, user.id, Purpose.VERIFY, public_url, now)
    fact = VerificationRequested(
        company_id=user.company_id,
        user_id=user.id,
        email=user.email,
        name=user.name,
        language=user.language,
        link=link,
        expires_at=expires_at,
        welcome=welcome,
    )
    outbox.add(session, fact, now)


def resend(session: Session, email: str, public_url: str, now: datetime) -> None:
    """Sends another link where the address has an account that wants one; says nothing about it."""
    user = people.by_email(session, email)
    if user is not None and user.verified_at is None:
        request(session, user, public_url, now)


def confirm(session: Session, token: str, ip: str, user_agent: str, now: datetime) -> Opened:
    """Uses the link and logs its holder in. Raises LinkExpired."""
    user = people.locked(session, one_time_links.redeem(session, token, Purpose.VERIFY, now))
    if user is None:
        raise LinkExpired
    mark_verified(session, user, now)
    return login_sessions.open_for(session, user, ip, user_agent, now)


def mark_verified(session: Session, user: User, now: datetime) -> None:
    """The address is theirs; links still on their way are of no use any more, as each would log in."""
    one_time_links.end_all(session, user.id, now, Purpose.VERIFY)
    if user.verified_at is None:
        user.verified_at = now
        outbox.add(session, UserVerified(company_id=user.company_id, user_id=user.id), now)
