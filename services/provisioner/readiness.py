"""Whether a workspace answers: the editor itself, and then the editor at its address through Traefik."""

from __future__ import annotations

import asyncio
import contextlib
from ipaddress import IPv4Address
from urllib.parse import urlsplit

from services.provisioner.routes_file import PORT, PROBE_ANSWER, PROBE_HEADER, PROBE_PATH

PAUSE = 0.008
"""Seconds between two questions: a start takes half a second, and who waits sees every part of it."""
ANSWER = 1.0
"""Seconds one answer may take."""
HEAD = 16 * 1024
FIRST_PAGE = "/?folder=/home/coder/project"
"""Where the editor leads whoever comes to `/`."""


class Probe:
    """Asks; one question is a few hundred bytes on a connection of its own."""

    def __init__(self, traefik_url: str, workspaces_domain: str, secret: str) -> None:
        self._traefik = urlsplit(traefik_url) if traefik_url else None
        self._domain = workspaces_domain
        self._secret = secret

    async def editor_answers(self, address: IPv4Address) -> bool:
        """Whether the editor answers 200 at its container's address."""
        status, _ = await self._ask(str(address), PORT, str(address), {})
        return status == 200

    async def open_first_page(self, address: IPv4Address) -> None:
        """Asks for the editor's page as its first visitor would: it loads most of itself only then, for a quarter of a
        second that nobody has to wait for. Whether it works out is nobody's matter."""
        await self._ask(str(address), PORT, str(address), {}, path=FIRST_PAGE)

    async def route_answers(self, host: str) -> bool:
        """Whether the editor answers at its host label, through the probe's own route. True without Traefik."""
        if self._traefik is None:
            return True
        name = self._traefik.hostname or "127.0.0.1"
        port = self._traefik.port or (443 if self._traefik.scheme == "https" else 80)
        status, head = await self._ask(
            name, port, f"{host}.{self._domain}", {PROBE_HEADER: self._secret}, tls=self._traefik.scheme == "https"
        )
        return status == 200 and f"\n{PROBE_ANSWER.lower()}:" in head

    async def _ask(
        self, name: str, port: int, host: str, headers: dict[str, str], *, tls: bool = False, path: str = PROBE_PATH
    ) -> tuple[int, str]:
        """Status and head of the answer; 0 where there is none."""
        lines = "".join(f"{header}: {value}\r\n" for header, value in headers.items())
        question = f"GET {path} HTTP/1.1\r\nHost: {host}\r\n{lines}Connection: close\r\n\r\n"
        with contextlib.suppress(OSError, TimeoutError, ValueError, IndexError, asyncio.IncompleteReadError):
            async with asyncio.timeout(ANSWER):
                reader, writer = await asyncio.open_connection(
                    name, port, limit=HEAD, ssl=tls or None, server_hostname=host if tls else None
                )
                try:
                    writer.write(question.encode())
                    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                finally:
                    writer.close()
                return int(head.split(" ", 2)[1]), head
        return 0, ""
