"""The platform as containers, prepared and started as an operator does it, in a folder and on ports of its own."""

from __future__ import annotations

import contextlib
import os
import ssl
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import docker
import httpx
import psutil

from deploy.compose import command
from deploy.local.processes import free_port
from deploy.local.try_workspace import FIREWALL
from tests.journeys.platform import CHECKOUT, Loopback, RunningPlatform, eventually

PREFIX = "yac-test-"


class TlsLoopback(Loopback):
    """The same over TLS: the certificate must be the installation's own, for the host that was asked for."""

    def __init__(self, port: int, authority: Path) -> None:
        httpx.HTTPTransport.__init__(self, verify=ssl.create_default_context(cafile=str(authority)))
        self._port = port

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.extensions = {**request.extensions, "sni_hostname": request.url.host}
        return super().handle_request(request)


@dataclass
class ComposedPlatform(RunningPlatform):
    """A platform in containers of a compose project."""

    plain_port: int = field(default_factory=free_port)
    project: str = ""

    @property
    def url(self) -> str:
        """The address of the landing page."""
        return f"https://youarecoder.localhost:{self.port}"

    def start(self, patience: float = 900) -> None:
        """Prepares (images that are missing are built, some minutes), starts, and waits until the site is served."""
        sweep()
        try:
            self._start(patience)
        except BaseException as error:
            with contextlib.suppress(OSError, command.ComposeFailed):
                error.add_note(self.compose("logs", "--no-color", "--tail", "40")[-20_000:])
            self.stop()
            raise

    def _start(self, patience: float) -> None:
        self.project = f"{PREFIX}{os.getpid()}"
        self.data.mkdir(parents=True, exist_ok=True)
        given = {
            "DOMAIN": "youarecoder.localhost",
            "WORKSPACES_DOMAIN": "workspaces.localhost",
            "BIND": "127.0.0.1",
            "HTTP_PORT": str(self.plain_port),
            "HTTPS_PORT": str(self.port),
            "SANDBOX": "1",
            "PROJECT": self.project,
            "GATEWAY_RATE_SCALE": "100",  # the load of many people comes from one address
            **self.extra,
        }
        (self.data / "settings").write_text("".join(f"{name}={value}\n" for name, value in given.items()))
        with self.log.open("ab") as output:
            prepare = [sys.executable, "-m", "deploy.compose.prepare", str(self.data)]
            subprocess.run(prepare, cwd=CHECKOUT, stdout=output, stderr=output, timeout=patience, check=True)
        self.compose("up", "-d")

        def served() -> bool:
            with contextlib.suppress(httpx.TransportError), self.client() as visitor:
                return visitor.get("/").status_code == 200
            return False

        eventually(served, "the platform serves")

    def stop(self, number: int = 0, patience: float = 120) -> int:
        """Takes everything away at once, its data too."""
        del number, patience
        engine = docker.from_env(timeout=60)
        try:
            _remove(engine, self.project)
        finally:
            engine.close()
        return 0

    def compose(self, *arguments: str, timeout_s: float = 600) -> str:
        """Runs Docker Compose for this platform; what it printed."""
        return command.run(self.data, *arguments, timeout_s=timeout_s)

    def containers(self, engine: docker.DockerClient, service: str) -> list[docker.models.containers.Container]:
        """The running containers of a service."""
        labels = [f"com.docker.compose.project={self.project}", f"com.docker.compose.service={service}"]
        return engine.containers.list(filters={"label": labels})

    def client(self, host: str = "youarecoder") -> httpx.Client:
        """A fresh visitor of one of the platform's sites."""
        transport = TlsLoopback(self.port, self.data / "traefik" / "tls.pem")
        return httpx.Client(transport=transport, base_url=f"https://{host}.localhost:{self.port}", timeout=30)

    @property
    def clock(self) -> Path:
        """The file that moves every container's clock on."""
        return self.data / "time" / "clock"


def sweep() -> None:
    """Removes what test runs that were killed left in the engine."""
    engine = docker.from_env(timeout=60)
    try:
        projects = {
            container.labels["com.docker.compose.project"]
            for container in engine.containers.list(all=True, filters={"label": "com.docker.compose.project"})
        }
        for project in projects:
            pid = project.removeprefix(PREFIX)
            if project.startswith(PREFIX) and pid.isdigit() and not psutil.pid_exists(int(pid)):
                _remove(engine, project)
    finally:
        engine.close()


def _remove(engine: docker.DockerClient, project: str) -> None:
    """Containers first, the provisioner among them: it would bring back the workspaces that go next."""
    ours = {"label": f"com.docker.compose.project={project}"}
    networks = engine.networks.list(filters=ours)
    _remove_containers_and_volumes(engine, ours)
    for network in networks:
        if installation := network.attrs["Labels"].get("youarecoder.installation"):
            _remove_containers_and_volumes(engine, {"label": f"youarecoder.installation={installation}"})
            bridge = network.attrs["Options"]["com.docker.network.bridge.name"]
            engine.containers.run(command=["remove", bridge], **FIREWALL)
    for network in networks:
        network.remove()


def _remove_containers_and_volumes(engine: docker.DockerClient, filters: dict[str, str]) -> None:
    for container in engine.containers.list(all=True, filters=filters):
        container.remove(force=True, v=True)
    for volume in engine.volumes.list(filters=filters):
        volume.remove(force=True)
