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

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from shared import metrics
from shared.clock import Clock
from shared.db import LOST, Database, DatabaseUnavailable
from shared.events import Event, UnknownEvent, UnreadableEvent
from shared.logging import bound, get_logger
from shared.messaging import deadletters
from shared.messaging.envelope import Envelope
from shared.messaging.tables import inbox

log = get_logger(__name__)


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
        readable = [envelope for body in bodies if (envelope := self._read(body))]
        if not readable:
            return
        try:
            with self.database.unit_of_work() as session:
                self._handle_new(session, readable)
        except Exception as error:
            if isinstance(error, (DatabaseUnavailable, *LOST)):
                self._give_up_if_unreachable()
            for envelope in readable:
                self._handle_alone(envelope)

    def retry(self, session: Session, envelope: Envelope) -> None:
        """Handles a kept event once more, in the caller's transaction. Raises what the handler raises."""
        self._handle_new(session, [envelope])

    def _read(self, body: bytes) -> Envelope | None:
        try:
            envelope = Envelope.from_bytes(body)
            envelope.event()
            return envelope
        except (UnreadableEvent, UnknownEvent) as error:
            log.error("message parked: it cannot be read", error=str(error))
            with self.database.unit_of_work() as session:
                deadletters.park_unreadable(session, body, error)
            return None

    def _handle_new(self, session: Session, envelopes: Sequence[Envelope]) -> None:
        rows = [{"event_id": envelope.id} for envelope in envelopes]
        statement = insert(inbox).on_conflict_do_nothing().returning(inbox.c.event_id)
        new = set(session.connection().execute(statement.values(rows)).scalars())
        for envelope in envelopes:
            if envelope.id in new:
                new.discard(envelope.id)  # the same id twice in one batch
                self._handle(session, envelope)

    def _handle(self, session: Session, envelope: Envelope) -> None:
        handler = self._by_type.get(envelope.type)
        if handler is None:
            return  # bound by an older release, heard by nobody now
        started = time.perf_counter()
        outcome = "failed"
        with bound(correlation_id=envelope.correlation_id, event_id=str(envelope.id), event_type=envelope.type):
            try:
                now = self._clock.now()
                handler(session, envelope.event(), Context(now, envelope, self._settings))
                session.flush()
                outcome = "handled"
            finally:
                seconds = time.perf_counter() - started
                metrics.handler_seconds.labels(self.database.service, envelope.type, outcome).observe(seconds)

    def _handle_alone(self, envelope: Envelope) -> None:
        try:
            with self.database.unit_of_work() as session:
                self._handle_new(session, [envelope])
        except Exception as error:
            if isinstance(error, (DatabaseUnavailable, *LOST)):
                self._give_up_if_unreachable()
            with bound(correlation_id=envelope.correlation_id, event_id=str(envelope.id)):
                log.warning("event kept for another try", event_type=envelope.type, error=repr(error))
            with self.database.unit_of_work() as session:
                deadletters.keep(session, envelope, self._name(envelope.type), error)

    def _give_up_if_unreachable(self) -> None:
        """Tells a lost database (everything must come again) from a statement it refused (one event's fault)."""
        try:
            self.database.ping()
        except LOST as error:
            raise DatabaseUnavailable from error

    def _name(self, type_: str) -> str:
        handler = self._by_type[type_]
        return f"{handler.__module__}.{getattr(handler, '__qualname__', type(handler).__name__)}"
