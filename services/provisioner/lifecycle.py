"""What people and events want of one workspace, written into its row. The control loop makes it so."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from services.provisioner import states
from services.provisioner.models import Workspace
from services.provisioner.states import Desired, State, StopReason


def start(workspace: Workspace, now: datetime) -> None:
    """It shall run, in a new container and with all its tries before it. One that runs or is on its way stays so."""
    if workspace.desired == Desired.RUNNING and workspace.state != State.FAILED:
        return
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
    workspace.cause = "not-entitled" if reason is StopReason.ENTITLEMENT else None
    workspace.retry_at = None


def delete(workspace: Workspace) -> None:
    """It shall be gone with its files, for good."""
    if workspace.desired == Desired.DELETED:
        return
    states.check(workspace.state, State.DELETING)
    workspace.desired = Desired.DELETED
    workspace.state = State.DELETING
    workspace.entitlement_stopped = False
    workspace.cause = None
    workspace.retry_at = None


def stage(name: str, now: datetime, queued_at: datetime) -> dict[str, Any]:
    """A stage as it is kept: when, and how many milliseconds after the start was asked for."""
    return {"name": name, "at": now.isoformat(), "ms": round((now - queued_at).total_seconds() * 1000)}
