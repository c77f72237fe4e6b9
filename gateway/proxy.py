"""`/api/v1/*`: to the service that owns the prefix, as the person whose cookie came. Plain ASGI, streaming.

Closed by default: a path that is not spelt plainly, a prefix nobody owns, a header nobody needs does not pass.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import re
from collections.abc import Mapping

import aiohttp
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from yarl import URL

from gateway import client, csrf, limits, signatures
from gateway.access import session_of
from gateway.limits import Limits
from gateway.services import Services, ServiceUnavailable
from gateway.sessions import Session
from gateway.settings import Settings
from shared.errors import NotFound, Problem, Unauthenticated
from shared.http import CORRELATION, problem_response
from shared.logging import correlation_id, get_logger
from shared.upstream import IDLE, Upstream

log = get_logger(__name__)

ROOT = "/api/v1/"
RawHeaders = list[tuple[bytes, bytes]]
OWNERS: Mapping[str, str] = {
    **dict.fromkeys(("me", "company", "sessions", "members", "invitations"), "identity"),
    **dict.fromkeys(("admin/companies", "admin/users"), "identity"),
    **dict.fromkeys(
        ("plans", "subscription", "payments", "invoices", "admin/subscriptions", "admin/payments"), "billing"
    ),
    **dict.fromkeys(("workspaces", "admin/workspaces"), "provisioner"),
    "admin/mails": "notifier",
    **dict.fromkeys(("admin/jobs", "admin/timers"), "scheduler"),
    **{f"ops/{name}": name for name in ("identity", "billing", "provisioner", "notifier", "scheduler", "gateway")},
}
PUBLIC = frozenset({"plans"})
"""Prefixes that need no session."""

PLAIN_PATH = re.compile(r"^/api/v1(/[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,99}){1,8}$")
"""No empty segment, none that begins with a dot, nothing encoded: what we match is what the service will see."""

TAKEN_ALONG = frozenset(
    b"accept accept-language content-type idempotency-key if-match if-none-match last-event-id range user-agent".split()
)
"""Of a request. Who calls, from where, and to which host is said by us, never by a header that came."""
KEPT_BACK = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization te trailer transfer-encoding upgrade "
    b"set-cookie server date x-correlation-id access-control-allow-origin access-control-allow-credentials".split()
)
"""Of an answer: what belongs to one hop (RFC 9110, section 7.6.1), and what only the gateway may say."""

CONNECT, SILENCE = 2.0, 60.0
"""Seconds to wait for a connection, and between two pieces of an answer; event streams ping every 15."""


SHORT = 64 * 1024
"""Bytes of an answer that is passed on in one piece."""


class UpstreamFailed(ServiceUnavailable):
    status, code, title = 502, "service-failed", "A part of the platform gave no answer"


class UpstreamTimeout(ServiceUnavailable):
    status, code, title = 504, "service-timeout", "A part of the platform took too long to answer"


class Proxy:
    """Forwards API requests."""

    def __init__(self, settings: Settings, services: Services, limits: Limits) -> None:
        self._settings = settings
        self._services = services
        self._limits = limits
        self._client: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Closes the connections."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request below /api/."""
        try:
            prefix, path = _route(scope)
            request = Request(scope, receive)
            ip = client.address(scope, self._settings.proxies)
            session = await session_of(request)
            key = str(session.user_id) if session else client.network(ip)
            scope.setdefault("state", {})["rate"] = self._limits.take(limits.API, key)
            if session is None and prefix not in PUBLIC:
                raise Unauthenticated
            if session is not None and scope["method"] not in csrf.SAFE:
                self._check_form_token(request.headers, session)
            upstream = self._services.upstreams.get(OWNERS[prefix])
            if upstream is None:
                raise UpstreamFailed
            headers = self._headers(scope, session, ip)
            if upstream.app is not None:
                await _call(upstream.name, upstream.app, path, headers, scope, receive, send)
            else:
                await self._fetch(upstream, path, headers, scope, receive, send)
        except Problem as problem:
            if isinstance(problem, limits.TooManyRequests):
                scope.setdefault("state", {})["rate"] = problem.state
            await problem_response(problem)(scope, receive, send)

    def _check_form_token(self, headers: Headers, session: Session) -> None:
        csrf.check_source(headers, self._settings)
        expected = csrf.session_token(session, signatures.key(self._settings))
        if not hmac.compare_digest(expected.encode(), headers.get(csrf.HEADER, "").encode()):
            raise csrf.WrongFormToken

    def _headers(self, scope: Scope, session: Session | None, ip: str) -> RawHeaders:
        token = self._services.tokens.of(session, ip)
        headers = [(name, value) for name, value in scope["headers"] if name in TAKEN_ALONG]
        headers.append((b"authorization", f"Bearer {token}".encode()))
        if id_ := correlation_id():
            headers.append((CORRELATION.encode(), id_.encode()))
        return headers

    async def _fetch(
        self, upstream: Upstream, path: str, headers: RawHeaders, scope: Scope, receive: Receive, send: Send
    ) -> None:
        """Over a socket. The request's body is bounded (64 KiB), so it is read first; the answer streams."""
        body = await _body(receive)
        query = scope["query_string"].decode("latin-1")
        url = URL(f"{upstream.url}{path}{'?' + query if query else ''}", encoded=True)
        started = False
        try:
            async with self._session().request(
                scope["method"],
                url,
                data=body or None,
                headers=[(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers],
                allow_redirects=False,
            ) as answer:
                # What is short is there at once: no watching whether the client is, and a half answer is a 502.
                short = answer.content_length is not None and answer.content_length <= SHORT
                whole = await answer.read() if short else None
                started = True
                passed = _kept(answer.raw_headers)
                await send({"type": "http.response.start", "status": answer.status, "headers": passed})
                if whole is not None:
                    return await send({"type": "http.response.body", "body": whole})
                gone = asyncio.create_task(_until_gone(receive))
                try:
                    await _stream(answer, gone, send)
                finally:
                    gone.cancel()
                    with contextlib.suppress(asyncio.CancelledError):
                        await gone
        except TimeoutError:
            if started:
                raise
            raise UpstreamTimeout from None
        except aiohttp.ClientError as error:
            log.warning("service does not answer", upstream=upstream.name, error=type(error).__name__)
            if started:
                raise
            raise UpstreamFailed from None

    def _session(self) -> aiohttp.ClientSession:
        if self._client is None:
            self._client = aiohttp.ClientSession(
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                # Names are asked for anew with each connection: behind one may be another container by now.
                connector=aiohttp.TCPConnector(
                    limit=0, limit_per_host=500, keepalive_timeout=IDLE, use_dns_cache=False
                ),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT, sock_read=SILENCE),
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
            )
        return self._client


def _route(scope: Scope) -> tuple[str, str]:
    """The prefix and the path. Raises NotFound for what is not plainly ours."""
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    path = raw.partition(b"?")[0].decode("latin-1")
    if not PLAIN_PATH.match(path) or path != scope["path"]:
        raise NotFound
    first, _, rest = path.removeprefix(ROOT).partition("/")
    prefix = f"{first}/{rest.partition('/')[0]}" if first in ("admin", "ops") else first
    if prefix not in OWNERS:
        raise NotFound
    return prefix, path


async def _call(
    service: str, app: ASGIApp, path: str, headers: RawHeaders, scope: Scope, receive: Receive, send: Send
) -> None:
    """Straight into a service in this process."""
    inner: Scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": scope.get("http_version", "1.1"),
        "method": scope["method"],
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": scope["query_string"],
        "headers": [(b"host", service.encode()), *headers],
        "client": scope.get("client"),
        "server": (service, None),
    }

    async def tell(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": _kept(message.get("headers", []))}
        await send(message)

    await app(inner, receive, tell)


def _kept(headers: object) -> list[tuple[bytes, bytes]]:
    lowered = [(bytes(name).lower(), bytes(value)) for name, value in headers]  # type: ignore[attr-defined]
    return [(name, value) for name, value in lowered if name not in KEPT_BACK]


async def _body(receive: Receive) -> bytes:
    pieces: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect  # half a request must not pass for a whole one
        pieces.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(pieces)


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _stream(answer: aiohttp.ClientResponse, gone: asyncio.Task[None], send: Send) -> None:
    """Piece by piece, as they come; ends when the client has gone, so that an event stream ends at the service, too."""
    while True:
        piece = asyncio.ensure_future(answer.content.readany())
        await asyncio.wait((piece, gone), return_when=asyncio.FIRST_COMPLETED)
        if not piece.done():
            piece.cancel()
            answer.close()
            return
        body = piece.result()
        await send({"type": "http.response.body", "body": body, "more_body": bool(body)})
        if not body:
            return
