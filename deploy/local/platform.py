"""The platform on one machine: its parts, in the order they start and stop.

PostgreSQL, the sandboxes, the services, Traefik; and beside them the Docker engine and its images, which may take
minutes on a new machine while the site is already served.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import os
import time
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from deploy import certificates, database
from deploy.local import configuration, keys, postgres, rabbitmq, reachable, traefik
from deploy.local.configuration import Addresses, Given, Sites
from deploy.local.processes import Report, StartFailed, end_left_behind, limit
from deploy.local.terminal import PLATFORM_LOG
from shared.logging import get_logger

UNKNOWN_YET = "postgresql://unknown@127.0.0.1:1/yet"
SERVED_PATIENCE_S = 30
PARTS = {"logs": "services", "traefik": "Traefik", "rabbitmq": "RabbitMQ"}
"""Folders of parts whose processes outlive a killed platform. PostgreSQL looks after its own."""

log = get_logger(__name__)


def clear_left_behind(data: Path, report: Report) -> None:
    """Ends what a platform that was killed left running on this folder; its Traefik would hold the port.

    Only for who holds the data folder.
    """
    for folder, name in PARTS.items():
        end_left_behind(data / folder, name, report)


class Part(Protocol):
    """A program beside us."""

    def is_running(self) -> bool:
        """Whether it is alive."""

    def stop(self) -> None:
        """Returns when it has ended. Safe to call again."""


P = TypeVar("P", bound=Part)


class Services(Protocol):
    """The services, in whatever processes."""

    async def start(self) -> None:
        """Returns when all are ready."""

    async def stop(self) -> None:
        """Returns when all have finished."""


@dataclass(frozen=True)
class Options:
    """What the command line chose. `separate`: a process a service, on RabbitMQ."""

    data: Path
    port: int
    bind: str = "127.0.0.1"
    separate: bool = False


class Platform:
    """One installation in one data folder."""

    def __init__(self, options: Options, outside: Mapping[str, str], report: Report) -> None:
        self.options = options
        self.given = Given.read(outside)
        self.sites = Sites.choose(options.port, outside)
        self.addresses = Addresses.choose(options.port)
        self.environment: dict[str, str] = {}
        self.services: Services | None = None
        self._outside = outside
        self._report = report
        self._running = AsyncExitStack()
        self.keys = keys.load(options.data / "keys.json")
        certificates.ensure(options.data / "auth.pem", options.data / "auth-key.pem", ["127.0.0.1"])

    async def start(self) -> None:
        """Starts everything; returns when the site is served. What fails, or is cancelled, on the way is undone.

        Raises StartFailed with words for a person.
        """
        try:
            self._check_settings()
            await self._check_given_servers()
            self._in_background(self._limit_logs(), "limit logs")
            databases = await self._start_database()
            broker = await self._start_broker()
            self._set_environment(databases, broker)
            self._report("Bringing the databases to the newest version …")
            from deploy.local import embedded  # reads the environment that was just made
            from deploy.local.sandboxes import Sandboxes

            await embedded.prepare_all()
            sandboxes = Sandboxes(self.options.data, self.keys, self.addresses, self.given, self.sites.public)
            await sandboxes.start()
            self._running.push_async_callback(sandboxes.stop)
            self._report("Starting the services …")
            self.services = self._build_services()
            self._running.push_async_callback(self.services.stop)
            await self.services.start()
            # Last to come and first to go: who finds the door open finds somebody behind it.
            self._write_routes()
            await self._start_traefik()
            self._prepare_workspaces()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Stops everything in the opposite order. Workspaces keep running: they do not depend on us."""
        await self._running.aclose()

    def _check_settings(self) -> None:
        """Before anything runs: what the operator has set must make sense to every service."""
        self._set_environment(dict.fromkeys(database.SERVICES, UNKNOWN_YET), os.environ.get("AMQP_URL"))
        if found := configuration.faults(self._outside):
            raise StartFailed("These settings in the environment are wrong or missing:\n  " + "\n  ".join(found))

    async def _check_given_servers(self) -> None:
        names = [configuration.database_variable(service) for service in database.SERVICES]
        given = {name: self._outside[name] for name in names if name in self._outside}
        if given:
            self._report("Looking for your databases …")
            await asyncio.to_thread(reachable.databases, given)
        if self.given.broker:
            self._report("Looking for your RabbitMQ …")
            await reachable.broker(self._outside["AMQP_URL"])

    def _set_environment(self, databases: Mapping[str, str], broker: str | None) -> None:
        made = configuration.environment(self.options.data, self.keys, self.addresses, databases, self._outside)
        made["SCHEDULER_HEALTH_URLS"] = configuration.health_urls(self.addresses, self.options.separate)
        if broker:
            made["AMQP_URL"] = broker
        self.environment = made
        os.environ.update(made)

    async def _start_database(self) -> dict[str, str]:
        if self.given.databases:
            return {}
        folder = self.options.data / "postgres"
        self._report("Starting PostgreSQL …")

        def again(old: postgres.PostgresServer) -> postgres.PostgresServer:
            old.stop()  # lets go of the folder
            return postgres.start(folder, self._report, port=old.port)

        server = await self._run("PostgreSQL", lambda: postgres.start(folder, self._report), again)
        return await asyncio.to_thread(database.create, server.admin_dsn, "youarecoder", self.keys.database_passwords)

    async def _start_broker(self) -> str | None:
        if self.given.broker:
            return self._outside["AMQP_URL"]
        if not self.options.separate:
            return None

        def again(old: rabbitmq.RabbitServer) -> rabbitmq.RabbitServer:
            old.restart()
            return old

        folder = self.options.data / "rabbitmq"
        return (await self._run("RabbitMQ", lambda: rabbitmq.start(folder, self._report), again)).url

    def _build_services(self) -> Services:
        if self.options.separate:
            from deploy.local.separate import Separate

            environment = {**os.environ, **self.environment}
            separate = Separate(self.addresses, environment, self.options.data / "logs", self._report)
            self._in_background(separate.watch(), "keep services")
            return separate
        from deploy.local import embedded

        return embedded.Embedded(self.addresses)

    def _write_routes(self) -> None:
        # Imported late: the gateway reads its settings from the environment that was just made.
        from gateway.settings import Settings
        from gateway.traefik import platform_routes
        from shared.settings import load

        routes = platform_routes(
            load(Settings),
            gateway_url=f"http://127.0.0.1:{self.addresses.gateway}",
            auth=f"127.0.0.1:{self.addresses.auth}",
        )
        folder = self.options.data / "routes"
        folder.mkdir(exist_ok=True)
        traefik.write_routes(folder / "platform.yml", routes)
        traefik.write_routes(folder / "sandbox.yml", self._sandbox_routes())

    def _sandbox_routes(self) -> dict[str, object]:
        served = {}
        if not self.given.smtp:
            served["mailbox"] = (self.sites.mailbox, self.addresses.mailbox)
        if not self.given.paytr:
            served["paytr"] = (self.sites.paytr, self.addresses.paytr)
        if not served:
            return {}
        routers, services = {}, {}
        for name, (address, port) in served.items():
            # Above the route of the platform's other names.
            host = configuration.host_of(address).partition(":")[0]
            routers[name] = {"rule": f"Host(`{host}`)", "service": name, "entryPoints": ["web"], "priority": 900}
            services[name] = {"loadBalancer": {"servers": [{"url": f"http://127.0.0.1:{port}"}]}}
        return {"http": {"routers": routers, "services": services}}

    async def _start_traefik(self) -> None:
        data, bind, port = self.options.data, self.options.bind, self.options.port

        def start() -> traefik.TraefikServer:
            return traefik.start(data / "traefik", data / "routes", host=bind, port=port)

        await self._run("Traefik", start, lambda old: start())
        await asyncio.to_thread(self._wait_until_served)

    def _wait_until_served(self) -> None:
        """Traefik says it is ready before it has read its routes; until then every page is a 404."""
        asked = "127.0.0.1" if self.options.bind == "0.0.0.0" else self.options.bind
        deadline = time.monotonic() + SERVED_PATIENCE_S
        while time.monotonic() < deadline:
            connection = http.client.HTTPConnection(asked, self.options.port, timeout=5)
            try:
                connection.request("GET", "/", headers={"Host": configuration.host_of(self.sites.public)})
                if connection.getresponse().status not in (404, 502, 503):
                    return
            except (OSError, http.client.HTTPException):
                pass
            finally:
                connection.close()
            time.sleep(0.02)
        raise StartFailed(f"The site does not answer on port {self.options.port}; see {self.options.data}/traefik.")

    def _prepare_workspaces(self) -> None:
        from deploy.local.workspaces import Workspaces

        workspaces = Workspaces(self.options.data / "engine", self._report)
        workspaces.start()
        self._running.callback(workspaces.stop)

    async def _run(self, name: str, start: Callable[[], P], again: Callable[[P], P]) -> P:
        """Starts a part, starts it again when it ends by itself, and stops it when the platform stops."""
        part = await _started(start)

        async def stop() -> None:
            await asyncio.to_thread(part.stop)

        async def keep() -> None:
            nonlocal part
            while True:
                await asyncio.sleep(1)
                if part.is_running():
                    continue
                self._report(f"{name} ended by itself and is started again")
                try:
                    part = await _started(partial(again, part))
                except StartFailed as problem:
                    log.error("a part could not be started again", part=name, problem=str(problem))

        self._running.push_async_callback(stop)
        self._in_background(keep(), f"keep {name}")
        return part

    async def _limit_logs(self) -> None:
        while True:
            for file in self.options.data.glob("*/*.log"):
                if file.name != PLATFORM_LOG:  # rotates by itself
                    await asyncio.to_thread(limit, file)
            await asyncio.sleep(60)

    def _in_background(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)

        async def end() -> None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

        self._running.push_async_callback(end)


async def _started(start: Callable[[], P]) -> P:
    """Starts a part in a thread. Cancelled meanwhile, it waits for the part and stops it: nothing is left running."""
    starting = asyncio.ensure_future(asyncio.to_thread(start))
    try:
        return await asyncio.shield(starting)
    except asyncio.CancelledError:
        await asyncio.wait([starting])
        if starting.exception() is None:
            await asyncio.to_thread(starting.result().stop)
        raise
