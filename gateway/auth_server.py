"""The internal port over TLS and HTTP/2: all that Traefik asks goes over one connection.

Over plain HTTP Traefik's client keeps two idle connections and opens a new one for every further question at the same
time; each leaves a socket in TIME_WAIT, thousands after a busy minute. Uvicorn knows no HTTP/2, so this is granian.
"""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server
from starlette.types import ASGIApp

PATIENCE = 15.0
"""Seconds it may take to listen, and to end."""


class AuthServer:
    """Serves one ASGI application in the running event loop, with the certificate and key in these PEM files."""

    def __init__(self, app: ASGIApp, host: str, port: int, certificate: Path, key: Path) -> None:
        self._app = app
        self._host = host
        self._port = port
        self._files = (certificate, key)
        self._server: Server | None = None
        self._serving: asyncio.Task[None] | None = None

    async def begin(self) -> int:
        """Starts serving and returns the port; 0 took a free one. Raises OSError where the port is taken."""
        # granian shares a port with whoever else shares it: asked first, a taken one is told.
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        with socket.create_server((self._host, self._port), family=family) as asking:
            port: int = asking.getsockname()[1]
        certificate, key = self._files
        self._server = Server(
            self._app,
            address=self._host,
            port=port,
            interface=Interfaces.ASGINL,
            http=HTTPModes.auto,
            websockets=False,
            backlog=1024,
            backpressure=1024,
            log_enabled=False,
            ssl_cert=certificate,
            ssl_key=key,
        )
        self._serving = asyncio.create_task(self._server.serve())
        deadline = asyncio.get_running_loop().time() + PATIENCE
        while not await _listens(self._host, port):
            if self._serving.done():
                self._serving.result()
            if self._serving.done() or asyncio.get_running_loop().time() > deadline:
                raise OSError(f"cannot serve on {self._host}:{port}")
            await asyncio.sleep(0.01)
        return port

    async def end(self) -> None:
        """Finishes what is under way and closes."""
        if self._server is not None and self._serving is not None:
            self._server.stop()  # type: ignore[no-untyped-call]
            await asyncio.wait({self._serving}, timeout=PATIENCE)


async def _listens(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1" if host == "0.0.0.0" else host, port)
    except OSError:
        return False
    writer.close()
    return True
