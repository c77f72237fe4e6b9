"""What the provisioner tells: the life of workspaces."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar, Literal
from uuid import UUID

from pydantic import Field

from shared.events import CompanyEvent, Text


class WorkspaceEvent(CompanyEvent):
    """An event of one workspace."""

    subject_field: ClassVar[str] = "workspace_id"

    workspace_id: UUID
    owner_id: UUID
    name: Text


class WorkspaceRequested(WorkspaceEvent):
    """A workspace was asked for and accepted. It does not run yet. From now on its host is its own, for ever."""

    type: ClassVar[str] = "workspace.requested"

    host: Text
    """The host label: the workspace is reached at `<host>.<workspaces domain>`."""
    template: Text


class WorkspaceReady(WorkspaceEvent):
    """A new workspace's editor answered at its address for the first time."""

    type: ClassVar[str] = "workspace.ready"

    host: Text
    url: Text
    took_ms: int


class WorkspaceStarted(WorkspaceEvent):
    """A workspace that was stopped or restarted answers again."""

    type: ClassVar[str] = "workspace.started"
    unread_because: ClassVar[str | None] = "for the activity feed to come; pages follow the provisioner's stream"

    took_ms: int


class WorkspaceStopped(WorkspaceEvent):
    """The workspace runs no more; its files are kept."""

    type: ClassVar[str] = "workspace.stopped"
    unread_because: ClassVar[str | None] = "for the activity feed to come; pages follow the provisioner's stream"

    reason: Literal["user", "entitlement", "removed"]
    cause: Text | None = None
    """In the platform's own words, where it was no person's wish; `storage-full` comes with reason `entitlement`."""


class WorkspaceFailed(WorkspaceEvent):
    """The workspace could not be brought to where it should be; `cause` says why in the platform's own words."""

    type: ClassVar[str] = "workspace.failed"
    unread_because: ClassVar[str | None] = "for the mail and the activity feed to come; pages show it"

    cause: Text


class WorkspaceStorageWarning(WorkspaceEvent):
    """The company's files take `percent` (80, 95, 100) of its plan's storage, which they did not before.

    Told once per crossing, and again only after they fell below. It names the workspace that has grown most.
    """

    type: ClassVar[str] = "workspace.storage_warning"

    percent: Annotated[int, Field(ge=1, le=100)]
    used_bytes: Annotated[int, Field(ge=0)]
    limit_bytes: Annotated[int, Field(ge=0)]
    """Of the whole company."""
    workspace_bytes: Annotated[int, Field(ge=0)]


class WorkspaceDeleted(WorkspaceEvent):
    """The workspace and its files are gone, for good: not said while a deleted one can still be brought back."""

    type: ClassVar[str] = "workspace.deleted"

    host: Text
    deleted_at: datetime
