"""What the gateway keeps of what it hears, in its own tables; each process's memory hears the same (`knowledge.py`)."""

from __future__ import annotations

from sqlalchemy import update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from gateway.models import RemovedMember, RevokedSession, Workspace
from shared.events.identity import MemberRemoved, SessionRevoked
from shared.events.provisioner import WorkspaceDeleted, WorkspaceRequested
from shared.messaging.consumer import Context, Handlers


def remember_workspace(session: Session, event: WorkspaceRequested, context: Context) -> None:
    """The host is this workspace's; a deletion that was heard first stands."""
    row = insert(Workspace).values(
        id=event.workspace_id, host=event.host, company_id=event.company_id, owner_id=event.owner_id
    )
    session.execute(row.on_conflict_do_nothing(index_elements=[Workspace.id]))


def forget_workspace(session: Session, event: WorkspaceDeleted, context: Context) -> None:
    """Nobody enters any more, also where the deletion is heard before the request."""
    row = insert(Workspace).values(
        id=event.workspace_id,
        host=event.host,
        company_id=event.company_id,
        owner_id=event.owner_id,
        deleted_at=event.deleted_at,
    )
    gone = row.on_conflict_do_update(index_elements=[Workspace.id], set_={"deleted_at": event.deleted_at})
    session.execute(gone)


def remember_revocation(session: Session, event: SessionRevoked, context: Context) -> None:
    """The session is over, for workspaces, too."""
    row = insert(RevokedSession).values(session_id=event.session_id, revoked_at=event.revoked_at)
    session.execute(row.on_conflict_do_nothing())


def remember_removal(session: Session, event: MemberRemoved, context: Context) -> None:
    """Workspace cookies from before this moment are void; facts may arrive in any order."""
    at = context.envelope.time
    row = insert(RemovedMember).values(user_id=event.user_id, removed_at=at)
    session.execute(row.on_conflict_do_nothing())
    newer = update(RemovedMember).where(RemovedMember.user_id == event.user_id, RemovedMember.removed_at < at)
    session.execute(newer.values(removed_at=at))


HANDLERS: Handlers = {
    WorkspaceRequested: remember_workspace,
    WorkspaceDeleted: forget_workspace,
    SessionRevoked: remember_revocation,
    MemberRemoved: remember_removal,
}
