"""What the notifier tells: what became of mails."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from shared.events import Event, Text


class MailSent(Event):
    """The mail server took the mail. It does not say that it was read, or even delivered."""

    type: ClassVar[str] = "mail.sent"
    subject_field: ClassVar[str] = "mail_id"
    unread_because: ClassVar[str | None] = "for the activity feed to come; the delivery log is the notifier's own"

    mail_id: UUID
    kind: Text


class MailFailed(Event):
    """The mail could not be sent and will not be tried again by itself."""

    type: ClassVar[str] = "mail.failed"
    subject_field: ClassVar[str] = "mail_id"
    unread_because: ClassVar[str | None] = "staff see it in the delivery log and by a metric"

    mail_id: UUID
    kind: Text
    reason: Text
