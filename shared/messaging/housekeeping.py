"""What keeps the kernel's tables small, and tells how they do: old inbox rows and keys go, the outbox is measured."""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import timedelta

from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from shared import metrics
from shared.db import Database, DatabaseUnavailable
from shared.logging import get_logger

log = get_logger(__name__)

KEEP_INBOX = timedelta(days=30)
"""Far longer than any message can be on its way."""
KEEP_KEYS = timedelta(hours=24)
"""As long as an Idempotency-Key is promised to be remembered."""
BATCH = 1_000
"""Rows a transaction: short locks."""
CLEAN_EVERY = 3600.0
MEASURE_EVERY = 5.0

# By the database's clock, like the columns themselves. `skip locked`: two replicas clean side by side.
_CLEAN = {
    "inbox": text(
        "delete from inbox where ctid = any(array(select ctid from inbox where handled_at < now() - :age"
        " order by handled_at limit :batch for update skip locked))"
    ),
    "idempotency_keys": text(
        "delete from idempotency_keys where ctid = any(array(select ctid from idempotency_keys"
        " where created_at < now() - :age order by created_at limit :batch for update skip locked))"
    ),
}
_AGES = {"inbox": KEEP_INBOX, "idempotency_keys": KEEP_KEYS}
_OUTBOX = text("select count(*), coalesce(extract(epoch from now() - min(written_at)), 0) from outbox")


class Housekeeper:
    """Looks after one service's kernel tables."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def run(self, stop: asyncio.Event) -> None:
        """Measures every few seconds and cleans once an hour, until `stop` is set."""
        cleaned = float("-inf")
        while not stop.is_set():
            try:
                await asyncio.to_thread(self.measure)
                if time.monotonic() - cleaned > CLEAN_EVERY:
                    while not stop.is_set() and await asyncio.to_thread(self.clean) > 0:
                        pass
                    cleaned = time.monotonic()
            except (SQLAlchemyError, DatabaseUnavailable) as error:
                log.warning("housekeeping waits for the database", error=type(error).__name__)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), MEASURE_EVERY)

    def clean(self) -> int:
        """Removes at most a batch of what is too old from each table; returns how many rows went."""
        gone = 0
        for table, statement in _CLEAN.items():
            with self._database.unit_of_work() as session:
                parameters = {"age": _AGES[table], "batch": BATCH}
                gone += session.connection().execute(statement, parameters).rowcount
        return gone

    def measure(self) -> None:
        """Sets the gauges of the outbox: rows not yet confirmed, and the age of the oldest in seconds."""
        with self._database.unit_of_work() as session:
            depth, age = session.connection().execute(_OUTBOX).one()
        metrics.outbox_depth.labels(self._database.service).set(depth)
        metrics.outbox_age_seconds.labels(self._database.service).set(float(age))
