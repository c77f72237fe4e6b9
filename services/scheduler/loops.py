"""The scheduler's heart: looks several times a second for what is due."""

from __future__ import annotations

import asyncio
import contextlib
from uuid import UUID

from prometheus_client import Counter, Gauge

from services.scheduler import health, jobs, timers
from services.scheduler.settings import Settings
from shared.clock import Clock
from shared.db import Database

fired = Counter("timers_fired_total", "Timers announced")
lag = Gauge("timers_late", "Timers that should have fired and have not")


class Ticker:
    """Fires due timers and starts due jobs."""

    def __init__(self, database: Database, clock: Clock, settings: Settings) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings

    async def run(self, stop: asyncio.Event) -> None:
        """Ticks until `stop` is set; a tick under way finishes."""
        await asyncio.to_thread(self._install)
        while not stop.is_set():
            more = await asyncio.to_thread(self.tick)
            if not more:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), self._settings.tick.total_seconds())

    def tick(self) -> bool:
        """One look; returns whether a full batch was fired and more may be due."""
        now = self._clock.now()
        with self._database.unit_of_work() as session:
            count = timers.fire_due(session, now)
            jobs.plan_due(session, now, self._settings.job_delay)
            jobs.announce_started(session, now)
        fired.inc(count)
        return count == timers.BATCH

    def _install(self) -> None:
        with self._database.unit_of_work() as session:
            jobs.install(session, self._clock.now())


class HealthChecker:
    """Does the health runs the ticker has announced."""

    POLL = 2.0

    def __init__(self, database: Database, clock: Clock, settings: Settings) -> None:
        self._database = database
        self._clock = clock
        self._settings = settings

    async def run(self, stop: asyncio.Event) -> None:
        """Looks for announced runs until `stop` is set."""
        while not stop.is_set():
            for run_id in await asyncio.to_thread(self._waiting):
                faults = await health.ask(self._settings.health_urls)
                await asyncio.to_thread(self._conclude, run_id, faults)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self.POLL)

    def _waiting(self) -> list[UUID]:
        with self._database.unit_of_work() as session:
            lag.set(health.late_timers(session, self._clock.now()))
            return health.waiting(session)

    def _conclude(self, run_id: UUID, faults: dict[str, str]) -> None:
        now = self._clock.now()
        with self._database.unit_of_work() as session:
            late = health.late_timers(session, now)
            if late:
                faults = {**faults, "timers": f"{late} should have fired more than five minutes ago"}
            health.conclude(session, run_id, faults, len(self._settings.health_urls) + 1, now)
