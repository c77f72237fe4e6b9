"""Builds the scheduler."""

from __future__ import annotations

from collections.abc import Mapping

from services.scheduler.handlers import HANDLERS
from services.scheduler.loops import HealthChecker, Ticker
from services.scheduler.routes import router
from services.scheduler.settings import Settings
from shared import ops
from shared.db import Database
from shared.http import build_app
from shared.service import Service
from shared.upstream import Upstream


def build(settings: Settings, upstreams: Mapping[str, Upstream] | None = None) -> Service:
    """The service, wired and not running. It calls no other service."""
    database = Database(settings.database_url.get_secret_value(), "scheduler", settings.database_pool)
    app = build_app("scheduler", clock=settings.clock, verifier=settings.verifier, database=database)
    app.include_router(router)
    app.include_router(ops.router("scheduler"))
    return Service(
        package="services.scheduler",
        settings=settings,
        app=app,
        database=database,
        handlers=HANDLERS,
        loops={
            "ticker": Ticker(database, settings.clock, settings).run,
            "health": HealthChecker(database, settings.clock, settings).run,
        },
    )
