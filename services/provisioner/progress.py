"""What the control loop writes: who works on a workspace, and how far it is.

Every write checks that the lease still holds and that nobody has wanted something else meanwhile.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, or_, select, update
from sqlalchemy.orm import Session

from services.provisioner import entitlements, lifecycle, states
from services.provisioner.engine import Limits
from services.provisioner.models import Entitlement, Workspace
from services.provisioner.states import AT_REST, STOP_CAUSES, Desired, State, StopReason
from services.provisioner.workspaces import facts
from shared.events.provisioner import (
    WorkspaceDeleted,
    WorkspaceFailed,
    WorkspaceReady,
    WorkspaceStarted,
    WorkspaceStopped,
)
from shared.messaging import outbox

RESTART_WINDOW = timedelta(minutes=10)
MOST_ERASURES = 100
"""Erasures one full look begins."""


class Overtaken(Exception):
    """The lease was lost or something else is wanted by now: look again before the next step."""


def claim(session: Session, workspace_id: UUID, holder: UUID, lease: timedelta) -> bool:
    """Takes the workspace for `holder`, where nobody else works on it."""
    free = (
        select(Workspace.id)
        .where(
            Workspace.id == workspace_id,
            Workspace.state != State.ERASED,
            or_(Workspace.leased_until.is_(None), Workspace.leased_until < func.clock_timestamp()),
        )
        .with_for_update(skip_locked=True)
    )
    claimed = session.execute(
        update(Workspace)
        .where(Workspace.id.in_(free))
        .values(lease_holder=holder, leased_until=func.clock_timestamp() + lease)
        .returning(Workspace.id)
    )
    return claimed.first() is not None


def renew(session: Session, holder: UUID, lease: timedelta) -> None:
    """Keeps all that `holder` works on. A lease that has run out stays lost: another may have taken over."""
    session.execute(
        update(Workspace)
        .where(Workspace.lease_holder == holder, Workspace.leased_until > func.clock_timestamp())
        .values(leased_until=func.clock_timestamp() + lease)
    )


def release(session: Session, workspace_id: UUID, holder: UUID) -> None:
    """Gives the workspace back, where it is still ours."""
    session.execute(
        update(Workspace)
        .where(Workspace.id == workspace_id, Workspace.lease_holder == holder)
        .values(lease_holder=None, leased_until=None)
    )


def look(session: Session, workspace_id: UUID, holder: UUID) -> tuple[Workspace, Limits]:
    """The row and what its company may give it. Raises Overtaken where the lease is lost."""
    found = session.execute(
        select(Workspace, Entitlement)
        .outerjoin(Entitlement, Entitlement.company_id == Workspace.company_id)
        .where(Workspace.id == workspace_id, Workspace.lease_holder == holder)
        .where(Workspace.leased_until > func.clock_timestamp())
    ).first()
    if found is None:
        raise Overtaken
    return found[0], entitlements.limits_of(found[1])


def shall_run(session: Session, workspace_id: UUID) -> bool:
    """Whether it is wanted running at present."""
    wanted = session.scalar(select(Workspace.desired).where(Workspace.id == workspace_id))
    return wanted == Desired.RUNNING


def living(session: Session) -> list[tuple[Workspace, Limits]]:
    """Every workspace that is neither deleted nor erased."""
    statement = (
        select(Workspace, Entitlement)
        .outerjoin(Entitlement, Entitlement.company_id == Workspace.company_id)
        .where(Workspace.state.not_in(AT_REST))
    )
    return [(row, entitlements.limits_of(entitlement)) for row, entitlement in session.execute(statement)]


def to_erase(session: Session, now: datetime) -> list[UUID]:
    """Deleted workspaces that can be brought back no longer, the oldest first; the next look finds what is more."""
    over = (
        select(Workspace.id)
        .where(Workspace.state == State.DELETED, Workspace.restorable_until <= now)
        .order_by(Workspace.restorable_until)
        .limit(MOST_ERASURES)
    )
    return list(session.scalars(over))


def limits_given(session: Session, seen: Workspace, limits: Limits) -> None:
    """The container has these limits."""
    _held(session, seen).limits = dict(vars(limits))


def reached(session: Session, seen: Workspace, name: str, now: datetime) -> int:
    """A stage of the start is reached, the first of which means that it is starting; milliseconds since the click."""
    row = _held(session, seen)
    if row.state == State.REQUESTED:
        _move(row, State.STARTING)
    row.stages = [*(stage for stage in row.stages if stage["name"] != name), _stage(row, name, now)]
    row.cause = None
    return int(row.stages[-1]["ms"])


def running(session: Session, seen: Workspace, now: datetime, url: str) -> int:
    """It runs and answers at its address; returns the milliseconds it took since it was asked for."""
    row = _held(session, seen)
    _move(row, State.RUNNING)
    row.started_at = now
    row.cause = None
    took: int = max(0, _stage(row, "running", now)["ms"])
    if row.first_ready_at is None:
        row.first_ready_at = now
        outbox.add(session, WorkspaceReady(**facts(row), host=row.host, url=url, took_ms=took), now)
    else:
        outbox.add(session, WorkspaceStarted(**facts(row), took_ms=took), now)
    return took


def waiting(session: Session, seen: Workspace, cause: str) -> None:
    """It cannot go on for a reason that is not its own."""
    row = _held(session, seen)
    if row.cause != cause:
        row.cause = cause


def all_wait(session: Session, cause: str) -> None:
    """Nothing that is on its way somewhere can go on, for one and the same reason."""
    session.execute(
        update(Workspace)
        .where(Workspace.state.in_([State.REQUESTED, State.STARTING, State.STOPPING, State.DELETING]))
        .where(Workspace.cause.is_distinct_from(cause))
        .values(cause=cause)
    )


def begin_anew(session: Session, seen: Workspace, cause: str, now: datetime, most: int, pause: float) -> float | None:
    """Another try after a failure: seconds until then. After `most` within the window: failed, and None.

    The first try follows at once, the second after `pause` seconds, and each further one after twice as long.
    """
    row = _held(session, seen)
    if row.restarts_since is None or now - row.restarts_since > RESTART_WINDOW:
        row.restarts_since = now
        row.restarts = 0
    row.restarts += 1
    if row.restarts > most:
        _move(row, State.FAILED)
        row.cause = cause
        outbox.add(session, WorkspaceFailed(**facts(row), cause=cause), now)
        return None
    _move(row, State.STARTING)
    lifecycle.begin_anew(row, now)
    row.cause = cause
    seconds = min(pause * 2 ** (row.restarts - 2), 60) if row.restarts > 1 else 0.0
    row.retry_at = now + timedelta(seconds=seconds) if seconds else None
    return seconds


def stopped(session: Session, seen: Workspace, now: datetime) -> None:
    """Nothing of it runs any more."""
    row = _held(session, seen)
    _move(row, State.STOPPED)
    reason = StopReason(row.stop_reason or StopReason.USER)
    row.cause = STOP_CAUSES.get(reason)
    # Readers of the event know three reasons; the plan's storage is one thing it entitles to.
    told = StopReason.ENTITLEMENT if reason is StopReason.STORAGE else reason
    outbox.add(session, WorkspaceStopped(**facts(row), reason=told.value, cause=row.cause), now)


def deleted(session: Session, seen: Workspace) -> None:
    """No container is left and the address is free again; the files are kept, and so is the host label."""
    row = _held(session, seen)
    _move(row, State.DELETED)
    row.slot = None
    row.cause = None


def erasing(session: Session, seen: Workspace, now: datetime) -> None:
    """From now on nobody can bring it back, so its files may go.

    Asked of the row itself once more, under its lock: since it was seen it may have been brought back and deleted
    again, with a new time before it. Raises Overtaken then.
    """
    row = _held(session, seen)
    if row.restorable_until is None or row.restorable_until > now:
        raise Overtaken
    lifecycle.erase(row)


def erased(session: Session, seen: Workspace, now: datetime) -> None:
    """Its files are gone. The host label is never given again."""
    row = _held(session, seen)
    _move(row, State.ERASED)
    row.erased_at = now
    row.slot = None
    row.cause = None
    row.lease_holder = None
    row.leased_until = None
    outbox.add(session, WorkspaceDeleted(**facts(row), host=row.host, deleted_at=now), now)


def _held(session: Session, seen: Workspace) -> Workspace:
    """The row, locked, where the lease holds and what is wanted is what was seen. Raises Overtaken."""
    row = session.scalar(
        select(Workspace)
        .where(
            Workspace.id == seen.id,
            Workspace.lease_holder == seen.lease_holder,
            Workspace.leased_until > func.clock_timestamp(),
            Workspace.desired == seen.desired,
            Workspace.generation == seen.generation,
        )
        .with_for_update()
    )
    if row is None:
        raise Overtaken
    return row


def _move(row: Workspace, state: State) -> None:
    states.check(row.state, state)
    row.state = state


def _stage(row: Workspace, name: str, now: datetime) -> dict[str, Any]:
    return lifecycle.stage(name, now, datetime.fromisoformat(row.stages[0]["at"]))
