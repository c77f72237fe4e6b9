"""Finding people: by address, by id inside a company, and whoever acts."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session, joinedload

from services.identity import mail_addresses
from services.identity.models import Role, User
from shared.access import company_of, user_of
from shared.errors import Forbidden, NotFound, Unauthenticated
from shared.tokens import Principal


def by_email(session: Session, email: str, *, lock: bool = False) -> User | None:
    """Whose address it is, if anybody's. `lock` holds the row: no reset, removal or log-in of theirs in between."""
    statement = select(User).where(User.email_key == mail_addresses.key(email)).options(joinedload(User.company))
    if lock:
        statement = statement.with_for_update(of=User, key_share=True)
    return session.scalar(statement)


def locked(session: Session, user_id: UUID) -> User | None:
    """The person, their row held; None for who has left."""
    statement = select(User).where(User.id == user_id, User.left_at.is_(None)).options(joinedload(User.company))
    return session.scalar(statement.with_for_update(of=User, key_share=True).execution_options(populate_existing=True))


def member(session: Session, company_id: UUID, user_id: UUID) -> User:
    """Somebody of this company. Raises NotFound for everybody else, existing or not."""
    statement = select(User).where(User.id == user_id, User.company_id == company_id, User.left_at.is_(None))
    found = session.scalar(statement)
    if found is None:
        raise NotFound
    return found


def acting(session: Session, caller: Principal) -> User:
    """The caller as they are now: a token lives for minutes, and what it says may be over.

    Raises Unauthenticated for who has left since.
    """
    statement = select(User).where(
        User.id == user_of(caller), User.company_id == company_of(caller), User.left_at.is_(None)
    )
    found = session.scalar(statement.options(joinedload(User.company)))
    if found is None:
        raise Unauthenticated
    return found


def acting_admin(session: Session, caller: Principal) -> User:
    """The caller, who must be an admin still. Raises Unauthenticated, Forbidden."""
    found = acting(session, caller)
    if found.role != Role.ADMIN:
        raise Forbidden
    return found


def acting_staff(session: Session, caller: Principal) -> User:
    """The caller, who must be staff still. Raises Unauthenticated, Forbidden."""
    found = acting(session, caller)
    if not found.staff:
        raise Forbidden
    return found
