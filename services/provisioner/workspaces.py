"""What people ask for: new workspaces, and what shall become of them. Rows and facts only; nothing runs here."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, exists, select
from sqlalchemy.orm import Session

from services.provisioner import entitlements, lifecycle, names
from services.provisioner.errors import BeingDeleted, NameTaken, NoAddressLeft, NoSuchWorkspace
from services.provisioner.models import Entitlement, Workspace, address_slots
from services.provisioner.states import Desired, State, StopReason
from services.provisioner.templates import TEMPLATES
from shared.access import company_of, user_of
from shared.errors import Invalid
from shared.events.provisioner import WorkspaceRequested
from shared.ids import new_id
from shared.messaging import outbox
from shared.tokens import Principal, Role


def request(session: Session, caller: Principal, name: str, template: str, capacity: int, now: datetime) -> Workspace:
    """A new workspace of the caller, within the company's plan; `capacity` is how many addresses there are.

    Raises Invalid, NotEntitled, LimitReached, NameTaken or NoAddressLeft.
    """
    company_id = company_of(caller)
    name = names.clean(name)
    if template not in TEMPLATES:
        raise Invalid.field("template", "unknown", "There is no such template")
    entitlements.admit_new(session, company_id)
    key = names.key_of(name)
    # Under the entitlement's lock, so nobody of this company writes the same name between look and insert.
    same = exists().where(
        Workspace.company_id == company_id, Workspace.name_key == key, Workspace.desired != Desired.DELETED
    )
    if session.scalar(select(same)):
        raise NameTaken
    workspace = Workspace(
        id=new_id(),
        company_id=company_id,
        owner_id=user_of(caller),
        owner_name=caller.name[:200],
        name=name,
        name_key=key,
        template=template,
        host=names.new_label(),
        slot=_free_slot(session, capacity),
        desired=Desired.RUNNING,
        state=State.REQUESTED,
        generation=1,
        stages=[lifecycle.stage("queued", now, now)],
        entitlement_stopped=False,
        restarts=0,
        created_at=now,
    )
    session.add(workspace)
    session.flush()
    outbox.add(session, WorkspaceRequested(**facts(workspace), host=workspace.host, template=template), now)
    return workspace


def start(session: Session, caller: Principal, workspace_id: UUID, now: datetime) -> Workspace:
    """It shall run. Raises NoSuchWorkspace, NotEntitled, LimitReached or BeingDeleted."""
    workspace = find(session, caller, workspace_id)
    if workspace.desired == Desired.RUNNING and workspace.state != State.FAILED:
        return workspace
    entitlements.admit_start(session, workspace.company_id)
    workspace = _locked(session, caller, workspace_id)
    if workspace.desired == Desired.DELETED:
        raise BeingDeleted
    lifecycle.start(workspace, now)
    return workspace


def stop(session: Session, caller: Principal, workspace_id: UUID) -> Workspace:
    """It shall not run. Raises NoSuchWorkspace or BeingDeleted."""
    workspace = _locked(session, caller, workspace_id)
    if workspace.desired == Desired.DELETED:
        raise BeingDeleted
    lifecycle.stop(workspace, StopReason.USER)
    return workspace


def delete(session: Session, caller: Principal, workspace_id: UUID) -> Workspace:
    """It shall be gone with its files. Raises NoSuchWorkspace."""
    workspace = _locked(session, caller, workspace_id)
    lifecycle.delete(workspace)
    return workspace


def stop_those_of(session: Session, company_id: UUID, owner_id: UUID) -> None:
    """Stops what somebody who left the company was running; the company's admins see it and its files stay."""
    theirs = select(Workspace).where(
        Workspace.company_id == company_id, Workspace.owner_id == owner_id, Workspace.desired != Desired.DELETED
    )
    for workspace in session.scalars(theirs.order_by(Workspace.id).with_for_update()):
        lifecycle.stop(workspace, StopReason.REMOVED)


def find(session: Session, caller: Principal, workspace_id: UUID) -> Workspace:
    """One the caller may see. Raises NoSuchWorkspace."""
    found = session.scalar(visible(caller).where(Workspace.id == workspace_id))
    if found is None:
        raise NoSuchWorkspace
    return found


def openable(session: Session, caller: Principal, workspace_id: UUID) -> Workspace:
    """One the caller may open in the browser: the owner, nobody else. Raises NoSuchWorkspace."""
    found = find(session, caller, workspace_id)
    if found.owner_id != user_of(caller):
        raise NoSuchWorkspace
    return found


def visible(caller: Principal) -> Select[Workspace]:
    """The living workspaces the caller may see: their own, or an admin's whole company."""
    seen = select(Workspace).where(Workspace.company_id == company_of(caller), Workspace.state != State.DELETED)
    if caller.role is not Role.ADMIN:
        seen = seen.where(Workspace.owner_id == user_of(caller))
    return seen


def quota(session: Session, company_id: UUID) -> tuple[int, Entitlement | None]:
    """How many workspaces the company has, and what it may have."""
    return entitlements.count(session, company_id), session.get(Entitlement, company_id)


def facts(workspace: Workspace) -> dict[str, Any]:
    """What every event of a workspace tells."""
    return {
        "company_id": workspace.company_id,
        "workspace_id": workspace.id,
        "owner_id": workspace.owner_id,
        "name": workspace.name,
    }


def _locked(session: Session, caller: Principal, workspace_id: UUID) -> Workspace:
    statement = visible(caller).where(Workspace.id == workspace_id).with_for_update()
    found = session.scalar(statement.execution_options(populate_existing=True))
    if found is None:
        raise NoSuchWorkspace
    return found


def _free_slot(session: Session, capacity: int) -> int:
    """The next slot that nobody has. Raises NoAddressLeft."""
    for _ in range(min(capacity, 1000)):
        slot: int = session.scalar(address_slots) % capacity
        if not session.scalar(select(exists().where(Workspace.slot == slot))):
            return slot
    raise NoAddressLeft
