"""Who belongs to a company, in which role. A company keeps at least one admin."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from services.identity import login_failures, login_sessions, one_time_links, people
from services.identity.errors import LastAdmin
from services.identity.models import Company, Role, User
from shared.access import company_of
from shared.errors import Forbidden
from shared.events.identity import MemberRemoved, MemberRoleChanged
from shared.messaging import outbox
from shared.tokens import Principal


def listed(session: Session, company_id: UUID, *, after: UUID | None, limit: int) -> list[User]:
    """The company's people, in the order they came."""
    statement = select(User).where(User.company_id == company_id, User.left_at.is_(None))
    if after is not None:
        statement = statement.where(User.id > after)
    return list(session.scalars(statement.order_by(User.id).limit(limit)))


def change_role(session: Session, caller: Principal, user_id: UUID, role: Role, now: datetime) -> User:
    """Gives a member a role. To hand a company over, make another admin first, then step down.

    Raises Forbidden, NotFound, LastAdmin.
    """
    _hold(session, caller)
    people.acting_admin(session, caller)
    user = people.member(session, company_of(caller), user_id)
    if user.role == role:
        return user
    _keep_an_admin(session, user)
    user.role = role
    fact = MemberRoleChanged(company_id=user.company_id, user_id=user.id, role=role.value)
    outbox.add(session, fact, now)
    return user


def remove(session: Session, caller: Principal, user_id: UUID, now: datetime) -> None:
    """Ends a membership: an admin anybody's, everybody their own. Sessions and links end at once.

    The account ends with it and the address is free: for a new invitation, here or elsewhere, or a sign-up.
    Raises Forbidden, NotFound, LastAdmin.
    """
    _hold(session, caller)
    actor = people.acting(session, caller)
    if actor.id != user_id and actor.role != Role.ADMIN:
        raise Forbidden
    user = people.member(session, company_of(caller), user_id)
    _keep_an_admin(session, user)
    login_failures.forget(session, user.email_key or "")
    user.left_at, user.email_key = now, None
    session.flush()
    one_time_links.end_all(session, user.id, now)
    login_sessions.end_all(session, user, now)
    outbox.add(session, MemberRemoved(company_id=user.company_id, user_id=user.id), now)


def _hold(session: Session, caller: Principal) -> None:
    """The company's row is held, so changes of its members happen one after the other: two admins who remove each
    other at once are not both obeyed."""
    statement = select(Company.id).where(Company.id == company_of(caller)).with_for_update(key_share=True)
    session.execute(statement)


def _keep_an_admin(session: Session, user: User) -> None:
    if user.role != Role.ADMIN:
        return
    others = select(func.count()).where(
        User.company_id == user.company_id, User.role == Role.ADMIN, User.left_at.is_(None), User.id != user.id
    )
    if not session.scalar(others):
        raise LastAdmin
