"""The life of a subscription and of an attempt to pay: every allowed step, each in one table."""

from __future__ import annotations

from services.billing.models import Attempt, AttemptState, Status, Subscription

STEPS: dict[Status, frozenset[Status]] = {
    Status.TRIALING: frozenset({Status.ACTIVE, Status.EXPIRED, Status.CANCELLED}),
    Status.ACTIVE: frozenset({Status.ACTIVE, Status.PAST_DUE, Status.CANCELLED}),
    Status.PAST_DUE: frozenset({Status.ACTIVE, Status.SUSPENDED, Status.CANCELLED}),
    Status.SUSPENDED: frozenset({Status.ACTIVE, Status.CANCELLED}),
    # Back to trialing or active without a payment only while time is left that was given or paid for.
    Status.CANCELLED: frozenset({Status.ACTIVE, Status.TRIALING}),
    Status.EXPIRED: frozenset({Status.ACTIVE}),
}

RUNNING = frozenset({Status.TRIALING, Status.ACTIVE, Status.PAST_DUE})
"""Where workspaces may run."""

ATTEMPT_STEPS: dict[AttemptState, frozenset[AttemptState]] = {
    AttemptState.CREATED: frozenset(
        {
            AttemptState.TOKEN_ISSUED,
            AttemptState.PENDING,
            AttemptState.PAID,
            AttemptState.FAILED,
            AttemptState.NEEDS_REVIEW,
        }
    ),
    AttemptState.TOKEN_ISSUED: frozenset(
        {AttemptState.PENDING, AttemptState.PAID, AttemptState.FAILED, AttemptState.NEEDS_REVIEW}
    ),
    AttemptState.PENDING: frozenset({AttemptState.PAID, AttemptState.FAILED, AttemptState.NEEDS_REVIEW}),
    # PayTR may say success after it said failed; never the other way round.
    AttemptState.FAILED: frozenset({AttemptState.PAID, AttemptState.NEEDS_REVIEW}),
    AttemptState.PAID: frozenset({AttemptState.REFUNDED}),
    AttemptState.REFUNDED: frozenset(),
    AttemptState.NEEDS_REVIEW: frozenset(),
}


class ForbiddenStep(Exception):
    """A step that is not in the table: a mistake in our code, never a caller's."""


def step(subscription: Subscription, to: Status) -> None:
    """Moves a subscription. Raises ForbiddenStep."""
    if to not in STEPS[Status(subscription.status)]:
        raise ForbiddenStep(f"{subscription.status} → {to}")
    subscription.status = to


def may_become(attempt: Attempt, to: AttemptState) -> bool:
    """Whether the table allows an attempt this step."""
    return to in ATTEMPT_STEPS[AttemptState(attempt.state)]


def step_attempt(attempt: Attempt, to: AttemptState) -> None:
    """Moves an attempt. Raises ForbiddenStep."""
    if not may_become(attempt, to):
        raise ForbiddenStep(f"attempt {attempt.state} → {to}")
    attempt.state = to
