"""`make up`: the whole platform on this machine, until Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from deploy.local.configuration import DEMO_EMAIL, Given, public_url, sandbox_url
from deploy.local.platform import Options, Platform
from deploy.local.processes import StartFailed
from shared import logging

CHECKOUT = Path(__file__).resolve().parents[2]
STARTED = time.monotonic()


def main() -> int:
    """Runs the command line; the exit code is 0 after a clean stop, 1 where something is in the way."""
    options = _options()
    options.data.mkdir(parents=True, exist_ok=True)
    with _only_one(options) as free:
        if not free:
            return 1
        if taken := _taken(options):
            say(taken)
            return 1
        return asyncio.run(_run(options))


def say(line: str) -> None:
    """A line for the person at the terminal, with the seconds since the start."""
    print(f"[{time.monotonic() - STARTED:6.1f} s] {line}", flush=True)


def _options() -> Options:
    parser = argparse.ArgumentParser(prog="make up", description="Run the whole platform on this machine.")
    parser.add_argument("command", choices=["up"])
    parser.add_argument("--port", type=int, default=int(os.environ.get("PORT", "8080")), help="the one public port")
    parser.add_argument("--bind", default="127.0.0.1", help="address of the public port")
    parser.add_argument("--data", type=Path, default=CHECKOUT / ".data", help="where everything is kept")
    parser.add_argument("--separate", action="store_true", help="each service its own process, on RabbitMQ")
    given = parser.parse_args()
    if not 1 <= given.port <= 65535:
        parser.error("--port is a number from 1 to 65535")
    return Options(data=given.data.absolute(), port=given.port, bind=given.bind, separate=given.separate)


@contextlib.contextmanager
def _only_one(options: Options) -> Iterator[bool]:
    """Holds the data folder for this process; tells who holds it where somebody does."""
    with (options.data / "running").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            say(f"It is running already: {file.read().strip() or 'starting'}. Stop it with Ctrl-C there.")
            yield False
            return
        file.truncate(0)
        file.write(f"{public_url(options.port)} (process {os.getpid()})")
        file.flush()
        yield True


def _taken(options: Options) -> str | None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((options.bind, options.port))
        except PermissionError:
            return f"Port {options.port} needs root. Choose another: make up PORT=8080"
        except OSError:
            return f"Port {options.port} is taken by another program. Choose another: make up PORT={options.port + 1}"
    return None


async def _run(options: Options) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    logging.configure("platform", os.environ.get("LOG_LEVEL", "warning"), pretty=sys.stdout.isatty())
    platform = Platform(options, dict(os.environ), say)
    try:
        await platform.start()
    except StartFailed as problem:
        say(f"It could not start. {problem}")
        return 1
    _tell(platform)
    await stop.wait()
    say("Stopping …")
    await platform.stop()
    say("Stopped. Everything is kept; `make up` goes on from here. Open workspaces keep running in Docker.")
    return 0


def _tell(platform: Platform) -> None:
    given: Given = platform.given
    port = platform.options.port
    embedded_database = f"PostgreSQL in {platform.options.data}/postgres (*_DATABASE_URL for your own)"
    bus = "RabbitMQ" if "AMQP_URL" in platform.environment else "in this process (AMQP_URL=amqp://… for RabbitMQ)"
    paytr_hint = "sandbox, no money moves (PAYTR_MERCHANT_ID, _KEY and _SALT for real)"
    mail_hint = "sandbox, no mail leaves this machine (SMTP_URL=smtp://… for real)"
    lines = [
        "",
        f"  YouAreCoder is running:  {platform.public_url}",
        f"  Demo log-in              {DEMO_EMAIL}  {platform.keys.demo_password}",
        "",
        f"  Mail        {'your SMTP server' if given.smtp else sandbox_url('mailbox', port) + '  ' + mail_hint}",
        f"  Payments    {'PayTR' if given.paytr else sandbox_url('paytr', port) + '  ' + paytr_hint}",
        f"  Database    {'yours' if given.databases else embedded_database}",
        f"  Events      {bus}",
        "  Workspaces  real containers in Docker; the first start prepares the engine and the image",
        "",
        "  Ctrl-C stops it; everything is kept.",
        "",
    ]
    print("\n".join(lines), flush=True)


if __name__ == "__main__":
    sys.exit(main())
