"""The relay: carries outbox rows to the transport, in order and in batches, and removes what was taken.

Rows are claimed with `skip locked` and a lease by the database's clock, so any number of relays may run and a
killed one delays its rows by a lease at most. A sleeping relay is woken by NOTIFY; a slow poll is the safety net.
"""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, timedelta
from typing import Any

import psycopg2.extensions
from sqlalchemy import Row, delete, func, or_, select, update

from shared import metrics
from shared.db import LOST, Database, DatabaseUnavailable
from shared.events import UnknownEvent, event_class
from shared.logging import get_logger
from shared.messaging.envelope import Envelope
from shared.messaging.tables import outbox
from shared.messaging.transport import Message, Transport

log = get_logger(__name__)

BATCH = 200
LEASE = timedelta(seconds=30)
RETRY = timedelta(seconds=1)
"""How long a row waits that the transport did not take."""
LINGER = 0.005
"""Seconds to let rows gather between two batches: fuller batches, for a few milliseconds."""
POLL = 1.0


class Relay:
    """Sends one service's outbox."""

    def __init__(self, database: Database, transport: Transport) -> None:
        self._database = database
        self._transport = transport
        self._wake = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Sends until `stop` is set, then finishes the batch under way."""
        listener = asyncio.create_task(self._listen())
        stopper = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                if await self._drain_safely():
                    await asyncio.sleep(LINGER)
                    continue
                woken = asyncio.create_task(self._wake.wait())
                await asyncio.wait({woken, stopper}, timeout=POLL, return_when=asyncio.FIRST_COMPLETED)
                woken.cancel()
                self._wake.clear()
        finally:
            for task in (listener, stopper):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def drain(self) -> int:
        """Sends one batch; returns how many rows were claimed."""
        rows = await asyncio.to_thread(self._claim)
        if rows:
            messages = [self._message(row) for row in rows]
            outcomes = await self._transport.publish(messages)
            taken = [row.position for row, outcome in zip(rows, outcomes, strict=True) if outcome is None]
            left = [row.position for row, outcome in zip(rows, outcomes, strict=True) if outcome is not None]
            await asyncio.to_thread(self._settle, taken, left)
            for message, outcome in zip(messages, outcomes, strict=True):
                if outcome is None:
                    metrics.published.labels(self._database.service, message.type).inc()
            if left:
                log.warning("events not taken by the bus", count=len(left), error=repr(next(filter(None, outcomes))))
        return len(rows)

    async def _drain_safely(self) -> int:
        try:
            return await self.drain()
        except (*LOST, DatabaseUnavailable) as error:
            log.warning("outbox cannot be read", error=type(error).__name__)
            await asyncio.sleep(1)
            return 0

    def _claim(self) -> list[Row[Any]]:
        free = or_(outbox.c.leased_until.is_(None), outbox.c.leased_until < func.now())
        batch = select(outbox.c.position).where(free).order_by(outbox.c.position).limit(BATCH)
        claim = (
            update(outbox)
            .where(outbox.c.position.in_(batch.with_for_update(skip_locked=True)))
            .values(leased_until=func.now() + LEASE)
            .returning(*outbox.c)
        )
        with self._database.unit_of_work() as session:
            rows = session.connection().execute(claim).all()
        return sorted(rows, key=lambda row: row.position)

    def _settle(self, taken: list[int], left: list[int]) -> None:
        # No lease is checked here: what was taken is taken, whoever holds the row by now.
        with self._database.unit_of_work() as session:
            if taken:
                session.connection().execute(delete(outbox).where(outbox.c.position.in_(taken)))
            if left:
                later = update(outbox).where(outbox.c.position.in_(left)).values(leased_until=func.now() + RETRY)
                session.connection().execute(later)

    def _message(self, row: Row[Any]) -> Message:
        envelope = Envelope(
            id=row.id,
            type=row.type,
            source=self._database.service,
            subject=row.subject,
            time=row.time.astimezone(UTC),
            sequence=row.position,
            data=row.data,
            correlation_id=row.correlation_id,
            causation_id=row.causation_id,
            traceparent=row.traceparent,
        )
        try:
            mandatory = event_class(row.type).unread_because is None
        except UnknownEvent:
            mandatory = False  # told by an older release; whoever still hears it gets it
        return Message(str(row.id), row.type, envelope.to_bytes(), mandatory)

    async def _listen(self) -> None:
        """Sets `_wake` on each NOTIFY; reconnects for ever, since the poll only softens a loss."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection = await asyncio.to_thread(self._listening_connection)
            except psycopg2.Error:
                await asyncio.sleep(1)
                continue
            lost = asyncio.Event()

            def heard(connection: Any = connection, lost: asyncio.Event = lost) -> None:
                try:
                    connection.poll()
                except psycopg2.Error:
                    lost.set()
                connection.notifies.clear()
                self._wake.set()

            loop.add_reader(connection.fileno(), heard)
            self._wake.set()  # something may have been written while nobody listened
            try:
                await lost.wait()
            finally:
                loop.remove_reader(connection.fileno()) if not connection.closed else None
                connection.close()

    def _listening_connection(self) -> Any:
        connection: Any = self._database.engine.dialect.connect(
            **self._database.engine.dialect.create_connect_args(self._database.url)[1], connect_timeout=5
        )
        connection.set_isolation_level(psycopg2.extensions.ISOLATION_LEVEL_AUTOCOMMIT)
        with connection.cursor() as cursor:
            cursor.execute(f'listen "outbox_{self._database.service}"')
        return connection
