"""What people and events want of one workspace, written into its row. The control loop makes it so."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from services.provisioner import states
from services.provisioner.models import Workspace
from services.provisioner.states import GONE, STOP_CAUSES, Desired, State, StopReason


def start(workspace: Workspace, now: datetime) -> None:
    """It shall run, in a new container and with all its tries before it. One that runs or is on its way stays so."""
    if workspace.desired != Desired.RUNNING or workspace.state == State.FAILED:
        restart(workspace, now)


def restart(workspace: Workspace, now: datetime) -> None:
    """It shall run, in a new container and with all its tries before it, whatever it did until now."""
    states.check(workspace.state, State.STARTING)
    workspace.desired = Desired.RUNNING
    workspace.state = State.STARTING
    workspace.entitlement_stopped = False
    workspace.stop_reason = None
    workspace.restarts = 0
    begin_anew(workspace, now)


def begin_anew(workspace: Workspace, now: datetime) -> None:
    """A further container, whose stages are counted from now."""
    workspace.generation += 1
    workspace.stages = [stage("queued", now, now)]
    workspace.limits = None
    workspace.cause = None
    workspace.retry_at = None


def stop(workspace: Workspace, reason: StopReason) -> None:
    """It shall not run; its files are kept. If it waited for its company's entitlement, it waits no more."""
    workspace.entitlement_stopped = False
    if workspace.desired == Desired.STOPPED:
        return
    states.check(workspace.state, State.STOPPING)
    workspace.desired = Desired.STOPPED
    workspace.state = State.STOPPING
    workspace.stop_reason = reason.value
    workspace.cause = STOP_CAUSES.get(reason)
    workspace.retry_at = None


def delete(workspace: Workspace, now: datetime, kept: timedelta) -> None:
    """It shall be gone; its files are `kept` for so long after the first wish, and it can be brought back."""
    if workspace.desired in GONE:
        return
    states.check(workspace.state, State.DELETING)
    workspace.desired = Desired.DELETED
    workspace.state = State.DELETING
    workspace.deleted_at = now
    workspace.restorable_until = now + kept
    workspace.entitlement_stopped = False
    workspace.cause = None
    workspace.retry_at = None


def restore(workspace: Workspace) -> None:
    """A deleted one is there again with its files, stopped. It needs an address: its own went when it was deleted."""
    # What is left of its container is removed first, by the control loop.
    after = State.STOPPED if workspace.state == State.DELETED else State.STOPPING
    states.check(workspace.state, after)
    workspace.desired = Desired.STOPPED
    workspace.state = after
    workspace.stop_reason = StopReason.USER.value
    workspace.deleted_at = None
    workspace.restorable_until = None
    workspace.cause = None


def erase(workspace: Workspace) -> None:
    """Its files shall go, for good."""
    states.check(workspace.state, State.ERASING)
    workspace.desired = Desired.ERASED
    workspace.state = State.ERASING
    workspace.restorable_until = None


def stage(name: str, now: datetime, queued_at: datetime) -> dict[str, Any]:
    """A stage as it is kept: when, and how many milliseconds after the start was asked for."""
    return {"name": name, "at": now.isoformat(), "ms": round((now - queued_at).total_seconds() * 1000)}
