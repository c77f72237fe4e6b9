"""What a company's files take, and what is admitted by it. `measure` finds out, `storage_limit` acts.

All of it counts under the lock of the company's entitlement, like everything else that counts against a plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from services.provisioner.engine import Size
from services.provisioner.errors import StorageFull, StorageLocked
from services.provisioner.models import CompanyStorage, Entitlement, Workspace
from services.provisioner.states import GONE, State

BURSTS = 3
"""So often a company may go on growing over its limit; then nothing is started to clean up until `REST` has passed."""
REST = timedelta(days=1)
AT_REST = (State.STOPPED, State.FAILED, State.DELETED)
"""Nothing writes to its files any more."""


def used(session: Session, company_id: UUID, limit: int) -> int:
    """Bytes the company uses, as measured last.

    Deleted workspaces that can be brought back still lie on the disk. They are free as long as they take no more than
    the plan holds; what is beyond that counts: to fill, delete and fill again leads nowhere.
    """
    deleted = Workspace.desired.in_(GONE)
    size = func.coalesce(func.sum(Workspace.storage_bytes).filter(~deleted), 0)
    kept = func.coalesce(func.sum(Workspace.storage_bytes).filter(deleted), 0)
    theirs = select(size, kept).where(Workspace.company_id == company_id, Workspace.state != State.ERASED)
    living, restorable = (int(count or 0) for count in session.execute(theirs).one())
    return living + max(0, restorable - limit)


def limit_of(session: Session, company_id: UUID) -> int:
    """Bytes the company may use."""
    entitlement = session.get(Entitlement, company_id)
    return entitlement.storage_bytes if entitlement else 0


def admit_new(session: Session, company_id: UUID) -> None:
    """There is room for a further workspace. Raises StorageFull."""
    limit = limit_of(session, company_id)
    taken = used(session, company_id, limit)
    if taken >= limit:
        raise StorageFull(limit=limit, used=taken)


def admit_start(session: Session, workspace: Workspace, now: datetime) -> None:
    """It may start; over the limit for a while only, to clean up. Raises StorageLocked."""
    limit = limit_of(session, workspace.company_id)
    taken = used(session, workspace.company_id, limit)
    full = taken >= limit
    stands = session.get(CompanyStorage, workspace.company_id)
    if full and stands is not None:
        if stands.bursts >= BURSTS and stands.burst_at is not None and now < stands.burst_at + REST:
            raise StorageLocked(limit=limit, used=taken, again_at=(stands.burst_at + REST).isoformat())
        if stands.clean_until is not None and stands.clean_until <= now:
            stands.clean_until = None  # a new while; one that is not over yet goes on, however often one starts
    workspace.storage_cleaning = full
    workspace.storage_low = workspace.storage_bytes or 0


def note_restored(session: Session, workspace: Workspace) -> None:
    """Its files count fully again. Nobody has written anything, so that is no growth."""
    stands = session.get(CompanyStorage, workspace.company_id)
    if stands is not None and stands.over_bytes is not None:
        stands.over_bytes += workspace.storage_bytes or 0


def record(
    session: Session, seen: Mapping[UUID, tuple[State, int]], sizes: Mapping[UUID, Size], now: datetime, *, last: bool
) -> None:
    """Writes what was measured. `seen` are the workspaces' states and generations before it was.

    A size in part is the least there is: it raises what we know, and never lowers it. `last`: nobody will measure
    with more patience, so for one at rest it is final all the same.
    """
    rows = select(Workspace).where(Workspace.id.in_(sizes)).order_by(Workspace.id).with_for_update()
    for row in session.scalars(rows):
        size = sizes[row.id]
        row.storage_bytes = size.bytes if size.whole else max(size.bytes, row.storage_bytes or 0)
        row.storage_in_part = not size.whole
        row.storage_at = now
        if row.storage_low is None or (size.whole and size.bytes < row.storage_low):
            row.storage_low = row.storage_bytes
        state, generation = seen[row.id]
        if state in AT_REST and row.generation == generation and (size.whole or last):
            row.storage_final_of = generation
