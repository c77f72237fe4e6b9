"""One workspace, step by step, until it is as it should be; under a lease the control loop holds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from ipaddress import IPv4Address
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy.orm import Session

from services.provisioner import disk, metrics, progress
from services.provisioner.causes import CAUSES
from services.provisioner.engine import Container, Engine, EngineError, Limits, Wanted
from services.provisioner.models import Workspace
from services.provisioner.readiness import PAUSE, Probe
from services.provisioner.routes_file import RoutesFile
from services.provisioner.settings import Settings
from services.provisioner.states import Desired, State
from services.provisioner.steps import (
    AwaitReady,
    BeginAnew,
    BeginErasure,
    Create,
    DeclareDeleted,
    DeclareStopped,
    Relimit,
    Remove,
    Resume,
    Start,
    Step,
    decide,
)
from services.provisioner.templates import TEMPLATES
from shared.clock import Clock
from shared.logging import bound, get_logger

if TYPE_CHECKING:
    from services.provisioner.reconcile import ControlLoop

log = get_logger(__name__)

MOST_STEPS = 50
"""More than any way from one state to another has; beyond it the next full look goes on."""


class NotReady(Exception):
    """The editor did not answer in time; `code` says at which stage."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Converger:
    """Takes the steps that `steps.decide` names."""

    def __init__(
        self, loop: ControlLoop, engine: Engine, routes: RoutesFile, probe: Probe, settings: Settings, clock: Clock
    ) -> None:
        self._loop = loop
        self._engine = engine
        self._routes = routes
        self._probe = probe
        self._settings = settings
        self._clock = clock
        self._waiting_since: dict[UUID, tuple[tuple[int, str], float]] = {}

    async def converge(self, workspace_id: UUID, disturbed: asyncio.Event) -> None:
        """Step after step until nothing is left to do, or the next one cannot be taken now."""
        with bound(workspace_id=str(workspace_id)):
            for _ in range(MOST_STEPS):
                if self._loop.stopping:
                    return
                disturbed.clear()
                try:
                    if not await self._one_step(workspace_id, disturbed):
                        return
                except progress.Overtaken:
                    # Somebody wants something else by now, or the lease is lost: the wake that follows tells which.
                    disturbed.set()
                    return

    async def _one_step(self, workspace_id: UUID, disturbed: asyncio.Event) -> bool:
        row, limits = await self._loop.write(lambda session: progress.look(session, workspace_id, self._loop.holder))
        try:
            seen = await self._loop.ask(self._engine.containers, workspace_id)
            step = decide(row, seen, limits, self._clock.now())
            if step is None:
                self._come_back(row)
                return False
            with metrics.step_seconds.labels(type(step).__name__).time():
                await self._take(step, row, limits, disturbed)
        except NotReady as failure:
            await self._begin_anew(row, failure.code)
        except EngineError as error:
            log.warning("engine refused a step", cause=error.code, error=str(error)[:300])
            return await self._after(error, row)
        return True

    def _come_back(self, row: Workspace) -> None:
        self._waiting_since.pop(row.id, None)
        if row.retry_at is not None:
            seconds = (row.retry_at - self._clock.now()).total_seconds()
            if seconds > 0:
                self._loop.wake_later(row.id, seconds + 0.01)

    async def _after(self, error: EngineError, row: Workspace) -> bool:
        """What follows from the engine's no. Whether to go on at once."""
        if CAUSES[error.code].lasting:
            await self._loop.write(lambda session: progress.waiting(session, row, error.code))
            return False
        if row.desired == Desired.RUNNING and row.state != State.RUNNING:
            await self._begin_anew(row, error.code)
            return True
        return False  # stopping, deleting or new limits: the next look tries again

    async def _take(self, step: Step, row: Workspace, limits: Limits, disturbed: asyncio.Event) -> None:
        if isinstance(step, Create):
            await self._create(row, limits)
        elif isinstance(step, Start):
            await self._loop.protect()
            await self._loop.ask(self._engine.start, step.container)
            await self._reached(row, "started")
        elif isinstance(step, AwaitReady):
            await self._await_ready(row, disturbed)
        elif isinstance(step, Resume):
            await self._loop.ask(self._engine.resume, step.container)
        elif isinstance(step, Relimit):
            await self._loop.ask(self._engine.limit, step.container, step.limits)
            await self._loop.write(lambda session: progress.limits_given(session, row, step.limits))
        elif isinstance(step, BeginAnew):
            await self._begin_anew(row, await self._why(step.container))
        elif isinstance(step, Remove):
            seconds = 0 if row.desired == Desired.ERASED else self._settings.stop_seconds
            await self._routes.publish()
            await self._loop.ask(self._engine.stop, step.container, seconds)
        elif isinstance(step, DeclareStopped):
            now = self._clock.now()
            await self._loop.write(lambda session: progress.stopped(session, row, now))
        elif isinstance(step, DeclareDeleted):
            await self._routes.publish()  # before its address may be given to somebody else
            await self._loop.write(lambda session: progress.deleted(session, row))
        elif isinstance(step, BeginErasure):
            now = self._clock.now()
            await self._loop.write(lambda session: progress.erasing(session, row, now))
        else:
            await self._erase(row)

    async def _create(self, row: Workspace, limits: Limits) -> None:
        """The container and, meanwhile, its route: Traefik is to know it before the editor answers."""
        wanted = Wanted(
            workspace_id=row.id,
            company_id=row.company_id,
            generation=row.generation,
            host=row.host,
            image=TEMPLATES[row.template].image,
            address=self._address(row),
            limits=limits,
        )
        await self._loop.write(disk.admit)
        await self._loop.protect()
        await asyncio.gather(self._loop.ask(self._engine.create, wanted), self._routes.publish())
        await self._reached(row, "created", limits)

    async def _await_ready(self, row: Workspace, disturbed: asyncio.Event) -> None:
        """Returns when the workspace was declared running, or something has changed meanwhile. Raises NotReady."""
        address = self._address(row)
        if not await self._until(row, "no-progress", disturbed, lambda: self._probe.editor_answers(address)):
            return
        if not any(stage["name"] == "editor_answers" for stage in row.stages):
            self._loop.spawn(self._probe.open_first_page(address))
            await self._reached(row, "editor_answers")
        await self._routes.publish()
        if not await self._until(row, "route-missing", disturbed, lambda: self._probe.route_answers(row.host)):
            return
        now = await self._reached(row, "route_answers")
        url = self._settings.workspace_url(row.host)
        took = await self._loop.write(lambda session: progress.running(session, row, now, url))
        self._waiting_since.pop(row.id, None)
        log.info("workspace runs", took_ms=took, generation=row.generation)

    async def _until(
        self, row: Workspace, code: str, disturbed: asyncio.Event, answers: Callable[[], Awaitable[bool]]
    ) -> bool:
        """Asks until there is an answer (True) or something else has happened (False). Raises NotReady in the end.

        The patience is with one stage of one generation, however often its wait is disturbed.
        """
        if await answers():
            return True
        waits_for = (row.generation, code)
        if self._waiting_since.get(row.id, (None, 0.0))[0] != waits_for:
            self._waiting_since[row.id] = (waits_for, time.monotonic())
        since = self._waiting_since[row.id][1]
        while not await answers():
            if disturbed.is_set() or self._loop.stopping:
                return False
            if time.monotonic() - since > self._settings.start_seconds:
                self._waiting_since.pop(row.id)
                raise NotReady(code)
            await asyncio.sleep(PAUSE)
        return True

    async def _reached(self, row: Workspace, name: str, limits: Limits | None = None) -> datetime:
        now = self._clock.now()

        def write(session: Session) -> int:
            if limits is not None:
                progress.limits_given(session, row, limits)
            return progress.reached(session, row, name, now)

        metrics.stage_seconds.labels(name).observe(await self._loop.write(write) / 1000)
        return now

    async def _begin_anew(self, row: Workspace, code: str) -> None:
        now = self._clock.now()
        most, pause = self._settings.restarts, self._settings.restart_pause_seconds
        seconds = await self._loop.write(lambda session: progress.begin_anew(session, row, code, now, most, pause))
        metrics.restarts.labels(code).inc()
        log.warning("workspace is started anew" if seconds is not None else "workspace failed", cause=code)
        if seconds is None:
            await self._routes.publish()

    async def _why(self, container: Container | None) -> str:
        if container is None:
            return "disappeared"
        return "out-of-memory" if await self._loop.ask(self._engine.ran_out_of_memory, container) else "ended-by-itself"

    async def _erase(self, row: Workspace) -> None:
        await self._routes.publish()
        await self._loop.ask(self._engine.remove_volume, row.id)
        now = self._clock.now()
        await self._loop.write(lambda session: progress.erased(session, row, now))

    def _address(self, row: Workspace) -> IPv4Address:
        if row.slot is None:
            raise ValueError("a workspace without an address is deleted")
        return self._settings.address(row.slot)
