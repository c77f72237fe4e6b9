"""One's own account: profile, password, sessions."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Request

from services.identity import companies, login_sessions, passwords, people
from services.identity import password_changes as changes
from services.identity.models import LoginSession
from services.identity.schemas import Me, PasswordChange, PersonChange, SessionView
from shared.access import Person, user_of
from shared.db import Database, Work
from shared.errors import Invalid
from shared.pagination import Cursor, Limit, Page, after, page

router = APIRouter(prefix="/api/v1", tags=["account"])


@router.get("/me")
def show_me(caller: Person, session: Work) -> Me:
    """Who I am, and my company."""
    return Me.of(people.acting(session, caller))


@router.patch("/me")
def change_me(body: PersonChange, caller: Person, session: Work, request: Request) -> Me:
    """Changes my name or language."""
    user = people.acting(session, caller)
    companies.update_person(session, user, body.model_dump(exclude_none=True), request.app.state.clock.now())
    return Me.of(user)


@router.post("/me/password", status_code=204)
def change_password(body: PasswordChange, caller: Person, request: Request) -> None:
    """Changes my password and ends my other sessions."""
    database: Database = request.app.state.database
    now = request.app.state.clock.now()
    # A transaction of its own, because a wrong password is counted and then answered with an error.
    with passwords.turn(), database.unit_of_work() as session:
        changed = changes.change(session, user_of(caller), caller.session_id, body.current, body.new, caller.ip, now)
    if not changed:
        raise Invalid.field("current", "wrong-password", "This is not your password, or it was wrong too often")


@router.get("/sessions")
def list_sessions(
    caller: Person, session: Work, request: Request, cursor: Cursor = None, limit: Limit = 50
) -> Page[SessionView]:
    """My own sessions, newest first."""
    user = people.acting(session, caller)
    now = request.app.state.clock.now()
    rows = login_sessions.listed(session, user.id, now, before=after(cursor), limit=limit + 1)

    def view(row: LoginSession) -> SessionView:
        return SessionView(
            id=row.id,
            created_at=row.created_at,
            last_seen_at=row.last_seen_at,
            ip=row.ip,
            user_agent=row.user_agent,
            current=row.id == caller.session_id,
        )

    return page(rows, limit, lambda row: row.id, view)


@router.delete("/sessions/{session_id}", status_code=204)
def end_session(session_id: UUID, caller: Person, session: Work, request: Request) -> None:
    """Ends one of my own sessions."""
    user = people.acting(session, caller)
    login_sessions.end_own(session, user, session_id, request.app.state.clock.now())
