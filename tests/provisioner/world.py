"""A provisioner with its people: what tests do to it and see of it."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

from fastapi.testclient import TestClient
from sqlalchemy import delete, select

from services.provisioner.app import build
from services.provisioner.measure import LANES, Lane, Measurer
from services.provisioner.models import Entitlement, Measuring, Workspace
from services.provisioner.routes_file import replace
from services.provisioner.settings import Settings
from shared.events import Event
from shared.events.billing import EntitlementsChanged
from shared.ids import new_id
from shared.messaging.consumer import Consumer
from shared.messaging.envelope import Envelope
from shared.messaging.tables import outbox
from shared.service import Service, _keep_running
from shared.tokens import Principal
from tests.callers import a_member, headers

GIB = 1024**3


class Running:
    """A control loop in a thread of its own, with its own service over the same database: one replica."""

    def __init__(self, settings: Settings, engine: Any, *loops: str) -> None:
        self.service: Service = build(settings, engine=engine)
        self._loops = loops
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="replica")
        self._thread.start()
        assert self._ready.wait(10)

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        assert self.service.start
        assert self.service.close
        await self.service.start()
        self._ready.set()
        try:
            running = (_keep_running(name, self.service.loops[name], self._stop) for name in self._loops)
            await asyncio.gather(*running)
        finally:
            await self.service.close()
            self.service.database.close()

    def stop(self) -> None:
        """As SIGTERM does."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(30)
            assert not self._thread.is_alive()


class World:
    """One database, its doors, a company with a member, and as many replicas as are started."""

    def __init__(self, settings: Settings, engine: Any = None) -> None:
        self.settings = settings
        self.engine = engine
        self.service = build(settings, engine=engine)
        self.me = a_member()
        self.replicas: list[Running] = []
        self._sequence = 0
        self._shift = timedelta()

    def run(self, engine: Any = None, *, measuring: bool = False) -> Running:
        """Starts a replica, which measures from time to time where it shall."""
        loops = ("control", "measure") if measuring else ("control",)
        self.replicas.append(Running(self.settings, engine or self.engine, *loops))
        return self.replicas[-1]

    def close(self) -> None:
        """Ends everything."""
        for replica in self.replicas:
            replica.stop()
        self.service.database.close()

    def call(self, method: str, path: str, caller: Principal | None = None, **given: Any) -> Any:
        """One request, as `caller` (me, where nobody is named)."""
        with TestClient(self.service.app, raise_server_exceptions=False) as client:
            who = {**headers(caller or self.me, self.service.settings.clock.now()), **given.pop("headers", {})}
            return client.request(method, f"/api/v1{path}", headers=who, **given)

    def hear(self, event: Event, sequence: int | None = None) -> None:
        """An event arrives."""
        self._sequence += 1
        body = Envelope(
            id=new_id(),
            type=event.type,
            source=event.publisher(),
            subject=event.subject,
            time=self.settings.clock.now(),
            sequence=self._sequence if sequence is None else sequence,
            data=event.model_dump(mode="json"),
        ).to_bytes()
        consumer = Consumer(self.service.database, self.service.handlers, self.settings.clock, self.settings)
        consumer.receive([body])

    def move_clock(self, by: timedelta) -> None:
        """Time moves on by so much at once, in every process that looks at the clock's file."""
        self._shift += by
        assert self.settings.clock_file
        replace(self.settings.clock_file, str(self._shift.total_seconds()).encode())

    def entitle(self, company: UUID | None = None, *, sequence: int | None = None, **given: Any) -> None:
        """Billing says what the company may use."""
        facts: dict[str, Any] = {
            "plan": "team",
            "active": True,
            "workspaces": 5,
            "storage_bytes": 10 * GIB,
            "cpu_millicores": 2000,
            "memory_bytes": 1 * GIB,
            "processes": 512,
            **given,
        }
        self.hear(EntitlementsChanged(company_id=company or self.me.company_id, **facts), sequence)

    def create(self, name: str = "work", caller: Principal | None = None) -> UUID:
        """Asks for a workspace and gets it."""
        answer = self.call("POST", "/workspaces", caller, json={"name": name})
        assert answer.status_code == 202, answer.text
        return UUID(answer.json()["id"])

    def create_beyond_the_plan(self, name: str, *, running: bool = True) -> UUID:
        """One more than the plan has room for, as it is after a smaller plan; then the present plan holds again."""
        with self.service.database.unit_of_work() as session:
            entitlement = session.get(Entitlement, self.me.company_id)
            assert entitlement is not None
            limit, entitlement.workspaces = entitlement.workspaces, None
        made = self.create(name)
        if not running:
            self.call("POST", f"/workspaces/{made}/stop")
        with self.service.database.unit_of_work() as session:
            entitlement = session.get(Entitlement, self.me.company_id)
            assert entitlement is not None
            entitlement.workspaces = limit
        return made

    def measure(self, lane: Lane = LANES[0]) -> None:
        """One turn of measuring, here and now, whoever's turn it is."""

        async def turn() -> None:
            measurer = Measurer(self.service.database, self.engine, self.settings, self.settings.clock, lane)
            try:
                await measurer.turn()
            finally:
                measurer.close()

        with self.service.database.unit_of_work() as session:
            session.execute(delete(Measuring))
        asyncio.run(turn())

    def row(self, workspace_id: UUID) -> Workspace:
        """The row as it is now."""
        with self.service.database.unit_of_work() as session:
            found = session.get(Workspace, workspace_id)
        assert found is not None
        return found

    def wait(self, workspace_id: UUID, state: str, seconds: float = 40) -> Workspace:
        """Waits for a state."""
        until(lambda: self.row(workspace_id).state == state, seconds, lambda: self.picture(workspace_id))
        return self.row(workspace_id)

    def picture(self, workspace_id: UUID) -> str:
        """What a failed wait prints."""
        row = self.row(workspace_id)
        return f"{row.state} (wanted {row.desired}), cause {row.cause}, generation {row.generation}, {row.stages}"

    def told(self) -> list[tuple[str, dict[str, Any]]]:
        """What the provisioner told, in order."""
        with self.service.database.unit_of_work() as session:
            rows = session.connection().execute(select(outbox).order_by(outbox.c.position)).all()
        return [(row.type, row.data) for row in rows]

    def routes(self) -> dict[str, str]:
        """Host label to address, as Traefik would read it."""
        assert self.settings.routes_directory
        path = self.settings.routes_directory / "workspaces.yml"
        services = json.loads(path.read_text()).get("http", {}).get("services", {}) if path.exists() else {}
        return {
            name.removeprefix("workspace-"): service["loadBalancer"]["servers"][0]["url"]
            for name, service in services.items()
        }


def until(true: Callable[[], bool], seconds: float = 40, picture: Callable[[], object] = lambda: "") -> None:
    """Waits until it is true; fails with the picture."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"not within {seconds} s: {picture()}"
        time.sleep(0.02)
