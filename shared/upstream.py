"""A client for another service's HTTP: over a socket, or straight into its ASGI application in the same process."""

from __future__ import annotations

from typing import Any

import httpx
from starlette.types import ASGIApp

from shared.http import CORRELATION
from shared.logging import correlation_id

IDLE = 2.0
"""Seconds an idle connection to a service is kept: less than a stopping service lingers (`HttpServer.end`)."""


class Upstream:
    """One service, wherever it runs. Carries the correlation id along."""

    def __init__(self, name: str, *, url: str | None = None, app: ASGIApp | None = None) -> None:
        self.name = name
        self.url = url
        self.app = app
        limits = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=IDLE)
        transport = httpx.ASGITransport(app=app) if app else httpx.AsyncHTTPTransport(retries=1, limits=limits)
        self.client = httpx.AsyncClient(
            transport=transport, base_url=url or f"http://{name}", timeout=httpx.Timeout(10, connect=2)
        )

    async def request(self, method: str, path: str, **given: Any) -> httpx.Response:
        """Sends one request. Raises httpx.TransportError where the service does not answer."""
        headers = dict(given.pop("headers", None) or {})
        if id_ := correlation_id():
            headers[CORRELATION] = id_
        return await self.client.request(method, path, headers=headers, **given)

    async def close(self) -> None:
        """Closes the connections."""
        await self.client.aclose()
