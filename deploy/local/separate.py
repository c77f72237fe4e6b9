"""Each service as its own process on RabbitMQ: the shape of production, on one machine."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from deploy.local import processes
from deploy.local.configuration import Addresses, package_of
from deploy.local.embedded import ORDER
from deploy.local.processes import Report

CHECKOUT = Path(__file__).resolve().parents[2]
PATIENCE_S = 60.0


def of_service(name: str, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without what is another service's own: its database, its keys; PayTR's secrets are billing's."""
    foreign = tuple(f"{other.upper()}_" for other in ORDER if other != name)
    secret = () if name == "billing" else ("PAYTR_MERCHANT_KEY", "PAYTR_MERCHANT_SALT")
    return {key: value for key, value in environment.items() if not key.startswith(foreign) and key not in secret}


class Separate:
    """Child processes, one a service, each with its own log in the data folder."""

    def __init__(self, addresses: Addresses, environment: dict[str, str], logs: Path, report: Report) -> None:
        self._addresses = addresses
        self._environment = environment
        self._logs = logs
        self._report = report
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    async def start(self) -> None:
        """Starts all, then waits until each is ready."""
        self._logs.mkdir(mode=0o700, exist_ok=True)
        for name in ORDER:
            self._spawn(name)
        for name in ORDER:
            await asyncio.to_thread(self._wait, name)

    async def stop(self) -> None:
        """Asks the front door first, then the others, to finish and end."""
        await asyncio.to_thread(self.end, ORDER[-1])
        await asyncio.gather(*(asyncio.to_thread(self.end, name) for name in ORDER[:-1]))

    def end(self, name: str) -> None:
        """Ends one service gracefully."""
        if process := self._running.pop(name, None):
            processes.end(process, signal.SIGTERM, patience=15)

    def kill(self, name: str) -> None:
        """Kills one service, as a power cut would."""
        if process := self._running.pop(name, None):
            processes.kill(process)

    async def restart(self, name: str) -> None:
        """Starts a service that was ended or killed, and waits until it is ready."""
        self._spawn(name)
        await asyncio.to_thread(self._wait, name)

    async def watch(self) -> None:
        """Starts again what ended by itself, for ever."""
        while True:
            for name, process in list(self._running.items()):
                if process.poll() is not None:
                    self._report(f"{name} ended with code {process.returncode} and is started again")
                    self._spawn(name)
            await asyncio.sleep(1)

    def _spawn(self, name: str) -> None:
        command = [sys.executable, "-m", package_of(name), "serve"]
        environment = {**of_service(name, self._environment), "PYTHONPATH": str(CHECKOUT)}
        self._running[name] = processes.spawn(command, self._logs / f"{name}.log", env=environment)

    def _wait(self, name: str) -> None:
        url = f"http://127.0.0.1:{self._addresses.ops[name]}/readyz"

        def ready() -> bool:
            try:
                with urllib.request.urlopen(url, timeout=2) as answer:
                    return bool(answer.status == 200)
            except (urllib.error.URLError, OSError):
                return False

        processes.wait_ready(name, self._running[name], ready, self._logs / f"{name}.log", PATIENCE_S)
