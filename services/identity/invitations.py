"""Invitations into a company: made, sent again, withdrawn, looked at, accepted.

An admin learns nothing about whether an invited address has an account elsewhere: the invitation is made and sent as
any other. Only who opens the link, and so owns the address, is told that the account stands in the way.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, joinedload

from services.identity import (
    bearer_secrets,
    login_sessions,
    mail_addresses,
    mail_limits,
    password_rules,
    passwords,
    people,
    sign_up,
    verification,
)
from services.identity.errors import (
    AccountExists,
    AlreadyInvited,
    AlreadyMember,
    LinkExpired,
    TooManyInvitations,
    TooSoon,
)
from services.identity.login_sessions import Opened
from services.identity.models import Company, Invitation, Role, User
from shared.errors import NotFound
from shared.events.identity import MemberInvited, MemberJoined
from shared.ids import new_id
from shared.messaging import outbox
from shared.tokens import Principal

LIFETIME = timedelta(days=7)
MOST_OPEN = 100


def invite(session: Session, caller: Principal, email: str, role: Role, public_url: str, now: datetime) -> Invitation:
    """Asks an address into the caller's company.

    Raises AlreadyMember, AlreadyInvited, TooManyInvitations, Forbidden.
    """
    admin = people.acting_admin(session, caller)
    key = mail_addresses.key(email)
    owner = people.by_email(session, email)
    if owner is not None and owner.company_id == admin.company_id:
        raise AlreadyMember
    if _count_open(session, admin.company_id) >= MOST_OPEN:
        raise TooManyInvitations
    _forget_expired(session, admin.company_id, key, now)
    invitation = Invitation(
        id=new_id(),
        company_id=admin.company_id,
        email=email,
        email_key=key,
        role=role,
        invited_by=admin.name,
        created_at=now,
    )
    _send(session, invitation, admin.company, public_url, now)
    try:
        with session.begin_nested():
            session.add(invitation)
    except IntegrityError as error:
        if "uq_invitations_company_id_email_key" not in str(error.orig):
            raise
        raise AlreadyInvited from None
    return invitation


def resend(session: Session, caller: Principal, invitation_id: UUID, public_url: str, now: datetime) -> Invitation:
    """Sends a new link; the old one ends. Raises NotFound, TooSoon, Forbidden."""
    admin = people.acting_admin(session, caller)
    invitation = _own(session, admin.company_id, invitation_id)
    if not mail_limits.may_send(session, invitation.id, mail_limits.INVITATION, now):
        raise TooSoon(retry_after=60)
    _send(session, invitation, admin.company, public_url, now)
    return invitation


def withdraw(session: Session, caller: Principal, invitation_id: UUID) -> None:
    """Takes an invitation back; its link ends. Raises NotFound, Forbidden."""
    admin = people.acting_admin(session, caller)
    session.delete(_own(session, admin.company_id, invitation_id))


def listed(session: Session, company_id: UUID, *, after: UUID | None, limit: int) -> list[Invitation]:
    """Invitations nobody has accepted, oldest first; the expired ones too, as they can be sent again."""
    statement = select(Invitation).where(Invitation.company_id == company_id, Invitation.accepted_at.is_(None))
    if after is not None:
        statement = statement.where(Invitation.id > after)
    return list(session.scalars(statement.order_by(Invitation.id).limit(limit)))


def look(session: Session, token: str, now: datetime) -> Invitation:
    """What the holder of a link is invited to; `company` is loaded. Raises LinkExpired."""
    return _good(session, token, now)


def accept(
    session: Session, token: str, name: str, password: str, language: str, ip: str, user_agent: str, now: datetime
) -> Opened:
    """Makes the account and logs in; the link shows that the address is theirs. The caller holds a `passwords.turn`.

    Raises LinkExpired, AccountExists, Invalid.
    """
    invitation = _good(session, token, now, lock=True)
    password_rules.check(password, invitation.email, name, invitation.company.name)
    user = User(
        id=new_id(),
        company=invitation.company,
        company_id=invitation.company_id,
        email=invitation.email,
        email_key=invitation.email_key,
        name=name,
        language=language,
        role=invitation.role,
        password_hash=passwords.hash_password(password),
        created_at=now,
    )
    if not sign_up.add_person(session, user):
        raise AccountExists
    invitation.accepted_at = now
    sign_up.tell_registered(session, user, now)
    verification.mark_verified(session, user, now)
    outbox.add(session, MemberJoined(company_id=user.company_id, user_id=user.id, role=Role(user.role).value), now)
    return login_sessions.open_for(session, user, ip, user_agent, now)


def _send(session: Session, invitation: Invitation, company: Company, public_url: str, now: datetime) -> None:
    """A fresh link and the fact that carries it; bounded a company and day, or they would mail the world through us."""
    if not mail_limits.may_send(session, company.id, mail_limits.INVITATIONS_OF_COMPANY, now):
        raise TooManyInvitations
    token, invitation.digest = bearer_secrets.new()
    invitation.sent_at, invitation.expires_at = now, now + LIFETIME
    fact = MemberInvited(
        company_id=company.id,
        invitation_id=invitation.id,
        email=invitation.email,
        role=Role(invitation.role).value,
        language=company.language,
        company_name=company.name,
        invited_by=invitation.invited_by,
        link=f"{public_url}/invitation?token={token}",
        expires_at=invitation.expires_at,
    )
    outbox.add(session, fact, now)


def _own(session: Session, company_id: UUID, invitation_id: UUID) -> Invitation:
    statement = select(Invitation).where(
        Invitation.id == invitation_id, Invitation.company_id == company_id, Invitation.accepted_at.is_(None)
    )
    found = session.scalar(statement.with_for_update())
    if found is None:
        raise NotFound
    return found


def _good(session: Session, token: str, now: datetime, *, lock: bool = False) -> Invitation:
    statement = select(Invitation).where(
        Invitation.digest == bearer_secrets.digest(token),
        Invitation.accepted_at.is_(None),
        Invitation.expires_at > now,
    )
    statement = statement.options(joinedload(Invitation.company))
    if lock:
        statement = statement.with_for_update(of=Invitation)
    found = session.scalar(statement)
    if found is None:
        raise LinkExpired
    return found


def _forget_expired(session: Session, company_id: UUID, key: str, now: datetime) -> None:
    """An invitation that has run out does not stand in the way of a new one."""
    statement = select(Invitation).where(
        Invitation.company_id == company_id,
        Invitation.email_key == key,
        Invitation.accepted_at.is_(None),
        Invitation.expires_at <= now,
    )
    for old in session.scalars(statement):
        session.delete(old)
    session.flush()


def _count_open(session: Session, company_id: UUID) -> int:
    statement = select(func.count()).where(Invitation.company_id == company_id, Invitation.accepted_at.is_(None))
    return session.scalar(statement) or 0
