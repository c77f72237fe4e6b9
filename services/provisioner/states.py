"""What a workspace can be, and how it gets from one to another."""

from __future__ import annotations

from enum import StrEnum


class Desired(StrEnum):
    """What its people want."""

    RUNNING = "running"
    STOPPED = "stopped"
    DELETED = "deleted"
    """Gone for its people, who may have it back for a while: its files are kept."""
    ERASED = "erased"
    """Gone for good, with its files. Nothing leads back from here."""


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
    ERASING = "erasing"
    ERASED = "erased"


GONE = (Desired.DELETED, Desired.ERASED)
"""Who wants one of these counts against no plan and has given the name back."""
AT_REST = (State.DELETED, State.ERASED)
"""They hold neither container nor address, and most rows are such: the full look does not read them one by one."""


class StopReason(StrEnum):
    """Why a workspace was stopped."""

    USER = "user"
    ENTITLEMENT = "entitlement"
    REMOVED = "removed"
    STORAGE = "storage"


STOP_CAUSES: dict[StopReason, str] = {StopReason.ENTITLEMENT: "not-entitled", StopReason.STORAGE: "storage-full"}
"""The codes of `causes` that such a stop is told with; a person's own wish needs none."""


TRANSITIONS: dict[State, frozenset[State]] = {
    State.REQUESTED: frozenset({State.STARTING, State.STOPPING, State.FAILED, State.DELETING}),
    # To itself: a start that is begun anew.
    State.STARTING: frozenset({State.STARTING, State.RUNNING, State.STOPPING, State.FAILED, State.DELETING}),
    State.RUNNING: frozenset({State.STARTING, State.STOPPING, State.FAILED, State.DELETING}),
    State.STOPPING: frozenset({State.STOPPED, State.STARTING, State.DELETING}),
    State.STOPPED: frozenset({State.STARTING, State.DELETING}),
    State.FAILED: frozenset({State.STARTING, State.STOPPING, State.DELETING}),
    # To stopping and stopped: it was brought back. Once it is being erased, nobody can.
    State.DELETING: frozenset({State.DELETED, State.STOPPING}),
    State.DELETED: frozenset({State.STOPPED, State.ERASING}),
    State.ERASING: frozenset({State.ERASED}),
    State.ERASED: frozenset(),
}


class ImpossibleTransition(Exception):
    """Code asked for a change the table does not hold: a mistake of ours."""


def check(before: State, after: State) -> None:
    """Raises ImpossibleTransition where the table does not allow it."""
    if after not in TRANSITIONS[before]:
        raise ImpossibleTransition(f"{before} -> {after}")
