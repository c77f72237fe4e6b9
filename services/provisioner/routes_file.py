"""Traefik's routes to the workspaces: a file in its watched directory, derived wholly from the database.

Written by replacement, and only where its content is not what it should be. A lock in the database makes "read the
rows, write the file" one step among all replicas: an older picture never overwrites a newer one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import select, text

from services.provisioner.models import Workspace
from services.provisioner.settings import Settings
from services.provisioner.states import Desired, State
from shared.db import Database

LOCK = 7_238_115
"""Advisory lock (of this database) held while the rows are read and the file is written."""

PORT = 8080
"""Where the editor listens in its container."""
PROBE_HEADER = "X-Probe"
PROBE_PATH = "/healthz"
PROBE_ANSWER = "X-Workspace-Route"
"""Set by the probe's route on its answers, so that no other route's answer is taken for it."""


@dataclass(frozen=True)
class Route:
    """Where a host label leads."""

    host: str
    address: IPv4Address


class RoutesFile:
    """`workspaces.yml` in Traefik's directory."""

    def __init__(self, database: Database, settings: Settings, probe_secret: str) -> None:
        self._database = database
        self._settings = settings
        self._secret = probe_secret
        self._turn = asyncio.Lock()
        self._asked = 0
        self._done = 0

    async def publish(self) -> None:
        """When this returns, the file shows a state of the rows not older than the call. Bursts share a write."""
        self._asked += 1
        mine = self._asked
        async with self._turn:
            if self._done < mine:
                upto = self._asked
                await asyncio.to_thread(self._write)
                self._done = upto

    def _write(self) -> None:
        directory = self._settings.routes_directory
        if directory is None:
            return
        with self._database.unit_of_work() as session:
            session.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
            rows = session.execute(
                select(Workspace.host, Workspace.slot)
                .where(
                    Workspace.desired == Desired.RUNNING,
                    Workspace.state.in_([State.REQUESTED, State.STARTING, State.RUNNING]),
                )
                .order_by(Workspace.host)
            )
            routes = [Route(host, self._settings.address(slot)) for host, slot in rows if slot is not None]
            replace(directory / "workspaces.yml", self._content(routes))

    def _content(self, routes: Sequence[Route]) -> bytes:
        # JSON is YAML, and hundreds of routes are written in a millisecond instead of a tenth of a second.
        content = traefik_settings(routes, self._settings.workspaces_domain, self._secret)
        return orjson.dumps(content, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def traefik_settings(routes: Sequence[Route], domain: str, secret: str) -> dict[str, Any]:
    """The dynamic configuration. Empty where there is no route: Traefik refuses sections without entries."""
    if not routes:
        return {}
    routers: dict[str, Any] = {}
    services: dict[str, Any] = {}
    for route in routes:
        host = f"Host(`{route.host}.{domain}`)"
        routers[f"workspace-{route.host}"] = {
            "rule": host,
            "priority": 100,
            "service": f"workspace-{route.host}",
            "middlewares": ["workspace-auth@file"],
        }
        # The way in: the one-time ticket is the proof, so nobody is asked for a cookie.
        routers[f"ticket-{route.host}"] = {
            "rule": f"{host} && PathPrefix(`/.youarecoder/`)",
            "priority": 200,
            "service": "gateway@file",
            "middlewares": ["from-outside@file"],
        }
        routers[f"probe-{route.host}"] = {
            "rule": f"{host} && Path(`{PROBE_PATH}`) && Header(`{PROBE_HEADER}`, `{secret}`)",
            "priority": 300,
            "service": f"workspace-{route.host}",
            "middlewares": ["workspace-probe"],
        }
        services[f"workspace-{route.host}"] = {
            "loadBalancer": {"servers": [{"url": f"http://{route.address}:{PORT}"}], "passHostHeader": True}
        }
    # What listens in a container is its owner's: the secret stays outside.
    probe = {"headers": {"customRequestHeaders": {PROBE_HEADER: ""}, "customResponseHeaders": {PROBE_ANSWER: "yes"}}}
    return {"http": {"routers": routers, "services": services, "middlewares": {"workspace-probe": probe}}}


def replace(path: Path, content: bytes) -> bool:
    """Makes the file hold `content` in one step; False where it did already."""
    with contextlib.suppress(FileNotFoundError):
        if path.read_bytes() == content:
            return False
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            os.fchmod(handle, 0o640)  # it holds the probe's secret
            file.write(content)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    return True
