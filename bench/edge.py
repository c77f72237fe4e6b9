"""How many requests a second come through the edge: each way beside its anchors, in one run, on this machine.

    python -m bench.edge [--seconds 3] [--runs 5] [--connections 32]

A backend that answers 512 bytes from memory stands for a service and for a workspace, so what is measured is the way:

    backend                 asked straight
    Traefik                 → backend
    FastAPI + httpx         → backend: the proxy most people would write
    gateway                 → backend: a real gateway process; the session's cookie becomes a service token
    Traefik + ForwardAuth   → backend: each request is shown to the gateway first, which knows who may enter

The ways take turns. Then it says how often the gateway asked identity about the session, and how many sockets were
left in TIME_WAIT at the port that Traefik asks. wrk makes the load (`apt-get install wrk`), with one thread; all of
it shares the machine's cores.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import re
import secrets
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest import mock

from sqlalchemy.orm import Session

from bench.standins import COUNT
from deploy import certificates
from deploy import database as databases
from deploy.local import postgres, processes, traefik
from deploy.local.keys import load as load_keys
from deploy.local.processes import free_port
from gateway import workspace_cookie
from gateway.models import Workspace
from gateway.settings import Settings
from gateway.tickets import Leave
from gateway.traefik import platform_routes
from shared.db import Database
from shared.ids import new_id
from shared.settings import load

HOST = "benchworkspace"
DOMAIN = "workspaces.localhost"
CHECKOUT = Path(__file__).resolve().parent.parent
SERVICES = ("IDENTITY", "BILLING", "PROVISIONER", "NOTIFIER", "SCHEDULER")


@dataclass
class Way:
    """One way to the backend, and what its runs said: requests/s; p50 and p99 in ms; how many were not answered."""

    name: str
    port: int
    path: str = "/"
    headers: dict[str, str] = field(default_factory=dict)
    rates: list[float] = field(default_factory=list)
    times: list[tuple[float, float]] = field(default_factory=list)
    failures: int = 0

    def load(self, connections: int, seconds: int) -> None:
        """One run."""
        headers = [part for name, value in self.headers.items() for part in ("-H", f"{name}: {value}")]
        said = subprocess.run(
            ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", *headers,
             f"http://127.0.0.1:{self.port}{self.path}"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        self.rates.append(float(re.findall(r"Requests/sec:\s+([\d.]+)", said)[0]))
        self.times.append((_milliseconds(said, "50%"), _milliseconds(said, "99%")))
        for line in re.findall(r"Non-2xx or 3xx responses: (\d+)|Socket errors: (.*)", said):
            self.failures += sum(int(number) for number in re.findall(r"\d+", " ".join(line)))

    def line(self) -> str:
        """The row of the table."""
        p50, p99 = (statistics.median(column) for column in zip(*self.times, strict=True))
        spread = f"({min(self.rates):.0f}-{max(self.rates):.0f})"
        rate = statistics.median(self.rates)
        return f"{self.name:<24}{rate:>8.0f} {spread:<16}{p50:>7.1f} /{p99:>7.1f}   {self.failures}"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=3)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--connections", type=int, default=32)
    given = parser.parse_args()
    if shutil.which("wrk") is None:
        sys.exit("wrk makes the load and is not installed: apt-get install wrk")
    folder = Path(tempfile.mkdtemp(prefix="youarecoder-bench-", dir="/var/tmp"))
    folder.chmod(0o711)  # PostgreSQL runs as an account of its own
    try:
        with edge(folder) as (ways, backend, auth):
            for way in ways:
                way.load(given.connections, 1)  # caches filled, connections made
                way.rates, way.times, way.failures = [], [], 0
            before = _asked(backend)
            for _ in range(given.runs):
                for way in ways:
                    way.load(given.connections, given.seconds)
            print(f"{given.connections} connections, {given.runs} runs of {given.seconds} s, {os.cpu_count()} cores")
            print(f"{'':<24}{'req/s':>8} {'(lowest-highest)':<16}{'p50 /':>9}{'p99 ms':>8}   not answered")
            for way in ways:
                print(way.line())
            print(f"identity was asked about the session {_asked(backend) - before} times")
            print(f"sockets in TIME_WAIT at the port Traefik asks: {_time_wait(auth)}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def edge(folder: Path) -> Iterator[tuple[list[Way], int, int]]:
    """Starts everything; the ways, the backend's port, and the port Traefik asks."""
    backend, proxy, gateway, auth, public = (free_port() for _ in range(5))
    keys = load_keys(folder / "keys.json")
    certificates.ensure(folder / "auth.pem", folder / "auth-key.pem", ["127.0.0.1"])
    leave = Leave(HOST, *(new_id() for _ in range(4)))
    whoever = folder / "somebody.json"
    whoever.write_text(json.dumps(_somebody(leave)))
    with contextlib.ExitStack() as stack:
        cluster = postgres.start(folder / "postgres")
        stack.callback(cluster.stop)
        url = databases.create(cluster.admin_dsn, "bench", {"gateway": secrets.token_urlsafe(12)})["gateway"]
        environment = {
            "PATH": os.environ["PATH"],
            "ENVIRONMENT": "local",
            "TOKEN_PUBLIC_KEY": keys.token_public_key,
            "PUBLIC_URL": f"http://youarecoder.localhost:{public}",
            "WORKSPACES_DOMAIN": DOMAIN,
            "GATEWAY_DATABASE_URL": url,
            "GATEWAY_SIGNING_KEY": keys.signing_key,
            "GATEWAY_COOKIE_KEY": keys.cookie_key,
            "GATEWAY_TRUSTED_PROXIES": "127.0.0.1",
            "GATEWAY_PORT": str(gateway),
            "GATEWAY_AUTH_PORT": str(auth),
            "GATEWAY_AUTH_CERTIFICATE": str(folder / "auth.pem"),
            "GATEWAY_AUTH_KEY": str(folder / "auth-key.pem"),
            "GATEWAY_OPS_PORT": str(free_port()),
            "GATEWAY_RATE_SCALE": "1000",
            **{f"GATEWAY_{name}_URL": f"http://127.0.0.1:{backend}" for name in SERVICES},
        }
        with mock.patch.dict(os.environ, environment):
            settings = load(Settings)
        subprocess.run([sys.executable, "-m", "gateway", "migrate"], cwd=CHECKOUT, env=environment, check=True)
        _write_workspace(url, leave)
        for name, port, command in (
            ("backend", backend, ["bench.standins", "backend", str(backend), str(whoever)]),
            ("httpx", proxy, ["bench.standins", "httpx", str(proxy), str(backend)]),
            ("gateway", gateway, ["gateway", "serve"]),
        ):
            log = folder / f"{name}.log"
            process = processes.spawn(
                [sys.executable, "-m", *command], log, env={**environment, "PYTHONPATH": str(CHECKOUT)}
            )
            stack.callback(processes.end, process, signal.SIGTERM, 15)
            processes.wait_ready(name, process, lambda port=port: _status(port) is not None, log, patience=30)
        routes = folder / "routes"
        server = traefik.start(folder / "traefik", routes, host="127.0.0.1", port=public)
        stack.callback(server.stop)
        _write_routes(routes, settings, gateway, auth, backend)
        cookie = workspace_cookie.make(settings, leave, datetime.now(UTC))
        inside = {"Host": f"{HOST}.{DOMAIN}:{public}", "Cookie": f"{workspace_cookie.name(settings)}={cookie}"}
        while _status(public, inside) != 200:
            time.sleep(0.1)
        person = {"Host": f"youarecoder.localhost:{public}", "Cookie": f"session={secrets.token_urlsafe(32)}"}
        yield (
            [
                Way("backend", backend),
                Way("Traefik", public, headers={"Host": f"plain.{DOMAIN}"}),
                Way("FastAPI + httpx", proxy),
                Way("gateway", gateway, "/api/v1/me", person),
                Way("Traefik + ForwardAuth", public, headers=inside),
            ],
            backend,
            auth,
        )


def _somebody(leave: Leave) -> dict[str, object]:
    """What identity says of the session."""
    return {
        "session_id": str(leave.session_id),
        "user_id": str(leave.user_id),
        "company_id": str(leave.company_id),
        "role": "admin",
        "staff": False,
        "verified": True,
        "email": "somebody@example.com",
        "name": "Somebody",
        "language": "en",
        "expires_at": (datetime.now(UTC) + timedelta(days=1)).isoformat(),
    }


def _write_workspace(url: str, leave: Leave) -> None:
    database = Database(url, "gateway")
    row = Workspace(id=leave.workspace_id, host=HOST, company_id=leave.company_id, owner_id=leave.user_id)
    with database.unit_of_work() as session:
        assert isinstance(session, Session)
        session.add(row)
    database.close()


def _write_routes(routes: Path, settings: Settings, gateway: int, auth: int, backend: int) -> None:
    """The platform's own, one to the backend behind ForwardAuth as the provisioner writes it, and a plain one."""
    ours = platform_routes(settings, f"http://127.0.0.1:{gateway}", f"127.0.0.1:{auth}")
    http_ = ours["http"]
    http_["services"]["bench"] = {"loadBalancer": {"servers": [{"url": f"http://127.0.0.1:{backend}"}]}}
    for name, host, middlewares in (("plain", "plain", []), ("inside", HOST, ["workspace-auth"])):
        rule = f"Host(`{host}.{DOMAIN}`)"
        http_["routers"][name] = {
            "rule": rule, "service": "bench", "priority": 2000, "entryPoints": ["web"], "middlewares": middlewares
        }  # fmt: skip
    traefik.write_routes(routes / "platform.yml", ours)


def _status(port: int, headers: dict[str, str] | None = None) -> int | None:
    return _get(port, "/", headers or {})[0]


def _asked(backend: int) -> int:
    return int(_get(backend, COUNT.decode(), {})[1])


def _get(port: int, path: str, headers: dict[str, str]) -> tuple[int | None, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()
    except OSError:
        return None, b""
    finally:
        connection.close()


def _time_wait(port: int) -> int:
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(1 for row in rows if row[3] == "06" and f"{port:04X}" in (row[1][-4:], row[2][-4:]))


def _milliseconds(said: str, which: str) -> float:
    value, unit = re.findall(rf"\s{which}\s+([\d.]+)(us|ms|s)", said)[0]
    return float(value) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[unit]


if __name__ == "__main__":
    main()
