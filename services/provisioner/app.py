"""Builds the provisioner."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from services.provisioner.changes import Changes
from services.provisioner.engine import Engine
from services.provisioner.engine.docker_engine import DockerEngine
from services.provisioner.handlers import HANDLERS
from services.provisioner.installation import who_we_are
from services.provisioner.measure import LANES, Measurer
from services.provisioner.readiness import Probe
from services.provisioner.reconcile import ControlLoop
from services.provisioner.routes import router
from services.provisioner.routes_file import RoutesFile
from services.provisioner.settings import Settings
from services.provisioner.stream import Hub
from shared import ops
from shared.db import Database
from shared.http import build_app
from shared.service import Service
from shared.upstream import Upstream


def build(
    settings: Settings, upstreams: Mapping[str, Upstream] | None = None, *, engine: Engine | None = None
) -> Service:
    """The service, wired and not running. It calls no other service; `engine` is Docker's where none is given."""
    database = Database(settings.database_url.get_secret_value(), "provisioner", settings.database_pool)
    app = build_app("provisioner", clock=settings.clock, verifier=settings.verifier, database=database)
    changes = Changes(database)
    app.state.settings = settings
    app.state.hub = hub = Hub(database, changes, settings, app.state)
    app.include_router(router)
    app.include_router(ops.router("provisioner"))

    async def control(stop: asyncio.Event) -> None:
        name, secret = await asyncio.to_thread(_who_we_are, database, settings)
        loop = ControlLoop(
            database,
            engine or _docker(settings, name),
            RoutesFile(database, settings, secret),
            Probe(settings.traefik_url, settings.workspaces_domain, secret),
            settings,
            settings.clock,
        )
        changes.hear(loop.wake)
        try:
            await loop.run(stop)
        finally:
            changes.forget(loop.wake)

    async def measure(stop: asyncio.Event) -> None:
        name, _ = await asyncio.to_thread(_who_we_are, database, settings)
        ours = engine or _docker(settings, name)
        async with asyncio.TaskGroup() as lanes:
            for lane in LANES:
                lanes.create_task(Measurer(database, ours, settings, settings.clock, lane).run(stop))

    async def start() -> None:
        await changes.start()
        await hub.start()

    async def close() -> None:
        await hub.stop()
        await changes.stop()

    return Service(
        package="services.provisioner",
        settings=settings,
        app=app,
        database=database,
        handlers=HANDLERS,
        loops={"control": control, "measure": measure},
        start=start,
        close=close,
    )


def _who_we_are(database: Database, settings: Settings) -> tuple[str, str]:
    with database.unit_of_work() as session:
        return who_we_are(session, settings)


def _docker(settings: Settings, installation: str) -> DockerEngine:
    return DockerEngine(
        settings.docker_host,
        installation=installation,
        image=settings.image,
        firewall_image=settings.firewall_image,
        network=settings.network,
        bridge=settings.bridge,
        subnet=settings.subnet,
    )
