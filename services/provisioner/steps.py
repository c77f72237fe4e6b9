"""The next step of one workspace towards what is wanted of it: decided from its row and its containers alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from services.provisioner.engine import Container, Limits, Status
from services.provisioner.models import Workspace
from services.provisioner.states import GONE, Desired, State


@dataclass(frozen=True)
class Create:
    """Make the container of the present generation."""


@dataclass(frozen=True)
class Start:
    """Start it."""

    container: Container


@dataclass(frozen=True)
class Resume:
    """Somebody paused it."""

    container: Container


@dataclass(frozen=True)
class AwaitReady:
    """It runs; wait until the editor answers, first itself and then at its address."""

    container: Container


@dataclass(frozen=True)
class Relimit:
    """The plan has changed under it."""

    container: Container
    limits: Limits


@dataclass(frozen=True)
class BeginAnew:
    """It has ended or gone though it shall run. `container` is what is left of it."""

    container: Container | None


@dataclass(frozen=True)
class Remove:
    """Stop this container and remove it."""

    container: Container


@dataclass(frozen=True)
class DeclareStopped:
    """Nothing of it runs."""


@dataclass(frozen=True)
class DeclareDeleted:
    """No container is left: give the address back, keep the files for whoever wants it back."""


@dataclass(frozen=True)
class BeginErasure:
    """The time in which it could be brought back is over: write that down, so that from now on nobody can."""


@dataclass(frozen=True)
class Erase:
    """Nobody can have it back: remove the files and say so."""


Step = (
    Create
    | Start
    | Resume
    | AwaitReady
    | Relimit
    | BeginAnew
    | Remove
    | DeclareStopped
    | DeclareDeleted
    | BeginErasure
    | Erase
)


def decide(row: Workspace, seen: Sequence[Container], limits: Limits, now: datetime) -> Step | None:
    """The next step, or None where all is as it should be or nothing can be done before `row.retry_at`.

    `seen` are this workspace's containers, `limits` what its company may give it at present.
    """
    if row.desired in GONE:
        return Remove(seen[0]) if seen else _towards_erased(row, now)
    if row.desired == Desired.STOPPED:
        if seen:
            return Remove(seen[0])
        return None if row.state == State.STOPPED else DeclareStopped()
    for container in seen:
        # Two editors on one volume would fight: the older one ends before the next is made.
        if container.generation != row.generation or row.state == State.FAILED:
            return Remove(container)
    if row.state == State.FAILED or (row.retry_at is not None and row.retry_at > now):
        return None
    return _towards_running(row, seen[0] if seen else None, limits)


def _towards_running(row: Workspace, container: Container | None, limits: Limits) -> Step | None:
    if container is None:
        return BeginAnew(None) if row.state == State.RUNNING else Create()
    if container.status is Status.ENDED:
        return BeginAnew(container)
    if container.status is Status.CREATED:
        return Start(container)
    if container.status is Status.PAUSED:
        return Resume(container)
    if row.state != State.RUNNING:
        return AwaitReady(container)
    return None if row.limits == vars(limits) else Relimit(container, limits)


def _towards_erased(row: Workspace, now: datetime) -> Step | None:
    if row.desired == Desired.ERASED:
        return None if row.state == State.ERASED else Erase()
    if row.state != State.DELETED:
        return DeclareDeleted()
    return BeginErasure() if row.restorable_until is not None and row.restorable_until <= now else None
