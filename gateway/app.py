"""The only place where the gateway is put together."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi.responses import RedirectResponse
from starlette.middleware import Middleware

from gateway import entry
from gateway.access import Anybody, Staff
from gateway.auth_server import AuthServer
from gateway.forward_auth import forward_auth_app
from gateway.front_door import FrontDoor
from gateway.handlers import HANDLERS
from gateway.knowledge import Knowledge
from gateway.limits import Limits
from gateway.pages import ROUTERS
from gateway.pages.failures import answer_failures
from gateway.proxy import Proxy
from gateway.rendering import Templates
from gateway.services import Services
from gateway.sessions import ServiceTokens, Sessions
from gateway.settings import Settings
from gateway.tickets import Sweeper
from gateway.workspace_hosts import WorkspaceHosts
from shared import ops
from shared.db import Database
from shared.http import build_app
from shared.service import HttpServer, Service
from shared.upstream import Upstream

NAMES = ("identity", "billing", "provisioner", "notifier", "scheduler")


def build(settings: Settings, upstreams: Mapping[str, Upstream] | None = None) -> Service:
    """The gateway, not yet running. `upstreams` by service name win over the URLs in the settings.

    Raises ValueError where neither says how a service is reached and `upstreams` is not given at all.
    """
    clock = settings.clock
    database = Database(settings.database_url.get_secret_value(), "gateway", settings.database_pool)
    app = build_app("gateway", clock=clock, verifier=settings.verifier, database=database)
    # What staff do with our own parked events is asked like any other service's, with a token.
    ours = build_app("gateway", clock=clock, verifier=settings.verifier, database=database)
    ours.include_router(ops.router("gateway"))
    opened = _by_url(settings, upstreams)
    reached = {**opened, **(upstreams or {}), "gateway": Upstream("gateway", app=ours)}

    sessions = Sessions(clock)
    knowledge = Knowledge(database, clock, sessions)
    limits = Limits(settings.rate_scale)
    services = Services(reached, sessions, ServiceTokens(settings.signer, clock), knowledge.is_over)
    templates = Templates(settings)
    proxy = Proxy(settings, services, limits)
    workspace_hosts = WorkspaceHosts(settings, templates, knowledge, database, limits, clock)

    app.state.settings = settings
    app.state.sessions = sessions
    app.state.knowledge = knowledge
    app.state.limits = limits
    app.state.services = services
    app.state.templates = templates
    app.state.proxy = proxy
    app.router.redirect_slashes = False  # its redirects repeat the Host header and guess the scheme
    app.include_router(entry.routes)
    for routes in ROUTERS:
        app.include_router(routes)

    @app.get("/billing", include_in_schema=False)
    async def billing_without_slash(visitor: Anybody) -> RedirectResponse:
        """The page's address as people type it."""
        return RedirectResponse("/billing/", 303)

    @app.get("/admin/", include_in_schema=False)
    async def admin_with_slash(visitor: Staff) -> RedirectResponse:
        """The same, the other way round."""
        return RedirectResponse("/admin", 303)

    answer_failures(app)
    # Inside the kernel's Edge: it has the correlation id and bounds the body.
    app.user_middleware.append(
        Middleware(FrontDoor, settings=settings, assets=templates.assets, proxy=proxy, workspace_hosts=workspace_hosts)
    )
    auth = forward_auth_app(settings, knowledge, clock)
    auth_server: HttpServer | AuthServer | None = None

    async def start() -> None:
        nonlocal auth_server
        await knowledge.start()
        where = (auth, settings.host, settings.auth_port)
        if settings.auth_certificate and settings.auth_key:
            auth_server = AuthServer(*where, settings.auth_certificate, settings.auth_key)
        else:
            auth_server = HttpServer(*where)
        app.state.auth_port = await auth_server.begin()

    async def close() -> None:
        if auth_server is not None:
            await auth_server.end()
        await knowledge.stop()
        await proxy.close()
        for upstream in (*opened.values(), reached["gateway"]):
            await upstream.close()

    return Service(
        package="gateway",
        settings=settings,
        app=app,
        database=database,
        handlers=HANDLERS,
        loops={"sweep": Sweeper(database, clock).run},
        broadcasts=[knowledge.subscription()],
        start=start,
        close=close,
    )


def _by_url(settings: Settings, upstreams: Mapping[str, Upstream] | None) -> dict[str, Upstream]:
    opened: dict[str, Upstream] = {}
    for name in NAMES:
        url = getattr(settings, f"{name}_url")
        if upstreams is not None and name in upstreams:
            continue
        if url is not None:
            opened[name] = Upstream(name, url=url)
        elif upstreams is None:
            raise ValueError(f"GATEWAY_{name.upper()}_URL is missing: where is {name}?")
    return opened
