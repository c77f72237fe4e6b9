"""A service at run time: what `app.py` builds, and how one or several of them run in a process and stop gracefully.

Stopping loses nothing: the HTTP server finishes what it answers, the loops end, the relays send what was written,
then the bus takes nothing new and waits for the handlers under way, and only then are connections closed. What a
handler tells in the last moment stays in the outbox, for another replica or the next start.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.db import Database
from shared.logging import get_logger
from shared.messaging.consumer import Consumer, Handlers
from shared.messaging.housekeeping import Housekeeper
from shared.messaging.inprocess import InProcess
from shared.messaging.relay import Relay
from shared.messaging.retry import Retrier
from shared.messaging.transport import Subscription, Transport
from shared.migrate import is_current, migrate
from shared.settings import ServiceSettings

log = get_logger(__name__)

Loop = Callable[[asyncio.Event], Awaitable[None]]
"""Runs until the event is set, finishes what it has begun, and returns."""

DRAIN = 5
"""Seconds an HTTP request may take to end when the process stops; event streams are told and end at once."""


@dataclass
class Service:
    """One service, built and not yet running. `package` is its import name, such as `services.billing`."""

    package: str
    settings: ServiceSettings
    app: FastAPI
    database: Database
    handlers: Handlers = field(default_factory=dict)
    loops: dict[str, Loop] = field(default_factory=dict)
    broadcasts: list[Subscription] = field(default_factory=list)
    start: Callable[[], Awaitable[None]] | None = None
    """Called once before the loops: fills caches, opens clients."""
    close: Callable[[], Awaitable[None]] | None = None
    """Called last: closes what `start` or `build` opened."""

    @property
    def name(self) -> str:
        """The last part of the package: the schema, the queue, the metrics' label."""
        return self.package.rsplit(".", 1)[-1]


def transport_for(settings: ServiceSettings) -> Transport:
    """RabbitMQ where one is configured, else the in-process bus."""
    if settings.amqp_url is not None:
        from shared.messaging.rabbitmq import RabbitMQ  # the embedded platform has no use for its 20 MB

        return RabbitMQ(settings.amqp_url.get_secret_value())
    return InProcess()


async def prepare(service: Service) -> None:
    """What must be before any service runs: the schema, and at the broker a queue that keeps what is told meanwhile."""
    await asyncio.to_thread(migrate, service.database, service.package)
    transport = transport_for(service.settings)
    if service.handlers:
        consumer = Consumer(service.database, service.handlers, service.settings.clock, service.settings)
        await transport.start()
        await transport.declare(consumer.subscription())
        await transport.stop()


def use_threads(count: int = 32) -> None:
    """Gives the running loop enough threads for what blocks: by default it has two a core and four."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(count, thread_name_prefix="work"))


def leave_the_code_alone() -> None:
    """Tells Python's collector that what is loaded by now stays: a full collection of it would hold up every request
    for a tenth of a second, again and again."""
    gc.collect()
    gc.freeze()


class Worker:
    """The background half of services: consumers, relays, retries and loops on one transport."""

    def __init__(self, services: Sequence[Service], transport: Transport) -> None:
        self._services = services
        self._transport = transport
        self._stop = asyncio.Event()
        self._stop_relays = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._relays: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Connects, subscribes all, then starts sending: no event finds its hearers missing."""
        use_threads()
        await self._transport.start()
        for service in self._services:
            consumer = Consumer(service.database, service.handlers, service.settings.clock, service.settings)
            if service.handlers:
                await self._transport.subscribe(consumer.subscription())
            for subscription in service.broadcasts:
                await self._transport.subscribe(subscription)
            if service.start:
                await service.start()
            self._spawn(f"{service.name} retries", Retrier(consumer).run, self._stop, self._tasks)
            self._spawn(f"{service.name} housekeeping", Housekeeper(service.database).run, self._stop, self._tasks)
            for name, loop in service.loops.items():
                self._spawn(f"{service.name} {name}", loop, self._stop, self._tasks)
        for service in self._services:
            relay = Relay(service.database, self._transport)
            self._spawn(f"{service.name} relay", relay.run, self._stop_relays, self._relays)

    async def stop(self) -> None:
        """Ends everything that was started; what is under way finishes first."""
        self._stop.set()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._stop_relays.set()
        await asyncio.gather(*self._relays, return_exceptions=True)
        await self._transport.stop()

    async def ready(self) -> bool:
        """Whether events can be sent."""
        return await self._transport.ready()

    def _spawn(self, name: str, loop: Loop, stop: asyncio.Event, tasks: list[asyncio.Task[None]]) -> None:
        tasks.append(asyncio.create_task(_keep_running(name, loop, stop), name=name))


async def _keep_running(name: str, loop: Loop, stop: asyncio.Event) -> None:
    """A loop that raises is started again after a while: one bad row must not silence a service."""
    pause = 1.0
    while not stop.is_set():
        try:
            await loop(stop)
            return
        except Exception:
            log.exception("loop failed and is started again", loop=name)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause)
            pause = min(pause * 2, 30)


class HttpServer(uvicorn.Server):
    """Uvicorn without its own signal handling: whoever runs the process decides when it stops."""

    def __init__(self, app: ASGIApp, host: str, port: int, *, trusted_proxy: bool = False, linger: float = 0) -> None:
        self._app = app
        self._linger = linger
        self._leaving = False
        super().__init__(
            uvicorn.Config(
                self._answer,
                interface="asgi3",
                host=host,
                port=port,
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                date_header=False,
                proxy_headers=trusted_proxy,
                timeout_graceful_shutdown=DRAIN,
                h11_max_incomplete_event_size=32 * 1024,
            )
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves signals to the process."""
        yield

    async def begin(self) -> int:
        """Starts serving and returns the port. Raises OSError where the port is taken."""
        host = self.config.host
        # Our own socket: where it cannot have one, uvicorn ends the process.
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, self.config.port), family=family, backlog=self.config.backlog)
        port: int = listening.getsockname()[1]
        self._served = asyncio.create_task(self.serve([listening]))
        while not self.started:
            if self._served.done():
                self._served.result()
                raise OSError(f"cannot serve on {host}:{port}")
            await asyncio.sleep(0.01)
        return port

    async def end(self) -> None:
        """Finishes the requests under way and closes.

        With `linger`, it takes no new connection and answers for so many seconds on those it has, each answer the
        last of its connection. A client that keeps idle connections for less than that never finds one closed in the
        moment it sends, which it could not tell from a request that was done.
        """
        self._leaving = True
        if self._linger:
            for server in self.servers:
                server.close()
            deadline = time.monotonic() + self._linger
            while self.server_state.connections and time.monotonic() < deadline:  # noqa: ASYNC110  # tells nobody
                await asyncio.sleep(0.05)
        self.should_exit = True
        await self._served

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def tell(message: Message) -> None:
            if self._leaving and message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        await self._app(scope, receive, tell)


def ops_app(
    services: Sequence[Service], worker: Worker | None, serving: Callable[[], bool] = lambda: True
) -> FastAPI:
    """The internal port: /healthz (alive), /readyz (database, schema, bus, `serving`), /metrics (Prometheus)."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/healthz")
    async def healthz() -> Response:
        return JSONResponse({"status": "alive"})

    @app.get("/readyz")
    async def readyz() -> Response:
        faults = dict(await asyncio.gather(*(_fault(service) for service in services)))
        if worker is not None and not await worker.ready():
            faults["bus"] = "not connected"
        if not serving():
            faults["http"] = "not serving yet"
        found = {name: fault for name, fault in faults.items() if fault}
        return JSONResponse({"ready": not found, "faults": found}, 503 if found else 200)

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return app


async def _fault(service: Service) -> tuple[str, str | None]:
    def look() -> str | None:
        try:
            return None if is_current(service.database, service.package) else "schema is not migrated"
        except Exception as error:
            return type(error).__name__

    return service.name, await asyncio.to_thread(look)
