"""Measures from time to time what the files of workspaces take: of those that run, and once more after each end.

One replica at a time does, by a lease in the database. There are two lanes, each with its own lease. The quick one
comes to every volume and gives each a short time. What is too large for that is measured in the slow lane, one
volume at a time and with patience, and holds nobody up: a user cannot hide files behind a million others.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TypeVar
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from services.provisioner import disk, metrics, storage, storage_limit
from services.provisioner.engine import DiskFull, Engine, EngineError, ImageMissing, Measured, Unreachable
from services.provisioner.models import TO_MEASURE, Disk, Measuring, Workspace
from services.provisioner.settings import Settings
from services.provisioner.states import State
from shared.clock import Clock
from shared.db import LOST, Database, DatabaseUnavailable
from shared.ids import new_id
from shared.logging import get_logger

log = get_logger(__name__)
T = TypeVar("T")

BATCH = 50
"""Volumes one container looks at."""
PATIENCE = 10
"""How many times longer the slow lane takes for a volume."""
TOGETHER = 4
"""How many times the time of one volume the quick lane takes for a batch."""
IDLE = timedelta(minutes=10)
"""Where nothing is to be measured, the disk is looked at so seldom: starting containers has its cost."""


@dataclass(frozen=True)
class Lane:
    """`quick` or `slow`."""

    name: str
    slow: bool = False


LANES = (Lane("quick"), Lane("slow", slow=True))


@dataclass(frozen=True)
class Seen:
    """A workspace as it was before it was measured."""

    id: UUID
    company_id: UUID
    state: State
    generation: int


class LeaseLost(Exception):
    """Somebody else measures by now."""


class Measurer:
    """One lane of one replica."""

    def __init__(self, database: Database, engine: Engine, settings: Settings, clock: Clock, lane: Lane) -> None:
        self._database = database
        self._engine = engine
        self._settings = settings
        self._clock = clock
        self._lane = lane
        self._holder = new_id()
        self._lease = timedelta(seconds=settings.lease_seconds)
        # Measuring may take minutes; the usual threads are for the database's callers.
        self._thread = ThreadPoolExecutor(1, f"measure {lane.name}")
        self._ended = threading.Event()
        self._stopped = self._ended.is_set

    async def run(self, stop: asyncio.Event) -> None:
        """Measures, and waits for the next time, until `stop` is set."""
        self._stopped = lambda: self._ended.is_set() or stop.is_set()
        try:
            while not stop.is_set():
                pause = await self.turn()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), pause)
        finally:
            self.close()

    def close(self) -> None:
        """Gives up what is under way."""
        self._ended.set()
        self._thread.shutdown(wait=False)

    async def turn(self) -> float:
        """Measures where it is our turn; seconds until we ask again."""
        try:
            if not await self._write(self._claim):
                return self._settings.measure_seconds / 3  # somebody else's turn, who may not live to the end of it
            await self._take_turn()
        except (*LOST, DatabaseUnavailable) as error:
            log.warning("database lost, measured later", error=type(error).__name__)
        except LeaseLost:
            log.warning("somebody else measures by now", lane=self._lane.name)
        return self._settings.measure_seconds

    async def _take_turn(self) -> None:
        renewing = asyncio.create_task(self._renew())
        try:
            seen = await self._write(self._to_measure)
            companies: set[UUID] = set()
            try:
                for batch in self._batches(seen) if seen else await self._write(self._nothing):
                    companies |= await self._measure(batch)
            except DiskFull:
                await self._write(lambda session: disk.note_full(session, self._clock.now()))
            except (Unreachable, ImageMissing) as error:
                log.warning("nothing can be measured now", cause=error.code)
            if not self._lane.slow:
                companies |= set(await self._write(storage_limit.to_judge))
            for company in sorted(companies):
                await self._write(partial(self._judge, company))
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
            await asyncio.shield(self._write(self._done))

    async def _measure(self, batch: Sequence[Seen]) -> set[UUID]:
        """Measures a batch, and where that fails its halves: one broken volume does not hide the others."""
        if self._stopped():
            return set()
        each = self._settings.measure_volume_seconds * (PATIENCE if self._lane.slow else 1)
        together = each if self._lane.slow else each * TOGETHER
        ids = [one.id for one in batch]
        loop = asyncio.get_running_loop()
        try:
            with metrics.measure_seconds.labels(self._lane.name).time():
                found = await loop.run_in_executor(
                    self._thread, self._engine.measure, ids, each, together, self._holder, self._stopped
                )
        except (DiskFull, Unreachable, ImageMissing):
            raise
        except EngineError as error:
            log.warning("volumes could not be measured", volumes=len(batch), error=str(error)[:300])
            if len(batch) < 2:
                return set()
            half = len(batch) // 2
            first = await self._measure(batch[:half])
            return first | await self._measure(batch[half:])
        await self._write(lambda session: self._keep(session, batch, found))
        return {one.company_id for one in batch if one.id in found.sizes}

    def _keep(self, session: Session, batch: Sequence[Seen], found: Measured) -> None:
        mine = select(Measuring).where(Measuring.lane == self._lane.name, Measuring.holder == self._holder)
        if session.scalar(mine.with_for_update()) is None:
            raise LeaseLost
        now = self._clock.now()
        before = {one.id: (one.state, one.generation) for one in batch}
        storage.record(session, before, found.sizes, now, last=self._lane.slow)
        if found.disk is not None:
            disk.note(session, found.disk, self._settings.host_reserve_bytes, now)
        for size in found.sizes.values():
            metrics.measured.labels("whole" if size.whole else "part").inc()

    def _judge(self, company_id: UUID, session: Session) -> None:
        grace = timedelta(minutes=self._settings.storage_grace_minutes)
        storage_limit.judge(session, company_id, self._clock.now(), grace)

    def _to_measure(self, session: Session) -> list[Seen]:
        """Whose files may have changed, those first whose last time is the longest ago."""
        rows = session.execute(
            select(Workspace.id, Workspace.company_id, Workspace.state, Workspace.generation)
            .where(TO_MEASURE, Workspace.storage_in_part.is_(self._lane.slow))
            .order_by(Workspace.storage_at.nulls_first(), Workspace.id)
        )
        return [Seen(row.id, row.company_id, State(row.state), row.generation) for row in rows]

    def _nothing(self, session: Session) -> list[Sequence[Seen]]:
        """An empty batch where the disk has not been looked at for long, so that it is."""
        if self._lane.slow:
            return []
        read = session.get(Disk, True)
        waits = read is None or read.low or read.read_at < self._clock.now() - IDLE
        return [[]] if waits else []

    def _batches(self, seen: Sequence[Seen]) -> Iterator[Sequence[Seen]]:
        size = 1 if self._lane.slow else BATCH
        return (seen[at : at + size] for at in range(0, len(seen), size))

    def _claim(self, session: Session) -> bool:
        """Takes the turn, where it has come and nobody has it."""
        due = func.clock_timestamp() + self._lease
        mine = {"holder": self._holder, "due_at": due}
        statement = insert(Measuring).values(lane=self._lane.name, **mine)
        taken = statement.on_conflict_do_update(
            index_elements=["lane"], set_=mine, where=Measuring.due_at <= func.clock_timestamp()
        )
        return session.execute(taken.returning(Measuring.lane)).first() is not None

    async def _renew(self) -> None:
        while True:
            await asyncio.sleep(self._lease.total_seconds() / 3)
            with contextlib.suppress(*LOST, DatabaseUnavailable):
                await self._write(lambda session: self._due(session, self._lease))

    def _done(self, session: Session) -> None:
        # A moment early: whoever looks at its own clock in exactly one pause must not come too soon.
        self._due(session, timedelta(seconds=self._settings.measure_seconds * 0.9))

    def _due(self, session: Session, after: timedelta) -> None:
        mine = update(Measuring).where(Measuring.lane == self._lane.name, Measuring.holder == self._holder)
        session.execute(mine.values(due_at=func.clock_timestamp() + after))

    async def _write(self, operation: Callable[[Session], T]) -> T:
        def run() -> T:
            with self._database.unit_of_work() as session:
                return operation(session)

        return await asyncio.to_thread(run)


def holders(session: Session) -> list[UUID]:
    """Who measures at present. What measures for anybody else was left by a killed process."""
    return list(session.scalars(select(Measuring.holder).where(Measuring.due_at > func.clock_timestamp())))
