"""Builds billing."""

from __future__ import annotations

from collections.abc import Mapping

from services.billing import callback, routes
from services.billing.handlers import HANDLERS
from services.billing.payments.paytr import PayTR
from services.billing.payments.signatures import Credentials
from services.billing.reconciliation import Reconciler
from services.billing.settings import Settings
from shared import ops
from shared.db import Database
from shared.http import build_app
from shared.service import Service
from shared.upstream import Upstream


def build(settings: Settings, upstreams: Mapping[str, Upstream] | None = None) -> Service:
    """The service, wired and not running. It calls PayTR and no other service."""
    database = Database(settings.database_url.get_secret_value(), "billing", settings.database_pool)
    credentials = Credentials(
        settings.paytr_merchant_id,
        settings.paytr_merchant_key.get_secret_value(),
        settings.paytr_merchant_salt.get_secret_value(),
    )
    provider = PayTR(credentials, settings.paytr_url, settings.browser_url)
    app = build_app("billing", clock=settings.clock, verifier=settings.verifier, database=database)
    # PayTR's POST would lose its body on a redirect.
    app.router.redirect_slashes = False
    app.state.settings = settings
    app.state.provider = provider
    app.include_router(routes.router)
    app.include_router(routes.documents)
    app.include_router(callback.router)
    app.include_router(ops.router("billing"))
    return Service(
        package="services.billing",
        settings=settings,
        app=app,
        database=database,
        handlers=HANDLERS,
        loops={"reconciliation": Reconciler(database, provider, settings.clock, settings).run},
        close=provider.close,
    )
