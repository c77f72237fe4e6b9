"""Asks PayTR about every attempt whose result is late (paytr: no callback may ever come), with back-off, for a day.

"No successful payment" means not paid so far, never failed: nothing is guessed. After a day the attempt stays as it
is; a notification may still come.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from prometheus_client import Counter
from sqlalchemy import select
from sqlalchemy.orm import Session

from services.billing import settlement
from services.billing.models import Attempt, AttemptState
from services.billing.payments.port import Collected, OutcomeUnknown, Provider
from services.billing.transitions import may_become, step_attempt
from shared.clock import Clock
from shared.db import LOST, Database, DatabaseUnavailable
from shared.logging import get_logger

if TYPE_CHECKING:
    from services.billing.settings import Settings

log = get_logger(__name__)
asked = Counter("billing_status_queries_total", "Questions to PayTR about late attempts", ["answer"])

WAITS = tuple(timedelta(minutes=m) for m in (5, 15, 30, 60, 120, 240, 360, 600))
"""After each question; together about a day."""
BATCH = 20


class Reconciler:
    """The loop. Any number of replicas may run: each attempt is claimed before PayTR is asked."""

    POLL = 15.0

    def __init__(self, database: Database, provider: Provider, clock: Clock, settings: Settings) -> None:
        self._database = database
        self._provider = provider
        self._clock = clock
        self._settings = settings

    async def run(self, stop: asyncio.Event) -> None:
        """Looks four times a minute until `stop` is set."""
        while not stop.is_set():
            try:
                await self.ask_all_due(stop)
            except (DatabaseUnavailable, *LOST):
                log.warning("late payments cannot be read")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self.POLL)

    async def ask_all_due(self, stop: asyncio.Event | None = None) -> int:
        """Asks about the attempts that are due now, at most BATCH; returns how many."""
        numbers = await asyncio.to_thread(self._claim)
        for number in numbers:
            if stop is not None and stop.is_set():
                break  # the rest are asked about at their next time
            try:
                said = await self._provider.look_up(number)
            except OutcomeUnknown as error:
                asked.labels("unknown").inc()
                log.warning("PayTR's status query gave no answer", order=number, error=str(error))
                continue
            asked.labels("paid" if said else "not_paid").inc()
            if said is not None:
                await asyncio.to_thread(self._book, number, said)
        return len(numbers)

    def _claim(self) -> list[str]:
        """Takes due attempts and sets their next question, so that a crash costs one question, not the rest."""
        now = self._clock.now()
        with self._database.unit_of_work() as session:
            rows = _due(session, now)
            for attempt in rows:
                if may_become(attempt, AttemptState.PENDING):
                    step_attempt(attempt, AttemptState.PENDING)
                last = attempt.queries >= len(WAITS)
                attempt.next_query_at = None if last else now + WAITS[attempt.queries]
                attempt.queries += 1
                if last:
                    log.error("no result of a payment after a day of asking", order=attempt.merchant_oid)
            return [attempt.merchant_oid for attempt in rows]

    def _book(self, number: str, said: Collected) -> None:
        with self._database.unit_of_work() as session:
            attempt = settlement.locked(session, number)
            if attempt is not None:
                settlement.succeed(session, attempt, said, "status_query", self._settings, self._clock.now())


def _due(session: Session, now: datetime) -> list[Attempt]:
    query = select(Attempt).where(Attempt.next_query_at <= now).order_by(Attempt.next_query_at).limit(BATCH)
    return list(session.scalars(query.with_for_update(skip_locked=True)))
