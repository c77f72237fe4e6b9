"""Start workspaces by hand, locked down as in production, and measure how long each step takes.

`python -m deploy.local.try_workspace [ROUNDS]` prints milliseconds, median (lowest-highest). It removes what it starts.
"""

from __future__ import annotations

import http.client
import statistics
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
from docker.models.containers import Container
from docker.models.networks import Network
from docker.types import IPAMConfig, IPAMPool

from deploy.local import engine, images

#: How every workspace runs (arguments of docker-py's containers.create). See deploy/images/README.md.
LOCKDOWN: dict[str, Any] = {
    "user": "1000:1000",
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
    "read_only": True,
    "tmpfs": {
        "/tmp": "rw,exec,nosuid,nodev,size=256m,mode=1777",  # noqa: S108 - inside the container
        "/run": "rw,noexec,nosuid,nodev,size=16m,mode=755,uid=1000,gid=1000",
    },
    "init": True,
    "pids_limit": 512,
    "mem_limit": "1g",
    "memswap_limit": "1g",
    "nano_cpus": 2_000_000_000,
    "ipc_mode": "private",
}
FIREWALL: dict[str, Any] = {
    "image": "youarecoder/firewall",
    "network_mode": "host",
    "cap_drop": ["ALL"],
    "cap_add": ["NET_ADMIN", "NET_RAW"],
    "security_opt": ["no-new-privileges"],
    "read_only": True,
    "remove": True,
}


@dataclass
class Place:
    """A network of workspaces of its own, with the firewall's rules on its bridge."""

    client: docker.DockerClient
    network: Network
    bridge: str
    subnet: str

    def address(self, last: int) -> str:
        """An address of the subnet by its last byte; 1 is the host."""
        return self.subnet.rsplit(".", 1)[0] + f".{last}"

    def create(self, last: int, volume: str, **more: Any) -> Container:
        """A workspace at a fixed address, its home on a named volume; not started."""
        endpoint = self.client.api.create_endpoint_config(ipv4_address=self.address(last))
        return self.client.containers.create(
            "youarecoder/workspace",
            name=f"yac-try-{uuid.uuid4().hex[:12]}",
            network=self.network.name,
            networking_config={str(self.network.name): endpoint},
            volumes={volume: {"bind": "/home/coder", "mode": "rw"}},
            **(LOCKDOWN | more),
        )


@contextmanager
def place(client: docker.DockerClient, third: int = 231) -> Iterator[Place]:
    """Make a network 10.213.`third`.0/24 and protect it; on the way out remove rules and network."""
    bridge, subnet = f"yac-try-{third}", f"10.213.{third}.0/24"
    network = client.networks.create(
        bridge,
        driver="bridge",
        check_duplicate=True,
        options={"com.docker.network.bridge.name": bridge, "com.docker.network.bridge.enable_icc": "false"},
        ipam=IPAMConfig(pool_configs=[IPAMPool(subnet=subnet)]),
    )
    try:
        client.containers.run(command=["apply", bridge, subnet], **FIREWALL)
        yield Place(client, network, bridge, subnet)
    finally:
        client.containers.run(command=["remove", bridge], **FIREWALL)
        network.remove()


def get(address: str, path: str, timeout_s: float = 10) -> tuple[int, str, bytes]:
    """One GET on port 8080: status, Location, body."""
    connection = http.client.HTTPConnection(address, 8080, timeout=timeout_s)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.headers.get("Location", ""), answer.read()
    finally:
        connection.close()


def wait_healthy(address: str, timeout_s: float = 30) -> None:
    """Poll /healthz each 4 ms until it answers 200; TimeoutError after `timeout_s` seconds."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            if get(address, "/healthz", 2)[0] == 200:
                return
        except (OSError, http.client.HTTPException):
            pass
        time.sleep(0.004)
    raise TimeoutError(f"{address} has no /healthz after {timeout_s:g} s")


def first_page(address: str) -> bytes:
    """GET / and follow its redirects, as a browser would; ValueError when it is no editor."""
    path = "/"
    for _ in range(4):
        status, location, body = get(address, path)
        if status == 200 and b"workbench" in body:
            return body
        if status not in (301, 302, 307):
            break
        path = location if location.startswith("/") else "/" + location.removeprefix("./")
    raise ValueError(f"the first page of {address} answered {status} at {path}")


def main() -> int:
    """Measure ROUNDS starts (default 7), one after the other."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 7
    client = engine.ensure(Path("var"), print)
    for name in ("workspace", "firewall"):
        images.ensure(client, name, print)
    marks: dict[str, list[float]] = {"create": [], "start": [], "healthz": [], "first page": [], "total": []}
    with place(client) as here:
        for turn in range(rounds):
            volume = client.volumes.create(f"yac-try-{uuid.uuid4().hex[:12]}")
            times = [time.perf_counter()]
            container = here.create(20 + turn % 200, volume.name)
            try:
                times.append(time.perf_counter())
                container.start()
                times.append(time.perf_counter())
                wait_healthy(here.address(20 + turn % 200))
                times.append(time.perf_counter())
                first_page(here.address(20 + turn % 200))
                times.append(time.perf_counter())
            finally:
                container.remove(force=True)
                volume.remove()
            for name, begin, end in zip(marks, times, [*times[1:], times[-1]], strict=True):
                marks[name].append((times[-1] - times[0] if name == "total" else end - begin) * 1000)
    for name, values in marks.items():
        print(f"{name:>10}: {statistics.median(values):6.0f} ms ({min(values):.0f}-{max(values):.0f})")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
