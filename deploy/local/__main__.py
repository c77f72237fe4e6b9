"""`make up`: the whole platform on this machine, until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import ctypes
import errno
import fcntl
import ipaddress
import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from deploy.local.configuration import DEMO_EMAIL, Sites
from deploy.local.platform import Options, Platform, clear_left_behind
from deploy.local.processes import StartFailed
from deploy.local.terminal import Terminal
from shared.logging import get_logger

CHECKOUT = Path(__file__).resolve().parents[2]
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

log = get_logger(__name__)


M_ARENA_MAX = -8  # mallopt(3)


def main() -> int:
    """Runs the command line; the exit code is 0 after a clean stop, 1 where something is in the way."""
    options = _options()
    terminal = Terminal()
    # glibc keeps up to eight heaps a core for threads; ours hold Python's lock anyway, and two keep the memory small.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 2)
    for name in [name for name, value in os.environ.items() if not value]:
        del os.environ[name]  # `SMTP_URL= make up` sets nothing
    try:
        options.data.mkdir(parents=True, exist_ok=True)
        with _only_one(options, terminal) as free:
            if not free:
                return 1
            log_file = terminal.keep_logs(options.data / "logs", os.environ.get("LOG_LEVEL", "info"))
            clear_left_behind(options.data, terminal.say)
            if taken := _taken(options):
                terminal.say(taken)
                return 1
            import uvloop

            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                return runner.run(_run(options, terminal, log_file))
    except OSError as problem:
        if problem.filename is None or not str(problem.filename).startswith(str(options.data)):
            raise
        terminal.say(f"The data folder cannot be used: {problem.filename}: {problem.strerror}.")
        terminal.say('Choose another: make up ARGS="--data FOLDER"')
        return 1


def _options() -> Options:
    parser = argparse.ArgumentParser(prog="make up", description="Run the whole platform on this machine.")
    parser.add_argument("command", choices=["up"])
    parser.add_argument("--port", type=_port, default=os.environ.get("PORT") or "8080", help="the one public port")
    parser.add_argument("--bind", type=_address, default="127.0.0.1", help="IPv4 address of the public port")
    parser.add_argument("--data", type=Path, default=CHECKOUT / ".data", help="where everything is kept")
    parser.add_argument("--separate", action="store_true", help="each service its own process, on RabbitMQ")
    given = parser.parse_args()
    return Options(data=given.data.resolve(), port=given.port, bind=given.bind, separate=given.separate)


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError("a port is a number from 1 to 65535")
    return int(text)


def _address(text: str) -> str:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise argparse.ArgumentTypeError("an IPv4 address of this machine, or 0.0.0.0 for all of them") from None


@contextlib.contextmanager
def _only_one(options: Options, terminal: Terminal) -> Iterator[bool]:
    """Holds the data folder for this process; tells who holds it where somebody does."""
    with (options.data / "running").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            terminal.say(f"It is running already: {file.read().strip() or 'starting'}. Stop it with Ctrl-C there.")
            yield False
            return
        file.truncate(0)
        file.write(f"{Sites.choose(options.port, os.environ).public} (process {os.getpid()})")
        file.flush()
        yield True


def _taken(options: Options) -> str | None:
    """Why the public port cannot be ours; None where it can."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((options.bind, options.port))
        except PermissionError:
            return f"Port {options.port} needs root. Choose another: make up PORT=8080"
        except OSError as problem:
            if problem.errno == errno.EADDRNOTAVAIL:
                return f'This machine has no address {options.bind}. All it has: make up ARGS="--bind 0.0.0.0"'
            another = options.port + 1 if options.port < 65535 else 8080
            return f"Port {options.port} is taken by another program. Choose another: make up PORT={another}"
    return None


async def _run(options: Options, terminal: Terminal, log_file: Path) -> int:
    stop = asyncio.Event()
    for number in SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    platform = Platform(options, dict(os.environ), terminal.say)
    starting = asyncio.create_task(platform.start())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    try:
        if not starting.done():
            terminal.say("Stopping …")
            starting.cancel()
        await starting
        _tell(platform)
        await stopping
        terminal.say("Stopping …")
        await platform.stop()
    except asyncio.CancelledError:
        pass  # asked to stop while it started; what had been started is stopped
    except StartFailed as problem:
        terminal.say(f"It could not start. {problem}")
        return 1
    except Exception as problem:
        log.warning("could not start", exc_info=True)
        terminal.say(f"It could not start. {type(problem).__name__}: {str(problem).partition(chr(10))[0]}")
        terminal.say(f"More is in {log_file}")
        return 1
    terminal.say("Stopped. Everything is kept; `make up` goes on from here. Open workspaces keep running in Docker.")
    return 0


def _tell(platform: Platform) -> None:
    given, sites, data = platform.given, platform.sites, platform.options.data
    kept = (data / "postgres" / "home").resolve()  # elsewhere where the database's account cannot enter
    database = f"PostgreSQL in {kept} (*_DATABASE_URL for your own)"
    if given.broker:
        bus = "your RabbitMQ"
    elif platform.options.separate:
        bus = f"RabbitMQ in {data}/rabbitmq (AMQP_URL=amqp://… for your own)"
    else:
        bus = "in this process (AMQP_URL=amqp://… for RabbitMQ)"
    paytr_hint = "sandbox, no money moves (PAYTR_MERCHANT_ID, _KEY and _SALT for real)"
    mail_hint = "sandbox, no mail leaves this machine (SMTP_URL=smtp://… for real)"
    lines = [
        "",
        f"  YouAreCoder is running:  {sites.public}",
        f"  Demo log-in              {DEMO_EMAIL}  {platform.environment['IDENTITY_DEMO_PASSWORD']}",
        "",
        f"  Mail        {'your SMTP server' if given.smtp else sites.mailbox + '  ' + mail_hint}",
        f"  Payments    {'PayTR' if given.paytr else sites.paytr + '  ' + paytr_hint}",
        f"  Database    {'yours' if given.databases else database}",
        f"  Events      {bus}",
        f"  Workspaces  real containers in Docker, at *.{platform.environment['WORKSPACES_DOMAIN']};",
        "              the first start prepares the engine and the image",
        f"  Logs        {data}/logs",
        "",
        "  Ctrl-C stops it; everything is kept.",
        "",
    ]
    print("\n".join(lines), flush=True)


if __name__ == "__main__":
    sys.exit(main())
