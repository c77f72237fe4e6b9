"""What staff see of mails: never their contents."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from pydantic import BaseModel

from services.notifier.models import Mail


class MailView(BaseModel):
    """A line of the delivery log."""

    id: UUID
    kind: str
    to: str
    language: str
    status: str
    attempts: int
    reason: str
    created_at: datetime
    sent_at: datetime | None

    @classmethod
    def of(cls, mail: Mail) -> MailView:
        """From the row."""
        return cls.model_validate(
            {"to": mail.recipient, **{name: getattr(mail, name) for name in cls.model_fields if name != "to"}}
        )
