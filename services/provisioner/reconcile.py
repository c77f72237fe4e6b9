"""The control loop: compares what is wanted with what is, and repairs the difference. Nothing else starts, stops or
removes a container.

It is level-triggered: a change in the table, an event of the engine or the periodic full look only say where to look.
Each workspace is worked on by one replica at a time, under a lease by the database's clock, in steps that may be
repeated. So a crash at any step heals by the next look.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

from sqlalchemy.orm import Session

from services.provisioner import metrics, progress
from services.provisioner.converge import Converger
from services.provisioner.engine import Container, Engine, EngineError, Unreachable
from services.provisioner.models import Workspace
from services.provisioner.orphans import sweep_containers, sweep_meters, sweep_volumes
from services.provisioner.readiness import Probe
from services.provisioner.routes_file import RoutesFile
from services.provisioner.settings import Settings
from services.provisioner.states import AT_REST, Desired, State
from services.provisioner.steps import decide
from shared.clock import Clock
from shared.db import LOST, Database, DatabaseUnavailable
from shared.ids import new_id
from shared.logging import get_logger

log = get_logger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

STOPS_AT_ONCE = 8
TURN = 5.0
"""Seconds a start may keep its place; a start of our own image takes less than one."""
END_PATIENCE = 15
"""Seconds the steps under way may take to end when the process stops."""
VOLUMES_EVERY = 12
"""Full looks between two looks at volumes."""


class ControlLoop:
    """One replica's control loop."""

    def __init__(
        self, database: Database, engine: Engine, routes: RoutesFile, probe: Probe, settings: Settings, clock: Clock
    ) -> None:
        self._database = database
        self._engine = engine
        self._routes = routes
        self._settings = settings
        self._clock = clock
        self._holder = new_id()
        self._threads: ThreadPoolExecutor | None = None
        self._starts = asyncio.Semaphore(settings.starts_at_once)
        self._stops = asyncio.Semaphore(STOPS_AT_ONCE)
        self._woken = asyncio.Event()
        self._due: set[UUID] = set()
        self._everything = True
        self._working: dict[UUID, asyncio.Event] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._protected_until = 0.0
        self._protecting = asyncio.Lock()
        self._looks = 0
        self._converger = Converger(self, engine, routes, probe, settings, clock)

    def wake(self, workspace_id: UUID | None) -> None:
        """Something may have changed: at this workspace, or (None) anywhere. Not for other threads."""
        if workspace_id is None:
            self._everything = True
        elif (disturbed := self._working.get(workspace_id)) is not None:
            disturbed.set()
            return
        else:
            self._due.add(workspace_id)
        self._woken.set()

    async def run(self, stop: asyncio.Event) -> None:
        """Works until `stop` is set; ends what is under way at the next step."""
        self._stopping = False
        # The machine's usual pool would be shared with the database's callers, and engines are slow.
        self._threads = ThreadPoolExecutor(self._settings.starts_at_once + STOPS_AT_ONCE + 2, "engine")
        ended = threading.Event()
        follower = threading.Thread(
            target=self._follow, args=(asyncio.get_running_loop(), ended), name="engine events", daemon=True
        )
        follower.start()
        helping = (self._renew_leases(), self._look_from_time_to_time())
        helpers: list[asyncio.Task[Any]] = [asyncio.create_task(work) for work in helping]
        stopper = asyncio.create_task(stop.wait())
        try:
            while not stop.is_set():
                await self._work_safely()
                woken = asyncio.create_task(self._woken.wait())
                await asyncio.wait({woken, stopper}, return_when=asyncio.FIRST_COMPLETED)
                woken.cancel()
        finally:
            ended.set()
            await self._end([*helpers, stopper])

    async def ask(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Makes one blocking call of the engine in a thread. Raises EngineError."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, partial(call, *args, **kwargs))
        except EngineError as error:
            metrics.engine_errors.labels(error.code).inc()
            raise

    async def write(self, operation: Callable[[Session], T]) -> T:
        """Runs one short transaction in a thread."""

        def run() -> T:
            with self._database.unit_of_work() as session:
                return operation(session)

        return await asyncio.to_thread(run)

    async def protect(self) -> None:
        """Network and rules are in place, or EngineError: nothing is started without them."""
        async with self._protecting:
            if time.monotonic() >= self._protected_until:
                await self.ask(self._engine.protect)
                self._protected_until = time.monotonic() + self._settings.firewall_seconds

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Runs this beside; what is still under way at the end is waited for, and then cancelled."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def wake_later(self, workspace_id: UUID, seconds: float) -> None:
        """Looks at the workspace again after a pause."""
        asyncio.get_running_loop().call_later(seconds, self.wake, workspace_id)

    @property
    def holder(self) -> UUID:
        """The name this replica's leases carry."""
        return self._holder

    @property
    def stopping(self) -> bool:
        """Whether no further step is to be begun."""
        return self._stopping

    async def _work_safely(self) -> None:
        self._woken.clear()
        everything, self._everything = self._everything, False
        due, self._due = self._due, set()
        try:
            if everything:
                with metrics.look_seconds.time():
                    due |= await self._look_at_everything()
            elif due:
                self.spawn(self._publish_routes())
        except (*LOST, DatabaseUnavailable) as error:
            log.warning("database lost, the next look will do", error=type(error).__name__)
        except OSError as error:
            log.error("routes cannot be written", error=str(error))
        except EngineError as error:
            log.warning("engine does not answer as it should", cause=error.code, error=str(error)[:300])
            await self._tell_everybody(error.code)
        for workspace_id in due:
            if workspace_id in self._working:
                self._working[workspace_id].set()
            else:
                self._working[workspace_id] = asyncio.Event()
                self.spawn(self._attend(workspace_id))

    async def _look_at_everything(self) -> set[UUID]:
        """The workspaces that are not as they should be. Removes what belongs to none."""
        await self._routes.publish()
        # Containers first: whoever is seen then had its row written before.
        seen = await self.ask(self._engine.containers)
        rows = await self.write(progress.living)
        now = self._clock.now()
        due = set(await self.write(lambda session: progress.to_erase(session, now)))
        theirs: dict[UUID, list[Container]] = {}
        for container in seen:
            theirs.setdefault(container.workspace_id, []).append(container)
        counts = {state: 0 for state in State if state not in AT_REST}
        for row, limits in rows:
            counts[State(row.state)] += 1
            if decide(row, theirs.get(row.id, ()), limits, now) is not None:
                due.add(row.id)
        for state, count in counts.items():
            metrics.workspaces.labels(state.value).set(count)
        known = {row.id for row, _ in rows}
        await sweep_containers(self, self._engine, [one for one in seen if one.workspace_id not in known])
        if self._looks % VOLUMES_EVERY == 0:
            await sweep_meters(self, self._engine)
            await sweep_volumes(self, self._engine, self._settings, now)
        self._looks += 1
        if any(row.desired == Desired.RUNNING for row, _ in rows):
            try:
                await self.protect()
            except EngineError as error:
                # Nothing is started now (each start asks again); what stops and goes away goes on.
                log.warning("network is not protected", cause=error.code, error=str(error)[:300])
        return due

    async def _attend(self, workspace_id: UUID) -> None:
        disturbed = self._working[workspace_id]
        try:
            while not self._stopping:
                disturbed.clear()
                row = await self.write(lambda session: session.get(Workspace, workspace_id))
                if row is None or row.state == State.ERASED:
                    break
                if row.desired != Desired.RUNNING:
                    async with self._stops:
                        await self._under_lease(workspace_id, disturbed)
                elif await self._place_to_start(workspace_id, disturbed):
                    async with self._turn_to_start():
                        await self._under_lease(workspace_id, disturbed)
                if not disturbed.is_set():
                    break
        except (*LOST, DatabaseUnavailable) as error:
            log.warning("database lost, the next look will do", error=type(error).__name__)
        except Exception:
            log.exception("a step failed, the next look tries again", workspace_id=str(workspace_id))
        finally:
            del self._working[workspace_id]
            if disturbed.is_set() and not self._stopping:
                self.wake(workspace_id)

    async def _place_to_start(self, workspace_id: UUID, disturbed: asyncio.Event) -> bool:
        """Waits for one of the places of those that start. False, without one, where it shall not run any more: who
        takes a start back while it queues need not wait for the queue."""
        place = asyncio.create_task(self._starts.acquire())
        try:
            while not place.done():
                news = asyncio.create_task(disturbed.wait())
                await asyncio.wait({place, news}, return_when=asyncio.FIRST_COMPLETED)
                news.cancel()
                if place.done():
                    break
                disturbed.clear()
                if self._stopping or not await self.write(lambda session: progress.shall_run(session, workspace_id)):
                    disturbed.set()  # to look what is wanted instead
                    self._leave_queue(place)
                    return False
        except BaseException:
            self._leave_queue(place)
            raise
        return True

    def _leave_queue(self, place: asyncio.Task[Any]) -> None:
        if not place.cancel() and not place.cancelled():
            self._starts.release()  # its turn had just come

    @contextlib.asynccontextmanager
    async def _turn_to_start(self) -> AsyncIterator[None]:
        """Keeps the place for a while. Who takes long only waits by then, and gives the place to others: a few editors
        that never answer must not keep everybody else's from starting."""
        given_back = False

        def give_back() -> None:
            nonlocal given_back
            if not given_back:
                given_back = True
                self._starts.release()

        timer = asyncio.get_running_loop().call_later(TURN, give_back)
        try:
            yield
        finally:
            timer.cancel()
            give_back()

    async def _under_lease(self, workspace_id: UUID, disturbed: asyncio.Event) -> None:
        lease = timedelta(seconds=self._settings.lease_seconds)
        if not await self.write(lambda session: progress.claim(session, workspace_id, self._holder, lease)):
            return  # another replica works on it
        try:
            await self._converger.converge(workspace_id, disturbed)
        finally:
            await asyncio.shield(self.write(lambda session: progress.release(session, workspace_id, self._holder)))

    async def _tell_everybody(self, code: str) -> None:
        """Whoever waits for the engine is told why; what it is stays as it was last seen."""
        with contextlib.suppress(*LOST, DatabaseUnavailable):
            await self.write(lambda session: progress.all_wait(session, code))

    async def _publish_routes(self) -> None:
        with contextlib.suppress(*LOST, DatabaseUnavailable, OSError):  # the next full look tries again and tells
            await self._routes.publish()

    async def _renew_leases(self) -> None:
        lease = timedelta(seconds=self._settings.lease_seconds)
        while True:
            await asyncio.sleep(self._settings.lease_seconds / 3)
            if self._working:
                with contextlib.suppress(*LOST, DatabaseUnavailable):
                    await self.write(lambda session: progress.renew(session, self._holder, lease))

    async def _look_from_time_to_time(self) -> None:
        while True:
            await asyncio.sleep(self._settings.look_seconds)
            self.wake(None)

    def _follow(self, loop: asyncio.AbstractEventLoop, ended: threading.Event) -> None:
        """The engine's events, in a thread of their own."""

        def changed(workspace_id: UUID | None) -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                if not ended.is_set():
                    loop.call_soon_threadsafe(self.wake, workspace_id)

        while not ended.is_set():
            try:
                self._engine.follow(changed, ended.is_set)
            except EngineError as error:
                if not isinstance(error, Unreachable):
                    log.warning("engine's events were cut off", error=str(error)[:300])
                # It may come back with its rules gone: they are put in place before the next start.
                self._protected_until = 0.0
                ended.wait(1)

    async def _end(self, helpers: list[asyncio.Task[Any]]) -> None:
        self._stopping = True
        for disturbed in self._working.values():
            disturbed.set()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=END_PATIENCE)
            for task in late:
                task.cancel()
        for helper in helpers:
            helper.cancel()
        await asyncio.gather(*helpers, return_exceptions=True)
        if self._threads is not None:
            self._threads.shutdown(wait=False)
