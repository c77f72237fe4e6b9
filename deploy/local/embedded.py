"""Every service in this process, on the in-process bus (or RabbitMQ, where `AMQP_URL` says so)."""

from __future__ import annotations

from importlib import import_module

from deploy.local.configuration import Addresses, package_of
from shared.service import HttpServer, Service, Worker, leave_the_code_alone, ops_app, prepare, transport_for
from shared.settings import load
from shared.upstream import Upstream

ORDER = ("identity", "billing", "provisioner", "scheduler", "notifier", "gateway")
"""A service is built after those it calls."""


async def prepare_all() -> None:
    """Brings every schema to its newest version, and every queue. Settings come from the environment."""
    for name in ORDER:
        service = _build(name, {})
        await prepare(service)
        if service.close:
            await service.close()
        service.database.close()


class Embedded:
    """The services of one process. Settings come from the environment."""

    def __init__(self, addresses: Addresses) -> None:
        self._addresses = addresses
        upstreams: dict[str, Upstream] = {}
        self._services: list[Service] = []
        for name in ORDER:
            service = _build(name, upstreams)
            upstreams[name] = Upstream(name, app=service.app)
            self._services.append(service)
        self._upstreams = upstreams
        self._worker = Worker(self._services, transport_for(self._services[0].settings))
        self._front = HttpServer(self._services[-1].app, "127.0.0.1", addresses.gateway)
        self._ops = HttpServer(ops_app(self._services, self._worker), "127.0.0.1", addresses.ops["platform"])

    async def start(self) -> None:
        """Starts the background half, then opens the front door."""
        await self._worker.start()
        await self._ops.begin()
        await self._front.begin()
        leave_the_code_alone()

    async def stop(self) -> None:
        """Closes the front door, finishes what is under way, then disconnects."""
        for service in self._services:
            service.app.state.stopping = True
        await self._front.end()
        await self._worker.stop()
        await self._ops.end()
        for service in self._services:
            if service.close:
                await service.close()
            service.database.close()
        for upstream in self._upstreams.values():
            await upstream.close()


def _build(name: str, upstreams: dict[str, Upstream]) -> Service:
    package = package_of(name)
    settings = load(import_module(f"{package}.settings").Settings)
    built: Service = import_module(f"{package}.app").build(settings, upstreams)
    return built
