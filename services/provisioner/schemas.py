"""What clients send and see."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from services.provisioner.causes import CAUSES
from services.provisioner.models import Workspace
from services.provisioner.settings import Settings
from services.provisioner.states import State
from shared.tokens import Principal


class NewWorkspace(BaseModel):
    """A wish for a workspace. The exact rules of names are in `names.clean`."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(max_length=200)]
    template: Annotated[str, Field(max_length=40)] = "plain"


class WorkspaceChange(BaseModel):
    """What can be changed of a workspace."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(max_length=200)]


class Restoration(BaseModel):
    """How a deleted workspace comes back: under its own name, or under a new one where that was given away."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str | None, Field(max_length=200)] = None


class StageView(BaseModel):
    """A stage the present start has reached; `ms` since it was asked for."""

    name: str
    at: datetime
    ms: int


class CauseView(BaseModel):
    """Why it is not where it should be, in the caller's language."""

    code: str
    message: str
    next_step: str


class WorkspaceView(BaseModel):
    """A workspace as its company's people see it."""

    id: UUID
    name: str
    owner_id: UUID
    owner_name: str
    template: str
    host: str
    url: str
    state: State
    stages: list[StageView]
    cause: CauseView | None
    created_at: datetime
    started_at: datetime | None
    deleted_at: datetime | None
    restorable_until: datetime | None
    storage_bytes: int | None
    """What its files take on the disk, as measured last; null before the first time."""
    storage_at: datetime | None
    mine: bool


class StaffWorkspaceView(WorkspaceView):
    """A workspace as the platform's staff see it."""

    company_id: UUID


class DiskView(BaseModel):
    """How full the disk of all workspaces' files is. `low`: less is free than the reserve, so nothing is started."""

    total_bytes: int
    free_bytes: int
    reserve_bytes: int
    low: bool
    read_at: datetime


class QuotaView(BaseModel):
    """How many workspaces and bytes the company has and may have; no limit is null, no plan yet is empty."""

    used: int
    limit: int | None
    storage_used: int
    """Bytes of all its workspaces, as measured last. Deleted ones count with what exceeds the limit once more."""
    storage_limit: int
    active: bool
    plan: str
    restore_days: int
    """For so many days a deleted workspace can be brought back."""


class AccessView(BaseModel):
    """Where the caller may open the workspace."""

    host: str
    url: str
    workspace_id: UUID


def view(workspace: Workspace, caller: Principal, settings: Settings) -> WorkspaceView:
    """The workspace for this caller."""
    return WorkspaceView(
        id=workspace.id,
        name=workspace.name,
        owner_id=workspace.owner_id,
        owner_name=workspace.owner_name,
        template=workspace.template,
        host=workspace.host,
        url=settings.workspace_url(workspace.host),
        state=State(workspace.state),
        stages=[StageView(**stage) for stage in workspace.stages],
        cause=_cause(workspace.cause, caller.language),
        created_at=workspace.created_at,
        started_at=workspace.started_at,
        deleted_at=workspace.deleted_at,
        restorable_until=workspace.restorable_until,
        storage_bytes=workspace.storage_bytes,
        storage_at=workspace.storage_at,
        mine=workspace.owner_id == caller.user_id,
    )


def staff_view(workspace: Workspace, caller: Principal, settings: Settings) -> StaffWorkspaceView:
    """The workspace for the platform's staff."""
    seen = view(workspace, caller, settings)
    return StaffWorkspaceView(company_id=workspace.company_id, **dict(seen))


def _cause(code: str | None, language: str) -> CauseView | None:
    if code is None:
        return None
    message, next_step = CAUSES[code].words(language)
    return CauseView(code=code, message=message, next_step=next_step)
