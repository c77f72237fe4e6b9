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
from sqlalchemy import Row, text

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

# In a CTE with a lock the inner select runs once; as a plain subquery the planner may run it again and again and
# claim more than a batch.
_CLAIM = text(
    """
    with batch as materialized (
        select position from outbox where leased_until is null or leased_until < now()
        order by position limit :batch for update skip locked
    )
    update outbox set leased_until = now() + :lease from batch where outbox.position = batch.position
    returning outbox.position, id, type, subject, time, data, correlation_id, causation_id, traceparent
    """
).columns(
    outbox.c.position,
    outbox.c.id,
    outbox.c.type,
    outbox.c.subject,
    outbox.c.time,
    outbox.c.data,
    outbox.c.correlation_id,
    outbox.c.causation_id,
    outbox.c.traceparent,
)
_REMOVE = text("delete from outbox where position = any(:positions)")
_LEAVE = text("update outbox set leased_until = now() + :later where position = any(:positions)")


class Relay:
    """Sends one service's outbox."""

    def __init__(self, database: Database, transport: Transport) -> None:
        self._database = database
        self._transport = transport
        self._wake = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Sends until `stop` is set, then what was written before it. What comes later waits for the next start."""
        listener = asyncio.create_task(self._listen())
        stopper = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                self._wake.clear()
                claimed, taken = await self._drain_safely()
                if claimed and not taken:
                    # The bus is away: going on would only lease the whole outbox in a circle.
                    await asyncio.wait({stopper}, timeout=RETRY.total_seconds())
                elif claimed < BATCH:
                    if claimed:
                        await asyncio.sleep(LINGER)
                    await self._sleep(stopper)
            await self._drain_safely()
        finally:
            for task in (listener, stopper):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def drain(self) -> tuple[int, int]:
        """Sends one batch; returns how many rows were claimed, and how many of them the transport took."""
        rows = await asyncio.to_thread(self._claim)
        if not rows:
            return 0, 0
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
        return len(rows), len(taken)

    async def _sleep(self, stopper: asyncio.Task[Any]) -> None:
        """Until NOTIFY, `stop` or the poll. What committed before the last claim was claimed, and what committed
        since has set or will set `_wake`, so a batch that was not full needs no second look."""
        woken = asyncio.create_task(self._wake.wait())
        await asyncio.wait({woken, stopper}, timeout=POLL, return_when=asyncio.FIRST_COMPLETED)
        woken.cancel()

    async def _drain_safely(self) -> tuple[int, int]:
        try:
            return await self.drain()
        except (*LOST, DatabaseUnavailable) as error:
            log.warning("outbox cannot be read", error=type(error).__name__)
            await asyncio.sleep(1)
            return 0, 0

    def _claim(self) -> list[Row[Any]]:
        with self._database.unit_of_work() as session:
            rows = session.connection().execute(_CLAIM, {"batch": BATCH, "lease": LEASE}).all()
        return sorted(rows, key=lambda row: row.position)

    def _settle(self, taken: list[int], left: list[int]) -> None:
        # No lease is checked here: what was taken is taken, whoever holds the row by now.
        with self._database.unit_of_work() as session:
            if taken:
                session.connection().execute(_REMOVE, {"positions": taken})
            if left:
                session.connection().execute(_LEAVE, {"positions": left, "later": RETRY})

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
            socket = connection.fileno()  # a lost connection no longer tells it

            def heard(connection: Any = connection, lost: asyncio.Event = lost) -> None:
                try:
                    connection.poll()
                except psycopg2.Error:
                    lost.set()
                connection.notifies.clear()
                self._wake.set()

            loop.add_reader(socket, heard)
            self._wake.set()  # something may have been written while nobody listened
            try:
                await lost.wait()
            finally:
                loop.remove_reader(socket)
                connection.close()

    def _listening_connection(self) -> Any:
        dialect = self._database.engine.dialect
        arguments = {"connect_timeout": 5, **dialect.create_connect_args(self._database.url)[1]}
        connection: Any = dialect.connect(**arguments)
        connection.set_isolation_level(psycopg2.extensions.ISOLATION_LEVEL_AUTOCOMMIT)
        with connection.cursor() as cursor:
            cursor.execute(f'listen "outbox_{self._database.service}"')
        return connection
