"""The provisioner's HTTP: workspaces for their people and their company's admins."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from sqlalchemy import select

from services.provisioner import disk, storage, workspaces
from services.provisioner.models import Disk, Workspace
from services.provisioner.schemas import (
    AccessView,
    DiskView,
    NewWorkspace,
    QuotaView,
    Restoration,
    StaffWorkspaceView,
    WorkspaceChange,
    WorkspaceView,
    staff_view,
    view,
)
from services.provisioner.settings import Settings
from services.provisioner.states import AT_REST
from services.provisioner.stream import HEADERS, Hub
from shared.access import Member, Staff, company_of
from shared.db import Work
from shared.idempotency import Key, once
from shared.pagination import Cursor, Limit, Page, after, page

router = APIRouter(prefix="/api/v1")


class EventStream(StreamingResponse):
    """Server-sent events."""

    media_type = "text/event-stream"


def _settings(request: Request) -> Settings:
    settings: Settings = request.app.state.settings
    return settings


@router.post("/workspaces", status_code=202)
def create_workspace(
    caller: Member, session: Work, request: Request, body: NewWorkspace, key: Key = None
) -> WorkspaceView:
    """Asks for a new workspace."""
    settings = _settings(request)

    def make() -> WorkspaceView:
        now = settings.clock.now()
        made = workspaces.request(session, caller, body.name, body.template, settings.capacity, now)
        return view(made, caller, settings)

    return once(session, key, caller, request, body, WorkspaceView, make)


@router.get("/workspaces")
def list_workspaces(
    caller: Member, session: Work, request: Request, cursor: Cursor = None, limit: Limit = 50
) -> Page[WorkspaceView]:
    """The caller's workspaces; an admin's whole company."""
    statement = workspaces.visible(caller).order_by(Workspace.id).limit(limit + 1)
    if (last := after(cursor)) is not None:
        statement = statement.where(Workspace.id > last)
    settings = _settings(request)
    return page(session.scalars(statement).all(), limit, lambda row: row.id, lambda row: view(row, caller, settings))


@router.get("/workspaces/quota")
def read_quota(caller: Member, session: Work, request: Request) -> QuotaView:
    """How many workspaces and how much storage the company has and may have."""
    used, entitlement = workspaces.quota(session, company_of(caller))
    days = _settings(request).restore_days
    if entitlement is None:
        nothing = {"limit": 0, "storage_used": 0, "storage_limit": 0, "active": False, "plan": ""}
        return QuotaView(used=used, restore_days=days, **nothing)
    return QuotaView(
        used=used,
        limit=entitlement.workspaces,
        storage_used=storage.used(session, entitlement.company_id, entitlement.storage_bytes),
        storage_limit=entitlement.storage_bytes,
        active=entitlement.active,
        plan=entitlement.plan,
        restore_days=days,
    )


@router.get("/workspaces/deleted")
def list_deleted_workspaces(
    caller: Member, session: Work, request: Request, cursor: Cursor = None, limit: Limit = 50
) -> Page[WorkspaceView]:
    """The deleted workspaces that the caller can bring back."""
    settings = _settings(request)
    statement = workspaces.restorable(caller, settings.clock.now()).order_by(Workspace.id.desc()).limit(limit + 1)
    if (last := after(cursor)) is not None:
        statement = statement.where(Workspace.id < last)
    return page(session.scalars(statement).all(), limit, lambda row: row.id, lambda row: view(row, caller, settings))


@router.get("/workspaces/events", response_class=EventStream)
async def follow_workspaces(caller: Member, request: Request) -> EventStream:
    """What the caller may see and each change of it, as server-sent events."""
    hub: Hub = request.app.state.hub
    return EventStream(hub.open(caller), headers=HEADERS)


@router.get("/workspaces/{workspace_id}")
def read_workspace(caller: Member, session: Work, request: Request, workspace_id: UUID) -> WorkspaceView:
    """One workspace; a deleted one as long as it can be brought back."""
    settings = _settings(request)
    return view(workspaces.find(session, caller, workspace_id, settings.clock.now()), caller, settings)


@router.patch("/workspaces/{workspace_id}")
def rename_workspace(
    caller: Member, session: Work, request: Request, workspace_id: UUID, body: WorkspaceChange
) -> WorkspaceView:
    """It has another name."""
    settings = _settings(request)
    renamed = workspaces.rename(session, caller, workspace_id, body.name, settings.clock.now())
    return view(renamed, caller, settings)


@router.get("/workspaces/{workspace_id}/access")
def read_access(caller: Member, session: Work, request: Request, workspace_id: UUID) -> AccessView:
    """Where the caller may open it."""
    settings = _settings(request)
    found = workspaces.openable(session, caller, workspace_id, settings.clock.now())
    url = settings.workspace_url(found.host)
    return AccessView(host=found.host, url=url, workspace_id=found.id)


@router.post("/workspaces/{workspace_id}/start", status_code=202)
def start_workspace(caller: Member, session: Work, request: Request, workspace_id: UUID) -> WorkspaceView:
    """It shall run."""
    settings = _settings(request)
    return view(workspaces.start(session, caller, workspace_id, settings.clock.now()), caller, settings)


@router.post("/workspaces/{workspace_id}/restart", status_code=202)
def restart_workspace(caller: Member, session: Work, request: Request, workspace_id: UUID) -> WorkspaceView:
    """It shall run in a new container, with the same files; one that does not run starts."""
    settings = _settings(request)
    return view(workspaces.restart(session, caller, workspace_id, settings.clock.now()), caller, settings)


@router.post("/workspaces/{workspace_id}/stop", status_code=202)
def stop_workspace(caller: Member, session: Work, request: Request, workspace_id: UUID) -> WorkspaceView:
    """It shall not run. A start under way is taken back."""
    settings = _settings(request)
    return view(workspaces.stop(session, caller, workspace_id, settings.clock.now()), caller, settings)


@router.delete("/workspaces/{workspace_id}", status_code=202)
def delete_workspace(caller: Member, session: Work, request: Request, workspace_id: UUID) -> WorkspaceView:
    """It shall be gone. Its files are kept until `restorable_until`; then they go, too."""
    settings = _settings(request)
    kept = timedelta(days=settings.restore_days)
    return view(workspaces.delete(session, caller, workspace_id, settings.clock.now(), kept), caller, settings)


@router.post("/workspaces/{workspace_id}/restore", status_code=202)
def restore_workspace(
    caller: Member, session: Work, request: Request, workspace_id: UUID, body: Restoration | None = None
) -> WorkspaceView:
    """A deleted workspace is there again, stopped, with its files."""
    settings = _settings(request)
    name = body.name if body else None
    now = settings.clock.now()
    restored = workspaces.restore(session, caller, workspace_id, name, settings.capacity, now)
    return view(restored, caller, settings)


@router.get("/admin/workspaces")
def list_all_workspaces(
    caller: Staff, session: Work, request: Request, cursor: Cursor = None, limit: Limit = 50
) -> Page[StaffWorkspaceView]:
    """Everybody's workspaces."""
    statement = select(Workspace).where(Workspace.state.not_in(AT_REST)).order_by(Workspace.id).limit(limit + 1)
    if (last := after(cursor)) is not None:
        statement = statement.where(Workspace.id > last)
    settings = _settings(request)
    rows = session.scalars(statement).all()
    return page(rows, limit, lambda row: row.id, lambda row: staff_view(row, caller, settings))


@router.get("/admin/workspaces/disk")
def read_disk(caller: Staff, session: Work, request: Request) -> DiskView | None:
    """How full the disk of all workspaces' files is; null while nobody has looked."""
    seen = session.get(Disk, True)
    if seen is None:
        return None
    return DiskView(
        total_bytes=seen.total_bytes,
        free_bytes=seen.free_bytes,
        reserve_bytes=disk.reserve(seen.total_bytes, _settings(request).host_reserve_bytes),
        low=seen.low,
        read_at=seen.read_at,
    )
