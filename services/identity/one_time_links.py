"""Links that work once: given, redeemed, ended. Used, too old and never given look alike."""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import update
from sqlalchemy.orm import Session

from services.identity import bearer_secrets
from services.identity.errors import LinkExpired
from services.identity.models import OneTimeToken, Purpose

LIFETIMES = {Purpose.VERIFY: timedelta(hours=24), Purpose.RESET: timedelta(hours=1)}
PATHS = {Purpose.VERIFY: "verify", Purpose.RESET: "reset"}


def give(session: Session, user_id: UUID, purpose: Purpose, public_url: str, now: datetime) -> tuple[str, datetime]:
    """A new link for a person and the time it ends. Links given before stay good until they end."""
    token, digest = bearer_secrets.new()
    expires_at = now + LIFETIMES[purpose]
    session.add(OneTimeToken(digest=digest, user_id=user_id, purpose=purpose, expires_at=expires_at, used_at=None))
    return f"{public_url}/{PATHS[purpose]}?token={token}", expires_at


def redeem(session: Session, token: str, purpose: Purpose, now: datetime) -> UUID:
    """Uses a link up and says whose it was. Raises LinkExpired.

    One statement: of two at once, the second waits for the first one's row and then finds it used.
    """
    statement = (
        update(OneTimeToken)
        .where(
            OneTimeToken.digest == bearer_secrets.digest(token),
            OneTimeToken.purpose == purpose,
            OneTimeToken.used_at.is_(None),
            OneTimeToken.expires_at > now,
        )
        .values(used_at=now)
        .returning(OneTimeToken.user_id)
    )
    user_id = session.scalar(statement)
    if user_id is None:
        raise LinkExpired
    return user_id


def end_all(session: Session, user_id: UUID, now: datetime, purpose: Purpose | None = None) -> None:
    """Uses up a person's links, of one purpose or all."""
    statement = update(OneTimeToken).where(OneTimeToken.user_id == user_id, OneTimeToken.used_at.is_(None))
    if purpose is not None:
        statement = statement.where(OneTimeToken.purpose == purpose)
    session.execute(statement.values(used_at=now))
