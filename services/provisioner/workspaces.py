"""What people ask for: new workspaces, and what shall become of them. Rows and facts only; nothing runs here."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Select, exists, or_, select
from sqlalchemy.orm import Session

from services.provisioner import entitlements, lifecycle, names, storage
from services.provisioner.errors import BeingDeleted, NameTaken, NoAddressLeft, NoSuchWorkspace
from services.provisioner.models import Entitlement, Workspace, address_slots
from services.provisioner.states import GONE, Desired, State, StopReason
from services.provisioner.templates import TEMPLATES
from shared.access import company_of, user_of
from shared.errors import Invalid
from shared.events.provisioner import WorkspaceRequested
from shared.ids import new_id
from shared.messaging import outbox
from shared.tokens import Principal, Role


def request(session: Session, caller: Principal, name: str, template: str, capacity: int, now: datetime) -> Workspace:
    """A new workspace of the caller, within the company's plan; `capacity` is how many addresses there are.

    Raises Invalid, NotEntitled, LimitReached, StorageFull, NameTaken or NoAddressLeft.
    """
    company_id = company_of(caller)
    name = names.clean(name)
    if template not in TEMPLATES:
        raise Invalid.field("template", "unknown", "There is no such template")
    entitlements.admit_new(session, company_id)
    storage.admit_new(session, company_id)
    key = names.key_of(name)
    _must_be_free(session, company_id, key)
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


def rename(session: Session, caller: Principal, workspace_id: UUID, name: str, now: datetime) -> Workspace:
    """It has another name, and its old address. Raises NoSuchWorkspace, BeingDeleted, NameTaken or Invalid."""
    name = names.clean(name)
    entitlements.locked(session, find(session, caller, workspace_id, now).company_id)
    workspace = _locked(session, caller, workspace_id, now)
    if workspace.desired in GONE:
        raise BeingDeleted
    key = names.key_of(name)
    if key != workspace.name_key:
        _must_be_free(session, workspace.company_id, key)
    workspace.name, workspace.name_key = name, key
    return workspace


def start(session: Session, caller: Principal, workspace_id: UUID, now: datetime) -> Workspace:
    """It shall run. Raises NoSuchWorkspace, NotEntitled, LimitReached or BeingDeleted."""
    workspace = _admitted(session, caller, workspace_id, now)
    lifecycle.start(workspace, now)
    return workspace


def restart(session: Session, caller: Principal, workspace_id: UUID, now: datetime) -> Workspace:
    """It shall run in a new container. Raises NoSuchWorkspace, BeingDeleted, and what a start raises."""
    workspace = _admitted(session, caller, workspace_id, now)
    lifecycle.restart(workspace, now)
    return workspace


def stop(session: Session, caller: Principal, workspace_id: UUID, now: datetime) -> Workspace:
    """It shall not run. Raises NoSuchWorkspace or BeingDeleted."""
    workspace = _locked(session, caller, workspace_id, now)
    if workspace.desired in GONE:
        raise BeingDeleted
    lifecycle.stop(workspace, StopReason.USER)
    return workspace


def delete(session: Session, caller: Principal, workspace_id: UUID, now: datetime, kept: timedelta) -> Workspace:
    """It shall be gone; for so long it can be brought back. Raises NoSuchWorkspace."""
    workspace = _locked(session, caller, workspace_id, now)
    lifecycle.delete(workspace, now, kept)
    return workspace


def restore(
    session: Session, caller: Principal, workspace_id: UUID, name: str | None, capacity: int, now: datetime
) -> Workspace:
    """A deleted workspace is there again, stopped, under its name or a new one. One that is there stays as it is.

    Raises NoSuchWorkspace (also where its time is over), Invalid, NotEntitled, LimitReached, NameTaken, NoAddressLeft.
    """
    name = None if name is None else names.clean(name)
    workspace = find(session, caller, workspace_id, now)
    if workspace.desired not in GONE:
        return workspace
    entitlements.admit_new(session, workspace.company_id)
    # The lock of the row decides between us and the control loop, which may be about to erase it.
    workspace = _locked(session, caller, workspace_id, now)
    if workspace.desired not in GONE:
        return workspace
    name = workspace.name if name is None else name
    key = names.key_of(name)
    _must_be_free(session, workspace.company_id, key)
    workspace.name, workspace.name_key = name, key
    if workspace.slot is None:
        workspace.slot = _free_slot(session, capacity)
    lifecycle.restore(workspace)
    storage.note_restored(session, workspace)
    return workspace


def stop_those_of(session: Session, company_id: UUID, owner_id: UUID) -> None:
    """Stops what somebody who left the company was running; the company's admins see it and its files stay."""
    theirs = select(Workspace).where(
        Workspace.company_id == company_id, Workspace.owner_id == owner_id, Workspace.desired.not_in(GONE)
    )
    for workspace in session.scalars(theirs.order_by(Workspace.id).with_for_update()):
        lifecycle.stop(workspace, StopReason.REMOVED)


def find(session: Session, caller: Principal, workspace_id: UUID, now: datetime) -> Workspace:
    """One the caller may see, also a deleted one that can be brought back. Raises NoSuchWorkspace."""
    found = session.scalar(_known(caller, workspace_id, now))
    if found is None:
        raise NoSuchWorkspace
    return found


def openable(session: Session, caller: Principal, workspace_id: UUID, now: datetime) -> Workspace:
    """One the caller may open in the browser: the owner, nobody else. Raises NoSuchWorkspace."""
    found = find(session, caller, workspace_id, now)
    if found.owner_id != user_of(caller) or found.desired in GONE:
        raise NoSuchWorkspace
    return found


def visible(caller: Principal) -> Select[Workspace]:
    """The workspaces the caller has: their own, or an admin's whole company."""
    return _within_reach(caller).where(Workspace.desired.not_in(GONE))


def restorable(caller: Principal, now: datetime) -> Select[Workspace]:
    """The deleted workspaces that the caller can bring back."""
    return _within_reach(caller).where(Workspace.desired == Desired.DELETED, Workspace.restorable_until > now)


def _within_reach(caller: Principal) -> Select[Workspace]:
    seen = select(Workspace).where(Workspace.company_id == company_of(caller))
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


def _known(caller: Principal, workspace_id: UUID, now: datetime) -> Select[Workspace]:
    # One whose time is over is not there, whether or not the control loop has come to it yet.
    there = or_(Workspace.desired.not_in(GONE), Workspace.restorable_until > now)
    return _within_reach(caller).where(Workspace.id == workspace_id, there)


def _locked(session: Session, caller: Principal, workspace_id: UUID, now: datetime) -> Workspace:
    statement = _known(caller, workspace_id, now).with_for_update()
    found = session.scalar(statement.execution_options(populate_existing=True))
    if found is None:
        raise NoSuchWorkspace
    return found


def _admitted(session: Session, caller: Principal, workspace_id: UUID, now: datetime) -> Workspace:
    """The row, locked, of one that runs or may start now: what runs was admitted when it started."""
    # The entitlement's lock comes before the row's, everywhere. Whether it runs is asked under both: a stop that comes
    # between would let a start pass unadmitted.
    entitlements.locked(session, find(session, caller, workspace_id, now).company_id)
    workspace = _locked(session, caller, workspace_id, now)
    if workspace.desired in GONE:
        raise BeingDeleted
    if workspace.desired != Desired.RUNNING or workspace.state == State.FAILED:
        entitlements.admit_start(session, workspace.company_id)
        storage.admit_start(session, workspace, now)
    return workspace


def _must_be_free(session: Session, company_id: UUID, key: str) -> None:
    """Raises NameTaken. Asked under the entitlement's lock: nobody of this company writes the name until we have."""
    same = exists().where(Workspace.company_id == company_id, Workspace.name_key == key, Workspace.desired.not_in(GONE))
    if session.scalar(select(same)):
        raise NameTaken


def _free_slot(session: Session, capacity: int) -> int:
    """The next slot that nobody has. Raises NoAddressLeft."""
    for _ in range(min(capacity, 1000)):
        slot: int = session.scalar(address_slots) % capacity
        if not session.scalar(select(exists().where(Workspace.slot == slot))):
            return slot
    raise NoAddressLeft
