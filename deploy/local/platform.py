"""The platform on one machine: its parts, in the order they start and stop.

PostgreSQL, the sandboxes, the services, Traefik; and beside them the Docker engine and its images, which may take
minutes on a new machine while the site is already served.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from deploy import database
from deploy.local import configuration, embedded, engine, images, keys, postgres, rabbitmq, traefik
from deploy.local.configuration import Addresses, Given
from deploy.local.processes import Report
from deploy.local.sandboxes import Sandboxes
from deploy.local.separate import Separate

IMAGES = ("firewall", "workspace")


class Services(Protocol):
    """The services, in whatever processes."""

    async def start(self) -> None:
        """Returns when all are ready."""

    async def stop(self) -> None:
        """Returns when all have finished."""


@dataclass(frozen=True)
class Options:
    """What the command line chose. `separate`: a process a service, on RabbitMQ. `workspaces`: mind the engine."""

    data: Path
    port: int
    bind: str = "127.0.0.1"
    separate: bool = False
    workspaces: bool = True


class Platform:
    """One installation in one data folder."""

    def __init__(self, options: Options, outside: Mapping[str, str], report: Report) -> None:
        self.options = options
        self.given = Given.read(outside)
        self.addresses = Addresses.choose(options.port)
        self.environment: dict[str, str] = {}
        self.services: Services | None = None
        self._outside = outside
        self._report = report
        self._running = AsyncExitStack()
        options.data.mkdir(parents=True, exist_ok=True)
        self.keys = keys.load(options.data / "keys.json")

    @property
    def public_url(self) -> str:
        """The address to open."""
        return self.environment["PUBLIC_URL"]

    async def start(self) -> None:
        """Starts everything; returns when the site is served. What fails on the way is undone."""
        try:
            databases = await asyncio.to_thread(self._databases)
            self.environment = self._settings(databases)
            os.environ.update(self.environment)
            self._report("Bringing the databases to the newest version …")
            await embedded.prepare_all()
            sandboxes = Sandboxes(self.options.data, self.keys, self.addresses, self.given, self.public_url)
            await sandboxes.start()
            self._running.push_async_callback(sandboxes.stop)
            self._write_routes()
            await asyncio.to_thread(self._start_traefik)
            self._in_background(self._keep_traefik())
            self._report("Starting the services …")
            self.services = self._build_services()
            self._running.push_async_callback(self.services.stop)
            await self.services.start()
            if self.options.workspaces:
                threading.Thread(target=self._prepare_workspaces, name="engine", daemon=True).start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stops everything in the opposite order. Workspaces keep running: they do not depend on us."""
        await self._running.aclose()

    def _databases(self) -> dict[str, str]:
        if self.given.databases:
            return {}
        server = postgres.start(self.options.data / "postgres", self._report)
        self._running.callback(server.stop)
        return database.create(server.admin_dsn, "youarecoder", self.keys.database_passwords)

    def _settings(self, databases: Mapping[str, str]) -> dict[str, str]:
        given = configuration.environment(self.options.data, self.keys, self.addresses, databases, self._outside)
        given["SCHEDULER_HEALTH_URLS"] = configuration.health_urls(self.addresses, self.options.separate)
        if self.options.separate and not self.given.broker:
            broker = rabbitmq.start(self.options.data / "rabbitmq", self._report)
            self._running.callback(broker.stop)
            given["AMQP_URL"] = broker.url
        return given

    def _build_services(self) -> Services:
        if self.options.separate:
            environment = {**os.environ, **self.environment}
            return Separate(self.addresses, environment, self.options.data / "logs", self._report)
        return embedded.Embedded(self.addresses)

    def _write_routes(self) -> None:
        # Imported late: the gateway reads its settings from the environment that was just made.
        from gateway.settings import Settings
        from gateway.traefik import platform_routes
        from shared.settings import load

        routes = platform_routes(
            load(Settings),
            gateway_url=f"http://127.0.0.1:{self.addresses.gateway}",
            auth_url=f"http://127.0.0.1:{self.addresses.auth}",
        )
        folder = self.options.data / "routes"
        folder.mkdir(exist_ok=True)
        traefik.write_routes(folder / "platform.yml", routes)
        traefik.write_routes(folder / "sandbox.yml", self._sandbox_routes())

    def _sandbox_routes(self) -> dict[str, object]:
        ports = {}
        if not self.given.smtp:
            ports["mailbox"] = self.addresses.mailbox
        if not self.given.paytr:
            ports["paytr"] = self.addresses.paytr
        if not ports:
            return {}
        routers = {name: {"rule": f"Host(`{name}.localhost`)", "service": name} for name in ports}
        services = {
            name: {"loadBalancer": {"servers": [{"url": f"http://127.0.0.1:{port}"}]}} for name, port in ports.items()
        }
        return {"http": {"routers": routers, "services": services}}

    def _start_traefik(self) -> None:
        data, bind, port = self.options.data, self.options.bind, self.options.port
        self._traefik = traefik.start(data / "traefik", data / "routes", host=bind, port=port)

    async def _keep_traefik(self) -> None:
        """Starts Traefik again when it ends by itself; ends it when the platform does."""
        try:
            while True:
                await asyncio.sleep(1)
                if not self._traefik.is_running():
                    self._report("Traefik ended and is started again")
                    await asyncio.to_thread(self._start_traefik)
        finally:
            self._traefik.stop()

    def _in_background(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)

        async def end() -> None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

        self._running.push_async_callback(end)

    def _prepare_workspaces(self) -> None:
        """Docker and its images; whatever is missing is said in words, and the site goes on without."""
        try:
            client = engine.ensure(self.options.data / "engine", self._report)
            for name in IMAGES:
                images.ensure(client, name, self._report)
            client.close()
            self._report("Workspaces can be started.")
        except (engine.EngineUnavailable, images.ImageUnavailable) as problem:
            self._report(f"Workspaces cannot be started yet: {problem}")
