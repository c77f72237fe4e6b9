"""Staff's view of mails: the delivery log, and sending a parked one again."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Request

from services.notifier import mailing
from services.notifier.models import Status
from services.notifier.schemas import MailView
from shared.access import Staff
from shared.db import Work
from shared.pagination import Cursor, Limit, Page, after, page

router = APIRouter(prefix="/api/v1/admin/mails", tags=["mails"])


@router.get("")
def list_mails(
    caller: Staff, session: Work, status: Status | None = None, cursor: Cursor = None, limit: Limit = 50
) -> Page[MailView]:
    """The delivery log, newest first; `status` shows those that wait, were sent or failed."""
    rows = mailing.log(session, status=status, before=after(cursor), limit=limit + 1)
    return page(rows, limit, lambda mail: mail.id, MailView.of)


@router.post("/{mail_id}/resend", status_code=202)
def resend_mail(mail_id: UUID, caller: Staff, session: Work, request: Request) -> MailView:
    """Sends a parked mail again."""
    return MailView.of(mailing.resend(session, mail_id, request.app.state.clock.now()))
