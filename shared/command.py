"""The command line of every service: `python -m services.billing serve | api | worker | migrate | dead-letters …`."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable
from typing import TypeVar
from uuid import UUID

from shared import logging
from shared.errors import NotFound
from shared.messaging import deadletters
from shared.migrate import is_current
from shared.service import HttpServer, Service, Worker, leave_the_code_alone, ops_app, prepare, transport_for
from shared.settings import ServiceSettings, load

S = TypeVar("S", bound=ServiceSettings)


def main(package: str, settings_class: type[S], build: Callable[[S], Service]) -> None:
    """Runs one service's command line and ends the process."""
    arguments = _parser(package).parse_args()
    settings = load(settings_class)
    name = package.rsplit(".", 1)[-1]
    logging.configure(name, settings.log_level, pretty=sys.stdout.isatty())
    service = build(settings)
    if arguments.command == "migrate":
        asyncio.run(prepare(service))
    elif arguments.command == "dead-letters":
        _dead_letters(service, arguments)
    else:
        if getattr(arguments, "migrate", False):
            asyncio.run(prepare(service))
        elif not is_current(service.database, package):
            sys.exit(f"{name}: the schema is behind this code; run `python -m {package} migrate` first")
        halves = {"serve": (True, True), "api": (True, False), "worker": (False, True)}[arguments.command]
        _run(service, *halves)


def _parser(package: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m {package}")
    commands = parser.add_subparsers(dest="command", required=True)
    serve = commands.add_parser("serve", help="HTTP and background work in one process")
    serve.add_argument("--migrate", action="store_true", help="first do what `migrate` does; safe beside others")
    commands.add_parser("api", help="HTTP only")
    commands.add_parser("worker", help="events and loops only")
    commands.add_parser("migrate", help="bring the schema, and at the broker the queue, to the newest version")
    letters = commands.add_parser("dead-letters", help="deliveries that were given up")
    letters.add_argument("action", choices=["list", "replay", "drop"])
    letters.add_argument("id", nargs="?", type=UUID)
    return parser


def _dead_letters(service: Service, arguments: argparse.Namespace) -> None:
    with service.database.unit_of_work() as session:
        if arguments.action == "list":
            for letter in deadletters.parked(session, after=arguments.id, limit=100):
                when = f"{letter.attempts} tries, last {letter.last_failed_at:%F %T}"
                print(f"{letter.id}  {letter.type}  {when}  {letter.error}")
            return
        if arguments.id is None:
            sys.exit("name the id, as `list` shows it")
        act = deadletters.replay if arguments.action == "replay" else deadletters.drop
        try:
            act(session, arguments.id)
        except NotFound as error:
            sys.exit(str(error))


def _run(service: Service, http: bool, work: bool) -> None:
    loop_factory = _uvloop()
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        runner.run(_serve(service, http, work))


async def _serve(service: Service, http: bool, work: bool) -> None:
    log = logging.get_logger(__name__)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    worker = Worker([service], transport_for(service.settings)) if work else None
    if worker is None and service.start:
        await service.start()
    host, linger = service.settings.host, service.settings.linger
    server = HttpServer(service.app, host, service.settings.port, linger=linger) if http else None
    ready = ops_app([service], worker, lambda: server is None or server.started)
    ops = HttpServer(ready, host, service.settings.ops_port)
    ops_port = await ops.begin()
    if worker:
        await _start(worker, stop)
    port = await server.begin() if server else None
    leave_the_code_alone()
    log.info("serving", port=port, ops_port=ops_port)
    await stop.wait()
    service.app.state.stopping = True
    if server:
        await server.end()
    if worker:
        await worker.stop()
    await ops.end()
    if service.close:
        await service.close()
    service.database.close()
    log.info("stopped")


async def _start(worker: Worker, stop: asyncio.Event) -> None:
    """Starts the background work; where it still waits for a broker when the process is to stop, the wait ends."""
    starting, stopping = asyncio.create_task(worker.start()), asyncio.create_task(stop.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    for task in (starting, stopping):
        task.cancel()  # changes nothing where it has ended
    with contextlib.suppress(asyncio.CancelledError):
        await starting


def _uvloop() -> Callable[[], asyncio.AbstractEventLoop]:
    import uvloop

    return uvloop.new_event_loop
