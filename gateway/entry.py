"""From the platform to a workspace: the platform's half. It asks the provisioner whether this person may open it, and
sends the browser on with a ticket.

Both routes are GETs: they change nothing but make a ticket that only this browser gets to see, and the door of a
workspace must be able to lead here.
"""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from gateway import limits, tickets
from gateway.access import Member
from gateway.hosts import LABEL
from gateway.knowledge import Knowledge, Place
from gateway.services import ask
from gateway.sessions import Session
from gateway.settings import Settings
from gateway.targets import safe_path
from gateway.tickets import Leave
from shared.db import Database
from shared.errors import NotFound

routes = APIRouter(include_in_schema=False, prefix="/workspaces")
ENTER = "/.youarecoder/enter"


class NoSuchWorkspace(NotFound):
    code = "no-such-workspace"
    title = "There is no such workspace, or it is not yours to open"


@routes.get("/enter")
async def enter(request: Request, visitor: Member, host: str = "", to: str = "/") -> Response:
    """Where a workspace's door leads a person without a cookie; `host` is the label, `to` the path wanted there."""
    knowledge: Knowledge = request.app.state.knowledge
    place = knowledge.place(host) if LABEL.match(host) else None
    if place is None:
        raise NoSuchWorkspace
    return await _send_in(request, visitor, place.workspace_id, safe_path(to, "/"))


@routes.get("/{workspace_id}/open")
async def open_workspace(request: Request, visitor: Member, workspace_id: UUID) -> Response:
    """The dashboard's link to the editor."""
    return await _send_in(request, visitor, workspace_id, "/")


async def _send_in(request: Request, visitor: Session, workspace_id: UUID, to: str) -> Response:
    limits.take(request, limits.TICKETS, str(visitor.user_id))
    access: dict[str, Any] = await ask(request, "provisioner", "GET", f"/api/v1/workspaces/{workspace_id}/access")
    settings: Settings = request.app.state.settings
    label = str(access["host"]).removesuffix(f".{settings.workspaces_domain}")
    if UUID(str(access["workspace_id"])) != workspace_id or not LABEL.match(label) or visitor.company_id is None:
        raise NoSuchWorkspace
    leave = Leave(label, workspace_id, visitor.company_id, visitor.user_id, visitor.session_id)
    ticket = await asyncio.to_thread(_issue, request, leave)
    knowledge: Knowledge = request.app.state.knowledge
    knowledge.workspace_known(label, Place(workspace_id, visitor.company_id, visitor.user_id))
    query = urlencode({"ticket": ticket, **({"to": to} if to != "/" else {})})
    # The address comes from our settings and a checked label, never from what a service or a browser wrote.
    response = RedirectResponse(f"{settings.workspace_url(label)}{ENTER}?{query}", 303)
    response.headers["Referrer-Policy"] = "no-referrer"
    return response


def _issue(request: Request, leave: Leave) -> str:
    database: Database = request.app.state.database
    with database.unit_of_work() as work:
        return tickets.issue(work, leave, request.app.state.clock.now())
