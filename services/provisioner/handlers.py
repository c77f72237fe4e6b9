"""What the provisioner hears."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import Text, cast, func, select
from sqlalchemy.orm import Session

from services.provisioner import entitlements, storage_limit, workspaces
from services.provisioner.models import Workspace
from services.provisioner.states import State
from shared.events.billing import EntitlementsChanged
from shared.events.identity import MemberRemoved
from shared.events.provisioner import WorkspaceRequested
from shared.messaging.consumer import Context, Handlers

WAKE = func.pg_notify(func.concat("workspaces_", func.current_schema()), cast(Workspace.id, Text))
"""Says "look at this one", as the table's trigger does."""


def on_entitlements_changed(session: Session, event: EntitlementsChanged, context: Context) -> None:
    """What the company may use is kept; its workspaces stop, come back, or get the new plan's limits."""
    if not entitlements.keep(session, event, context.envelope.sequence):
        return  # something newer is known
    entitlements.enforce(session, event.company_id, context.now)
    grace = timedelta(minutes=context.settings.storage_grace_minutes)
    storage_limit.judge(session, event.company_id, context.now, grace, gently=True)
    # Limits may have changed without a change of a row.
    session.execute(select(WAKE).where(Workspace.company_id == event.company_id, Workspace.state == State.RUNNING))


def on_member_removed(session: Session, event: MemberRemoved, context: Context) -> None:
    """What the person was running stops."""
    workspaces.stop_those_of(session, event.company_id, event.user_id)


def on_workspace_requested(session: Session, event: WorkspaceRequested, context: Context) -> None:
    """The control loop is woken, wherever it runs: it may have heard nothing while it was away."""
    session.execute(select(WAKE).where(Workspace.id == event.workspace_id))


HANDLERS: Handlers = {
    EntitlementsChanged: on_entitlements_changed,
    MemberRemoved: on_member_removed,
    WorkspaceRequested: on_workspace_requested,
}
