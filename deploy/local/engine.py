"""Find the Docker engine of this machine; where there is none, start it or install it.

The engine is started detached, in a session of its own: Ctrl-C in the platform's terminal, or a restart of the
control plane, must not stop anybody's open workspace. `python -m deploy.local.engine` does it by hand.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import docker
from docker.errors import DockerException

from deploy.local import apt
from deploy.local.apt import Report
from services.provisioner.engine.local_socket import knock

_ADMIN_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_START_TIMEOUT_S = 60.0
#: What the engine may know of our environment: how to reach the network, and nothing secret.
_ENGINE_ENVIRONMENT = (
    "HOME",
    "LANG",
    "TMPDIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
)


class EngineUnavailable(RuntimeError):
    """No Docker engine can be had here; the message tells a person why and what to do."""


@dataclass(frozen=True)
class Machine:
    """The facts the decision depends on, so that a test can name them."""

    is_root: bool
    system: str
    os_release: Mapping[str, str] = field(default_factory=dict)
    dockerd: str | None = None
    has_systemd: bool = False
    has_apparmor: bool = False

    @property
    def is_debian(self) -> bool:
        """Debian, Ubuntu, or what says it is like them."""
        family = {self.os_release.get("ID", ""), *self.os_release.get("ID_LIKE", "").split()}
        return bool(family & {"debian", "ubuntu"})

    @property
    def label(self) -> str:
        """The system's name for a sentence."""
        return self.os_release.get("PRETTY_NAME") or self.os_release.get("ID") or self.system


def inspect_machine() -> Machine:
    """Look at this machine."""
    return Machine(
        is_root=os.geteuid() == 0,
        system=os.uname().sysname,
        os_release=read_os_release(Path("/etc/os-release")),
        dockerd=shutil.which("dockerd", path=f"{os.environ.get('PATH', '')}:{_ADMIN_PATH}"),
        has_systemd=Path("/run/systemd/system").is_dir(),
        has_apparmor=_first_line(Path("/sys/module/apparmor/parameters/enabled")) == "Y",
    )


def read_os_release(path: Path) -> dict[str, str]:
    """The key=value lines of os-release(5); empty where the file is missing."""
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    pairs = (line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    return {key.strip(): value.strip().strip("\"'") for key, value in pairs}


def connect(environment: Mapping[str, str] | None = None) -> docker.DockerClient | None:
    """A client of an engine that answers a ping now, or None.

    DOCKER_HOST decides alone where it is set; else the machine's socket and the rootless ones are asked in turn.
    """
    environment = os.environ if environment is None else environment
    for url in _addresses(environment):
        client = None
        try:
            knock(url)
            # TLS settings (DOCKER_TLS_VERIFY, DOCKER_CERT_PATH) are read by from_env as well
            client = docker.from_env(environment={**environment, "DOCKER_HOST": url}, timeout=5)
            client.ping()
        except (DockerException, OSError):
            if client is not None:
                client.close()
            continue
        # builds, pulls and starts under load take longer than the question "are you there"
        client.api.timeout = 120
        return client
    return None


def ensure(data_dir: Path, report: Report, machine: Machine | None = None) -> docker.DockerClient:
    """A client of a working engine: the one that answers, else started, else installed and started.

    `data_dir` gets `dockerd.log` and `dockerd.pid` when we are the ones who start it. Safe to call from several
    processes at once. Raises EngineUnavailable with an answer for a person.
    """
    client = connect()
    if client is not None:
        return client
    machine = machine or inspect_machine()
    refuse_hopeless(machine, os.environ)
    data_dir.mkdir(parents=True, exist_ok=True)
    with open(data_dir / "engine.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        client = connect()
        if client is not None:
            return client
        if machine.dockerd is None:
            _install(machine, report)
            machine = inspect_machine()
            # Debian's package starts the engine by itself where there is systemd
            client = connect()
            if client is not None:
                return client
        if machine.has_systemd:
            return _start_with_systemd(report)
        return _start_detached(machine, data_dir, report)


def refuse_hopeless(machine: Machine, environment: Mapping[str, str]) -> None:
    """Raise EngineUnavailable where no engine answers and we may not or cannot bring one up."""
    host = environment.get("DOCKER_HOST")
    if host:
        raise EngineUnavailable(
            f"DOCKER_HOST says the Docker engine is at {host}, but it does not answer there. "
            "Start that engine, or unset DOCKER_HOST to use the one of this machine."
        )
    if machine.system != "Linux":
        raise EngineUnavailable(
            f"No Docker engine answers, and on {machine.label} this command cannot start one. "
            "Start Docker Desktop (or another engine), then run the same command again."
        )
    if not machine.is_root:
        what = "is installed but does not answer this user" if machine.dockerd else "is not installed"
        do = (
            "Start it (sudo systemctl start docker) and let yourself use it "
            "(sudo usermod -aG docker $USER, then log in again)"
            if machine.dockerd
            else "Install it (on Debian or Ubuntu: sudo apt-get install docker.io)"
        )
        raise EngineUnavailable(
            f"The Docker engine {what}, and only root may change that. {do}, or run the same command as root."
        )
    if machine.dockerd is None and not machine.is_debian:
        raise EngineUnavailable(
            f"There is no Docker engine on this machine, and on {machine.label} this command does not know how to "
            "install one (it does on Debian and Ubuntu). Install Docker as https://docs.docker.com/engine/install/ "
            "says, or set DOCKER_HOST to an engine elsewhere, then run the same command again."
        )


def packages_for(machine: Machine) -> list[str]:
    """The Debian packages a machine without an engine needs.

    iptables is only recommended by docker.io, but no network works without it; with AppArmor in the kernel and no
    parser on disk every container fails to start.
    """
    return ["docker.io", "iptables", "ca-certificates"] + (["apparmor"] if machine.has_apparmor else [])


def _addresses(environment: Mapping[str, str]) -> list[str]:
    if environment.get("DOCKER_HOST"):
        return [environment["DOCKER_HOST"]]
    sockets = [Path("/var/run/docker.sock")]
    if environment.get("XDG_RUNTIME_DIR"):
        sockets.append(Path(environment["XDG_RUNTIME_DIR"]) / "docker.sock")
    if environment.get("HOME"):
        sockets.append(Path(environment["HOME"]) / ".docker" / "run" / "docker.sock")
    return [f"unix://{socket}" for socket in sockets if socket.exists()]


def _install(machine: Machine, report: Report) -> None:
    report("No Docker engine on this machine: installing the one of the distribution")
    try:
        apt.install(packages_for(machine), report)
    except apt.InstallFailed as error:
        raise EngineUnavailable(
            f"The Docker engine could not be installed. Install it by hand, then run the same command again. {error}"
        ) from error


def _start_with_systemd(report: Report) -> docker.DockerClient:
    report("Starting the Docker engine (systemctl start docker)")
    done = subprocess.run(
        ["systemctl", "start", "docker"], capture_output=True, text=True, timeout=_START_TIMEOUT_S * 2, check=False
    )
    if done.returncode != 0:
        raise EngineUnavailable(
            f"systemctl start docker failed: {done.stderr.strip()[-500:]}. "
            "`journalctl -u docker` tells more; start it, then run the same command again."
        )
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        client = connect()
        if client is not None:
            return client
        time.sleep(0.1)
    raise EngineUnavailable("systemd started the Docker engine, but it does not answer; see `journalctl -u docker`.")


def _start_detached(machine: Machine, data_dir: Path, report: Report) -> docker.DockerClient:
    if machine.dockerd is None:
        raise EngineUnavailable("The Docker engine was installed, but its program `dockerd` is nowhere to be found.")
    log_path = data_dir / "dockerd.log"
    report(f"Starting the Docker engine ({machine.dockerd}, log in {log_path})")
    environment = {key: os.environ[key] for key in _ENGINE_ENVIRONMENT if key in os.environ}
    environment["PATH"] = f"{os.environ.get('PATH', '')}:{_ADMIN_PATH}"
    with open(log_path, "ab") as log:
        process = subprocess.Popen(
            [machine.dockerd, *_daemon_options()],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd="/",
            start_new_session=True,
        )
    (data_dir / "dockerd.pid").write_text(f"{process.pid}\n", encoding="ascii")
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        client = connect()
        if client is not None:
            report("The Docker engine answers")
            process.returncode = 0  # it outlives us on purpose: no complaint of a forgotten child
            return client
        if process.poll() is not None:
            break
        time.sleep(0.1)
    process.terminate()
    (data_dir / "dockerd.pid").unlink(missing_ok=True)
    raise EngineUnavailable(
        f"The Docker engine was started but does not answer. The end of {log_path}:\n{_last_lines(log_path)}"
    )


def _daemon_options() -> list[str]:
    # An option both on the command line and in daemon.json stops dockerd, so the operator's file has the word.
    if Path("/etc/docker/daemon.json").exists():
        return []
    # live-restore: workspaces go on running while the engine itself is restarted. Bounded logs: one chatty
    # workspace must not fill the disk.
    return ["--live-restore", "--log-opt", "max-size=10m", "--log-opt", "max-file=3"]


def _last_lines(path: Path, count: int = 15) -> str:
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - 8192))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-count:])


def _first_line(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def main() -> int:
    """`python -m deploy.local.engine [DATA_DIR]`: bring the engine up and say which one it is."""
    data_dir = Path(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("YAC_DATA_DIR", "var"))
    try:
        client = ensure(data_dir, print)
    except EngineUnavailable as error:
        print(error, file=sys.stderr)
        return 1
    version = client.version()
    print(f"Docker engine {version['Version']} at {client.api.base_url}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
