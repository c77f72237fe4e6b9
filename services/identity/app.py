"""Builds identity."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from services.identity.demo import ensure_demo
from services.identity.handlers import HANDLERS
from services.identity.housekeeping import Housekeeper
from services.identity.routes import ROUTERS
from services.identity.settings import Settings
from shared import ops
from shared.db import Database
from shared.http import build_app
from shared.service import Service
from shared.upstream import Upstream


def build(settings: Settings, upstreams: Mapping[str, Upstream] | None = None) -> Service:
    """The service, wired and not running. It calls no other service."""
    database = Database(settings.database_url.get_secret_value(), "identity", settings.database_pool)
    app = build_app("identity", clock=settings.clock, verifier=settings.verifier, database=database)
    app.state.settings = settings
    for router in ROUTERS:
        app.include_router(router)
    app.include_router(ops.router("identity"))

    def prepare() -> None:
        with database.unit_of_work() as session:
            ensure_demo(session, settings, settings.clock.now())

    async def start() -> None:
        await asyncio.to_thread(prepare)

    return Service(
        package="services.identity",
        settings=settings,
        app=app,
        database=database,
        handlers=HANDLERS,
        loops={"housekeeping": Housekeeper(database, settings.clock).run},
        start=start,
    )
