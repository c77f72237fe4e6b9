"""What every service lets staff do with its parked events, under `/api/v1/ops/<service>`."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from fastapi import APIRouter
from pydantic import BaseModel

from shared.access import Staff
from shared.db import Work
from shared.messaging import deadletters
from shared.messaging.deadletters import DeadLetter
from shared.pagination import Cursor, Limit, Page, after, page


class DeadLetterView(BaseModel):
    """A parked delivery as staff see it: its story, never its contents."""

    id: UUID
    event_id: UUID | None
    type: str
    handler: str
    error: str
    attempts: int
    first_failed_at: datetime
    last_failed_at: datetime


def router(service: str) -> APIRouter:
    """The routes of one service; `app.py` includes them."""
    routes = APIRouter(prefix=f"/api/v1/ops/{service}/dead-letters", tags=["ops"])

    @routes.get("")
    def list_dead_letters(
        caller: Staff, session: Work, cursor: Cursor = None, limit: Limit = 50
    ) -> Page[DeadLetterView]:
        """Parked deliveries, oldest first."""
        rows = deadletters.parked(session, after=after(cursor), limit=limit + 1)
        return page(rows, limit, lambda row: row.id, _view)

    @routes.post("/{letter_id}/replay", status_code=204)
    def replay_dead_letter(letter_id: UUID, caller: Staff, session: Work) -> None:
        """Handles it again, now."""
        deadletters.replay(session, letter_id)

    @routes.delete("/{letter_id}", status_code=204)
    def drop_dead_letter(letter_id: UUID, caller: Staff, session: Work) -> None:
        """Gives it up for good."""
        deadletters.drop(session, letter_id)

    return routes


def _view(letter: DeadLetter) -> DeadLetterView:
    return DeadLetterView(**vars(letter))
