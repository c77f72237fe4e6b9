"""Sessions: opened, resolved, listed, ended."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import Select, delete, select, update
from sqlalchemy.orm import Session, joinedload

from services.identity import bearer_secrets, names
from services.identity.models import LoginSession, User
from shared.errors import NotFound, Unauthenticated
from shared.events.identity import SessionRevoked
from shared.ids import new_id
from shared.messaging import outbox

LIFETIME = timedelta(days=30)
IDLE = timedelta(days=30)
SEEN_EVERY = timedelta(minutes=1)
"""`last_seen_at` is written at most this often: the gateway asks for every request it does not remember."""
MOST = 50
"""Sessions a person may have; the oldest give way."""


@dataclass(frozen=True)
class Opened:
    """A session as its owner gets it: the only time its secret is seen."""

    session: LoginSession
    secret: str
    user: User


def open_for(session: Session, user: User, ip: str, user_agent: str, now: datetime) -> Opened:
    """A new session with a new secret, whatever the client came with. `user.company` must be loaded."""
    secret, digest = bearer_secrets.new()
    opened = LoginSession(
        id=new_id(),
        user_id=user.id,
        digest=digest,
        created_at=now,
        last_seen_at=now,
        expires_at=now + LIFETIME,
        ip=names.header(ip, 45),
        user_agent=names.header(user_agent, 200),
    )
    session.add(opened)
    session.flush()
    too_many = (
        select(LoginSession.id).where(LoginSession.user_id == user.id).order_by(LoginSession.id.desc()).offset(MOST)
    )
    _end(session, user, too_many, now)
    return Opened(opened, secret, user)


def resolve(session: Session, secret: str, now: datetime) -> tuple[LoginSession, User]:
    """Whose secret this is, as they are now. Raises Unauthenticated."""
    statement = (
        select(LoginSession, User)
        .join(User, User.id == LoginSession.user_id)
        .where(
            LoginSession.digest == bearer_secrets.digest(secret),
            LoginSession.expires_at > now,
            LoginSession.last_seen_at > now - IDLE,
            User.left_at.is_(None),
        )
        .options(joinedload(User.company))
    )
    row = session.execute(statement).first()
    if row is None:
        raise Unauthenticated
    found, user = row
    if found.last_seen_at <= now - SEEN_EVERY:
        seen = update(LoginSession).where(LoginSession.id == found.id, LoginSession.last_seen_at <= now - SEEN_EVERY)
        session.execute(seen.values(last_seen_at=now).execution_options(synchronize_session=False))
    return found, user


def listed(session: Session, user_id: UUID, now: datetime, *, before: UUID | None, limit: int) -> list[LoginSession]:
    """A person's own sessions that are good, newest first."""
    statement = select(LoginSession).where(LoginSession.user_id == user_id, LoginSession.expires_at > now)
    if before is not None:
        statement = statement.where(LoginSession.id < before)
    return list(session.scalars(statement.order_by(LoginSession.id.desc()).limit(limit)))


def end_own(session: Session, user: User, session_id: UUID, now: datetime) -> None:
    """Ends one of a person's own sessions. Raises NotFound for anybody else's."""
    chosen = select(LoginSession.id).where(LoginSession.id == session_id, LoginSession.user_id == user.id)
    if not _end(session, user, chosen, now):
        raise NotFound


def end_by_secret(session: Session, secret: str, now: datetime) -> None:
    """Logs out. What is over already stays so."""
    digest = bearer_secrets.digest(secret)
    user = session.scalar(
        select(User).join(LoginSession, LoginSession.user_id == User.id).where(LoginSession.digest == digest)
    )
    if user is not None:
        _end(session, user, select(LoginSession.id).where(LoginSession.digest == digest), now)


def end_all(session: Session, user: User, now: datetime, *, but: UUID | None = None) -> None:
    """Ends every session of a person, or every other one."""
    chosen = select(LoginSession.id).where(LoginSession.user_id == user.id)
    if but is not None:
        chosen = chosen.where(LoginSession.id != but)
    _end(session, user, chosen, now)


def _end(session: Session, user: User, chosen: Select[UUID], now: datetime) -> int:
    statement = delete(LoginSession).where(LoginSession.id.in_(chosen)).returning(LoginSession.id)
    ended = session.scalars(statement.execution_options(synchronize_session=False)).all()
    for session_id in ended:
        fact = SessionRevoked(company_id=user.company_id, session_id=session_id, user_id=user.id, revoked_at=now)
        outbox.add(session, fact, now)
    return len(ended)
