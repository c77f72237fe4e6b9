"""What a workspace can be, and how it gets from one to another."""

from __future__ import annotations

from enum import StrEnum


class Desired(StrEnum):
    """What its people want."""

    RUNNING = "running"
    STOPPED = "stopped"
    DELETED = "deleted"


class State(StrEnum):
    """What it is, as far as we know."""

    REQUESTED = "requested"
    STARTING = "starting"
    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"
    DELETING = "deleting"
    DELETED = "deleted"


class StopReason(StrEnum):
    """Why a workspace was stopped."""

    USER = "user"
    ENTITLEMENT = "entitlement"
    REMOVED = "removed"


TRANSITIONS: dict[State, frozenset[State]] = {
    State.REQUESTED: frozenset({State.STARTING, State.STOPPING, State.FAILED, State.DELETING}),
    # To itself: a start that is begun anew.
    State.STARTING: frozenset({State.STARTING, State.RUNNING, State.STOPPING, State.FAILED, State.DELETING}),
    State.RUNNING: frozenset({State.STARTING, State.STOPPING, State.FAILED, State.DELETING}),
    State.STOPPING: frozenset({State.STOPPED, State.STARTING, State.DELETING}),
    State.STOPPED: frozenset({State.STARTING, State.DELETING}),
    State.FAILED: frozenset({State.STARTING, State.STOPPING, State.DELETING}),
    State.DELETING: frozenset({State.DELETED}),
    State.DELETED: frozenset(),
}


class ImpossibleTransition(Exception):
    """Code asked for a change the table does not hold: a mistake of ours."""


def check(before: State, after: State) -> None:
    """Raises ImpossibleTransition where the table does not allow it."""
    if after not in TRANSITIONS[before]:
        raise ImpossibleTransition(f"{before} -> {after}")
