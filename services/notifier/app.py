"""Builds the notifier."""

from __future__ import annotations

from collections.abc import Mapping

from services.notifier.handlers import HANDLERS
from services.notifier.retention import Forgetter
from services.notifier.routes import router
from services.notifier.sending import Sender
from services.notifier.settings import Settings
from shared import ops
from shared.db import Database
from shared.http import build_app
from shared.service import Service
from shared.upstream import Upstream


def build(settings: Settings, upstreams: Mapping[str, Upstream] | None = None) -> Service:
    """The service, wired and not running. It fetches invoices from billing."""
    database = Database(settings.database_url.get_secret_value(), "notifier", settings.database_pool)
    app = build_app("notifier", clock=settings.clock, verifier=settings.verifier, database=database)
    app.include_router(router)
    app.include_router(ops.router("notifier"))
    own = Upstream("billing", url=settings.billing_url) if settings.billing_url else None
    billing = (upstreams or {}).get("billing") or own

    async def close() -> None:
        if own:
            await own.close()

    return Service(
        package="services.notifier",
        settings=settings,
        app=app,
        database=database,
        handlers=HANDLERS,
        loops={
            "sender": Sender(database, settings.clock, settings, billing).run,
            "forgetter": Forgetter(database, settings.clock).run,
        },
        close=close,
    )
