"""Traefik asks here, for every request to a workspace, who comes. Plain ASGI, from memory, without a wait.

200: let in; the answer's Cookie replaces the request's and Authorization is taken away, so that neither our cookies nor
our tokens reach the container (lessons S4). 302: a person who navigates without a cookie is led to the platform. 401
or 403: everything else. It is served on a port of its own that is reachable from Traefik only: what it is asked is
believed.
"""

from __future__ import annotations

from urllib.parse import urlencode

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway import csrf, devices, workspace_cookie
from gateway.hosts import host_name, workspace_label
from gateway.knowledge import Knowledge
from gateway.sessions import cookie_name
from gateway.settings import Settings
from gateway.targets import safe_path
from gateway.workspace_cookie import Passes
from shared.clock import Clock

PATH = "/forward-auth"
Headers = list[tuple[bytes, bytes]]


def forward_auth_app(settings: Settings, knowledge: Knowledge, clock: Clock) -> ASGIApp:
    """The ASGI application of the internal port."""
    passes = Passes(settings)
    own = workspace_cookie.name(settings)
    # Both spellings, whatever the scheme is today: none of them is ever the container's business.
    here = {own, cookie_name(settings), csrf.cookie_name(settings), devices.cookie_name(settings)}
    ours = here | {"__Host-workspace", "__Host-session", "__Host-guest", "__Host-device"}
    enter = f"{settings.public_url}/workspaces/enter"

    def decide(scope: Scope) -> tuple[int, Headers]:
        if scope["path"] != PATH:
            return 404, []
        headers, cookies, doubled = _headers(scope)
        label = workspace_label(host_name(headers.get(b"x-forwarded-host", b"").decode("latin-1")), settings)
        if label is None or doubled:
            return 403, []
        found = [value for name, value in cookies if name == own]
        pass_ = passes.read(found[0]) if len(found) == 1 else None
        method = headers.get(b"x-forwarded-method", b"")
        socket = b"sec-websocket-key" in headers
        if pass_ is None or not workspace_cookie.admits(pass_, label, knowledge, clock.now()):
            if socket or not _navigates(method, headers):
                return 401, []
            uri = headers.get(b"x-forwarded-uri", b"").decode("latin-1")
            where = urlencode({"host": label, "to": safe_path(uri, "/")})
            return 302, [(b"location", f"{enter}?{where}".encode())]
        if not _from_itself(method, headers, socket, settings.workspace_url(label)):
            return 403, []
        kept = "; ".join(f"{name}={value}" if value else name for name, value in cookies if name not in ours)
        return 200, [(b"cookie", kept.encode("latin-1"))] if kept else []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            status, headers = decide(scope)
            await _answer(send, status, headers)

    return app


def _headers(scope: Scope) -> tuple[dict[bytes, bytes], list[tuple[str, str]], bool]:
    """The headers, the cookies, and whether a header that decides came twice: then nothing is decided by it."""
    found: dict[bytes, bytes] = {}
    cookies: list[tuple[str, str]] = []
    doubled = False
    for name, value in scope["headers"]:
        if name == b"cookie":
            cookies += _cookies(value.decode("latin-1"))
        elif name in found and name in DECIDES:
            doubled = True
        else:
            found[name] = value
    return found, cookies, doubled


DECIDES = frozenset((b"x-forwarded-host", b"x-forwarded-method", b"origin", b"sec-websocket-key", b"sec-fetch-site"))


def _cookies(header: str) -> list[tuple[str, str]]:
    pairs = (part.strip().partition("=") for part in header.split(";"))
    return [(name.strip(), value) for name, _, value in pairs if name or value]


def _navigates(method: bytes, headers: dict[bytes, bytes]) -> bool:
    """Whether a person opens a page, so that leading them elsewhere makes sense."""
    if method != b"GET":
        return False
    mode = headers.get(b"sec-fetch-mode")
    if mode is not None:
        return mode == b"navigate" and headers.get(b"sec-fetch-dest", b"document") == b"document"
    return b"text/html" in headers.get(b"accept", b"")


def _from_itself(method: bytes, headers: dict[bytes, bytes], socket: bool, own: str) -> bool:
    """Whether the workspace's own pages ask, or a person who navigates here from anywhere.

    SameSite does not keep sibling workspaces apart (lessons S1): their pages may send this cookie with a WebSocket, a
    form, a picture or a frame. A WebSocket and whatever may change something must name our own Origin; browsers always
    send one there. Reading from a foreign page is refused, too, where the browser says so.
    """
    origin = headers.get(b"origin")
    if socket or method not in SAFE:
        return origin is not None and origin.decode("latin-1") == own
    navigates = method == b"GET" and headers.get(b"sec-fetch-mode") == b"navigate"
    if navigates and headers.get(b"sec-fetch-dest", b"document") == b"document":
        return True
    if origin is not None and origin.decode("latin-1") != own:
        return False
    return headers.get(b"sec-fetch-site", b"same-origin") in (b"same-origin", b"none")


SAFE = frozenset((b"GET", b"HEAD", b"OPTIONS"))


async def _answer(send: Send, status: int, headers: Headers) -> None:
    body = b"" if status in (200, 302) else TEXT
    more = [
        (b"cache-control", b"no-store"),
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *more]})
    await send({"type": "http.response.body", "body": body})


TEXT = b"Open this workspace from the platform's page.\n"
