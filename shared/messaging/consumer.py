"""The consumer: gives events to a service's handlers so that each takes effect exactly once.

A handler's rows, the events it tells and the event's id in the inbox commit together. Batches commit together, too,
which is what makes the bus fast; when a batch fails, its events are handled one by one and only the culprit waits.
Handlers never call the outside world: they may run again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from shared import metrics
from shared.clock import Clock
from shared.db import LOST, Database, DatabaseUnavailable
from shared.events import Event, UnknownEvent, UnreadableEvent, catalogue
from shared.logging import bound, get_logger
from shared.messaging import deadletters
from shared.messaging.envelope import Envelope
from shared.messaging.tables import inbox
from shared.messaging.transport import Subscription

log = get_logger(__name__)

# One statement whatever the batch's size: SQLAlchemy's `values(rows)` would be compiled anew for each size.
_REMEMBER = text(
    "insert into inbox (event_id) select unnest(cast(:ids as uuid[])) on conflict do nothing returning event_id"
).columns(inbox.c.event_id)
_CHECK_NOW = text("set constraints all immediate")


@dataclass(frozen=True)
class Context:
    """What a handler knows beside the event: the time, the envelope (id, sequence) and its service's settings."""

    now: datetime
    envelope: Envelope
    settings: Any = None


Handler = Callable[[Session, Any, Context], None]
Handlers = Mapping[type[Event], Handler]


class Consumer:
    """Handles one service's events."""

    def __init__(self, database: Database, handlers: Handlers, clock: Clock, settings: Any = None) -> None:
        self.database = database
        self.handlers = handlers
        self.types = frozenset(event.type for event in handlers)
        self._by_type = {event.type: handler for event, handler in handlers.items()}
        self._clock = clock
        self._settings = settings

    async def deliver(self, bodies: Sequence[bytes]) -> None:
        """Handles a batch; when this returns, each message has taken effect or is kept for another try.

        Raises DatabaseUnavailable where nothing could be kept: the messages must come again.
        """
        await asyncio.to_thread(self.receive, bodies)

    def receive(self, bodies: Sequence[bytes]) -> None:
        """`deliver`, for callers that are in a thread already."""
        arrived = [pair for body in bodies if (pair := self._read(body))]
        if not arrived:
            return
        try:
            with self.database.unit_of_work() as session:
                handled = self._handle_new(session, arrived)
        except Exception as error:
            if isinstance(error, (DatabaseUnavailable, *LOST)):
                self._give_up_if_unreachable()
            for envelope, event in arrived:
                self._handle_alone(envelope, event)
        else:
            self._observe_age(handled)

    async def park(self, bodies: Sequence[bytes]) -> None:
        """Keeps, for a person, what the broker stopped delivering because it was never acknowledged."""

        def keep_all() -> None:
            for body in bodies:
                pair = self._read(body)
                if pair is not None:
                    with self.database.unit_of_work() as session:
                        deadletters.park_undelivered(session, pair[0], self._name(pair[0].type))

        await asyncio.to_thread(keep_all)

    def subscription(self) -> Subscription:
        """What to give a transport: the service's own queue, with its dead queue drained into parked deliveries."""
        return Subscription(self.database.service, self.types, self.deliver, given_up=self.park)

    def retry(self, session: Session, envelope: Envelope) -> None:
        """Handles a kept event once more, in the caller's transaction. Raises what the handler raises."""
        self._handle_new(session, [(envelope, envelope.event())])
        # What the database would say only at the commit has to be said while the caller can still note it.
        session.connection().execute(_CHECK_NOW)

    def _read(self, body: bytes) -> tuple[Envelope, Event] | None:
        """The event, or None where it was parked or where nobody here hears its type any more."""
        try:
            envelope = Envelope.from_bytes(body)
            if envelope.type not in self._by_type and envelope.type in catalogue():
                return None  # bound by an older release, heard by nobody now
            return envelope, envelope.event()
        except (UnreadableEvent, UnknownEvent) as error:
            log.error("message parked: it cannot be read", error=str(error))
            with self.database.unit_of_work() as session:
                deadletters.park_unreadable(session, body, error)
            return None

    def _handle_new(self, session: Session, arrived: Sequence[tuple[Envelope, Event]]) -> list[Envelope]:
        """Handles those whose id is new to the inbox and returns them."""
        # In one order everywhere: two replicas that have the same ids must not wait for each other in a circle.
        ids = sorted(str(envelope.id) for envelope, _ in arrived)
        new = set(session.connection().execute(_REMEMBER, {"ids": ids}).scalars())
        handled = []
        for envelope, event in arrived:
            if envelope.id in new:
                new.discard(envelope.id)  # the same id twice in one batch
                self._handle(session, envelope, event)
                handled.append(envelope)
        return handled

    def _handle(self, session: Session, envelope: Envelope, event: Event) -> None:
        handler = self._by_type[envelope.type]
        started = time.perf_counter()
        outcome = "failed"
        with bound(correlation_id=envelope.correlation_id, event_id=str(envelope.id), event_type=envelope.type):
            try:
                now = self._clock.now()
                handler(session, event, Context(now, envelope, self._settings))
                session.flush()
                outcome = "handled"
            finally:
                seconds = time.perf_counter() - started
                metrics.handler_seconds.labels(self.database.service, envelope.type, outcome).observe(seconds)

    def _handle_alone(self, envelope: Envelope, event: Event) -> None:
        try:
            with self.database.unit_of_work() as session:
                handled = self._handle_new(session, [(envelope, event)])
            self._observe_age(handled)
        except Exception as error:
            if isinstance(error, (DatabaseUnavailable, *LOST)):
                self._give_up_if_unreachable()
            with bound(correlation_id=envelope.correlation_id, event_id=str(envelope.id)):
                story = deadletters.story(error, envelope.type)
                log.warning("event kept for another try", event_type=envelope.type, error=story)
            with self.database.unit_of_work() as session:
                deadletters.keep(session, envelope, self._name(envelope.type), error)

    def _observe_age(self, handled: Sequence[Envelope]) -> None:
        now = self._clock.now()
        for envelope in handled:
            age = max(0.0, (now - envelope.time).total_seconds())
            metrics.event_age_seconds.labels(self.database.service, envelope.type).observe(age)

    def _give_up_if_unreachable(self) -> None:
        """Tells a lost database (everything must come again) from a statement it refused (one event's fault)."""
        try:
            self.database.ping()
        except LOST as error:
            raise DatabaseUnavailable from error

    def _name(self, type_: str) -> str:
        handler = self._by_type[type_]
        return f"{handler.__module__}.{getattr(handler, '__qualname__', type(handler).__name__)}"
