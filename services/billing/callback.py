"""`POST /billing/callback`: PayTR's notifications. Raw body in, exactly `OK` out, or nothing PayTR takes for it.

No token, no session, no redirect. 400 says "not genuine" and no more; 503 makes PayTR send it again.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response
from prometheus_client import Counter

from services.billing import notifications
from services.billing.payments.notices import MAX_BODY
from services.billing.payments.port import BadNotification, Provider
from shared.clock import Clock
from shared.db import Database
from shared.errors import BadRequest, TooLarge, Unavailable
from shared.http import problem_response
from shared.logging import get_logger

if TYPE_CHECKING:
    from services.billing.settings import Settings

log = get_logger(__name__)
taken = Counter("billing_notifications_total", "PayTR's notifications", ["outcome"])
router = APIRouter(tags=["callback"])


class SparseLog:
    """A line now and then, with how many were left out: bad requests cost their sender more than our disk."""

    EVERY = 10.0

    def __init__(self) -> None:
        self._next = 0.0
        self._left_out = 0

    def tell(self, why: str) -> None:
        """Logs `why`, unless a line was written a moment ago."""
        now = time.monotonic()
        if now < self._next:
            self._left_out += 1
            return
        log.warning("notification refused", why=why, left_out=self._left_out)
        self._next, self._left_out = now + self.EVERY, 0


refusals = SparseLog()


@router.post("/billing/callback", include_in_schema=False)
async def paytr_notification(request: Request) -> Response:
    """Answers `OK` when, and only when, the notification is recorded and booked."""
    body = await request.body()
    if len(body) > MAX_BODY:
        taken.labels("refused").inc()
        return problem_response(TooLarge())
    state = request.app.state
    provider: Provider = state.provider
    database: Database = state.database
    clock: Clock = state.clock
    settings: Settings = state.settings
    try:
        notice = provider.read_notice(dict(request.headers), body)
    except BadNotification as bad:
        taken.labels("refused").inc()
        refusals.tell(bad.why)
        return problem_response(BadRequest())
    try:
        await asyncio.to_thread(notifications.take, database, notice, body, settings, clock.now())
    except Exception:
        # Whatever it was: it is not booked, so PayTR must not hear OK, and it will come again.
        taken.labels("not_recorded").inc()
        log.exception("notification could not be booked", order=notice.order_number, status=notice.status)
        return problem_response(Unavailable())
    taken.labels(notice.status).inc()
    return PlainTextResponse("OK", media_type="text/plain")
