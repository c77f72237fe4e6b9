"""What the owner of an account should know at once."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from sqlalchemy.orm import Session

from services.identity.models import User
from shared.events.identity import SecurityAlert
from shared.messaging import outbox

Kind = Literal["account_locked", "password_changed", "account_exists"]


def tell(session: Session, user: User, kind: Kind, ip: str, now: datetime) -> None:
    """Tells it; the notifier always mails it."""
    alert = SecurityAlert(
        company_id=user.company_id,
        user_id=user.id,
        email=user.email,
        name=user.name,
        language=user.language,
        kind=kind,
        ip=ip,
        happened_at=now,
    )
    outbox.add(session, alert, now)
