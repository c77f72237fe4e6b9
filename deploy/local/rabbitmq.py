"""A RabbitMQ server of our own from Debian's package: for tests, and for services as separate processes.

It has its own node name, folders, ports and port mapper, all on loopback, so that it neither meets nor
disturbs a broker the machine already runs. Debian's `rabbitmq-server` is a wrapper that changes to the
account `rabbitmq` and its fixed folders; the script behind it runs as whoever we are.
"""

import os
import secrets
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from deploy.local import processes
from deploy.local.processes import Report, StartFailed

HOST = "127.0.0.1"
SCRIPT = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
USER = "platform"

# Erlang's virtual machine and every plug-in start on two cores in 3 to 10 s; a busy machine needs longer.
PATIENCE_S = 90.0


@dataclass
class RabbitServer:
    """A running broker. `url` holds its only account."""

    url: str = field(repr=False)
    port: int
    directory: Path
    _mapper_port: int = field(repr=False)
    _distribution_port: int = field(repr=False)
    _mapper: subprocess.Popen[bytes] = field(repr=False)
    _process: subprocess.Popen[bytes] = field(repr=False)

    @property
    def pid(self) -> int:
        """The broker's process id."""
        return self._process.pid

    @property
    def pids(self) -> tuple[int, int]:
        """The broker's and its port mapper's process ids, in the order to end them in."""
        return self._process.pid, self._mapper.pid

    def is_running(self) -> bool:
        """Whether the broker's process is alive."""
        return self._process.poll() is None

    def stop(self) -> None:
        """End it in order: queues are closed, nothing is lost. Safe to call again."""
        processes.end(self._process, signal.SIGTERM, patience=30)
        processes.end(self._mapper, signal.SIGTERM, patience=5)

    def kill(self) -> None:
        """End it at once (SIGKILL), as a crash or a power cut does. `restart` brings it back."""
        processes.kill(self._process)

    def restart(self) -> None:
        """Start it again on the same port with the data it had; ends it in order first when it still runs."""
        processes.end(self._process, signal.SIGTERM, patience=30)
        self._process = _start_broker(self.directory, self.port, self._distribution_port, self._mapper_port)


def available() -> bool:
    """Whether the package is installed."""
    return SCRIPT.exists()


def start(directory: Path, report: Report = lambda line: None, *, port: int | None = None) -> RabbitServer:
    """Start a broker whose data is in `directory` and survives restarts. `port` None takes a free one.

    Raises StartFailed when the package is missing or the broker does not come up.
    """
    if not available():
        raise StartFailed("RabbitMQ is not installed: apt-get install rabbitmq-server.")
    directory = directory.absolute()
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o700)  # it holds the password and Erlang's cookie
    password = _secret(directory / "password")
    _secret(directory / ".erlang.cookie")
    port = port or processes.free_port()
    distribution_port, mapper_port = processes.free_port(), processes.free_port()
    _write_settings(directory, port, password)
    report("Starting RabbitMQ (some ten seconds) …")
    mapper = _start_mapper(directory, mapper_port)
    try:
        process = _start_broker(directory, port, distribution_port, mapper_port)
    except BaseException:
        processes.kill(mapper)
        raise
    url = f"amqp://{USER}:{password}@{HOST}:{port}/"
    return RabbitServer(url, port, directory, mapper_port, distribution_port, mapper, process)


def _secret(path: Path) -> str:
    """The secret kept in the file, made the first time; Erlang insists on a cookie only its owner reads."""
    if not path.exists():
        with open(path, "w", opener=lambda name, flags: os.open(name, flags, 0o400)) as file:
            file.write(secrets.token_hex(24))
    return path.read_text()


def _write_settings(directory: Path, port: int, password: str) -> None:
    (directory / "rabbitmq.conf").write_text(
        f"listeners.tcp.1 = {HOST}:{port}\n"
        f"default_user = {USER}\n"
        f"default_pass = {password}\n"
        # With less free space it takes no more messages: RabbitMQ's own default, said so no one has to look.
        "disk_free_limit.absolute = 50MB\n"
        "vm_memory_high_watermark.absolute = 512MB\n"
        "log.console = true\n"
        "log.console.level = warning\n"
        "log.file = false\n"
    )
    (directory / "enabled_plugins").write_text("[].\n")
    (directory / "rabbitmq-env.conf").write_text("")  # in place of /etc/rabbitmq's
    (directory / "advanced.config").write_text("[].\n")


def _environment(directory: Path, mapper_port: int) -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(directory),  # where Erlang looks for its cookie
        "LC_ALL": "C.UTF-8",
        "ERL_EPMD_ADDRESS": HOST,
        "ERL_EPMD_PORT": str(mapper_port),
    }


def _start_mapper(directory: Path, mapper_port: int) -> subprocess.Popen[bytes]:
    """Erlang's port mapper as a child: the broker would start one that outlives it, on every address."""
    log = directory / "epmd.log"
    mapper = processes.spawn(
        ["epmd", "-address", HOST, "-port", str(mapper_port)], log, env=_environment(directory, mapper_port)
    )
    try:
        processes.wait_ready("Erlang's port mapper", mapper, lambda: _listens(mapper_port), log, patience=10)
    except BaseException:
        processes.kill(mapper)
        raise
    return mapper


def _start_broker(directory: Path, port: int, distribution_port: int, mapper_port: int) -> subprocess.Popen[bytes]:
    environment = _environment(directory, mapper_port) | {
        "RABBITMQ_NODENAME": "youarecoder@localhost",
        "RABBITMQ_DIST_PORT": str(distribution_port),
        "RABBITMQ_BASE": str(directory),
        "RABBITMQ_MNESIA_BASE": str(directory / "data"),
        "RABBITMQ_LOG_BASE": str(directory / "log"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_PID_FILE": str(directory / "pid"),
        "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq.conf"),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(directory / "advanced.config"),
        "RABBITMQ_CONF_ENV_FILE": str(directory / "rabbitmq-env.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "enabled_plugins"),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        # The script then becomes the broker instead of staying beside it as a shell that passes signals on.
        "RUNNING_UNDER_SYSTEMD": "true",
    }
    log = directory / "rabbitmq.log"
    process = processes.spawn([str(SCRIPT)], log, env=environment)
    try:
        processes.wait_ready("RabbitMQ", process, lambda: speaks_amqp(HOST, port), log, PATIENCE_S)
    except BaseException:
        processes.kill(process)
        raise
    return process


def _listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=1).close()
    except OSError:
        return False
    return True


def speaks_amqp(host: str, port: int) -> bool:
    """Whether the listener answers AMQP 0-9-1's protocol header with a method frame; a no takes 0.1 s."""
    try:
        with socket.create_connection((host, port), timeout=5) as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            return connection.recv(1) == b"\x01"
    except OSError:
        time.sleep(0.1)
        return False
