"""What companies may use, as billing said last, and what follows for their workspaces."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.provisioner import lifecycle
from services.provisioner.engine import Limits
from services.provisioner.errors import LimitReached, NotEntitled
from services.provisioner.models import Entitlement, Workspace
from services.provisioner.states import GONE, Desired, State, StopReason
from shared.events.billing import EntitlementsChanged

LEAST = Limits(cpu_millicores=100, memory_bytes=64 * 1024**2, processes=32)
"""No workspace gets less: to an engine a limit of zero means none at all."""


def keep(session: Session, event: EntitlementsChanged, sequence: int) -> bool:
    """Keeps what the company may use now; False where something newer is known."""
    facts = event.model_dump(exclude={"company_id"})
    statement = insert(Entitlement).values(company_id=event.company_id, sequence=sequence, **facts)
    kept = session.execute(
        statement.on_conflict_do_update(
            index_elements=[Entitlement.company_id],
            set_={"sequence": sequence, **facts},
            where=Entitlement.sequence < sequence,
        ).returning(Entitlement.company_id)
    ).first()
    return kept is not None


def enforce(session: Session, company_id: UUID, now: datetime) -> None:
    """Stops what may not run any more; brings back what ran when it was stopped so, as far as the plan goes."""
    entitlement = locked(session, company_id)
    if not entitlement.active:
        running = select(Workspace).where(Workspace.company_id == company_id, Workspace.desired == Desired.RUNNING)
        for workspace in session.scalars(running.order_by(Workspace.id).with_for_update()):
            lifecycle.stop(workspace, StopReason.ENTITLEMENT)
            workspace.entitlement_stopped = True
        return
    waiting = select(Workspace).where(
        Workspace.company_id == company_id, Workspace.entitlement_stopped, Workspace.desired == Desired.STOPPED
    )
    free = room(session, entitlement)
    for workspace in session.scalars(waiting.order_by(Workspace.id).limit(free).with_for_update()):
        lifecycle.start(workspace, now)
    if free is None:
        return
    # What the smaller plan has no room for stays stopped: a bigger one later is no reason to start it by surprise.
    session.flush()
    for workspace in session.scalars(waiting.with_for_update()):
        workspace.entitlement_stopped = False


def locked(session: Session, company_id: UUID) -> Entitlement:
    """The company's entitlement, locked until the transaction ends: whoever counts against it waits for its turn.

    Raises NotEntitled where billing has said nothing yet.
    """
    found = session.get(Entitlement, company_id, with_for_update=True, populate_existing=True)
    if found is None:
        raise NotEntitled("Your company's plan has not reached us yet. Try again in a moment.")
    return found


def admit_new(session: Session, company_id: UUID) -> None:
    """One more workspace is within the plan, and nobody else takes its place meanwhile.

    Raises NotEntitled or LimitReached.
    """
    entitlement = locked(session, company_id)
    if not entitlement.active:
        raise NotEntitled
    used = count(session, company_id)
    if entitlement.workspaces is not None and used >= entitlement.workspaces:
        raise LimitReached(limit=entitlement.workspaces, used=used)


def admit_start(session: Session, company_id: UUID) -> None:
    """One more of the company's workspaces may run. Raises NotEntitled or LimitReached (after a smaller plan)."""
    entitlement = locked(session, company_id)
    if not entitlement.active:
        raise NotEntitled
    free = room(session, entitlement)
    if free is not None and free < 1:
        raise LimitReached("Stop another workspace first", limit=entitlement.workspaces)


def count(session: Session, company_id: UUID) -> int:
    """How many workspaces the company has."""
    living = select(func.count()).where(Workspace.company_id == company_id, Workspace.desired.not_in(GONE))
    return session.scalar(living) or 0


def room(session: Session, entitlement: Entitlement) -> int | None:
    """How many more may run; None is without limit. A failed one runs no more than a stopped one."""
    if entitlement.workspaces is None:
        return None
    running = select(func.count()).where(
        Workspace.company_id == entitlement.company_id,
        Workspace.desired == Desired.RUNNING,
        Workspace.state != State.FAILED,
    )
    return max(0, entitlement.workspaces - (session.scalar(running) or 0))


def limits_of(entitlement: Entitlement | None) -> Limits:
    """What one workspace of this company may use."""
    if entitlement is None:
        return LEAST
    return Limits(
        cpu_millicores=max(entitlement.cpu_millicores, LEAST.cpu_millicores),
        memory_bytes=max(entitlement.memory_bytes, LEAST.memory_bytes),
        processes=max(entitlement.processes, LEAST.processes),
    )
