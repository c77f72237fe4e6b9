"""What follows when a company's files take too much of its plan's storage.

Below the limit, people are warned at 80 and at 95 per cent, once per crossing. From the limit on no new workspace is
made (`storage.admit_new`), and what has grown is stopped. One that is started then may run for a while, so that people
can clean up. It is stopped at once when the company goes on growing; after `BURSTS` times of that nothing is started
to clean up for a day. So one company fills the disk so far and no further, and has a way out at any time: clean up,
delete, or a larger plan.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from services.provisioner import lifecycle, metrics
from services.provisioner.models import CompanyStorage, Entitlement, Workspace
from services.provisioner.states import GONE, STOP_CAUSES, Desired, State, StopReason
from services.provisioner.storage import used
from services.provisioner.workspaces import facts
from shared.events.provisioner import WorkspaceStorageWarning
from shared.logging import get_logger
from shared.messaging import outbox

log = get_logger(__name__)

CAUSE = STOP_CAUSES[StopReason.STORAGE]
LEVELS = (100, 95, 80)
"""Per cent at which people are warned."""
FELL = 5
"""Per cent below a level at which its warning may come again: who hovers around it is not told every minute."""
A_LITTLE = 100
"""A running editor always writes something: its own growth by less than this part of the limit is none."""
GROWTH = 20
"""Over the limit a company may grow by this part of what it uses (5 per cent), since cleaning up writes, too."""


def judge(session: Session, company_id: UUID, now: datetime, grace: timedelta, *, gently: bool = False) -> None:
    """Warns, stops and forgives, by what the company uses now.

    `gently`: not its files have changed but its limit, so what runs may go on for the `grace`, to clean up.
    """
    entitlement = session.get(Entitlement, company_id, with_for_update=True, populate_existing=True)
    if entitlement is None or not entitlement.active:
        return  # nothing runs, and the pages speak of the plan
    limit = entitlement.storage_bytes
    taken = used(session, company_id, limit)
    stands = session.get(CompanyStorage, company_id)
    if stands is None:
        if taken * 100 < limit * LEVELS[-1]:
            return
        stands = CompanyStorage(company_id=company_id, warned=0, bursts=0)
        session.add(stands)
    _warn(session, stands, taken, limit, now)
    if taken < limit:
        _forgive(session, stands)
    else:
        _hold(session, stands, taken, limit, now, grace, gently=gently)


def to_judge(session: Session) -> list[UUID]:
    """Companies with whom something is the matter, whether or not anything of theirs is measured."""
    matter = (CompanyStorage.warned > 0) | CompanyStorage.over_bytes.is_not(None)
    return list(session.scalars(select(CompanyStorage.company_id).where(matter).order_by(CompanyStorage.company_id)))


def _warn(session: Session, stands: CompanyStorage, taken: int, limit: int, now: datetime) -> None:
    level = next((level for level in LEVELS if taken * 100 >= limit * level), 0)
    if level > stands.warned:
        stands.warned = level
        if (workspace := _grown_most(session, stands.company_id)) is not None:
            warning = WorkspaceStorageWarning(
                **facts(workspace),
                percent=level,
                used_bytes=taken,
                limit_bytes=limit,
                workspace_bytes=workspace.storage_bytes or 0,
            )
            outbox.add(session, warning, now)
            metrics.storage_warnings.labels(str(level)).inc()
    elif taken * 100 < limit * (stands.warned - FELL):
        stands.warned = level


def _grown_most(session: Session, company_id: UUID) -> Workspace | None:
    grown = func.coalesce(Workspace.storage_bytes, 0) - func.coalesce(Workspace.storage_low, 0)
    living = select(Workspace).where(Workspace.company_id == company_id, Workspace.desired.not_in(GONE))
    order = (grown.desc(), Workspace.storage_bytes.desc().nulls_last(), Workspace.id)
    return session.scalar(living.order_by(*order).limit(1))


def _forgive(session: Session, stands: CompanyStorage) -> None:
    """There is room again: nothing is left of the time before."""
    if stands.over_bytes is None:
        return
    stands.over_bytes = stands.clean_until = stands.burst_at = None
    stands.bursts = 0
    marked = Workspace.storage_cleaning | (Workspace.cause == CAUSE)
    theirs = select(Workspace).where(Workspace.company_id == stands.company_id, marked)
    for workspace in session.scalars(theirs.order_by(Workspace.id).with_for_update()):
        workspace.storage_cleaning = False
        if workspace.cause == CAUSE:
            workspace.cause = None


def _hold(
    session: Session,
    stands: CompanyStorage,
    taken: int,
    limit: int,
    now: datetime,
    grace: timedelta,
    *,
    gently: bool,
) -> None:
    """The company is over its limit: stops what makes it worse."""
    burst = stands.over_bytes is not None and taken > stands.over_bytes + stands.over_bytes // GROWTH
    if burst:
        # Whether or not anything still runs: who fills the disk and stops before we look has filled it all the same.
        stands.bursts += 1
        stands.burst_at = now
        log.warning("company grows over its storage", company_id=str(stands.company_id), used=taken, limit=limit)
    stands.over_bytes = taken if burst or stands.over_bytes is None else min(stands.over_bytes, taken)
    running = select(Workspace).where(
        Workspace.company_id == stands.company_id,
        Workspace.desired == Desired.RUNNING,
        Workspace.state != State.FAILED,
    )
    over = stands.clean_until is not None and stands.clean_until <= now
    for workspace in session.scalars(running.order_by(Workspace.id).with_for_update()):
        grown = (workspace.storage_bytes or 0) - (workspace.storage_low or 0)
        if gently:
            workspace.storage_cleaning = True
        if workspace.storage_cleaning:
            if over or (burst and grown > 0):
                _stop(workspace)
            elif stands.clean_until is None:
                stands.clean_until = now + grace
        elif grown > limit // A_LITTLE or (burst and grown > 0):
            _stop(workspace)


def _stop(workspace: Workspace) -> None:
    lifecycle.stop(workspace, StopReason.STORAGE)
    metrics.storage_stops.inc()
    log.info("workspace is stopped, the storage is full", workspace_id=str(workspace.id))
