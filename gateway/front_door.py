"""The first thing every request meets: which host it is for, and which of our four halves answers it."""

from __future__ import annotations

from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.assets import FOR_A_YEAR, PREFIX, Assets
from gateway.headers import harden
from gateway.hosts import host_name, is_under_workspaces
from gateway.limits import State
from gateway.pages.failures import show
from gateway.pages.payments import callback
from gateway.proxy import Proxy
from gateway.settings import Settings
from gateway.targets import safe_path
from gateway.workspace_hosts import WorkspaceHosts
from shared.errors import NotFound, Problem
from shared.http import problem_response
from shared.logging import get_logger

log = get_logger(__name__)
CALLBACK = "/billing/callback"


class Misdirected(Problem):
    """RFC 9110, section 15.5.20."""

    status, code, title = 421, "misdirected", "This host is not served here"


class FrontDoor:
    """Dispatches by host, then by path; adds what every answer of the platform carries."""

    def __init__(
        self, app: ASGIApp, settings: Settings, assets: Assets, proxy: Proxy, workspace_hosts: WorkspaceHosts
    ) -> None:
        self._pages = app
        self._settings = settings
        self._assets = assets
        self._proxy = proxy
        self._workspace_hosts = workspace_hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": 1008})
        if scope["type"] != "http":
            return await self._pages(scope, receive, send)
        hosts = [value for name, value in scope["headers"] if name == b"host"]
        host = host_name(hosts[0].decode("latin-1")) if len(hosts) == 1 else ""
        if is_under_workspaces(host, self._settings):
            return await self._workspace_hosts.answer(host, scope, receive, send)
        state: dict[str, Any] = scope.setdefault("state", {})
        started = False

        async def tell(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                harden(headers, self._settings)
                rate: State | None = state.get("rate")
                for name, value in rate.headers().items() if rate else ():
                    headers[name] = value
            await send(message)

        try:
            await self._dispatch(host, scope, receive, tell)
        except Problem as problem:
            await problem_response(problem)(scope, receive, tell)
        except ClientDisconnect:
            raise  # nobody is left to be answered; the kernel lets it go
        except Exception as error:
            if started or _is_body_bound(error):
                raise
            log.exception("unhandled error", path=scope["path"][:200])
            await show(Request(scope, receive), Problem())(scope, receive, tell)

    async def _dispatch(self, host: str, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if path.rstrip("/") == CALLBACK:
            # Before the host is looked at: PayTR posts where its panel says, and follows no redirect.
            if scope["method"] != "POST":
                raise NotFound
            return await (await callback(Request(scope, receive)))(scope, receive, send)
        if host != self._settings.platform_host:
            return await self._elsewhere(scope)(scope, receive, send)
        if path.startswith(PREFIX):
            return await self._asset(scope)(scope, receive, send)
        if path.startswith("/api/"):
            return await self._proxy.answer(scope, receive, send)
        if scope["method"] == "HEAD":
            # The server drops the body by its own copy of the scope.
            scope = {**scope, "method": "GET"}
        return await self._pages(scope, receive, send)

    def _elsewhere(self, scope: Scope) -> Response:
        """Somebody came by an address or another name: our own name is the one cookies and links belong to."""
        if scope["method"] not in ("GET", "HEAD"):
            return problem_response(Misdirected())
        return RedirectResponse(self._settings.public_url + safe_path(scope["path"], "/"), 307)

    def _asset(self, scope: Scope) -> Response:
        found = self._assets.find(scope["path"]) if scope["method"] in ("GET", "HEAD") else None
        if found is None:
            return problem_response(NotFound())
        headers = {
            "Cache-Control": FOR_A_YEAR,
            "Vary": "Accept-Encoding",
            # A page on a workspace's host that says "not running" looks like ours.
            "Cross-Origin-Resource-Policy": "cross-origin",
            "Access-Control-Allow-Origin": "*",
        }
        accepted = b",".join(value for name, value in scope["headers"] if name == b"accept-encoding")
        if found.compressed and b"gzip" in accepted:
            headers["Content-Encoding"] = "gzip"
            return Response(found.compressed, headers=headers, media_type=found.media_type)
        return Response(found.body, headers=headers, media_type=found.media_type)


def _is_body_bound(error: Exception) -> bool:
    """The kernel's own signal for a body that is too long; it answers that itself."""
    return type(error).__name__ == "_BodyTooLarge"
