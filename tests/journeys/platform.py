"""A whole platform for stories: the same command a user types, in its own data folder, on its own port."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import docker
import httpx

from deploy.local.processes import free_port, log_tail

CHECKOUT = Path(__file__).resolve().parents[2]
T = TypeVar("T")


class Loopback(httpx.HTTPTransport):
    """Sends every request to this machine, as a browser does for *.localhost; the Host header stays."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self._port = port

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        # A copy: the cookie jar goes by the address the visitor asked for.
        here = request.url.copy_with(host="127.0.0.1", port=self._port)
        sent = httpx.Request(
            request.method, here, headers=request.headers, stream=request.stream, extensions=request.extensions
        )
        return super().handle_request(sent)


def eventually(look: Callable[[], T | None], what: str, patience: float = 60) -> T:
    """Asks again until `look` answers something; fails with `what` after `patience` seconds."""
    deadline = time.monotonic() + patience
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen within {patience:.0f} s: {what}")
        time.sleep(0.1)


@dataclass
class RunningPlatform:
    """A platform in a process of its own, and ways to look at it from outside."""

    data: Path
    shape: str
    port: int = field(default_factory=free_port)
    extra: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The address of the landing page."""
        return f"http://youarecoder.localhost:{self.port}"

    @property
    def log(self) -> Path:
        """What the command printed."""
        return self.data / "up.log"

    def start(self, patience: float = 150) -> None:
        """Types `make up` and waits until the site is served."""
        self.data.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "deploy.local", "up", "--port", str(self.port), "--data", str(self.data)]
        if self.shape == "separate":
            command.append("--separate")
        with self.log.open("ab") as output:
            offset = output.tell()
            self.process = subprocess.Popen(
                command, cwd=CHECKOUT, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **self.extra}
            )

        def served() -> bool:
            if self.process is None or self.process.poll() is not None:
                raise AssertionError(f"the platform ended while it started:\n{log_tail(self.log, 40)}")
            return b"is running:" in self.log.read_bytes()[offset:]

        eventually(served, f"the platform serves\n{log_tail(self.log, 40)}", patience)

    def stop(self, number: int = signal.SIGINT, patience: float = 60) -> int:
        """Ctrl-C (or another signal); returns the exit code."""
        if self.process is None:
            return 0
        self.process.send_signal(number)
        code = self.process.wait(patience)
        self.process = None
        return code

    def client(self, host: str = "youarecoder") -> httpx.Client:
        """A fresh visitor of one of the platform's sites."""
        base = f"http://{host}.localhost:{self.port}"
        return httpx.Client(transport=Loopback(self.port), base_url=base, timeout=30)

    def mails(self, to: str, subject: str = "") -> list[dict[str, Any]]:
        """What the mailbox has received for an address, newest first."""
        with self.client("mailbox") as mailbox:
            found: list[dict[str, Any]] = mailbox.get("/api/mails", params={"to": to, "subject": subject}).json()
            return found

    def mail(self, to: str, subject: str, patience: float = 30) -> dict[str, Any]:
        """The newest mail to an address whose subject holds these words; waits for it."""
        found = eventually(lambda: self.mails(to, subject), f"a mail “{subject}” to {to}", patience)
        with self.client("mailbox") as mailbox:
            mail: dict[str, Any] = mailbox.get(f"/api/mails/{found[0]['id']}").json()
            return mail

    def pay(self, iframe_url: str, outcome: str = "success") -> dict[str, Any]:
        """What the buyer's clicks in PayTR's frame do."""
        token = iframe_url.rpartition("/")[2].partition("?")[0]
        with self.client("paytr") as paytr:
            answer = paytr.post(f"/sandbox/pay/{token}", json={"outcome": outcome})
            answer.raise_for_status()
            done: dict[str, Any] = answer.json()
            return done

    @property
    def clock(self) -> Path:
        """The file that moves the clock of every process on."""
        return self.data / "clock"

    def move_time(self, by: timedelta) -> None:
        """Moves the clock of every process on."""
        clock = self.clock
        shift = float(clock.read_text() or 0) if clock.exists() else 0.0
        new = clock.with_suffix(".new")
        new.write_text(str(shift + by.total_seconds()))
        new.replace(clock)

    @property
    def keys(self) -> dict[str, Any]:
        """The secrets of this platform; the demo's password among them."""
        read: dict[str, Any] = json.loads((self.data / "keys.json").read_text())
        return read


def remove_containers(engine: docker.DockerClient, platform: RunningPlatform) -> None:
    """Removes the containers, volumes and network of this platform, and nothing else."""
    label = f"youarecoder.installation={platform.keys['installation']}"
    for container in engine.containers.list(all=True, filters={"label": label}):
        container.remove(force=True, v=True)
    for volume in engine.volumes.list(filters={"label": label}):
        volume.remove(force=True)
    for network in engine.networks.list(filters={"label": label}):
        network.remove()
