"""What the gateway itself answers on a workspace's host: the way in, and a page where no workspace answers.

Traefik sends here `/.youarecoder/…` of every workspace and everything of hosts it has no route for. No route of the
platform exists on these hosts: a page of the platform must never share an origin with somebody's code.
"""

from __future__ import annotations

import asyncio
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import Receive, Scope, Send

from gateway import client, limits, tickets, workspace_cookie
from gateway.entry import ENTER
from gateway.hosts import workspace_label
from gateway.knowledge import COOKIE_LIFE, Knowledge
from gateway.limits import Limits
from gateway.rendering import Templates
from gateway.settings import Settings
from gateway.targets import safe_path
from gateway.tickets import Leave
from gateway.workspace_cookie import Passes
from shared.clock import Clock
from shared.db import Database, DatabaseUnavailable
from shared.errors import NotFound, Unavailable
from shared.http import problem_response
from shared.i18n import negotiate

TICKET_LENGTH = range(20, 101)
OURS = ENTER.rpartition("/")[0] + "/"
"""Of every workspace's paths, the folder that Traefik leads here also while the workspace runs."""


class WorkspaceNotRunning(Unavailable):
    code = "workspace-not-running"
    title = "This workspace does not run"


class WorkspaceHosts:
    """The ASGI application of every host below the workspaces' domain."""

    def __init__(
        self,
        settings: Settings,
        templates: Templates,
        knowledge: Knowledge,
        database: Database,
        limits: Limits,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._templates = templates
        self._knowledge = knowledge
        self._database = database
        self._limits = limits
        self._clock = clock
        self._passes = Passes(settings)

    async def answer(self, host: str, scope: Scope, receive: Receive, send: Send) -> None:
        """One request to `host`."""
        request = Request(scope, receive)
        label = workspace_label(host, self._settings)
        try:
            if label is not None and request.method == "GET" and request.url.path == ENTER:
                response = await self._enter(request, label)
            elif request.url.path.startswith(OURS):
                response = problem_response(NotFound())
            else:
                response = self._nothing_here(request, label)
        except limits.TooManyRequests as problem:
            response = problem_response(problem)
        except DatabaseUnavailable as problem:
            response = problem_response(problem)
        response.headers["Referrer-Policy"] = "no-referrer"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.headers["Cache-Control"] = "no-store"
        await response(scope, receive, send)

    async def _enter(self, request: Request, label: str) -> Response:
        """Trades a ticket for a cookie; whoever has the cookie already needs none (reload, back button)."""
        self._limits.take(limits.TICKETS, client.network(client.address(request.scope, self._settings.proxies)))
        target = safe_path(request.query_params.get("to"), "/")
        ticket = request.query_params.get("ticket", "")
        leave = await asyncio.to_thread(self._redeem, ticket, label) if len(ticket) in TICKET_LENGTH else None
        if leave is None:
            if self._may_stay(request, label):
                return RedirectResponse(target, 303)
            where = urlencode({"host": label, "to": target})
            return self._page(request, 410, "ticket", f"/workspaces/enter?{where}")
        # An address on this very host: `target` is a path and nothing else.
        response = RedirectResponse(target, 303)
        now = self._clock.now()
        response.set_cookie(
            workspace_cookie.name(self._settings),
            workspace_cookie.make(self._settings, leave, now),
            max_age=int(COOKIE_LIFE.total_seconds()),
            path="/",
            secure=self._settings.secure,
            httponly=True,
            samesite="lax",
        )
        return response

    def _redeem(self, ticket: str, label: str) -> Leave | None:
        with self._database.unit_of_work() as work:
            leave = tickets.redeem(work, ticket, label, self._clock.now())
        return None if leave is None or self._knowledge.is_revoked(leave.session_id) else leave

    def _nothing_here(self, request: Request, label: str | None) -> Response:
        place = self._knowledge.place(label) if label else None
        asks_for_page = request.method == "GET" and "text/html" in request.headers.get("accept", "")
        if place is None or label is None:
            return self._page(request, 404, "unknown", "/dashboard") if asks_for_page else problem_response(NotFound())
        if not asks_for_page:
            return problem_response(WorkspaceNotRunning())
        if self._may_stay(request, label):
            return self._page(request, 503, "stopped", f"/workspaces/{place.workspace_id}")
        # Who has not shown that they may know of it learns that from the platform, after log-in.
        return RedirectResponse(f"{self._settings.public_url}/workspaces/enter?{urlencode({'host': label})}", 302)

    def _may_stay(self, request: Request, label: str) -> bool:
        value = request.cookies.get(workspace_cookie.name(self._settings))
        pass_ = self._passes.read(value) if value else None
        return pass_ is not None and workspace_cookie.admits(pass_, label, self._knowledge, self._clock.now())

    def _page(self, request: Request, status: int, kind: str, path: str) -> Response:
        language = negotiate(request.headers.get("accept-language"))
        facts = {"kind": kind, "link": f"{self._settings.public_url}{path}"}
        response = HTMLResponse(self._templates.render(language, "workspace_host.html", facts), status)
        platform = self._settings.public_url
        response.headers["Content-Security-Policy"] = (
            f"default-src 'none'; style-src {platform}; img-src {platform} data:; font-src {platform}; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        )
        return response
